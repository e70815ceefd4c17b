import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.physics import Encodings, Grid, default_grid, kernel_matrix
from mrspec_prep.spectra import fit_nnls, reduce_kernel
from mrspec_prep.spectra.voxelwise import nnls as nnls_module
from mrspec_prep.spectra.voxelwise.nnls import solve_one
from tests.spectra.conftest import placenta_problem


def objective(kernel, signals, spectra, alpha):
    return ((signals - spectra @ kernel.T) ** 2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)


@pytest.mark.parametrize("n_peaks", [1, 2])
def test_perfect_fits_without_regularisation_are_converged(placenta, n_peaks):
    n_bins = placenta.kernel.shape[1]
    peaks = np.random.default_rng(3).integers(0, n_bins, (30, n_peaks))
    truth = np.zeros((31, n_bins))
    np.put_along_axis(truth[:30], peaks, 1.0, axis=1)
    signals = 300 * truth @ placenta.kernel.T  # the last voxel is zero
    result = fit_nnls(signals, placenta.kernel, alpha=0)
    power = (signals**2).sum(axis=1)
    left = objective(placenta.kernel, signals, result.spectra, 0)
    perfect = left <= 1e-18 * power
    assert perfect.sum() >= 25
    assert result.converged[perfect].all() and (result.gap[perfect] == 0).all()
    assert (result.gap <= 1).all()


def test_gap_without_regularisation_still_tells_a_bad_fit_from_a_good_one(placenta, monkeypatch):
    monkeypatch.setattr("mrspec_prep.spectra.voxelwise.nnls.MAX_CHANGES", 1)
    stopped = fit_nnls(placenta.signals, placenta.kernel, alpha=0)
    assert not stopped.converged.any() and (stopped.gap > 1e-3).all()


def by_scipy(kernel, signals, alpha):
    n_bins = kernel.shape[1]
    stacked = np.vstack([kernel, np.sqrt(alpha) * np.eye(n_bins)])
    return np.array([nnls(stacked, np.concatenate([s, np.zeros(n_bins)]))[0] for s in signals])


@pytest.mark.parametrize("alpha", [1e-2, 1e-4, 0.0])
def test_agrees_with_scipy_on_the_placenta_protocol(placenta, alpha):
    signals = placenta.signals[:15]
    expected = objective(placenta.kernel, signals, by_scipy(placenta.kernel, signals, alpha), alpha)
    result = fit_nnls(signals, placenta.kernel, alpha)
    found = objective(placenta.kernel, signals, result.spectra, alpha)
    assert result.converged.all()
    assert np.abs(found / expected - 1).max() < 1e-8


def test_agrees_with_scipy_on_the_fine_grid():
    fine = placenta_problem((50, 50), 2)
    expected = objective(fine.kernel, fine.signals, by_scipy(fine.kernel, fine.signals, 0.01), 0.01)
    found = objective(fine.kernel, fine.signals, fit_nnls(fine.signals, fine.kernel, 0.01).spectra, 0.01)
    assert np.abs(found / expected - 1).max() < 1e-8


@pytest.mark.parametrize("alpha", [1e-7, 1e-4, 1e-2, 10.0])
def test_the_certificate_bounds_the_excess_and_is_met(placenta, alpha):
    exact = fit_nnls(placenta.signals, placenta.kernel, alpha, tolerance=1e-12)
    rough = fit_nnls(placenta.signals, placenta.kernel, alpha, tolerance=1e-3)
    best = objective(placenta.kernel, placenta.signals, exact.spectra, alpha)
    excess = objective(placenta.kernel, placenta.signals, rough.spectra, alpha) / best - 1
    assert rough.converged.all() and (rough.gap <= 1e-3).all()
    assert (excess <= rough.gap + 1e-10).all()
    assert (excess >= -1e-10).all()


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1e-2])
def test_kkt_conditions(placenta, alpha):
    spectra = fit_nnls(placenta.signals, placenta.kernel, alpha, tolerance=1e-13).spectra
    multipliers = (placenta.signals - spectra @ placenta.kernel.T) @ placenta.kernel - alpha * spectra
    assert (spectra >= 0).all()
    assert multipliers.max() < 1e-4
    assert np.abs(multipliers * (spectra > 0)).max() < 1e-4


@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_voxel_order_unit_and_threads_do_not_matter(placenta, alpha):
    result = fit_nnls(placenta.signals, placenta.kernel, alpha).spectra
    backwards = fit_nnls(placenta.signals[::-1], placenta.kernel, alpha, n_threads=2).spectra[::-1]
    np.testing.assert_array_equal(result, backwards)
    scaled = fit_nnls(1e3 * placenta.signals, placenta.kernel, alpha).spectra
    np.testing.assert_allclose(scaled, 1e3 * result, atol=1e-3 * result.max())


