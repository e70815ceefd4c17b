"""The main job on preprocessed images, as a QSIPrep user types it."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.bids.qsiprep_like import copy_raw, like_qsiprep
from tests.test_end_to_end import validator_errors

ZEBRA = Path(__file__).parents[1] / "bids_examples" / "zebra_t2star-adc"
SCANS = [f"sub-01/dwi/sub-01_acq-te{te}_dwi.nii.gz" for te in ("078", "150")]
pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
def test_maps_and_report_of_two_scans_that_qsiprep_concatenated(tmp_path):
    raw = copy_raw(ZEBRA, tmp_path / "bids", SCANS)
    mask = np.zeros((24, 24, 4))
    mask[6:18, 2:8, 1:3] = 1
    like_qsiprep(raw, tmp_path / "qsiprep", SCANS, "sub-01/dwi/sub-01", mask=mask)
    command = [sys.executable, "-m", "mrspec_prep", raw, tmp_path / "out", "participant", "-w", tmp_path / "work",
               "-d", f"qsiprep={tmp_path / 'qsiprep'}", "--nprocs", "1", "--set", "kernel.points=[6,6]",
               "--set", "inspect.n_clusters=2", "--set", "inspect.n_starts=2"]  # fmt: skip
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr
    out = tmp_path / "out"
    stem = out / "sub-01/dwi/sub-01_space-ACPC"
    source = "bids:qsiprep:sub-01/dwi/sub-01_space-ACPC_desc-"
    of_map = json.loads(Path(f"{stem}_model-adct2star_param-t2star_desc-nnls_dwimap.json").read_text())
    assert of_map["Sources"] == [f"{source}preproc_dwi.nii.gz"]
    of_mask = json.loads(Path(f"{stem}_desc-roi_mask.json").read_text())
    assert of_mask["Sources"] == [f"{source}preproc_dwi.nii.gz", f"{source}brain_mask.nii.gz"]
    assert nib.load(f"{stem}_desc-roi_mask.nii.gz").get_fdata().sum() <= mask.sum()
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"raw": "../bids", "qsiprep": "../qsiprep"}
    header, first, *_ = Path(f"{stem}_desc-encodings_axes.tsv").read_text().splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    assert (row["raw_file"], row["raw_volume"], row["TE"]) == ("sub-01_acq-te078_dwi.nii.gz", "0", "0.078")
    assert row["file"].endswith("desc-preproc_dwi.nii.gz")
    page = (out / "sub-01.html").read_text()
    assert "traced back to 2 raw scan(s)" in page
    assert "found beside the preprocessed images" in page
    assert validator_errors(out) == []
