"""T2 and T2* maps of one scan as a user asks for them, on tiny images with known maps."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import read_map, read_table
from mrspec_prep.cli import history, participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import reportlets
from mrspec_prep.interfaces import scan_cnn as node
from mrspec_prep.networks import fit_scan_cnn
from mrspec_prep.physics import add_noise
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.verdict import judge
from tests.simulated_maps import AFFINE, write_text
from tests.test_maps_level import page_without_figures

EXAMPLES = Path(__file__).parents[1] / "bids_examples"
pytestmark = pytest.mark.timeout(200)
SHAPE, SIGMA = (14, 12, 3), 0.03
TIMES = {"MESE": (12.0, 30, 60, 100, 150), "MEGRE": (5.0, 12, 20, 35)}  # ms
ROI = np.zeros(SHAPE, bool)
ROI[2:-2, 2:-2] = True
METHODS = ("varpro", "nlm-varpro")
NAME = "out/sub-01/anat/sub-01_{}"


def truth():
    """T2 [ms]: two tissues side by side, a third in one corner."""
    t2 = np.full(SHAPE, 60.0)
    t2[SHAPE[0] // 2 :] = 100.0
    t2[:5, :5] = 40.0
    return t2


def make_dataset(folder, suffix="MESE", times=None):
    """Magnitudes with Rician noise, one file per echo."""
    rng = np.random.default_rng(0)
    write_text(folder / "dataset_description.json", json.dumps({"Name": "tiny", "BIDSVersion": "1.10.0"}))
    for number, time in enumerate(times or TIMES[suffix], 1):
        stem = folder / f"sub-01/anat/sub-01_echo-{number}_{suffix}"
        image = add_noise(np.exp(-time / truth()), SIGMA, rng, "rician").astype(np.float32)
        write_text(stem.with_name(f"{stem.name}.json"), json.dumps({"EchoTime": time / 1e3, "EchoNumber": number}))
        nib.save(nib.Nifti1Image(image, AFFINE), stem.with_name(f"{stem.name}.nii.gz"))
    nib.save(nib.Nifti1Image(ROI.astype(np.uint8), AFFINE), folder.parent / "mask.nii.gz")
    return folder


def run(place, *words, workflow="t2_scan-cnn", methods=METHODS):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    fixed = ["--nprocs", "1", "--mask", place / "mask.nii.gz", "-w", place / "work", "--workflow", workflow]
    fixed += ["--set", f"scan_cnn.methods={json.dumps(list(methods))}"] if methods else []
    return command.run([str(w) for w in (place / "bids", place / "out", "participant", *fixed, *words)])


def stand_in(images, echo_times, seed, device, *, method, **how):
    """Smoothed least squares with a history, as a network would answer; the other methods as they are."""
    if method != "scan-cnn":
        return fit_scan_cnn(images, echo_times, seed, device, method=method, **how)
    found = fit_scan_cnn(images, echo_times, seed, device, method="varpro", **how | {"settings": None})
    mask = found.mask
    calm = np.where(mask, 0.3 * found.t2 + 0.7 * np.where(found.t2 > 80, 100.0, 60.0), 0)
    risk = np.where(mask, np.where(np.arange(SHAPE[0])[:, None, None] == 3, 5.0, 0.8), 0)
    watched = {"step": list(range(1, 41)), "loss": list(9 * np.exp(-np.arange(40) / 8) + 1)}
    settings = how["settings"] | {"best_step": 30, "n_steps": 40}
    return replace(found, t2=calm, t2_std=0.3 * found.t2_std, risk=risk, history=watched, method=method,
                   settings=settings)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Dataset with finished maps by a stand-in for the network and by two fits."""
    folder = tmp_path_factory.mktemp("scan")
    make_dataset(folder / "bids")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "fit_scan_cnn", stand_in)
        assert run(folder, methods=("scan-cnn", *METHODS)) == 0
    return folder


@pytest.fixture
def without_figures(monkeypatch):
    """Pages that hold no figures: these take longest."""
    for module in (reportlets, participants):
        monkeypatch.setattr(module, "build_subject_report", page_without_figures)


