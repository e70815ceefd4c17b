"""Weights by rule through the nodes that a run uses, on a few voxels of the placenta example."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.bids.output.spectra_files import read_nnls_spectra
from mrspec_prep.interfaces.base import kernel_of, read_series
from mrspec_prep.interfaces.derivatives import SaveNNLS
from mrspec_prep.interfaces.nnls import FitNNLS, from_arrays
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.workflows.planning.participant import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples/zebra_t2star-adc"
N_VOXELS = 5
MODEL = "sub-01_model-adct2star_"


def run_nodes(folder, overrides, tolerance=1e-9):
    """Output folder, region of interest, arrays of the fit, signals and kernel of what two nodes made."""
    overrides = ["kernel.points=[8, 8]", *overrides]
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=overrides).series
    (folder / "series.json").write_text(json.dumps(plan.series.to_json()))
    roi = np.zeros(series_shape(plan.series), bool)
    roi.flat[np.arange(N_VOXELS) * 7 + roi.size // 2] = True
    signals = load_signals(plan.series, roi)
    for name, array in {"roi": roi, "signals": signals, "noise": np.full(N_VOXELS, 0.03 * signals.max())}.items():
        np.save(folder / f"{name}.npy", array)
    files = {name: str(folder / f"{name}.npy") for name in ("signals", "noise")}
    common = {"series": str(folder / "series.json"), "kernel": plan.kernel_settings}
    options = plan.options.nnls
    fit = FitNNLS(
        **common, **files, num_threads=1, alpha=options.alpha, alpha_rule=options.alpha_rule,
        alpha_scope=options.alpha_scope, tolerance=tolerance, regions={},
    ).run(cwd=str(folder)).outputs  # fmt: skip
    SaveNNLS(
        **common, roi=str(folder / "roi.npy"), out_dir=str(folder / "out"), bids_dir=str(ZEBRA), workflow_name="x",
        why="y", options_hash="0", seed=0, settings=plan.options.to_dict(), spectra=fit.spectra, maps=fit.maps,
    ).run(cwd=str(folder))  # fmt: skip
    _, kernel = kernel_of(read_series(common["series"]), common["kernel"])
    return folder / "out/sub-01/dwi", roi, dict(np.load(fit.spectra)), signals, kernel


@pytest.fixture(scope="module", params=["voxel", "image"])
def fitted(request, tmp_path_factory):
    """Scope, and what ``run_nodes`` gives."""
    rule = ["nnls.alpha_rule=chi2", f"nnls.alpha_scope={request.param}"]
    return request.param, *run_nodes(tmp_path_factory.mktemp("nodes"), rule)


@pytest.mark.parametrize("tolerance", [1e-9, 1e-12])
@pytest.mark.parametrize("rule", [["nnls.alpha=0.01"], ["nnls.alpha=1e-4"], ["nnls.alpha_rule=chi2"]])
def test_what_is_on_disk_keeps_the_tolerance_and_its_certificate_is_true(tmp_path, rule, tolerance):
    folder, roi, _, signals, kernel = run_nodes(tmp_path, rule, tolerance)
    path = folder / f"{MODEL}desc-nnls_spectra.h5"
    back = read_nnls_spectra(path)
    spectra = back.spectra()
    with h5py.File(path) as file:
        gap = file["gap"][()].astype(float)
    alphas = np.broadcast_to(back.alpha, N_VOXELS)
    best = np.array([
        nnls(np.vstack([kernel, np.sqrt(alpha) * np.eye(kernel.shape[1])]), np.append(s, np.zeros(kernel.shape[1])))[0]
        for s, alpha in zip(signals, alphas, strict=True)
    ])  # fmt: skip

    def objective(values):
        return ((signals - values @ kernel.T) ** 2).sum(axis=1) + alphas * (values**2).sum(axis=1)

    excess = objective(spectra) / objective(best) - 1
    assert (gap <= tolerance).all()
    assert (excess <= gap + 1e-13).all(), "above the certificate by more than the rounding of the two objectives"
    np.testing.assert_allclose(spectra, best, rtol=0, atol=2e-7 * best.max())
    np.testing.assert_array_equal(read_map(folder / f"{MODEL}param-gap_desc-nnls_dwimap.nii.gz").data[roi] <= gap, True)


def test_maps_of_fractions_are_those_of_the_spectra_on_disk(tmp_path):
    folder, roi, _, signals, kernel = run_nodes(tmp_path, ["nnls.alpha=0.01"])
    back = read_nnls_spectra(folder / f"{MODEL}desc-nnls_spectra.h5")
    maps = sorted(folder.glob(f"{MODEL}param-*_desc-nnls_dwimap.nii.gz"))
    fractions = [found for found in map(read_map, maps) if "Bounds" in found.metadata]
    assert fractions
    bins = back.grid.bins()
    for found in fractions:
        spectra = back.spectra()
        inside = np.ones(back.grid.n_bins, bool)
        for axis, (low, high) in found.metadata["Bounds"].items():
            inside &= (bins[axis] >= low) & (bins[axis] < (np.inf if high is None else high))
        expected = spectra[:, inside].sum(axis=1) / spectra.sum(axis=1)
        np.testing.assert_allclose(found.data[roi], expected, rtol=2e-7)


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
    expected = fit_nnls(signals, kernel, alpha).spectra
    np.testing.assert_allclose(back.spectra(), expected, rtol=0, atol=2e-7 * expected.max())