def test_thread_count_leaves_every_bit_alone():
    many = placenta_problem((10, 10), 700)
    one, three = (fit_nnls(many.signals, many.kernel, n_threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.dual, three.dual)
    np.testing.assert_array_equal(one.gap, three.gap)


def test_spectra_regenerate_from_the_dual_and_blocks_join(placenta):
    result = fit_nnls(placenta.signals, placenta.kernel)
    np.testing.assert_allclose(np.maximum(result.dual @ result.basis, 0) / result.alpha, result.spectra, atol=1e-12)
    # a library of matrix products sums blocks of another size in another order: the last digits are its own
    joined = np.vstack([part for _, part in result.blocks(7)])
    np.testing.assert_allclose(joined, result.spectra, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.predict(placenta.kernel), result.spectra @ placenta.kernel.T, atol=1e-12)


@pytest.mark.parametrize("axes", [("t2",), ("t2", "t1"), ("diffusivity", "t2", "t1")])
def test_signed_kernels_and_one_to_three_dimensions(axes):
    name = {1: "t2", 2: "t1-t2", 3: "t1-t2-adc"}[len(axes)]
    ti, te, b = (x.ravel() for x in np.meshgrid([30, 300, 1000, 3000], [20, 60, 150], [0, 700, 2000]))
    encodings = Encodings(bvalue=b, echo_time=te, inversion_time=ti)
    grid = default_grid(axes, encodings, points=[9] * len(axes))
    kernel = kernel_matrix(name, encodings, grid)
    rng = np.random.default_rng(3)
    truth = np.zeros((4, grid.n_bins))
    truth[np.arange(4), rng.integers(0, grid.n_bins, 4)] = 1
    signals = truth @ kernel.T + 0.01 * rng.standard_normal((4, len(encodings)))
    expected = objective(kernel, signals, by_scipy(kernel, signals, 0.01), 0.01)
    result = fit_nnls(signals, kernel, 0.01)
    assert np.abs(objective(kernel, signals, result.spectra, 0.01) / expected - 1).max() < 1e-8


def test_zero_negative_and_no_signals_give_finite_results(placenta):
    signals = np.stack([np.zeros(330), -np.ones(330)])
    for alpha in (0.0, 0.01):
        result = fit_nnls(signals, placenta.kernel, alpha)
        assert result.converged.all()
        np.testing.assert_array_equal(result.spectra, 0)
        assert fit_nnls(signals[:0], placenta.kernel, alpha).spectra.shape == (0, 400)


def test_float32_signals_and_reduced_kernels_are_taken(placenta):
    reduced = reduce_kernel(placenta.kernel)
    single = fit_nnls(placenta.signals.astype(np.float32), reduced)
    np.testing.assert_allclose(single.spectra, fit_nnls(placenta.signals, reduced).spectra, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"signals": np.ones((2, 7))}, "7 encodings"),
        ({"signals": np.full((2, 330), np.nan)}, "NaN"),
    ],
)
def test_bad_input_is_refused(placenta, change, words):
    with pytest.raises(ValueError, match=words):
        fit_nnls(**{"signals": placenta.signals, "kernel": placenta.kernel, **change})


def test_a_single_bin_and_a_single_encoding():
    grid = Grid(t2=[50.0])
    encodings = Encodings(echo_time=[20.0])
    kernel = kernel_matrix("t2", encodings, grid)
    result = fit_nnls(np.array([[2.0]]), kernel, 0.5)
    np.testing.assert_allclose(result.spectra, 2 * kernel / (kernel**2 + 0.5), rtol=1e-6)


def test_a_broad_spectrum_is_found_again_without_the_active_set(monkeypatch):
    problem = placenta_problem((20, 20), 1)
    reduced = reduce_kernel(problem.kernel)
    broad = np.ones(reduced.n_bins) / reduced.n_bins
    target, alpha = broad @ reduced.columns, 1e-11 * reduced.singular_values[0] ** 2
    spectrum, dual = np.zeros(reduced.n_bins), np.zeros(reduced.n_ranks)
    solve_one(reduced, target, alpha, spectrum, dual)
    assert np.count_nonzero(spectrum) > 150
    nearby, again = target * 1.001, spectrum.copy()
    monkeypatch.setattr(nnls_module, "active_set_block", None)
    solve_one(reduced, nearby, alpha, again, dual)
    new, old = (objective(reduced.columns.T, nearby, f[None], alpha) for f in (again, 1.001 * spectrum))
    assert (new <= old * (1 + 1e-9)).all()


def test_one_spectrum_from_every_bin_is_that_from_none_and_as_quick():
    problem = placenta_problem((30, 30), 1)
    reduced = reduce_kernel(problem.kernel)
    target, alpha = (problem.signals @ reduced.projection)[0], 1e-12
    found = []
    for spectrum in (np.zeros(reduced.n_bins), np.full(reduced.n_bins, 1.0 / reduced.n_bins)):
        dual = np.zeros(reduced.n_ranks)
        solve_one(reduced, target, alpha, spectrum, dual)
        found.append(spectrum)
    assert found[0].tobytes() == found[1].tobytes()
    assert 0 < np.count_nonzero(found[0]) < reduced.n_ranks
