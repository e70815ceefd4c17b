"""The main job on preprocessed images, as a QSIPrep user types it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_examples.writers.qsiprep import make_qsiprep, turned
from mrspec_prep.cli.run import run
from tests.bids.qsiprep_like import copy_raw, like_qsiprep
from tests.test_end_to_end import validator_errors

ZEBRA = Path(__file__).parents[1] / "bids_examples" / "zebra_t2star-adc"
QSIPREP = ZEBRA.with_name("qsiprep_t2-adc")
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


@pytest.mark.long
def test_the_bundled_example_gives_the_t2_that_its_tissues_were_made_with(tmp_path):
    """Medians of pure tissue within 5 %; the output is valid BIDS."""
    ended = subprocess.run(
        [sys.executable, "-m", "mrspec_prep", QSIPREP, tmp_path / "out", "participant", "-w", tmp_path / "work", "-d",
         f"qsiprep={QSIPREP / 'derivatives' / 'qsiprep'}", "--nprocs", "1", "--set", "kernel.points=[20,20]",
         "--set", "inspect.n_clusters=4"],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert validator_errors(tmp_path / "out") == []
    truth = json.loads((QSIPREP.parent / "truth/qsiprep_t2-adc/truth.json").read_text())
    drawn = nib.load(QSIPREP.parent / "truth/qsiprep_t2-adc/sub-01_tissues.nii.gz").get_fdata()
    tissues = turned(drawn * 1000) / 1000
    stem = tmp_path / "out/sub-01/dwi/sub-01_space-ACPC"
    roi = nib.load(f"{stem}_desc-roi_mask.nii.gz").get_fdata() > 0
    for axis in ("t2", "diffusivity"):
        values = nib.load(f"{stem}_model-adct2_param-{axis}_desc-nnls_dwimap.nii.gz").get_fdata()
        for tissue, compartment in (("white", "axonal"), ("grey", "cortical")):
            pure = roi & (tissues[..., truth["Tissues"].index(tissue)] > 0.9)
            assert pure.sum() > 20
            assert abs(np.median(values[pure]) / truth["Compartments"][compartment][axis] - 1) < 0.05, (axis, tissue)


def preview_of(folder, capsys, *words):
    command = [folder, folder.parent / "out", "participant", "--dry-run", *words]
    code = run(list(map(str, command)))
    return code, " ".join(capsys.readouterr().err.split())


def test_the_example_scaled_to_one_b0_intensity_is_refused_before_anything_is_computed(tmp_path, capsys):
    make_qsiprep(tmp_path, harmonise=True)
    folder = tmp_path / "qsiprep_t2-adc"
    given = ["-d", f"qsiprep={folder / 'derivatives' / 'qsiprep'}"]
    code, said = preview_of(folder, capsys, *given)
    assert code == 2
    assert "scaled all scans to one b=0 intensity" in said and "series_b0_correction: 0.8" in said
    assert "--no-b0-harmonization" in said
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_the_example_without_its_raw_scans_says_what_is_missing(tmp_path, capsys):
    """QSIPrep 1.1 loses the first scan's echo time where scans differ in it."""
    folder = shutil.copytree(QSIPREP / "derivatives" / "qsiprep", tmp_path / "qsiprep")
    code, said = preview_of(folder, capsys)
    assert code == 2
    assert "sub-01_acq-te060_dwi.nii.gz is not at hand, and no EchoTime of it is recorded" in said
    assert "unprocessed=PATH" in said
    code, said = preview_of(folder, capsys, "-d", f"unprocessed={QSIPREP}")
    assert code == 0, said
