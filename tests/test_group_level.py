"""The group level as a user runs it, over participants whose compressed signals are simulated on a small grid."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.atomic import write_json
from mrspec_prep.bids.output.compressed import write_compressed
from mrspec_prep.bids.output.derivatives import output_path, read_table, start_dataset
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra
from mrspec_prep.cli import history
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import reportlets
from mrspec_prep.interfaces.group import checkpoints
from mrspec_prep.interfaces.group import fit as group_fit
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.workflows.group import init_group_wf as group_wf
from mrspec_prep.workflows.group import maps_mem_gb
from mrspec_prep.workflows.running.measured_memory import measured_before
from tests.bids.compressed_files import ABOUT, damage, small_protocol

BOUNDS = {"diffusivity": [0.1, 40.0], "t2star": [10.0, 800.0]}
PROTOCOL, LONG = small_protocol(bounds=BOUNDS), small_protocol(longest=200.0, bounds=BOUNDS)
SHAPE = (6, 6, 2)
AFFINE = np.array([[0.0, -2, 0, 5], [2, 0, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1]])
RESULTS = (".nii.gz", ".h5", ".tsv", ".json")
pytestmark = pytest.mark.timeout(200)


def write_participant(out, subject, shares, protocol=PROTOCOL, noise=0.02):
    """Compressed signals of voxels of two tissues, a share of each; returns the label of every voxel (x, y, z)."""
    rng = np.random.default_rng(int(subject))
    kernel = kernel_matrix("adc-t2star", protocol.encodings, protocol.grid)
    spectra = np.zeros((2, protocol.grid.n_bins))
    spectra[0, 17], spectra[1, 26] = 1.0, 1.0  # 89 and 385 ms
    labels = (rng.random(SHAPE) > shares).astype(int)
    signals = (spectra @ kernel.T)[labels.ravel()] * rng.uniform(80, 120, labels.size)[:, None]
    signals += rng.normal(0, 100 * noise, signals.shape)
    compressed = signals @ protocol.projection
    naming = {"datatype": "dwi", "suffix": "spectra", "extension": ".h5", "desc": "compressed", "model": "adc-t2star"}
    write_compressed(
        output_path(out, {"subject": subject}, **naming),
        signals=compressed,
        sigma=np.full(labels.size, 100 * noise),
        outside=np.maximum((signals**2).sum(axis=1) - (compressed**2).sum(axis=1), 0),
        roi=np.ones(SHAPE, bool),
        affine=AFFINE,
        protocol=protocol,
        metadata=ABOUT,
    )
    write_json(out / f"sub-{subject}/log/finished.json", {"key": "0" * 16, "files": []})
    return labels


def quick_report(out_dir):
    path = Path(out_dir) / "group.html"
    path.write_text("report")
    return path


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Four participants of one site; ``study.labels`` holds their tissues."""
    from mrspec_prep.cli import group

    monkeypatch.setattr(reportlets, "build_group_report", quick_report)
    monkeypatch.setattr(group, "build_group_report", quick_report)
    monkeypatch.chdir(tmp_path)
    bids = tmp_path / "bids"
    bids.mkdir()
    rows = [("participant_id", "group", "age"), *((f"sub-0{i}", "ab"[i % 2], f"{20 + i}") for i in (1, 2, 3, 4))]
    (bids / "participants.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    start_dataset(tmp_path / "out", bids)
    return Study(tmp_path, {f"0{i}": write_participant(tmp_path / "out", f"0{i}", 0.15 * i) for i in (1, 2, 3, 4)})


class Study:
    """A place with participants' results, and the command on it."""

    def __init__(self, root, labels):
        self.root, self.out, self.labels = root, root / "out", labels

    def words(self, *more):
        fixed = [self.root / "bids", self.out, "group", "-w", self.root / "work", "--set", "group.n_clusters=2"]
        return [str(word) for word in (*fixed, "--set", "group.n_starts=2", *more)]

    def run(self, *more, nprocs=1):
        for lock in history.LOCKS:
            lock.release()
        history.LOCKS.clear()
        return command.run(self.words("--nprocs", nprocs, *more))

    def results(self):
        files = [p for p in self.out.rglob("*") if p.name.endswith(RESULTS) and "log" not in p.parent.name]
        ours = [p for p in files if "group" in p.name and p.name != "seg-group_dseg.tsv"]
        return {str(p.relative_to(self.out)): p.read_bytes() for p in ours if "logs" not in p.parts}


def test_the_tissues_of_all_are_found_and_the_table_tells_their_shares(study, capsys):
    assert study.run() == 0
    assert [path.name for path in study.out.glob("seg-*")] == ["seg-group_dseg.tsv"]
    said = capsys.readouterr().err
    assert "Group: 4 participants, 4 series, 288 voxels, 1 site, 1 protocol" in said
    assert said.splitlines()[-1].endswith("Finished without errors: a group of 4 series")
    table, about = read_table(study.out / "group_participants.tsv")
    assert list(table["participant_id"]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert list(table["group"]) == ["b", "a", "b", "a"]
    assert list(table["age"]) == [21, 22, 23, 24]
    assert table["included"].all()
    assert about["CompareColumn"] == "group"
    assert (table["certainty"] > 0.95).all()
    assert (np.abs(table["residual"] - 1) < 0.1).all()
    atlas = read_cluster_spectra(study.out / "group_desc-inspect_spectra.h5")
    first = int(atlas.spectra[0, 26] > atlas.spectra[1, 26])  # cluster of the first tissue
    for i, (subject, truth) in enumerate(study.labels.items()):
        image = nib.load(study.out / f"sub-{subject}/dwi/sub-{subject}_seg-group_dseg.nii.gz")
        np.testing.assert_allclose(image.affine, AFFINE)
        found = image.get_fdata().astype(int) - 1
        assert (np.where(truth == 0, first, 1 - first) == found).mean() > 0.99
        shares = nib.load(study.out / f"sub-{subject}/dwi/sub-{subject}_seg-group_probseg.nii.gz").get_fdata()
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)
        for m in (0, 1):
            np.testing.assert_allclose(table[f"proportion_{m + 1}"][i], shares[..., m].mean(), atol=1e-6)
    sidecar = json.loads((study.out / "sub-01/dwi/sub-01_seg-group_probseg.json").read_text())
    assert sidecar["LabelMap"] == ["cluster1", "cluster2"]
    assert sidecar["Sources"] == ["bids::sub-01/dwi/sub-01_model-adct2star_desc-compressed_spectra.h5"]


@pytest.mark.long
def test_processes_change_nothing_and_a_second_run_redoes_nothing(study, capsys):
    assert study.run("--set", "group.n_components=2", nprocs=2) == 0
    first = study.results()
    assert "sub-04/dwi/sub-04_model-groupmap_param-component2_dwimap.nii.gz" in first
    assert study.run("--set", "group.n_components=2") == 0
    assert "nothing to redo" in capsys.readouterr().err
    shutil.rmtree(study.root / "work")
    (study.out / "sub-04/dwi/sub-04_seg-group_dseg.nii.gz").unlink()
    assert study.run("--set", "group.n_components=2") == 0
    assert "nothing to redo" not in capsys.readouterr().err
    assert study.results() == first


def test_who_leaves_takes_the_maps_along_and_who_comes_changes_the_group(study, capsys):
    assert study.run("--set", "group.n_components=2") == 0
    assert study.run("--participant-label", "sub-01", "02") == 0
    left = study.results()
    assert not [name for name in left if "sub-03" in name or "groupmap" in name or "inspectmap" in name]
    assert "were removed" in capsys.readouterr().err
    write_participant(study.out, "02", 0.9)
    assert study.run("--participant-label", "sub-01", "02") == 0
    assert "nothing to redo" not in capsys.readouterr().err
    assert study.results() != left


def test_those_that_cannot_be_used_are_listed_and_the_others_fitted(study, capsys):
    broken = next((study.out / "sub-02/dwi").glob("*compressed_spectra.h5"))
    broken.write_bytes(broken.read_bytes()[:900])
    write_json(study.out / "sub-03/log/finished.json", {"key": None, "files": []})
    assert study.run() == 1
    said = capsys.readouterr().err
    assert "sub-02 is left out" in said
    assert said.splitlines()[-1].endswith("FAILED: sub-02, sub-03 could not be included (a group of 2 series is done)")
    table, about = read_table(study.out / "group_participants.tsv")
    assert list(table["participant_id"]) == ["sub-01", "sub-04", "sub-02", "sub-03"]
    assert list(table["included"]) == [True, True, False, False]
    assert "truncated" in table["cause"][2]
    assert "did not end" in table["cause"][3]
    assert study.run("--dry-run", "--set", "inspect.alpha=0.1") == 1
    said = capsys.readouterr().err
    assert "--set inspect.alpha is about each participant; the group goes by --set group.alpha" in said
    assert said.splitlines()[-1].endswith("FAILED: sub-02, sub-03 cannot be included")
    assert study.run("--dry-run", "--set", "inspect.alpha=0.1", "--set", "group.alpha=0.1") == 1
    assert "is about each participant" not in capsys.readouterr().err
    assert about["NExcluded"] == 2
    assert study.run() == 1, "a finished group tells of them again"


def test_spectra_that_are_kept_stay_as_they_are(study, tmp_path, capsys):
    assert study.run() == 0
    atlas = tmp_path / "atlas" / "group_desc-inspect_spectra.h5"
    atlas.parent.mkdir()
    template = study.out / "tpl-group/tpl-group_model-adct2star_desc-inspect_spectra"
    for extension in (".h5", ".json", ".tsv"):
        group = study.out / f"group_desc-inspect_spectra{extension}"
        assert template.with_suffix(extension).read_bytes() == group.read_bytes()
        shutil.copy(template.with_suffix(extension), atlas.with_suffix(extension))
    fitted = study.results()
    assert study.run("--set", f"group.frozen={atlas}") == 0
    np.testing.assert_array_equal(
        read_cluster_spectra(study.out / "group_desc-inspect_spectra.h5").spectra, read_cluster_spectra(atlas).spectra
    )
    about = json.loads((study.out / "group_desc-inspect_spectra.json").read_text())
    assert about["Mode"] == "frozen"
    assert about["Frozen"]["AtlasVersion"].startswith("mrspec_prep")
    name = "sub-01/dwi/sub-01_seg-group_dseg.nii.gz"
    assert study.results()[name] == fitted[name], "the same clusters in the same voxels"
    assert not (study.out / "group_desc-inspect_selection.tsv").exists()
    table, _ = read_table(study.out / "group_participants.tsv")
    assert table["unexplained"].max() < 0.05
    coarse = small_protocol(points=(7, 7), bounds=BOUNDS)
    for subject in study.labels:
        write_participant(study.out, subject, 0.5, coarse)
    assert study.run("--set", f"group.frozen={atlas}") == 2
    assert "the spectra are on another grid" in capsys.readouterr().err


def test_another_site_is_read_and_never_written_into(study, capsys):
    north = study.root / "north"
    start_dataset(north, study.root / "bids")
    for subject in ("11", "12"):
        write_participant(north, subject, 0.5, LONG)
    before = {path: path.read_bytes() for path in north.rglob("*") if path.is_file()}
    assert study.run("-d", f"north={north}") == 0
    assert "6 participants, 6 series, 432 voxels, 2 sites, 2 protocols" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in north.rglob("*") if path.is_file()}
    sidecar = json.loads((study.out / "sub-11/dwi/sub-11_seg-group_dseg.json").read_text())
    assert sidecar["Site"] == "north"
    assert sidecar["Sources"][0].startswith("bids:north:sub-11/dwi/")
    _, about = read_table(study.out / "group_participants.tsv")
    assert [(site["name"], site["n_series"]) for site in about["Sites"]] == [("main", 4), ("north", 2)]
    assert [protocol["n_series"] for protocol in about["Protocols"]] == [4, 2]
    assert about["NExcluded"] == 0
    capsys.readouterr()
    assert study.run("-d", f"north={north}") == 0, "maps of other sites' participants make them none of ours"
    assert "nothing to redo" in capsys.readouterr().err


