import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.spectra.voxelwise.gram import gram_active_set, gram_workspace


def solve(gram, correlation, alpha, max_changes=500):
    """Spectrum, changes of the active set and the workspace."""
    work = gram_workspace(gram)
    n_members, changes = gram_active_set(gram, correlation, alpha, 1e-12, max_changes, work)
    f = np.zeros(len(gram))
    f[work[4][0][:n_members]] = work[0][:n_members]
    return f, changes, work


@pytest.mark.parametrize("alpha", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_random_problems_match_scipy(seed, alpha):
    rng = np.random.default_rng(seed)
    matrix, signal = rng.standard_normal((40, 25)), rng.standard_normal(40)
    f, _, _ = solve(matrix.T @ matrix, matrix.T @ signal, alpha)
    stacked = np.vstack([matrix, np.sqrt(alpha) * np.eye(25)])
    expected, _ = nnls(stacked, np.concatenate([signal, np.zeros(25)]))
    np.testing.assert_allclose(f, expected, atol=1e-9)


def test_decays_with_a_small_alpha_are_optimal_and_leave_a_clean_workspace():
    rng = np.random.default_rng(0)
    kernel = np.exp(-np.geomspace(10, 500, 32)[:, None] / np.geomspace(5, 1000, 90))
    gram, signal = kernel.T @ kernel, kernel[:, 30] + kernel[:, 70] + 0.02 * rng.standard_normal(32)
    f, changes, work = solve(gram, kernel.T @ signal, 1e-6)
    multiplier = kernel.T @ signal - gram @ f - 1e-6 * f
    assert changes > (f > 0).sum() > 2  # some bins came and went
    assert abs(multiplier[f > 0]).max() < 1e-12
    assert multiplier.max() < 1e-10
    assert not work[4][2].any()  # the inverse, for the next voxel


def test_equal_columns_and_nothing_to_fit_end():
    gram = np.ones((6, 6))
    f, changes, _ = solve(gram, np.full(6, 2.0), 0.0, 100)
    assert changes < 100
    np.testing.assert_allclose(f.sum(), 2)
    f, _, _ = solve(gram, np.full(6, -2.0), 0.0, 100)
    np.testing.assert_array_equal(f, 0)
