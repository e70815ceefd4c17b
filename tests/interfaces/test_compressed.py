"""The node that leaves compressed signals, on a few voxels of the placenta example."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.compressed import read_compressed
from mrspec_prep.interfaces.base import kernel_of
from mrspec_prep.interfaces.compressed import SaveCompressed
from mrspec_prep.spectra.compression.truncation import rebuild_kernel
from mrspec_prep.workflows.planning.participant import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples/zebra_t2star-adc"
N_VOXELS = 6


def save(folder, *overrides, stand_ins=False, polarity=None, degrees=7.0):
    """Plan, signals, and the file that the node leaves of six voxels."""
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=["kernel.points=[8, 9]", *overrides]).series
    (folder / "series.json").write_text(json.dumps(plan.series.to_json()))
    roi = np.zeros(series_shape(plan.series), bool)
    roi.flat[np.arange(N_VOXELS) * 7 + roi.size // 2] = True
    signals = load_signals(plan.series, roi)
    files = {"roi": roi, "signals": signals, "noise": np.linspace(1, 2, N_VOXELS)}
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "noise.json").write_text(json.dumps({"method": "x", "degrees_of_freedom": degrees}))
    (folder / "roi.json").write_text(json.dumps({"source": "x", "notes": [], "polarity": polarity}))
    node = SaveCompressed(
        series=str(folder / "series.json"), kernel=plan.kernel_settings, settings=plan.options.to_dict(),
        **{name: str(folder / f"{name}.npy") for name in files}, noise_notes=str(folder / "noise.json"),
        roi_notes=str(folder / "roi.json"), stand_ins=stand_ins, out_dir=str(folder / "out"), bids_dir=str(ZEBRA),
        workflow_name="w", why="", options_hash="abc", seed=0,
    )  # fmt: skip
    node.run()
    return plan, signals, folder / "out/sub-01/dwi/sub-01_model-adct2star_desc-compressed_spectra.h5"


def test_the_stored_signals_are_those_of_the_images_and_the_kernel_comes_back(tmp_path):
    plan, signals, path = save(tmp_path)
    found = read_compressed(path)
    np.testing.assert_allclose(found.signals, signals @ found.protocol.projection, rtol=1e-5)
    energy = np.sum(found.signals.astype(float) ** 2, axis=1) + found.outside
    np.testing.assert_allclose(energy, np.sum(signals.astype(float) ** 2, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.sigma, np.linspace(1, 2, N_VOXELS).astype(np.float32))
    assert (found.header.distribution, found.header.degrees_of_freedom) == ("student-t", 7.0)
    assert len(found.header.about["Sources"]) == 5 and found.header.about["SignalsAre"] == "as measured"
    assert found.protocol.encodings == plan.series.encodings
    _, kernel = kernel_of(plan.series, found.protocol.kernel_settings)
    rebuilt = rebuild_kernel(kernel, found.protocol.projection, found.protocol.singular_values)
    assert rebuilt.n_ranks == found.header.n_ranks


def test_the_sidecar_names_what_made_it(tmp_path):
    _, _, path = save(tmp_path)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert {
        "Units", "Description", "Sources", "SoftwareVersion", "OptionsHash", "GridHash", "ProtocolHash",
        "BytesPerVoxel", "NVoxels",
    } <= set(sidecar)  # fmt: skip
    assert sidecar["Sources"][0].startswith("bids:raw:sub-01/dwi/")


def test_stand_ins_of_magnitudes_are_gaussian_and_said(tmp_path):
    _, _, path = save(tmp_path, "noise.distribution=rician", stand_ins=True)
    header = read_compressed(path).header
    assert header.distribution == "gaussian" and header.degrees_of_freedom is None
    assert "rician" in header.about["SignalsAre"] and header.about["NoiseDistribution"] == "rician"


def test_a_restored_sign_is_said(tmp_path):
    _, _, path = save(tmp_path, polarity="magnitude")
    assert "restored" in read_compressed(path).header.about["SignalsAre"]


def test_student_t_without_degrees_of_freedom_is_refused(tmp_path):
    with pytest.raises(InputError, match="how uncertain"):
        save(tmp_path, degrees=None)
