"""Fingerprinting in the viewer: measured frames and those of the fitted tissue, as the page holds them."""

import json
import tomllib

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivative_dataset import reference_path
from mrspec_prep.bids.output.derivatives import output_path, start_dataset, write_map, write_table
from mrspec_prep.bids.output.measured import measured_frames
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.viewer import frames
from mrspec_prep.reports.viewer.block import viewer_blocks
from tests.reports.test_viewer_fits import unpacked

WORDS = tomllib.loads(data_text("report.toml"))
N_FRAMES, SIGMA = 24, 0.5
SCHEDULE = Schedule(10 + 30 * np.sin(np.arange(N_FRAMES) / 4) ** 2, 12.0, 3.0, 20.0)
T1, T2, M0, PHASE = (np.array(v) for v in ((800.0, 1400, 3000), (60.0, 90, 400), (90.0, 120, 200), (0.3, -2.0, 3.0)))


def write_fingerprints(base, parts=("real", "imag")):
    """A participant of three voxels, the images without noise; the folder of the results and the true signals."""
    out, roi = base / "out", np.zeros((4, 3, 1), bool)
    roi[[0, 1, 3], [1, 2, 0], 0] = True
    truth = M0[:, None] * simulate_fisp(SCHEDULE, T1, T2)
    images = np.zeros((*roi.shape, N_FRAMES), complex)
    images[roi] = truth * np.exp(1j * PHASE)[:, None]
    affine, paths = np.diag([-2.0, 2, 3, 1]), []
    made = {"real": np.real, "imag": np.imag, "mag": np.abs, "phase": np.angle}
    for part in parts:
        path = base / "raw" / "sub-01" / "anat" / f"sub-01_part-{part}_MRF.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(made[part](images).astype(np.float32), affine), path)
        paths.append(path)
    start_dataset(out, base / "raw", {})
    sources = [f"bids:raw:sub-01/anat/{path.name}" for path in paths]
    about = {"Sources": sources, "OptionsHash": "0", "Seed": 0}

    def save(values, key, suffix="dwimap", more=None, **naming):
        path = output_path(out, {"subject": "01"}, datatype="anat", suffix=suffix, extension=".nii.gz", **naming)
        write_map(path, values, roi, paths[0], key=key, metadata=about | (more or {}))

    save(roi[roi], "roi", "mask", desc="roi")
    behind = reference_path(out, {"subject": "01"}, datatype="anat")
    write_map(behind, np.sqrt((np.abs(images) ** 2).mean(axis=-1)), roi, paths[0], key="frames", metadata=about)
    method = {"Model": "mrf", "Method": "dictionary", "NoiseStd": SIGMA, "NVoxels": 3, "Magnitude": len(parts) == 1}
    for name, values in (("T1", T1), ("T2", T2), ("M0", M0)):
        save(values, f"model-{name.lower()}", f"{name}map", method, desc="dictionary")
    if len(parts) > 1:
        save(PHASE, "model-phase", more=method, model="mrf", param="phase", desc="dictionary")
    columns = {"index": np.arange(N_FRAMES), "flip_angle": SCHEDULE.flip_angle, "TR": SCHEDULE.repetition_time / 1e3,
               "TE": SCHEDULE.echo_time / 1e3, "TI": SCHEDULE.inversion_time / 1e3}  # fmt: skip
    path = output_path(out, {"subject": "01"}, datatype="anat", suffix="axes", extension=".tsv", desc="encodings")
    write_table(path, {name: list(values) for name, values in columns.items()}, about | {"InversionEfficiency": 1.0})
    return out, truth


def packed(out):
    """Header of the viewer, measured frames and fitted ones, each (n_voxels, n), in the order of the page."""
    (series,) = collect_series(out, "01")
    (block,) = viewer_blocks(series, WORDS, out)
    header, held = json.loads(block["header"]), {one["name"]: one for one in block["blocks"]}

    def values(place):
        return unpacked(held[place["block"]], place).reshape(-1, header["n"]).T

    return header, values(header["signals"]) if "signals" in header else None, [values(fit) for fit in header["fits"]]


