import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.simulated_study import TISSUES, Study, organ_mask, scans_of, write_study
from mrspec_prep.bids.output.derivatives import read_table

SMALL = Study(
    n_participants=4, n_pathological=1, n_repeated=1, shape=(8, 8, 2), protocols=("placenta", "short"), separate=True
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, write_study(folder, SMALL)


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_bids_validator_finds_no_error(study):
    _, datasets = study
    validator = Path(sys.executable).parent / "bids-validator-deno"
    for path in datasets.values():
        done = subprocess.run([validator, path, "--format", "json"], capture_output=True, text=True)
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert [issue for issue in issues if issue["severity"] == "error"] == []
        assert done.returncode == 0


def test_same_options_write_the_same_bytes(study, tmp_path):
    folder, _ = study
    write_study(tmp_path, SMALL)
    assert hashes(tmp_path) == hashes(folder)


def test_only_pathological_participants_hold_the_infarct(study):
    folder, _ = study
    table, _ = read_table(folder / "truth" / "proportions.tsv")
    infarct = np.array(table["infarct"], float)
    pathological = np.array(table["group"]) == "pathological"
    assert pathological.sum() == 2  # one participant, scanned twice
    assert (infarct[pathological] > 0.1).all() and (infarct[~pathological] == 0).all()


def test_tissues_lie_in_the_mask_in_their_proportions():
    for scan in scans_of(SMALL):
        assert np.array_equal(scan.tissues > 0, organ_mask(SMALL.shape))
        counted = np.bincount(scan.tissues[scan.tissues > 0], minlength=len(TISSUES) + 1)[1:]
        np.testing.assert_allclose(counted / counted.sum(), scan.proportions)
        assert scan.proportions.sum() == pytest.approx(1)


def test_a_site_has_its_protocol_and_gain(study):
    folder, datasets = study
    truth = json.loads((folder / "truth" / "study.json").read_text())
    assert truth["Protocols"] == {"north": "placenta", "south": "short"}
    assert len(list(datasets["north"].glob("sub-01/**/*_dwi.nii.gz"))) == 5
    assert len(list(datasets["south"].glob("sub-02/**/*_dwi.nii.gz"))) == 4
    mean = {}
    for site, subject, echo in (("north", "01", "078"), ("south", "02", "070")):
        name = f"sub-{subject}/ses-1/dwi/sub-{subject}_ses-1_acq-te{echo}_dwi"
        image = np.asarray(nib.load(datasets[site] / f"{name}.nii.gz").dataobj)
        bvalues = np.loadtxt(datasets[site] / f"{name}.bval")
        mean[site] = image[organ_mask(SMALL.shape)][:, bvalues == 0].mean()
    assert mean["south"] > 1.2 * mean["north"]  # gain 1.5, and a shorter first echo


@pytest.mark.parametrize("wrong", [{"n_pathological": 13}, {"n_repeated": -1}, {"protocols": ()}])
def test_impossible_studies_are_refused(wrong):
    with pytest.raises(ValueError, match="must be|got"):
        Study(**wrong)
