import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.voxelwise.certificate import certified_gap
from mrspec_prep.spectra.voxelwise.storage import round_to_steps, storable


@pytest.fixture(scope="module")
def problem():
    encodings = Encodings(
        bvalue=np.tile([0, 50, 200, 600, 1200, 2000], 5).astype(float), echo_time=np.repeat([60, 90, 120, 150, 180], 6)
    )
    grid = default_grid(kernel_axes("adc-t2"), encodings, points=(25, 25))
    kernel = kernel_matrix("adc-t2", encodings, grid)
    rng = np.random.default_rng(3)
    clean = rng.dirichlet(np.full(grid.n_bins, 0.01), 200) @ kernel.T
    return kernel, clean + 0.02 * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-12])
def test_what_is_stored_is_as_good_as_what_was_fitted(problem, alpha, tolerance):
    kernel, signals = problem
    result = fit_nnls(signals, kernel, alpha, tolerance)
    rounded = storable(result, signals, kernel, tolerance)

    def objective(spectra):
        return ((signals - spectra @ kernel.T) ** 2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)

    best = fit_nnls(signals, kernel, alpha, 1e-14)
    assert best.gap.max() <= 1e-13
    assert rounded.converged.all() and rounded.gap.max() <= tolerance
    excess = objective(rounded.spectra) / objective(best.spectra) - 1
    assert (excess <= rounded.gap + 1e-13).all()
    change = np.abs(rounded.spectra - result.spectra).max(axis=1) / result.spectra.max(axis=1)
    assert change.max() < 6e-8, "single precision would show it"
    used = [max(bits_in_use(value) for value in column) for column in rounded.dual.T]
    assert np.mean(used) < (40 if tolerance >= 1e-9 else 46)


def bits_in_use(value):
    """Significant bits of a mantissa."""
    numerator, _ = float(value).as_integer_ratio()
    return abs(numerator).bit_length() - ((numerator & -numerator).bit_length() - 1 if numerator else 0)


def test_the_certificate_is_that_of_the_solver_where_nothing_was_rounded(problem):
    kernel, signals = problem
    for alpha in (0.01, np.geomspace(1e-3, 1, len(signals))):
        result = fit_nnls(signals, kernel, alpha, 1e-6)
        np.testing.assert_allclose(certified_gap(result.dual, signals, kernel, alpha), result.gap, rtol=0.1, atol=1e-15)


def test_voxels_that_rounding_would_uncertify_stay_as_they_were(problem):
    kernel, signals = problem
    result = fit_nnls(signals, kernel, 0.01, 1e-6)
    tolerance = float(np.median(result.gap))
    rounded = storable(result, signals, kernel, tolerance)
    beyond = result.gap > tolerance
    np.testing.assert_array_equal(rounded.converged, ~beyond)
    assert beyond.any() and (rounded.gap[beyond] <= result.gap[beyond]).all()


def test_silent_voxels_are_stored(problem):
    kernel, signals = problem
    silent = np.vstack([np.zeros_like(signals[0]), -signals[0], signals[0]])
    rounded = storable(fit_nnls(silent, kernel), silent, kernel)
    assert rounded.converged.all() and not rounded.spectra[:2].any() and rounded.spectra[2].any()


def test_rounding_keeps_the_steps_asked_for():
    values = np.array([1.0, -3.14159, 1e-200, 0.0, 12345.678])
    for step, taken in ((0.3, 0.25), (2.0, 2.0), (1e-5, 2.0**-17)):
        rounded = round_to_steps(values, step)
        assert (np.abs(rounded - values) <= taken / 2).all()
        assert not (rounded % taken).any()
    np.testing.assert_array_equal(round_to_steps(values, 0.0), values)
    np.testing.assert_array_equal(round_to_steps(values, np.full(5, 1e-300)), values)


def test_rounding_twice_changes_nothing(problem):
    kernel, signals = problem
    once = storable(fit_nnls(signals, kernel), signals, kernel)
    assert np.array_equal(storable(once, signals, kernel).dual, once.dual)


def test_rounding_does_not_depend_on_threads(problem):
    kernel, signals = problem
    result = fit_nnls(signals, kernel)
    one, two = (storable(result, signals, kernel, n_threads=n) for n in (1, 2))
    assert np.array_equal(one.dual, two.dual) and np.array_equal(one.gap, two.gap)


def test_sparse_spectra_are_handed_back(problem):
    kernel, signals = problem
    result = fit_nnls(signals[:5], kernel, alpha=0)
    assert storable(result, signals[:5], kernel) is result