def test_maps_are_the_truth_in_the_units_of_bids(place):
    stored = nib.load(place / NAME.format("desc-varpro_T2map.nii.gz"))
    assert stored.get_data_dtype() == np.float32
    found = stored.get_fdata()
    assert (found[~ROI] == 0).all()
    np.testing.assert_allclose(np.median(found[ROI] / truth()[ROI] * 1e3), 1, atol=0.03)
    np.testing.assert_allclose(read_map(place / NAME.format("desc-nlmvarpro_S0map.nii.gz")).data[ROI], 1, atol=0.15)
    std = read_map(place / NAME.format("desc-varprostd_T2map.nii.gz"))
    z = (found * 1e3 - truth())[ROI] / std.data[ROI]
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.25 and std.key == "model-t2"


def test_sidecars_say_what_was_done(place):
    paths = [p for p in (place / "out/sub-01/anat").glob("*.json") if "varpro" in p.name or "scancnn" in p.name]
    assert len(paths) == 14
    for path in paths:
        about = json.loads(path.read_text())
        wanted = {"Description", "EstimationAlgorithm", "EstimationReference", "Sources", "Device", "Seed", "Model",
                  "Method", "MethodSettings", "Distribution", "NoiseMethod", "NoiseStd", "OptionsHash"}  # fmt: skip
        assert wanted <= set(about), path.name
        assert about["NoiseMethod"] == "neighbours" and 0.8 < about["NoiseStd"] / SIGMA < 1.2
    about = json.loads((place / NAME.format("desc-scancnn_T2map.json")).read_text())
    assert about["Units"] == "s" and "scan-specific" in about["EstimationReference"][0]
    assert about["Description"] == "Transverse relaxation time of the model t2."
    columns, about = read_table(place / NAME.format("model-t2_desc-scancnn_history.tsv"))
    assert len(columns["loss"]) == 40 and about["Method"] == "scan-cnn"


def test_the_bids_validator_finds_no_error(place):
    validator = f"{sys.executable.rpartition('/')[0]}/bids-validator-deno"
    checked = subprocess.run([validator, str(place / "out"), "--json"], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []


def test_the_page_says_what_the_network_changed(place):
    text = " ".join(re.sub(r"<[^>]+>", " ", (place / "out/sub-01.html").read_text()).split())
    for words in ("What the scan-specific network changed", "times smoother", "(risk above 3)", "Non-local means",
                  "Learning curves", "was taught by this scan", "stopped by voxels kept aside (best step 30)",
                  "Separable nonlinear least squares",
                  "from the finest diagonal differences", "T2 of the T2 decay model was mapped in"):  # fmt: skip
        assert words in text, words
    assert "Not there for" not in text
    figures = {path.name for path in (place / "out/sub-01/figures").iterdir()}
    wanted = ("t2-t2", "t2-s0", "t2-t2-difference", "t2-risk", "t2-residual", "t2-learning", "t2-histograms")
    assert {f"sub-01_anat_{name}.svg" for name in wanted} <= figures
    (series,) = collect_series(place / "out", "01")
    assert series.missing_steps() == []
    assert [method for _, method in series.methods] == ["varpro", "nlmvarpro", "scancnn"]


def test_a_second_run_redoes_nothing_and_a_method_more_keeps_the_others(place, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "fit_scan_cnn", stand_in)
        assert run(place, methods=("scan-cnn", *METHODS)) == 0
        assert "nothing to redo" in capsys.readouterr().err
        assert run(place, methods=("scan-cnn", *METHODS, "log-linear")) == 0
    for method in ("loglinear", "varpro"):
        assert (place / NAME.format(f"desc-{method}_T2map.nii.gz")).is_file()


@pytest.mark.usefixtures("without_figures")
def test_gradient_echoes_give_t2star(tmp_path):
    make_dataset(tmp_path / "bids", "MEGRE")
    assert run(tmp_path, workflow="t2star_scan-cnn", methods=("rician", "log-linear")) == 0
    stored = read_map(tmp_path / NAME.format("desc-rician_T2starmap.nii.gz"))
    np.testing.assert_allclose(np.median(stored.data[ROI] / truth()[ROI]), 1, atol=0.06)
    assert stored.metadata["Units"] == "s" and stored.metadata["Distribution"] == "rician"
    (series,) = collect_series(tmp_path / "out", "01")
    text = " ".join(remark.text for remark in judge(series, tomllib.loads(data_text("report.toml"))).remarks)
    assert "T2* of the T2* decay model was mapped" in text and "Read Rician maximum likelihood first" in text


def example(place, name, shape):
    """Link an example dataset and put a mask of its whole field of view beside it."""
    (place / "bids").symlink_to(EXAMPLES / name)
    affine = nib.load(next((EXAMPLES / name).glob("sub-01/*/*.nii.gz"))).affine
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), affine), place / "mask.nii.gz")


