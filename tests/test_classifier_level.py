"""The number of compartments as a user asks for it, on a tiny dataset with known mixtures."""

import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.cli import history
from mrspec_prep.cli import run as command
from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.physics import Encodings, add_noise, simulate_signals
from mrspec_prep.reports.collect import collect_series
from tests.simulated_maps import AFFINE, write_text

pytestmark = pytest.mark.timeout(200)
SHAPE, SIGMA = (8, 6, 2), 0.004
TI, TE = np.array([50.0, 150, 400, 900, 1800, 3500]), np.array([10.0, 20, 40, 70, 110, 160, 220, 300])
SINGLE = np.broadcast_to(np.arange(8)[:, None, None] < 4, SHAPE)  # the other half holds two


def make_dataset(folder):
    """Inversion-prepared spin echoes as magnitudes: one compartment, or two far apart."""
    rng = np.random.default_rng(0)
    write_text(folder / "dataset_description.json", json.dumps({"Name": "tiny", "BIDSVersion": "1.10.0"}))
    encodings = Encodings(inversion_time=np.repeat(TI, len(TE)), echo_time=np.tile(TE, len(TI)))
    values = {"t2": np.tile([90.0, 15.0], (SINGLE.size, 1)), "t1": np.tile([1400.0, 300.0], (SINGLE.size, 1))}
    fractions = np.where(SINGLE.ravel()[:, None], [1.0, 0.0], [0.55, 0.45])
    signals = simulate_signals("t1-t2", encodings, values, fractions, np.ones(SINGLE.size))
    volumes = add_noise(np.abs(signals), SIGMA, rng, "rician").reshape(*SHAPE, len(TI), len(TE)).astype(np.float32)
    for i, inversion in enumerate(TI):
        for j, echo in enumerate(TE):
            stem = folder / f"sub-01/anat/sub-01_acq-ti{inversion:04.0f}_echo-{j + 1}_MESE"
            sidecar = {"EchoTime": echo / 1e3, "EchoNumber": j + 1, "InversionTime": inversion / 1e3}
            write_text(stem.with_name(f"{stem.name}.json"), json.dumps(sidecar))
            nib.save(nib.Nifti1Image(volumes[..., i, j], AFFINE), stem.with_name(f"{stem.name}.nii.gz"))
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE), folder.parent / "mask.nii.gz")
    return folder


