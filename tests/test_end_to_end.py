"""The main job as a user types it, on a bundled example with known truth."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout

from mrspec_prep.bids.cohort.collect import collect_cohort
from mrspec_prep.bids.output.compressed import read_compressed
from mrspec_prep.bids.output.derivatives import parse_name, pybids_config, read_map
from tests.docs_pages import DOCS, blocks

EXAMPLES = Path(__file__).parents[1] / "bids_examples"
ZEBRA = EXAMPLES / "zebra_t2star-adc"
TRUTH = EXAMPLES / "truth" / "zebra_t2star-adc"
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def mrspec_prep(*words):
    command = [sys.executable, "-m", "mrspec_prep", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def run_zebra(folder, *words, levels=("participant",)):
    return mrspec_prep(
        ZEBRA, folder / "out", *levels, "-w", folder / "work", "-d", f"masks={ZEBRA / 'derivatives' / 'masks'}",
        "--set", "kernel.points=[16,16]", "--set", "inspect.n_clusters=[2,5]", "--set", "inspect_map.n_components=3",
        *words,
    )  # fmt: skip


def result_bytes(out):
    files = sorted(p for p in out.rglob("*.nii.gz")) + sorted(out.rglob("*.h5"))
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zebra")
    ended = run_zebra(folder, "--nprocs", "2")
    assert ended.returncode == 0, ended.stderr
    return folder, ended


def test_it_ends_well_and_says_so(finished):
    folder, ended = finished
    assert ended.stderr.strip().splitlines()[-1].endswith("Finished without errors: 2 participant(s)")
    for subject in ("01", "02"):
        assert (folder / "out" / f"sub-{subject}.html").stat().st_size > 50_000


def validator_errors(dataset):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    checked = subprocess.run([validator, str(dataset), "--json"], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue.get("severity") == "error"]


def test_the_bids_validator_finds_no_error(finished):
    folder, _ = finished
    assert validator_errors(folder / "out") == []


def test_both_levels_in_one_command(finished, tmp_path):
    """Participants that are finished stay as they are; the group has their tissues, and its files are valid."""
    shutil.copytree(finished[0] / "out", tmp_path / "out")
    ended = run_zebra(tmp_path, "--set", "group.n_clusters=5", "--nprocs", "1", levels=("participant", "group"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("nothing to redo") == 2
    assert ended.stderr.strip().splitlines()[-1].endswith("Finished without errors: a group of 2 series")
    assert (tmp_path / "out/group.html").stat().st_size > 50_000
    assert validator_errors(tmp_path / "out") == []
    for subject in ("01", "02"):
        mask = nib.load(tmp_path / f"out/sub-{subject}/dwi/sub-{subject}_desc-roi_mask.nii.gz").get_fdata() > 0
        labels = nib.load(tmp_path / f"out/sub-{subject}/dwi/sub-{subject}_seg-group_dseg.nii.gz").get_fdata()
        assert set(np.unique(labels[mask])) <= {1, 2, 3, 4, 5}
        assert not labels[~mask].any()
        tissues = nib.load(TRUTH / f"sub-{subject}_tissues.nii.gz").get_fdata()[mask]
        pure = tissues.max(axis=1) > 0.9
        table = np.zeros((6, tissues.shape[1]))
        np.add.at(table, (labels[mask][pure].astype(int), tissues[pure].argmax(axis=1)), 1)
        assert table.max(axis=1).sum() / table.sum() > 0.9, table


def test_pybids_reads_it_back(finished):
    folder, _ = finished
    layout = BIDSLayout(
        folder / "out", config=["bids", "derivatives", pybids_config()], validate=False, is_derivative=True
    )
    assert sorted(layout.get_subjects()) == ["01", "02"]
    (found,) = layout.get(subject="01", param="residual", desc="nnls", suffix="dwimap", extension=".nii.gz")
    assert found.entities["model"] == "adct2star"
    files = [path for path in (folder / "out").glob("sub-*/dwi/*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        known = layout.get_file(str(path)).get_entities()
        assert {key: str(value) for key, value in known.items()} == parse_name(path), path.name


def test_the_mean_t2star_is_the_truth_within_noise(finished):
    folder, _ = finished
    found = read_map(folder / "out/sub-01/dwi/sub-01_model-adct2star_param-t2star_desc-nnls_dwimap.nii.gz")
    mask = nib.load(folder / "out/sub-01/dwi/sub-01_desc-roi_mask.nii.gz").get_fdata() > 0
    truth = nib.load(TRUTH / "sub-01_t2star.nii.gz").get_fdata()[mask] * 1e3
    assert np.corrcoef(np.log(found.data[mask]), np.log(truth))[0, 1] > 0.8


def test_the_tutorial_reads_the_results(finished, monkeypatch, capsys):
    (code,) = blocks(DOCS / "tutorial.md", 'python title="in the folder of out/"')
    monkeypatch.chdir(finished[0])
    space = {}
    exec(compile(code, "tutorial.md", "exec"), space)
    assert capsys.readouterr().out.startswith("cluster 1: ")
    assert set(space["spectra"]["cluster"]) == set(range(1, space["clusters"].max() + 1))


def test_the_clusters_are_tissues(finished):
    folder, _ = finished
    mask = nib.load(folder / "out/sub-01/dwi/sub-01_desc-roi_mask.nii.gz").get_fdata() > 0
    clusters = nib.load(folder / "out/sub-01/dwi/sub-01_seg-inspect_dseg.nii.gz").get_fdata()[mask].astype(int)
    tissues = nib.load(TRUTH / "sub-01_tissues.nii.gz").get_fdata()[mask]
    pure = tissues.max(axis=1) > 0.9
    table = np.zeros((clusters.max() + 1, tissues.shape[1]))
    np.add.at(table, (clusters[pure], tissues[pure].argmax(axis=1)), 1)
    purity = table.max(axis=1).sum() / table.sum()
    assert purity > 0.9, table


def test_the_component_weights_follow_tissues(finished):
    """At least two tissues have a component of their own; the weights of a voxel sum to one."""
    folder, _ = finished
    mask = nib.load(folder / "out/sub-01/dwi/sub-01_desc-roi_mask.nii.gz").get_fdata() > 0
    names = [f"sub-01_model-inspectmap_param-component{j}_dwimap.nii.gz" for j in (1, 2, 3)]
    weights = np.stack([nib.load(folder / "out/sub-01/dwi" / name).get_fdata()[mask] for name in names], axis=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    tissues = nib.load(TRUTH / "sub-01_tissues.nii.gz").get_fdata()[mask]
    present = tissues[:, tissues.mean(axis=0) > 0.05]
    similar = np.corrcoef(weights.T, present.T)[:3, 3:]
    assert sorted(similar.max(axis=0))[-2] > 0.8, similar
    assert "Components and their weights" in (folder / "out/sub-01.html").read_text()


def test_maps_keep_geometry_and_are_zero_outside(finished):
    folder, _ = finished
    source = nib.load(next((ZEBRA / "sub-01/dwi").glob("*_dwi.nii.gz")))
    mask = nib.load(folder / "out/sub-01/dwi/sub-01_desc-roi_mask.nii.gz").get_fdata() > 0
    maps = list((folder / "out/sub-01").rglob("*_dwimap.nii.gz"))
    assert len(maps) >= 6
    for path in maps:
        image = nib.load(path)
        assert np.allclose(image.affine, source.affine)
        assert image.get_data_dtype() == np.float32
        assert not image.get_fdata()[~mask].any(), path.name
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        for key in ("Units", "Description", "EstimationAlgorithm", "Sources", "SoftwareVersion", "OptionsHash", "Seed"):
            assert key in sidecar, (path.name, key)


def test_the_group_can_collect_what_participants_leave(finished):
    folder, _ = finished
    cohort = collect_cohort(folder / "out", bids_dir=ZEBRA)
    assert [member.subject for member in cohort.members] == ["01", "02"]
    assert not cohort.exclusions and not cohort.warnings and len(cohort.protocols) == 1
    assert cohort.kernel == "adc-t2star" and cohort.grid.shape == (16, 16)
    for member in cohort.members:
        found = read_compressed(member.header.path)
        assert np.isfinite(found.signals).all()
        mask = nib.load(folder / f"out/sub-{member.subject}/dwi/sub-{member.subject}_desc-roi_mask.nii.gz")
        np.testing.assert_array_equal(found.roi, mask.get_fdata() > 0)
        noise = nib.load(folder / f"out/sub-{member.subject}/dwi/sub-{member.subject}_desc-noise_dwimap.nii.gz")
        np.testing.assert_array_equal(found.sigma, noise.get_fdata(dtype=np.float32)[found.roi])


def test_a_second_run_redoes_nothing_and_other_processes_change_nothing(finished, tmp_path):
    folder, _ = finished
    again = run_zebra(folder, "--nprocs", "1")
    assert again.returncode == 0
    assert again.stderr.count("nothing to redo") == 2
    before = result_bytes(folder / "out")
    alone = run_zebra(tmp_path, "--nprocs", "1", "--participant-label", "sub-01")
    assert alone.returncode == 0, alone.stderr
    after = result_bytes(tmp_path / "out")
    assert after
    assert all(before[name] == content for name, content in after.items())


def test_a_bad_participant_stops_no_other(tmp_path):
    dataset = tmp_path / "bids"
    subprocess.run(["cp", "-r", str(ZEBRA), str(dataset)], check=True)
    broken = next((dataset / "sub-01/dwi").glob("*te114_dwi.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:2000])
    ended = mrspec_prep(
        dataset, tmp_path / "out", "participant", "-w", tmp_path / "work", "--set", "kernel.points=[8,8]",
        "--set", "inspect.n_clusters=2", "--mask", "automatic",
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "te114_dwi.nii.gz" in ended.stderr
    assert "sub-01" in ended.stderr.splitlines()[-1]
    assert "FAILED" in ended.stderr.splitlines()[-1]
    assert (tmp_path / "out" / "sub-02.html").is_file()


def test_input_errors_write_nothing_but_a_log(tmp_path):
    dataset = tmp_path / "bids"
    subprocess.run(["cp", "-r", str(ZEBRA), str(dataset)], check=True)
    for image in dataset.rglob("*_dwi.nii.gz"):
        image.write_bytes(b"")
    ended = mrspec_prep(dataset, tmp_path / "out", "participant", "-w", tmp_path / "work")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "the image is empty" in ended.stderr
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert [p.suffix for p in written] == [".log"]


def test_dry_run_previews_and_computes_nothing(tmp_path):
    ended = mrspec_prep(ZEBRA, tmp_path / "out", "participant", "--dry-run", "--participant-label", "01")
    assert ended.returncode == 0, ended.stderr
    for words in ("joined:", "TE [ms]", "kernel: adc-t2star", "workflow: t2star-adc_inspect", "expected:"):
        assert words in ended.stdout
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
    assert list((tmp_path / "out").rglob("*_volumes.tsv"))
