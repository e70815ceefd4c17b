import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.voxelwise.storage import storable


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
    single = (rounded.dual == rounded.dual.astype(np.float32)).all(axis=0)
    assert single.mean() > 0.4


def test_rounding_twice_changes_nothing(problem):
    kernel, signals = problem
    once = storable(fit_nnls(signals, kernel))
    assert np.array_equal(storable(once).dual, once.dual)


def test_sparse_spectra_are_handed_back(problem):
    kernel, signals = problem
    result = fit_nnls(signals[:5], kernel, alpha=0)
    assert storable(result) is result