@pytest.mark.usefixtures("without_figures")
def test_of_diffusion_at_several_echo_times_the_volumes_without_weighting_are_averaged(tmp_path):
    example(tmp_path, "echotime-array", (16, 16, 3))
    dwi = ["--set", "select.datatype=dwi", "--set", "select.suffix=dwi"]
    assert run(tmp_path, *dwi, methods=("varpro",)) == 0
    found = read_map(tmp_path / "out/sub-01/dwi/sub-01_model-t2_param-t2_desc-varpro_dwimap.nii.gz")
    about = found.metadata
    assert about["NEncodings"] == 4 and about["NVolumes"] == 16 and about["Distribution"] == "gaussian"
    masked = nib.load(next((EXAMPLES / "echotime-array/derivatives/masks").rglob("*_mask.nii.gz"))).get_fdata() > 0
    expected = nib.load(EXAMPLES / "truth/echotime-array/sub-01_t2.nii.gz").get_fdata() * 1e3
    assert np.corrcoef(found.data[masked], expected[masked])[0, 1] > 0.8  # voxels are mixtures


@pytest.mark.usefixtures("without_figures")
@pytest.mark.long
def test_the_network_itself_learns_from_two_echoes(tmp_path):
    """No stand-in: shipped weights, learning, simulated errors and risk, as written by the node."""
    make_dataset(tmp_path / "bids", times=(20.0, 80.0))
    assert run(tmp_path, methods=("scan-cnn", "varpro")) == 0
    learned, alone = (read_map(tmp_path / NAME.format(f"desc-{name}_T2map.nii.gz")) for name in ("scancnn", "varpro"))
    error = [np.sqrt(np.mean((found.data - truth())[ROI] ** 2)) for found in (learned, alone)]
    assert error[0] < 0.8 * error[1]
    assert learned.metadata["MethodSettings"]["base"] == "ours" and learned.metadata["Device"] == "cpu"
    columns, _ = read_table(tmp_path / NAME.format("model-t2_desc-scancnn_history.tsv"))
    assert len(columns["aside"]) == len(columns["step"]) > 1
    std = read_map(tmp_path / NAME.format("desc-scancnnstd_T2map.nii.gz")).data
    assert (std[ROI] > 0).all() and not list((tmp_path / "out/sub-01/anat").glob("*residual*"))


def test_dry_run_says_methods_precision_time_and_outputs(place, capsys):
    assert run(place, "--dry-run", methods=None) == 0
    told = capsys.readouterr().out
    for words in ("T2 and S0 of whole images, from 5 echoes", "methods: scan-cnn, varpro", "t2 67.5 +- ", "expected:",
                  "desc-{scancnn,varpro}{,std}_T2map", "noise: neighbours"):  # fmt: skip
        assert words in told, words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", 'scan_cnn.methods=["varpo"]'], "unknown method 'varpo'; did you mean varpro"),
        (["--set", "scan_cnn.method=varpro"], "did you mean methods"),
        (["--set", "scan_cnn.methods=[]"], 'must list methods, each once, as \\["scan-cnn", "varpro"\\]'),
        (["--set", "scan_cnn.settings=paper"], "settings = paper is for scan-cnn"),
        (["--set", "scan_cnn.settings=papers"], "must be one of ours, paper"),
        (["--set", "scan_cnn.wanted=false"], "scan_cnn.wanted and mrf.wanted are false"),
        (["--set", "noise.distribution=nc-chi", "--set", "noise.n_coils=4"], "set scan_cnn.distribution"),
        (["--set", "kernel.name=t1"], "needs the inversion time to vary"),
        (["--set", 'scan_cnn.methods=["scan-cnn"]', "--device", "cuda"], "finds no CUDA.*Remedy: --device cpu"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_computing(place, capsys, words, message):
    assert run(place, *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(message, told), told


def test_another_contrast_that_varies_is_refused_with_the_file_that_serves(capsys, tmp_path):
    example(tmp_path, "t1-t2_mese", (20, 22, 3))
    assert run(tmp_path, "--set", "scan_cnn.wanted=true", "--dry-run", workflow="t1-t2_classify") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert re.search("differ in echo time alone.*TI 50, 150.*Remedy: --workflow t2_scan-cnn", told), told