def run(place, *words):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    fixed = ["--nprocs", "1", "--noise", SIGMA, "--mask", place / "mask.nii.gz", "-w", place / "work"]
    words = (place / "bids", place / "out", "participant", *fixed, *words)
    return command.run([str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compartments")
    make_dataset(folder / "bids")
    assert run(folder, "--workflow", "t1-t2_classify") == 0
    return folder


def test_one_and_two_compartments_are_told_apart(place):
    stem = place / "out/sub-01/anat/sub-01_seg-ncomp"
    labels, probabilities = (read_map(f"{stem}_{kind}.nii.gz") for kind in ("dseg", "probseg"))
    assert labels.key == "ncomp-dseg" and probabilities.key == "ncomp-probseg"
    assert np.mean(labels.data[SINGLE] == 1) > 0.9
    assert np.mean(labels.data[~SINGLE] >= 2) > 0.9
    np.testing.assert_allclose(probabilities.data.sum(axis=-1), 1, atol=1e-5)
    decided = labels.data > 0
    np.testing.assert_array_equal(labels.data[decided], probabilities.data.argmax(axis=-1)[decided] + 1)
    assert (probabilities.data.max(axis=-1)[decided] >= 0.5).all()
    assert nib.load(f"{stem}_dseg.nii.gz").get_data_dtype() == np.uint8


def test_sidecars_say_what_was_done_and_what_to_expect(place):
    stem = place / "out/sub-01/anat/sub-01_seg-ncomp"
    about = json.loads((stem.parent / f"{stem.name}_dseg.json").read_text())
    encodings = Encodings(inversion_time=np.repeat(TI, len(TE)), echo_time=np.tile(TE, len(TI)))
    assert about["WeightsSHA256"] == CompartmentClassifier.for_protocol(encodings).manifest["sha256"]
    assert about["Distribution"] == "rician" and about["NoiseLevelFrom"] == "given" and about["NVoxels"] == SINGLE.size
    assert about["TrainedNats"][0] < about["ProtocolNats"] < about["TrainedNats"][1]
    labels = read_map(f"{stem}_dseg.nii.gz").data
    shares = [about["Shares"][name] for name in ("undecided", "one", "two", "three", "four")]
    np.testing.assert_allclose(shares, np.bincount(labels.ravel(), minlength=5) / labels.size, atol=1e-4)
    assert sum(about["Undecided"].values()) == np.sum(labels == 0)
    expected = about["Expected"]
    assert 0.5 < expected["Accuracy"] < 0.75 and expected["AUC"][0] > 0.9 and expected["ECE"] < 0.03
    assert np.sum(expected["Confusion"]) == expected["Signals"] == 20000
    probabilities = json.loads((stem.parent / f"{stem.name}_probseg.json").read_text())
    assert probabilities["LabelMap"] == ["one", "two", "three", "four"] and "Expected" not in probabilities
    assert (place / "out/seg-ncomp_dseg.tsv").read_text().splitlines()[1].startswith("0\tundecided\t#")


def test_the_page_shows_numbers_and_what_can_be_told(place):
    page = (place / "out/sub-01.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for words in ("How many compartments", "the number of compartments was classified", "not that cells of four kinds",
                  "What can be told at this protocol and noise", "as in [", "Data Augmentation"):  # fmt: skip
        assert words in text, words
    assert "Not there for" not in text
    figures = {path.name for path in (place / "out/sub-01/figures").iterdir()}
    assert {f"sub-01_anat_ncomp{part}.svg" for part in ("", "-probabilities", "-expected")} <= figures
    (series,) = collect_series(place / "out", "01")
    assert series.missing_steps() == [] and series.grid is None


def test_the_bids_validator_finds_no_error(place):
    validator = f"{sys.executable.rpartition('/')[0]}/bids-validator-deno"
    checked = subprocess.run([validator, str(place / "out"), "--json"], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []


@pytest.mark.long
def test_the_number_of_compartments_steers_alpha_of_spectra_along_one_axis(place):
    options = ["--set", "nnls.wanted=true", "--set", "kernel.points=[60]"]
    fixed, steered = (run_beside(place, *options, *more) for more in ([], ["--set", "classifier.steer=alpha"]))
    assert "AlphaSteering" not in fixed and fixed["Alpha"] == 0.01
    assert steered["AlphaSteering"]["Met"] and steered["Alpha"] != 0.01
    assert steered["AlphaSteering"]["Peaks"] <= steered["AlphaSteering"]["Compartments"]


def run_beside(place, *words):
    """Run the echoes of the longest inversion time into another folder; sidecar of the residual map."""
    other = place / f"t2_{len(words)}"
    other.mkdir()
    for name in ("bids", "mask.nii.gz"):
        (other / name).symlink_to(place / name)
    assert run(other, "--workflow", "t2_classify", *words) == 0
    return json.loads((other / "out/sub-01/anat/sub-01_model-t2_param-residual_desc-nnls_dwimap.json").read_text())


def test_dry_run_says_weights_accuracy_and_outputs(place, capsys):
    assert run(place, "--workflow", "t1-t2_classify", "--set", "classifier.pooling=neighbours", "--dry-run") == 0
    told = capsys.readouterr().out
    for words in ("neighbours pooled", "compartments_t1-t2", "one or several in 9", "seg-ncomp_{dseg,probseg}"):
        assert words in told, words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "classifier.time_scale=200"], "outside what the shipped weights.*--set classifier.train=true"),
        (["--set", "classifier.poling=off"], "did you mean pooling"),
        (["--set", "classifier.pooling=all"], "classifier.pooling must be one of off, neighbours"),
        (["--set", "classifier.abstain_below=2"], "abstain_below must be <= 1"),
        (["--set", "classifier.wanted=false"], "classifier.wanted is false: set one of them"),
        (["--set", "noise.distribution=nc-chi", "--set", "noise.n_coils=4"], "set classifier.distribution"),
        (["--set", "classifier.steer=alpha", "--set", "nnls.wanted=true"], "along one axis only.*alpha_rule=brd"),
        (["--set", "classifier.steer=alpha"], "set nnls.wanted = true"),
        (["--set", "classifier.noise_level=signal", "--set", "classifier.pooling=neighbours"], "needs to know sigma"),
    ],
)
def test_what_cannot_be_classified_is_refused_before_computing(place, capsys, words, message):
    assert run(place, "--workflow", "t1-t2_classify", *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(message, told), told
