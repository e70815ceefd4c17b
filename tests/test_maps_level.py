"""Parameter maps as a user asks for them, on a tiny dataset with known maps."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.derivatives import read_map, read_table
from mrspec_prep.cli import history, participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import reportlets
from mrspec_prep.networks.fitting import least_squares
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.subject import build_subject_report
from tests.simulated_maps import SHAPE, SIGMA, make_dataset, truth

pytestmark = pytest.mark.timeout(200)
METHODS = 'maps.methods=["lsq","learned-prior"]'
DWI = "out/sub-01/dwi/sub-01_model-msdki_param-{}_desc-{}_dwimap.nii.gz"


def run(place, *words, levels=("participant",)):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    fixed = ["--nprocs", "1", "--noise", SIGMA, "--mask", place / "mask.nii.gz", "-w", place / "work"]
    return command.run([str(w) for w in (place / "bids", place / "out", *levels, *fixed, *words)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Dataset with finished MSDKI and T2 maps, reports left out."""
    folder = tmp_path_factory.mktemp("maps")
    make_dataset(folder / "bids")
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([2.0, 2, 3, 1])), folder / "mask.nii.gz")
    with pytest.MonkeyPatch.context() as patch:
        for module in (reportlets, participants):
            patch.setattr(module, "build_subject_report", page_without_figures)
        assert run(folder, "--workflow", "msdki_maps", "--set", METHODS) == 0
        (folder / "out").rename(folder / "dwi_out")
        assert run(folder, "--workflow", "t2_maps", "--set", METHODS) == 0
        for path in (folder / "out/sub-01/anat").iterdir():
            target = folder / "dwi_out/sub-01/anat" / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        (folder / "out").rename(folder / "t2_out")
        (folder / "dwi_out").rename(folder / "out")
    return folder


def page_without_figures(out_dir, subject):
    path = Path(out_dir) / f"sub-{subject}.html"
    path.write_text(" ".join(note.cause for note in participants.collect_crashes(out_dir, subject)) or "no step failed")
    return path


@pytest.mark.parametrize("method", ["lsq", "learnedprior"])
@pytest.mark.parametrize(("parameter", "error"), [("diffusivity", 0.08), ("kurtosis", 0.15), ("s0", 0.03)])
def test_maps_are_the_truth_within_noise(place, method, parameter, error):
    found = read_map(place / DWI.format(parameter, method))
    assert np.sqrt(np.mean((found.data / truth(parameter) - 1) ** 2)) < error


def test_maps_on_disk_have_the_units_of_bids(place):
    stored = nib.load(place / DWI.format("diffusivity", "lsq"))
    assert stored.get_data_dtype() == np.float32
    assert 0.9e-3 < np.median(stored.get_fdata()) < 1.5e-3
    sidecar = json.loads((place / DWI.format("diffusivity", "lsq").replace(".nii.gz", ".json")).read_text())
    assert sidecar["Units"] == "mm^2/s"
    t2 = nib.load(place / "out/sub-01/anat/sub-01_desc-lsq_T2map.nii.gz")
    np.testing.assert_allclose(t2.get_fdata(), truth("t2") / 1e3, rtol=0.2)
    assert np.corrcoef(t2.get_fdata().ravel(), truth("t2").ravel())[0, 1] > 0.9
    assert json.loads((place / "out/sub-01/anat/sub-01_desc-lsq_T2map.json").read_text())["Units"] == "s"


@pytest.mark.parametrize("method", ["lsq", "learnedprior"])
def test_intervals_hold_the_value_and_of_least_squares_the_truth(place, method):
    for parameter in ("diffusivity", "kurtosis"):
        value, std, low, high = (
            read_map(place / DWI.format(parameter, f"{method}{kind}")).data for kind in ("", "std", "low", "high")
        )
        assert (low <= value).all() and (value <= high).all() and (std > 0).all()
        inside = (low <= truth(parameter)) & (truth(parameter) <= high)
        assert inside.mean() > (0.88 if method == "lsq" else 0.4)  # 72 voxels are few to learn a prior from


def test_every_sidecar_says_what_was_done(place):
    paths = [p for p in (place / "out/sub-01").rglob("*.json") if "desc-lsq" in p.name or "learnedprior" in p.name]
    assert len(paths) > 30
    for path in paths:
        sidecar = json.loads(path.read_text())
        wanted = {"Description", "EstimationAlgorithm", "EstimationReference", "Sources", "Device", "Seed", "Model",
                  "Method", "MethodSettings", "Distribution", "NoiseMethod", "OptionsHash", "NVoxels"}  # fmt: skip
        assert wanted <= set(sidecar), path.name
        assert sidecar["Device"] == "cpu"
        assert all(reference.startswith("doi:") for reference in sidecar["EstimationReference"])
        assert sidecar["Sources"][0].startswith("bids:raw:sub-01/")
    assert sidecar["MethodSettings"] and sidecar["NVoxels"] == np.prod(SHAPE)


def test_what_was_watched_is_a_table(place):
    columns, about = read_table(place / "out/sub-01/dwi/sub-01_model-msdki_desc-learnedprior_history.tsv")
    assert columns["step"][0] == 1 and np.isfinite(columns["log_evidence"][0])
    last = columns["log_evidence"][np.isfinite(columns["log_evidence"])][-1]
    assert about["HistoryFinal"]["log_evidence"] == pytest.approx(last)


