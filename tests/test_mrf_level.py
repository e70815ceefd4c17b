"""Fingerprinting as a user asks for it, on the bundled example."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.derivatives import read_map, read_table
from mrspec_prep.cli import history, participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import fingerprints as node
from mrspec_prep.interfaces import reportlets
from mrspec_prep.networks import fit_fingerprint
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.subject import build_boilerplate
from tests.test_maps_level import page_without_figures

pytestmark = pytest.mark.timeout(200)
EXAMPLES = Path(__file__).parents[1] / "bids_examples"
MASK = EXAMPLES / "mrf/derivatives/masks/sub-01/anat/sub-01_desc-organ_mask.nii.gz"
NAME = "out/sub-01/anat/sub-01_{}"
COARSE = ["--set", "mrf.points=40"]


def run(place, *words):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    fixed = ["--nprocs", "1", "--mask", MASK, "-w", place / "work", *COARSE]
    return command.run([str(w) for w in (place / "bids", place / "out", "participant", *fixed, *words)])


def stand_in(series, schedule, method="dictionary", rank=6, **how):
    """Dictionary matching drawn towards its median where a network would answer, with risk and history."""
    found = fit_fingerprint(
        series, schedule, "dictionary", rank, **how | {"settings": {"window": how["settings"]["window"]}}
    )
    if method == "dictionary":
        return found
    mask = found.mask
    calm = {}
    for axis in ("t1", "t2"):
        values = getattr(found, axis)
        calm[axis] = np.where(mask, 0.7 * values + 0.3 * np.median(values[mask]), 0)
    risk = np.where(mask, np.where(np.arange(mask.shape[0])[:, None, None] == 10, 4.0, 0.7), 0)
    watched = {"step": [20, 40, 60], "loss": [3.0, 2.0, 1.8]}
    settings = found.settings | {"method": method} | how["settings"]
    return replace(found, **calm, risk=risk, history=watched, settings=settings)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The example with finished maps, the workflow chosen by the program."""
    folder = tmp_path_factory.mktemp("mrf")
    (folder / "bids").symlink_to(EXAMPLES / "mrf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "fit_fingerprint", stand_in)
        assert run(folder) == 0
    return folder


@pytest.fixture
def without_figures(monkeypatch):
    """Pages that hold no figures: these take longest."""
    for module in (reportlets, participants):
        monkeypatch.setattr(module, "build_subject_report", page_without_figures)


def truth(name):
    return nib.load(EXAMPLES / f"truth/mrf/sub-01_{name}.nii.gz").get_fdata()


def test_maps_are_the_truth_in_the_units_of_bids(place):
    tissues, roi = truth("tissues"), nib.load(MASK).get_fdata() > 0
    pure = roi & (tissues[..., 1] > 0.95)  # grey matter is nearly one compartment
    for axis, error in (("t1", 0.06), ("t2", 0.12)):
        stored = nib.load(place / NAME.format(f"desc-dictionary_{axis.upper()}map.nii.gz"))
        found = stored.get_fdata()
        assert stored.get_data_dtype() == np.float32 and (found[~roi] == 0).all()
        assert abs(np.median(found[pure] / truth(axis)[pure]) - 1) < error
    m0 = read_map(place / NAME.format("desc-dictionary_M0map.nii.gz"))
    assert abs(np.median(m0.data[roi] / truth("S0")[roi]) - 1) < 0.05 and m0.key == "model-m0"
    phase = read_map(place / NAME.format("model-mrf_param-phase_desc-dictionary_dwimap.nii.gz")).data
    assert abs(phase[roi].mean() - 0.3) < 0.2


def test_sidecars_say_what_was_done(place):
    paths = [p for p in (place / "out/sub-01/anat").glob("*.json") if "dictionary" in p.name or "scancnn" in p.name]
    assert len(paths) == 12
    for path in paths:
        about = json.loads(path.read_text())
        wanted = {"Description", "EstimationAlgorithm", "EstimationReference", "Sources", "Device", "Seed", "Model",
                  "Method", "MethodSettings", "NFrames", "NAtoms", "Rank", "SubspacePower", "NoiseStd"}  # fmt: skip
        assert wanted <= set(about), path.name
        assert about["Model"] == "mrf" and about["Rank"] == 6 and about["NFrames"] == 120
        assert 0.8 < about["NoiseStd"] / 138.2 < 1.2  # complex images: sigma of real and imaginary part
        assert about["Sources"][0] == "bids:raw:sub-01/anat/sub-01_part-real_MRF.nii.gz"
    about = json.loads((place / NAME.format("desc-scancnn_T1map.json")).read_text())
    assert about["Units"] == "s" and "doi:10.1038/nature11971" in about["EstimationReference"]
    columns, about = read_table(place / NAME.format("desc-encodings_axes.tsv"))
    assert len(columns["flip_angle"]) == 120 and np.isclose(columns["TI"][0], 0.02) and np.isnan(columns["TI"][1])
    assert about["Sources"][-1].endswith("sub-01_schedule.tsv") and about["Workflow"] == "mrf_subspace"


def test_the_bids_validator_finds_no_error(place):
    validator = f"{sys.executable.rpartition('/')[0]}/bids-validator-deno"
    checked = subprocess.run([validator, str(place / "out"), "--json"], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []


def test_the_page_shows_schedule_maps_and_what_the_network_changed(place):
    text = " ".join(re.sub(r"<[^>]+>", " ", (place / "out/sub-01.html").read_text()).split())
    for words in ("the participant has fingerprinting series only", "one slice takes",
                  "by dictionary matching and the", "The fingerprints match with 0.9",
                  "What the scan-specific network changed", "Learning curves",
                  "against dictionary matching", "Magnetic resonance fingerprinting", "120 frames [",
                  "departs from dictionary matching", "Root mean square of the magnitude"):  # fmt: skip
        assert words in text, words
    assert "Not there for" not in text and "least squares" not in text
    figures = {path.name for path in (place / "out/sub-01/figures").iterdir()}
    wanted = (
        "schedule",
        "roi",
        "mrf-t1",
        "mrf-t2",
        "mrf-m0",
        "mrf-match",
        "mrf-risk",
        "mrf-t1-difference",
        "mrf-learning",
    )
    assert {f"sub-01_anat_{name}.svg" for name in wanted} <= figures
    (series,) = collect_series(place / "out", "01")
    assert series.missing_steps() == []
    assert list(series.methods) == [("mrf", "dictionary"), ("mrf", "scancnn")]


def test_a_second_run_redoes_nothing_and_the_group_says_why_it_has_nobody(place, capsys):
    assert run(place) == 0
    assert "nothing to redo" in capsys.readouterr().err
    assert command.run([str(w) for w in (place / "bids", place / "out", "group", "-w", place / "work")]) == 2
    assert "and no spectra" in capsys.readouterr().err


def test_dry_run_says_schedule_dictionary_time_and_outputs(place, capsys):
    assert run(place, "--dry-run") == 0
    told = capsys.readouterr().out
    for words in ("120 frames of 2 file(s), 20x22x1", "flip angle 8.86 to 69.95 deg",
                  "1 inversion(s), 1.65 s per slice", "T1, T2 and M0 by scan-cnn, dictionary",
                  "pairs, T1 50 to 5000 ms", "6 coefficients", "expected: about", "232 voxels of the mask",
                  "desc-{scancnn,dictionary}_M0map"):  # fmt: skip
        assert words in told, words


@pytest.mark.usefixtures("without_figures")
def test_magnitudes_and_an_automatic_mask_serve_as_well(tmp_path):
    shutil.copytree(EXAMPLES / "mrf", tmp_path / "bids")
    folder = tmp_path / "bids/sub-01/anat"
    images = {part: nib.load(folder / f"sub-01_part-{part}_MRF.nii.gz") for part in ("real", "imag")}
    magnitudes = np.hypot(*(image.get_fdata() for image in images.values())).astype(np.float32)
    nib.save(nib.Nifti1Image(magnitudes, images["real"].affine), folder / "sub-01_MRF.nii.gz")
    for path in folder.glob("*_part-*"):
        path.unlink()
    more = ["--mask", "automatic", "--set", 'mrf.methods=["dictionary"]', "--noise", "100"]
    assert run(tmp_path, "--workflow", "mrf_subspace", *more) == 0
    found = read_map(tmp_path / NAME.format("desc-dictionary_T1map.nii.gz"))
    assert found.metadata["Magnitude"] is True and found.metadata["NoiseStd"] == 100
    assert not list((tmp_path / "out/sub-01/anat").glob("*phase*"))
    assert "the sign of the signal" in " ".join(
        read_table(tmp_path / NAME.format("desc-encodings_axes.tsv"))[1]["Notes"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", 'mrf.methods=["dictionnary"]'], "unknown method 'dictionnary'; did you mean dictionary"),
        (["--set", "mrf.rang=5"], "did you mean rank"),
        (["--set", "mrf.rank=200"], "more coefficients than the series has frames.*120 frames.*--set mrf.rank=120"),
        (["--set", "mrf.window=121"], "sliding window is longer than the series"),
        (["--set", "mrf.rank=2.5"], "a whole number, or a share"),
        (["--set", "mrf.t2=[6000, 9000]"], "mrf.t2 must begin below the end of mrf.t1"),
        (["--set", "mrf.schedule=nowhere.tsv"], "nowhere.tsv.*not here"),
        (["--set", "mrf.settings=paper", "--set", 'mrf.methods=["dictionary"]'], "settings = paper is for scan-cnn"),
        (["--noise", "residual"], "takes noise.method = auto .* or a number.*got 'residual'"),
        (["--workflow", "t2_maps"], "has no image to read"),
        (["--workflow", "mrf_subspace", "--set", "nnls.wanted=true"], "is of fingerprinting series alone"),
        (["--device", "cuda"], "finds no CUDA.*Remedy: --device cpu"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_computing(place, capsys, words, message):
    assert run(place, *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(message, told), told


def test_a_dataset_without_fingerprints_says_so(capsys, tmp_path):
    (tmp_path / "bids").symlink_to(EXAMPLES / "echotime-array")
    assert run(tmp_path, "--workflow", "mrf_subspace") == 2
    assert "has no fingerprinting series (anat/*_MRF.nii.gz)" in capsys.readouterr().err


def test_point_spreads_beside_the_series_are_used(tmp_path, without_figures):
    shutil.copytree(EXAMPLES / "mrf", tmp_path / "bids")
    anat = tmp_path / "bids/sub-01/anat"
    (table,) = (tmp_path / "bids").rglob("*schedule.tsv")
    header, *rows = table.read_text().splitlines()
    lines = [f"{header}\tinterleaf", *(f"{row}\t{frame % 2}" for frame, row in enumerate(rows))]
    table.write_text("\n".join(lines) + "\n")
    nx, ny = nib.load(next(anat.glob("*_MRF.nii.gz"))).shape[:2]
    spread = np.zeros((2 * nx, 2 * ny, 1, 2), np.complex64)
    spread[nx, ny] = 1.0  # every sample was taken: a point stays a point
    nib.save(nib.Nifti1Image(spread, np.eye(4)), anat / "sub-01_MRFspread.nii.gz")
    only = ["--set", 'mrf.methods=["dictionary"]']
    assert run(tmp_path, *only) == 0
    t1 = NAME.format("desc-dictionary_T1map")
    found, about = nib.load(tmp_path / f"{t1}.nii.gz").get_fdata(), json.loads((tmp_path / f"{t1}.json").read_text())
    assert about["MethodSettings"]["sampling"] == "2 interleaves"
    assert "point spreads of 2 interleaves" in build_boilerplate(tmp_path / "out", "01").read_text()
    shutil.rmtree(tmp_path / "out")
    assert run(tmp_path, *only, "--set", "mrf.sampling=none") == 0
    plain = nib.load(tmp_path / f"{t1}.nii.gz").get_fdata()
    roi = nib.load(MASK).get_fdata() > 0
    assert np.allclose(found[roi], plain[roi], rtol=0.02)