def test_a_preview_computes_nothing_and_says_what_would_be_done(study, capsys):
    write_json(study.out / "sub-03/log/finished.json", {"key": None, "files": []})
    assert study.run("--dry-run") == 1
    shown = capsys.readouterr().out
    for words in (
        "3 participants, 3 series",
        "sub-03: its last participant run",
        "2 clusters common to all",
        "expected",
    ):
        assert words in shown
    assert study.results() == {}
    for place, words in ((study.root / "bids/work", "inside the BIDS dataset"), (study.root, "holds OUT_DIR")):
        assert study.run("--dry-run", "-w", place) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--participant-label", "77"], "no participant 77 among the outputs.*choose from: 01, 02, 03, 04"),
        (["--set", "group.compare=diagnosis"], "participants.tsv has no such column.*choose from: .*group"),
        (["--set", "group.n_clusters=999"], "999 clusters need as many voxels"),
        (["--set", "group.n_cluster=3"], "did you mean n_clusters"),
        (["--set", "group.frozen=none.h5"], "no cluster spectra can be read here"),
        (["--set", "kernel.name=t1"], "t1"),
        (["--reports-only"], "no group is finished"),
        (["--boilerplate-only"], "part of its report"),
    ],
)
def test_refusals_name_value_and_remedy_and_compute_nothing(study, capsys, words, message):
    assert study.run(*words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
    assert study.results() == {}


def test_a_dataset_that_is_not_there_is_refused(study, capsys):
    (study.root / "bids").rename(study.root / "elsewhere")
    assert study.run() == 2
    assert "BIDS_DIR is no folder" in capsys.readouterr().err


def test_spectra_that_the_run_would_write_over_are_not_kept(study, capsys):
    assert study.run() == 0
    before = study.results()
    for name in ("group_desc-inspect_spectra.h5", "tpl-group/tpl-group_model-adct2star_desc-inspect_spectra.h5"):
        assert study.run("--set", f"group.frozen={study.out / name}") == 2
        assert "would be written over" in capsys.readouterr().err
    assert study.results() == before


def test_columns_that_sound_like_ours_stay_those_of_the_participants(study):
    values = [("participant_id", "proportion_1", "weight_kg", "session")]
    values += [(f"sub-0{i}", f"{i}.5", f"{60 + i}", "ab"[i % 2]) for i in (1, 2, 3, 4)]
    (study.root / "bids/participants.tsv").write_text("\n".join("\t".join(row) for row in values) + "\n")
    assert study.run("--set", "group.compare=session") == 0
    table, about = read_table(study.out / "group_participants.tsv")
    assert list(table["proportion_1_participants"]) == [1.5, 2.5, 3.5, 4.5]
    assert list(table["weight_kg"]) == [61, 62, 63, 64]
    np.testing.assert_allclose(table["proportion_1"] + table["proportion_2"], 1)
    assert about["CompareColumn"] == "session_participants"
    tests, _ = read_table(study.out / "group_comparison.tsv")
    assert set(tests["column"]) == {"session_participants"}


def test_an_error_that_nobody_foresaw_is_told_without_a_traceback(study, capsys, monkeypatch):
    from mrspec_prep.cli import group

    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(group, "plan_group", broken)
    assert study.run() == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and "KeyError: 'surprise'" in said
    assert "FAILED: the run could not go on" in said.splitlines()[-1]
    assert "Traceback" in next((study.out / "logs").glob("*.log")).read_text()


def test_the_report_alone_is_built_again(study):
    assert study.run() == 0
    (study.out / "group.html").unlink()
    assert study.run("--reports-only") == 0
    assert (study.out / "group.html").is_file()
    (study.out / "group_participants.tsv").write_text("")
    assert study.run("--reports-only") == 1


def test_a_failing_step_is_told_and_the_group_is_not_finished(study, capsys, monkeypatch):
    assert study.run() == 0

    def broken(*_, **__):
        raise RuntimeError("no memory of that kind")

    with monkeypatch.context() as patch:
        patch.setattr(group_fit, "select_group", broken)
        assert study.run("--random-seed", "7") == 1
    said = capsys.readouterr().err
    assert "The group failed in step fit: RuntimeError: no memory of that kind" in said
    assert said.splitlines()[-1].endswith("FAILED: the group of 4 series")
    assert study.run() == 0


def test_a_participant_with_signals_that_are_no_numbers_is_left_out(study, capsys):
    broken = next((study.out / "sub-02/dwi").glob("*compressed_spectra.h5"))
    damage(broken, "signals", np.full((72, 8), np.nan, np.float32))
    assert study.run() == 1
    said = capsys.readouterr().err
    assert "sub-02" in said and "NaN or infinite" in said
    assert (study.out / "group.html").is_file()
    write_participant(study.out, "02", 0.3)
    assert study.run() == 0


def test_a_fit_that_was_killed_goes_on_from_its_checkpoint_and_ends_in_the_same_bytes(study, monkeypatch, capsys):
    more = ["--set", "group.checkpoint_steps=1", "--set", "group.n_clusters=[2,3]"]
    assert study.run(*more) == 0
    whole = study.results()
    shutil.rmtree(study.root / "work")
    for path in study.out.rglob("*group*"):
        if path.is_file():
            path.unlink()
    take = checkpoints.Checkpoints.__call__

    def dying(self, states):
        take(self, states)
        if self.n_steps == 2:
            raise RuntimeError("the power is gone")

    monkeypatch.setattr(checkpoints.Checkpoints, "__call__", dying)
    assert study.run(*more) == 1
    monkeypatch.setattr(checkpoints.Checkpoints, "__call__", take)
    capsys.readouterr()
    assert study.run(*more) == 0
    assert "going on from the checkpoint after step 2" in capsys.readouterr().err
    assert study.results() == whole
    assert not (study.root / "work/group_checkpoints").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_is_no_failed_one_and_goes_on(study, monkeypatch, capsys, number, code):
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("mrspec_prep.cli.run._kill_children", lambda: None)
    take = checkpoints.Checkpoints.__call__

    def stopped(self, states):
        take(self, states)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(checkpoints.Checkpoints, "__call__", stopped)
    more = ["--set", "group.checkpoint_steps=1", "--set", "group.n_components=2"]
    try:
        assert study.run(*more) == code
        said = capsys.readouterr().err
        assert "type the same command again" in said.splitlines()[-1]
        assert "FAILED" not in said and "fit_components" not in said and "Traceback" not in said
        monkeypatch.setattr(checkpoints.Checkpoints, "__call__", take)
        assert study.run(*more) == 0
        assert "going on from the checkpoint after step 1" in capsys.readouterr().err
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@pytest.mark.long
def test_sigkill_of_the_group_and_the_same_command_again(study):
    words = [sys.executable, "-m", "mrspec_prep", *study.words("--set", "group.checkpoint_steps=1", "--nprocs", "1")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "group.fit: 2 clusters on" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert study.run("--set", "group.checkpoint_steps=1") == 0
    killed = study.results()
    shutil.rmtree(study.root / "work")
    assert study.run("--set", "group.checkpoint_steps=1", "--set", "group.compare=age") == 0
    ours = [name for name in killed if name.endswith((".nii.gz", ".h5"))]
    assert ours
    again = study.results()
    assert all(again[name] == killed[name] for name in ours)
    assert not list(study.out.rglob("*.partial*"))


def test_a_damaged_fit_is_computed_again_to_the_same_bytes(study, capsys):
    assert study.run() == 0
    first, fit = study.results(), study.root / "work/mrspec_prep_group_wf/fit/result_fit.pklz"
    fit.write_bytes(fit.read_bytes()[:50])
    (study.out / "group.html").unlink()
    capsys.readouterr()
    assert study.run() == 0
    assert "fit is damaged (result_fit.pklz has 50 bytes" in capsys.readouterr().err
    assert study.results() == first


def test_what_was_measured_is_set_aside_by_the_next_group(study, capsys, monkeypatch):
    from mrspec_prep.cli import group

    assert study.run("--resource-monitor") == 0
    said = capsys.readouterr().err
    assert "Peak memory, which the next run with these settings sets aside" in said and "save_maps " in said
    ((ratios),) = measured_before(study.root / "out/logs").values()
    assert {"fit", "save_maps", "save_tables", "report"} <= set(ratios)
    (study.root / "out/group.html").unlink()
    wired = []
    monkeypatch.setattr(group, "init_group_wf", lambda *a, **k: wired.append(group_wf(*a, **k)) or wired[0])
    assert study.run() == 0
    aside = {node.name: node.mem_gb for node in wired[0]._get_all_nodes()}
    estimate = maps_mem_gb(np.prod(SHAPE))
    assert aside["save_maps_0"] == pytest.approx(max(1.2 * ratios["save_maps"] * estimate, 0.2))
    assert aside["report"] == pytest.approx(max(1.2 * ratios["report"], 0.2))
