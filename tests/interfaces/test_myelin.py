"""Myelin water map of multi-echo images through the nodes, from limits that the user may set."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.bids.output.spectra_files import read_nnls_spectra
from mrspec_prep.interfaces.derivatives import SaveNNLS
from mrspec_prep.interfaces.nnls import FitNNLS
from mrspec_prep.interfaces.signals import ExtractSignals
from mrspec_prep.spectra import integrate_regions
from mrspec_prep.workflows.planning.participant import plan_participant

SHAPE, FRACTION = (3, 2, 2), 0.15
T2 = {"MESE": (20.0, 80.0), "MEGRE": (10.0, 50.0)}


@pytest.fixture(params=T2)
def written(request, tmp_path):
    """Suffix, function that runs the nodes with overrides and gives the folder of their maps."""
    suffix = request.param
    folder = tmp_path / "bids/sub-01/anat"
    folder.mkdir(parents=True)
    (tmp_path / "bids/dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.11.0"}))
    step = 10.0 if suffix == "MESE" else 3.0
    short, long = T2[suffix]
    for echo in range(1, 21):
        te = echo * step
        signal = 1000 * (FRACTION * np.exp(-te / short) + (1 - FRACTION) * np.exp(-te / long))
        path = folder / f"sub-01_echo-{echo:02d}_{suffix}.nii.gz"
        nib.save(nib.Nifti1Image(np.full(SHAPE, signal, np.float32), np.eye(4)), path)
        about = {"EchoTime": te / 1000, "RepetitionTime": 2.0}
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(about))

    def run(*overrides):
        (plan,) = plan_participant(open_layout(tmp_path / "bids", ["01"]), "01", overrides=list(overrides)).series
        assert plan.kernel == {"MESE": "t2", "MEGRE": "t2star"}[suffix]
        (tmp_path / "series.json").write_text(json.dumps(plan.series.to_json()))
        roi = np.ones(SHAPE, bool)
        signals = load_signals(plan.series, roi)
        arrays = {"roi": roi, "signals": signals, "noise": np.full(len(signals), 5.0)}
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        common = {"series": str(tmp_path / "series.json"), "kernel": plan.kernel_settings}
        boxes = plan.options.nnls.regions.items()
        fit = FitNNLS(
            **common, signals=str(tmp_path / "signals.npy"), noise=str(tmp_path / "noise.npy"), num_threads=1,
            alpha=0.01, tolerance=1e-9,
            regions={name: {axis: list(ends) for axis, ends in box.items()} for name, box in boxes},
        ).run(cwd=str(tmp_path)).outputs  # fmt: skip
        SaveNNLS(
            **common, roi=str(tmp_path / "roi.npy"), out_dir=str(tmp_path / "out"), bids_dir=str(tmp_path / "bids"),
            workflow_name="x", why="y", options_hash="0", seed=0, settings=plan.options.to_dict(), spectra=fit.spectra,
            maps=fit.maps,
        ).run(cwd=str(tmp_path))  # fmt: skip
        return tmp_path / "out/sub-01/anat"

    return suffix, run


def test_the_map_is_the_share_of_the_stored_spectra_below_the_limit(written):
    suffix, run = written
    folder = run()
    axis, limit = {"MESE": ("t2", 40.0), "MEGRE": ("t2star", 25.0)}[suffix]
    found = read_map(folder / "sub-01_desc-nnls_MWFmap.nii.gz")
    back = read_nnls_spectra(folder / f"sub-01_model-{axis}_desc-nnls_spectra.h5")
    expected = integrate_regions(back.spectra(), back.grid, {"m": {axis: (0.0, limit)}})["m"]
    np.testing.assert_allclose(found.data.ravel(), expected, rtol=1e-6)
    np.testing.assert_allclose(found.data, FRACTION, atol=0.06)
    assert found.metadata["Bounds"] == {axis: [0.0, limit]}
    assert f"below {limit:g} ms" in found.metadata["Description"]
    told = {"MESE": "stimulated echoes", "MEGRE": "field gradients"}
    assert [words for words in told.values() if words in found.metadata["Description"]] == [told[suffix]]
    assert "10.1002/mrm.1910310614" in " ".join(found.metadata["EstimationReference"])


def test_a_region_called_myelin_sets_the_limits(written):
    suffix, run = written
    axis = {"MESE": "t2", "MEGRE": "t2star"}[suffix]
    folder = run(f"nnls.regions.myelin.{axis}=[5, 30]")
    found = read_map(folder / "sub-01_desc-nnls_MWFmap.nii.gz")
    assert found.metadata["Bounds"] == {axis: [5.0, 30.0]} and "from 5 to 30 ms" in found.metadata["Description"]
    same = read_map(folder / f"sub-01_model-{axis}_param-myelin_desc-nnls_dwimap.nii.gz")
    np.testing.assert_array_equal(found.data, same.data)


@pytest.mark.parametrize("factor", [1.0, 0.85])
def test_a_first_echo_below_the_second_is_told_of_spin_echoes(written, tmp_path, factor):
    suffix, _ = written
    first = tmp_path / f"bids/sub-01/anat/sub-01_echo-01_{suffix}.nii.gz"
    image = nib.load(first)
    low = factor * nib.load(first.with_name(first.name.replace("echo-01", "echo-02"))).get_fdata(dtype=np.float32)
    nib.save(nib.Nifti1Image(low if factor < 1 else image.get_fdata(dtype=np.float32), image.affine), first)
    (plan,) = plan_participant(open_layout(tmp_path / "bids", ["01"]), "01").series
    (tmp_path / "series.json").write_text(json.dumps(plan.series.to_json()))
    np.save(tmp_path / "region.npy", np.ones(SHAPE, bool))
    (tmp_path / "before.json").write_text(json.dumps({"notes": [], "source": "x"}))
    found = ExtractSignals(
        series=str(tmp_path / "series.json"), kernel=plan.kernel_settings, roi=str(tmp_path / "region.npy"),
        notes=str(tmp_path / "before.json"), num_threads=1,
    ).run(cwd=str(tmp_path)).outputs  # fmt: skip
    notes = json.loads(Path(found.notes).read_text())["notes"]
    told = [note for note in notes if "first echo is 15% below" in note]
    assert len(told) == (factor < 1 and suffix == "MESE"), notes
