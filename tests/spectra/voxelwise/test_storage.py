import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.voxelwise.storage import round_to_bits, storable


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
def test_what_is_stored_is_as_good_as_what_was_fitted(problem, alpha):
    kernel, signals = problem
    result = fit_nnls(signals, kernel, alpha)
    rounded = storable(result)

    def objective(spectra):
        return ((signals - spectra @ kernel.T) ** 2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)

    assert (objective(rounded.spectra) / objective(result.spectra) - 1).max() < 1e-8
    spare = [bits_in_use(column) for column in rounded.dual.T]
    assert np.mean(spare) < 32


def bits_in_use(values):
    """Significant bits of the mantissas."""
    return next(bits for bits in range(1, 54) if np.array_equal(round_to_bits(values, bits), values))


def test_rounding_keeps_the_bits_asked_for():
    values = np.array([1.0, -3.14159, 1e-200, 0.0, 12345.678])
    for bits in (3, 20, 53):
        rounded = round_to_bits(values, bits)
        assert (np.abs(rounded - values) <= 2.0**-bits * np.abs(values)).all()
        assert bits_in_use(rounded) <= bits
    np.testing.assert_array_equal(round_to_bits(values, 53), values)


def test_rounding_twice_changes_nothing(problem):
    kernel, signals = problem
    once = storable(fit_nnls(signals, kernel))
    assert np.array_equal(storable(once).dual, once.dual)


def test_sparse_spectra_are_handed_back(problem):
    kernel, signals = problem
    result = fit_nnls(signals[:5], kernel, alpha=0)
    assert storable(result) is result
