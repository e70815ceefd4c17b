"""Weights by rule through the nodes that a run uses, on a few voxels of the placenta example."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.derivatives import read_map
from mrspec_prep.bids.images import load_signals
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.spectra_files import read_nnls_spectra
from mrspec_prep.bids.volumes import series_shape
from mrspec_prep.interfaces.base import kernel_of, read_series
from mrspec_prep.interfaces.derivatives import SaveNNLS
from mrspec_prep.interfaces.nnls import FitNNLS, from_arrays
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.workflows.planning import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples/zebra_t2star-adc"
N_VOXELS = 5
MODEL = "sub-01_model-adct2star_"


@pytest.fixture(scope="module", params=["voxel", "image"])
def fitted(request, tmp_path_factory):
    """Scope, output folder, region of interest, fit, signals and kernel."""
    folder = tmp_path_factory.mktemp("nodes")
    overrides = ["kernel.points=[8, 8]", "nnls.alpha_rule=chi2", f"nnls.alpha_scope={request.param}"]
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=overrides).series
    (folder / "series.json").write_text(json.dumps(plan.series.to_json()))
    roi = np.zeros(series_shape(plan.series), bool)
    roi.flat[np.arange(N_VOXELS) * 7 + roi.size // 2] = True
    signals = load_signals(plan.series, roi)
    for name, array in {"roi": roi, "signals": signals, "noise": np.full(N_VOXELS, 0.03 * signals.max())}.items():
        np.save(folder / f"{name}.npy", array)
    files = {name: str(folder / f"{name}.npy") for name in ("signals", "noise")}
    common = {"series": str(folder / "series.json"), "kernel": plan.kernel_settings}
    fit = FitNNLS(
        **common, **files, num_threads=1, alpha=0.01, alpha_rule=plan.options.nnls.alpha_rule,
        alpha_scope=plan.options.nnls.alpha_scope, tolerance=1e-9, regions={},
    ).run(cwd=str(folder)).outputs  # fmt: skip
    SaveNNLS(
        **common, roi=str(folder / "roi.npy"), out_dir=str(folder / "out"), bids_dir=str(ZEBRA), workflow_name="x",
        why="y", options_hash="0", seed=0, settings=plan.options.to_dict(), spectra=fit.spectra, maps=fit.maps,
    ).run(cwd=str(folder))  # fmt: skip
    _, kernel = kernel_of(read_series(common["series"]), common["kernel"])
    return request.param, folder / "out/sub-01/dwi", roi, dict(np.load(fit.spectra)), signals, kernel


def test_the_map_holds_the_weights_and_says_the_rule(fitted):
    scope, folder, roi, arrays, _, _ = fitted
    found = read_map(folder / f"{MODEL}param-alpha_desc-nnls_dwimap.nii.gz")
    np.testing.assert_allclose(found.data[roi], arrays["alpha"], rtol=1e-6)
    assert not found.data[~roi].any()
    about = found.metadata
    assert (about["AlphaRule"], about["AlphaScope"], about["AlphaUnmet"]) == ("chi2", scope, 0)
    assert "chi2" in about["Description"]
    assert ("Alpha" in about) == (scope == "image") and ("AlphaMedian" in about) == (scope == "voxel")


def test_spectra_written_are_the_fit_with_these_weights(fitted):
    scope, folder, _, arrays, signals, kernel = fitted
    alpha = from_arrays(arrays).alpha
    assert np.ndim(alpha) == (scope == "voxel")
    back = read_nnls_spectra(folder / f"{MODEL}desc-nnls_spectra.h5")
    expected = fit_nnls(signals, kernel, alpha, tolerance=1e-12).spectra
    np.testing.assert_allclose(back.spectra(), expected, atol=1e-4 * expected.max())