@pytest.mark.parametrize("parts", [("real", "imag"), ("mag", "phase"), ("mag",)])
def test_frames_and_those_of_the_fitted_tissue_are_in_the_page(tmp_path, parts):
    out, truth = write_fingerprints(tmp_path, parts)
    header, measured, (fitted,) = packed(out)
    order = [2, 1, 0]  # the image runs to the left
    expected = truth[order] if len(parts) > 1 else np.abs(truth[order])
    assert np.allclose(measured, expected, atol=SIGMA / 8)
    assert np.allclose(fitted, expected, atol=0.01)
    assert header["sigma"] == SIGMA and header["fits"][0]["title"] == "Dictionary matching"
    assert header["contrasts"][0]["values"] == list(range(N_FRAMES))
    assert any("lines are the signal of the fitted T1 and T2" in note for note in header["notes"])


def test_a_page_that_would_grow_too_large_holds_fewer_frames(tmp_path, monkeypatch):
    out, truth = write_fingerprints(tmp_path)
    monkeypatch.setattr(frames, "MOST_SIGNALS", 3 * 2 * N_FRAMES // 4)
    header, measured, _ = packed(out)
    assert header["contrasts"][0]["values"] == list(range(0, N_FRAMES, 4))
    assert np.allclose(measured, truth[[2, 1, 0]][:, ::4], atol=SIGMA / 8)
    assert any("one frame in 4 is shown (6 of 24)" in note for note in header["notes"])


def test_lost_frames_are_told_and_the_fit_still_shown(tmp_path):
    out, truth = write_fingerprints(tmp_path)
    (tmp_path / "raw" / "sub-01" / "anat" / "sub-01_part-imag_MRF.nii.gz").unlink()
    header, measured, (fitted,) = packed(out)
    assert measured is None and np.allclose(fitted, truth[[2, 1, 0]], atol=0.01)
    assert any("Measured signals are not shown: " in note for note in header["notes"])
    with pytest.raises(InputError, match="name no frames"):
        next(measured_frames(out, ["bids:raw:sub-01/anat/sub-01_part-real_MRF.nii.gz"], (4, 3, 1), 2))


def test_parts_of_different_length_are_told_by_name(tmp_path):
    out, _ = write_fingerprints(tmp_path)
    short = tmp_path / "raw/sub-01/anat/sub-01_part-imag_MRF.nii.gz"
    nib.save(nib.load(short).slicer[..., : N_FRAMES - 1], short)
    uris = [f"bids:raw:sub-01/anat/sub-01_part-{part}_MRF.nii.gz" for part in ("real", "imag")]
    shape = nib.load(short).shape[:3]
    read = measured_frames(out, uris, shape, N_FRAMES)
    assert len([next(read) for _ in range(N_FRAMES - 1)]) == N_FRAMES - 1
    with pytest.raises(InputError, match="part-imag_MRF.nii.gz.*fewer frames"):
        next(read)
    header, measured, _ = packed(out)
    assert measured is None and any("Measured signals are not shown: " in note for note in header["notes"])


def test_voxels_without_a_tissue_have_no_fit():
    tissue = {"t1": np.array([900.0, 0.0]), "t2": np.array([80.0, 50.0]), "m0": np.ones(2)}
    found = frames.predicted_frames(SCHEDULE, tissue, np.arange(N_FRAMES))
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_frames_are_predicted_in_blocks_of_voxels(monkeypatch):
    tissue, kept = {"t1": T1, "t2": T2, "m0": M0}, np.array([1, 5])
    whole = frames.predicted_frames(SCHEDULE, tissue, kept)
    monkeypatch.setattr(frames, "AT_ONCE", 2)
    np.testing.assert_array_equal(frames.predicted_frames(SCHEDULE, tissue, kept), whole)