def test_components_of_the_prior_are_labels_and_probabilities(place):
    stem = place / "out/sub-01/dwi/sub-01_seg-learnedprior"
    probabilities = nib.load(f"{stem}_probseg.nii.gz").get_fdata()
    labels = nib.load(f"{stem}_dseg.nii.gz").get_fdata()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=-1) + 1)
    assert len(json.loads(Path(f"{stem}_probseg.json").read_text())["LabelMap"]) == probabilities.shape[-1]
    assert (place / "out/seg-learnedprior_dseg.tsv").is_file()


def test_the_bids_validator_finds_no_error(place):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    checked = subprocess.run([validator, str(place / "out"), "--json"], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []


def test_no_spectra_are_computed_and_none_are_missed(place):
    names = [path.name for path in (place / "out/sub-01").rglob("*") if path.is_file()]
    assert not [name for name in names if "nnls" in name or "inspect" in name or "spectra" in name]
    (anat, dwi) = sorted(collect_series(place / "out", "01"), key=lambda series: series.key[1])
    assert anat.roi is None or not anat.missing_steps()
    assert dwi.missing_steps() == []
    copy = shutil.copytree(place / "out", place / "copy")  # a page of another size would be one that was cut
    page = build_subject_report(copy, "01").read_text()
    assert "Not there for" not in page


def test_a_second_run_redoes_nothing(place, capsys):
    assert run(place, "--workflow", "msdki_maps", "--set", METHODS) == 0
    assert "nothing to redo" in capsys.readouterr().err


def test_the_group_says_why_it_has_nobody(place, capsys):
    assert run(place, levels=("group",)) == 2
    assert "and no spectra" in capsys.readouterr().err


def test_dry_run_lists_model_methods_precision_and_outputs(place, capsys):
    assert run(place, "--workflow", "msdki_maps", "--dry-run") == 0
    told = capsys.readouterr().out
    for words in ("model msdki", "21 of 21 volumes, 6 encodings", "lsq, learned-prior", "kurtosis 1 +- 0.", "expected:",
                  "model-msdki_param-{diffusivity,kurtosis,s0}_desc-{lsq,learnedprior}"):  # fmt: skip
        assert words in told, words
    assert "Cramér" not in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "maps.model=msdk"], "did you mean msdki"),
        (["--set", 'maps.methods=["lsk"]'], "did you mean lsq"),
        (["--set", "maps.settings=paper"], "maps.settings = paper is for networks"),
        (["--set", "maps.model=t2"], "needs echo_time to vary.*TE 80 ms.*Remedy: --set maps.model"),
        (["--set", "maps.model=ivim", "--set", "maps.distribution=rician"], "does not determine pseudo_diffusivity"),
        (["--set", "maps.model="], "nothing would be computed"),
        (["--set", "maps.model=ir-t1-signed"], "needs inversion_time"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_computing(place, capsys, words, message):
    assert run(place, "--workflow", "msdki_maps", *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(message, told), told


@pytest.mark.filterwarnings("ignore:.*collapsed:RuntimeWarning")  # published settings do, now and then
def test_networks_give_maps_risk_and_a_learning_curve(place, monkeypatch):
    for module in (reportlets, participants):
        monkeypatch.setattr(module, "build_subject_report", page_without_figures)
    methods = ["--set", 'maps.methods=["gmm-vae"]', "--set", "maps.settings=paper", "--device", "cpu"]
    (place / "out").rename(place / "kept")
    try:
        assert run(place, "--workflow", "msdki_maps", *methods) == 0
        names = [f"param-{name}_desc-gmmvae_dwimap" for name in ("risk", "latent", "diffusivity")]
        stem = place / "out/sub-01/dwi/sub-01_model-msdki_"
        assert all(Path(f"{stem}{name}.nii.gz").is_file() for name in names)
        columns, _ = read_table(f"{stem}desc-gmmvae_history.tsv")
        assert len(columns["loss"]) > 10
        sidecar = json.loads(Path(f"{stem}param-risk_desc-gmmvae_dwimap.json").read_text())
        assert sidecar["MethodSettings"]["base"] == "paper" and sidecar["Device"] == "cpu"
    finally:
        shutil.rmtree(place / "out", ignore_errors=True)
        (place / "kept").rename(place / "out")


def test_a_method_that_fails_loses_no_other(tmp_path, monkeypatch):
    make_dataset(tmp_path / "bids")
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([2.0, 2, 3, 1])), tmp_path / "mask.nii.gz")
    for module in (reportlets, participants):
        monkeypatch.setattr(module, "build_subject_report", page_without_figures)

    def fail(*_, **__):
        raise ValueError("the least squares are out of order")

    monkeypatch.setattr(least_squares, "fit_least_squares", fail)
    assert run(tmp_path, "--workflow", "adc_maps", "--set", 'maps.methods=["lsq","lsq-gmm"]') == 1
    names = {path.name for path in (tmp_path / "out/sub-01/dwi").iterdir()}
    assert "sub-01_model-adc_param-diffusivity_desc-lsqgmm_dwimap.nii.gz" in names
    assert not [name for name in names if "desc-lsq_" in name]
    assert "out of order" in (tmp_path / "out/sub-01.html").read_text()
