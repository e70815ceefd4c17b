import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.spectra.voxelwise.gram import gram_active_set, gram_workspace


@pytest.mark.parametrize("alpha", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_random_problems_match_scipy(seed, alpha):
    rng = np.random.default_rng(seed)
    matrix, signal = rng.standard_normal((40, 25)), rng.standard_normal(40)
    f = np.empty(25)
    gram_active_set(matrix.T @ matrix, matrix.T @ signal, alpha, 1e-12, 500, f, gram_workspace(25, 25))
    stacked = np.vstack([matrix, np.sqrt(alpha) * np.eye(25)])
    expected, _ = nnls(stacked, np.concatenate([signal, np.zeros(25)]))
    np.testing.assert_allclose(f, expected, atol=1e-9)


def test_equal_columns_and_nothing_to_fit_end():
    gram = np.ones((6, 6))
    f = np.empty(6)
    changes = gram_active_set(gram, np.full(6, 2.0), 0.0, 1e-12, 100, f, gram_workspace(6, 6))
    assert changes < 100
    np.testing.assert_allclose(f.sum(), 2)
    gram_active_set(gram, np.full(6, -2.0), 0.0, 1e-12, 100, f, gram_workspace(6, 6))
    np.testing.assert_array_equal(f, 0)
