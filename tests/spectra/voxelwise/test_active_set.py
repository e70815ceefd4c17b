import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.spectra import reduce_kernel
from mrspec_prep.spectra.voxelwise.active_set import active_set


@pytest.mark.parametrize("seed", range(5))
def test_random_problems_match_scipy(seed):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((20, 25))
    signal = rng.standard_normal(25)
    f = np.zeros(20)
    worst, _ = active_set(columns, signal, 0.0, f, 1e-12, 500)
    expected, misfit = nnls(columns.T, signal)
    assert worst <= 1e-12
    np.testing.assert_allclose(np.linalg.norm(f @ columns - signal), misfit, atol=1e-10)
    np.testing.assert_allclose(f, expected, atol=1e-8)


def test_a_warm_start_at_the_solution_changes_nothing(placenta):
    reduced = reduce_kernel(placenta.kernel)
    target = reduced.compress(placenta.signals[:1])[0][0]
    f = np.zeros(reduced.n_bins)
    _, cold = active_set(reduced.columns, target, 1e-6, f, 1e-11, 500)
    again = f.copy()
    _, warm = active_set(reduced.columns, target, 1e-6, again, 1e-11, 500)
    assert warm == 0 < cold
    np.testing.assert_allclose(again, f, rtol=1e-6)


def test_a_warm_start_never_raises_the_objective(placenta):
    reduced = reduce_kernel(placenta.kernel)
    target = reduced.compress(placenta.signals[:1])[0][0]
    rng = np.random.default_rng(0)
    for _ in range(10):
        f = np.where(rng.random(reduced.n_bins) < 0.05, rng.random(reduced.n_bins), 0.0)
        before = ((f @ reduced.columns - target) ** 2).sum() + 1e-7 * (f**2).sum()
        active_set(reduced.columns, target, 1e-7, f, 1e-11, 0)
        assert ((f @ reduced.columns - target) ** 2).sum() + 1e-7 * (f**2).sum() <= before


def test_equal_columns_do_not_cycle():
    columns = np.repeat(np.eye(3), 4, axis=0)
    f = np.zeros(12)
    worst, _ = active_set(columns, np.array([1.0, -1.0, 2.0]), 0.0, f, 1e-12, 500)
    np.testing.assert_allclose(f @ columns, [1, 0, 2], atol=1e-12)
    assert worst <= 1e-12
