import numpy as np
import pytest

from mrspec_prep.physics import Grid
from mrspec_prep.spectra import fit_nnls, reduce_kernel
from mrspec_prep.spectra.design.resolution import peak_width, resolution_rows


def test_rows_are_those_of_the_matrix_and_shrink_towards_zero_with_alpha(placenta):
    reduced = reduce_kernel(placenta.kernel)
    gram, n = placenta.kernel.T @ placenta.kernel, placenta.grid.n_bins
    expected = np.linalg.solve(gram + 0.5 * np.eye(n), gram)
    rows = resolution_rows(reduced, 0.5, np.arange(n))
    np.testing.assert_allclose(rows, expected, atol=1e-8)
    np.testing.assert_allclose(rows, rows.T, atol=1e-10)
    values = np.linalg.eigvalsh(rows)
    assert values.min() > -1e-10
    assert values.max() < 1
    assert np.trace(rows) == pytest.approx((reduced.singular_values**2 / (reduced.singular_values**2 + 0.5)).sum())


def test_where_the_protocol_looks_rows_peak_at_their_bin_and_sum_to_one(placenta):
    reduced, grid = reduce_kernel(placenta.kernel), placenta.grid
    bins = grid.bins()
    inside = (bins["diffusivity"] > 0.6) & (bins["diffusivity"] < 20) & (bins["t2star"] > 70) & (bins["t2star"] < 250)
    rows = resolution_rows(reduced, 1e-4, np.flatnonzero(inside))
    assert inside.sum() > 10
    for row, index in zip(rows, np.flatnonzero(inside), strict=True):
        top = row.argmax()
        assert abs(np.log(bins["diffusivity"][top] / bins["diffusivity"][index])) < 1.0
        assert abs(np.log(bins["t2star"][top] / bins["t2star"][index])) < 1.0
    np.testing.assert_allclose(np.median(rows.sum(axis=1)), 1, atol=0.1)


def test_rows_are_the_linear_estimate_of_an_impulse(placenta):
    reduced = reduce_kernel(placenta.kernel)
    impulse = placenta.kernel[:, 150]
    fit = fit_nnls(impulse[None], reduced, alpha=10.0)
    row = resolution_rows(reduced, 10.0, [150])[0]
    unconstrained_misfit = ((placenta.kernel @ row - impulse) ** 2).sum() + 10 * (row**2).sum()
    misfit = ((placenta.kernel @ fit.spectra[0] - impulse) ** 2).sum() + 10 * (fit.spectra[0] ** 2).sum()
    assert unconstrained_misfit <= misfit
    assert misfit < 1.5 * unconstrained_misfit


def test_peaks_widen_with_alpha(placenta):
    reduced, centre = reduce_kernel(placenta.kernel), [205]
    widths = [
        [peak_width(resolution_rows(reduced, a, centre)[0], placenta.grid, x) for a in (1e-4, 1e-1, 1e2)]
        for x in placenta.grid.names
    ]
    for narrow, medium, wide in widths:
        assert narrow < medium < wide


def test_width_of_a_known_peak():
    grid = Grid(t2=np.geomspace(1, 1e4, 401), t1=np.geomspace(100, 1000, 5))
    decades = np.log10(grid.bins()["t2"])
    row = np.exp(-((decades - 2) ** 2) / (2 * 0.2**2)) * (grid.bins()["t1"] > 500)
    assert peak_width(row, grid, "t2") == pytest.approx(2.3548 * 0.2, rel=1e-3)
