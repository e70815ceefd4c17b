import numpy as np
import pytest
from scipy.special import softmax

from mrspec_prep.spectra.clusters.em_blocks import TILE, upper_bounds
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_steps import scaled_fit
from mrspec_prep.spectra.clusters.em_sums import e_step, expect
from mrspec_prep.spectra.clusters.short_runs import seeded_state
from tests.spectra.conftest import placenta_problem


@pytest.fixture(scope="module")
def many():
    return placenta_problem((12, 12), 2 * TILE + 77, snr=20)


def problem_of(data, noise_std, scale):
    noise_std = noise_std * np.linspace(0.7, 1.5, len(data.signals))
    return make_problem(data.signals, data.kernel, noise_std, scale=scale, n_threads=2)


def plain(problem, state):
    """Log weights and moments of the scale, voxel by voxel and cluster by cluster."""
    products = problem.signals @ state.means.T
    fits = np.array([
        [scaled_fit(p, norm, v, problem.scale_variance) for p, norm in zip(row, state.norms, strict=True)]
        for row, v in zip(products, problem.variances, strict=True)
    ])  # fmt: skip
    return fits[:, :, 0] + np.log(state.probs), fits[:, :, 1], fits[:, :, 2]


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("noise_std", [1e-4, 0.05, 3.0])
def test_sums_are_those_of_all_voxels_and_clusters(many, noise_std, scale):
    """Whether voxels belong to one cluster (little noise) or to all (much)."""
    problem = problem_of(many, noise_std, scale)
    states = [seeded_state(problem, m, np.random.default_rng(m)) for m in (2, 5)]
    for state, (value, (moments, weights, sums)) in zip(states, expect(problem, states), strict=True):
        logs, first, second = plain(problem, state)
        w = softmax(logs, axis=1)
        top = logs.max(axis=1)
        expected = (top + np.log(np.exp(logs - top[:, None]).sum(axis=1))).sum() + problem.constant.sum()
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(moments, [w.sum(axis=0), (w * first).sum(axis=0), (w * second).sum(axis=0)], 1e-9)
        inverse = 1 / problem.variances[:, None]
        np.testing.assert_allclose(weights, (w * second * inverse).sum(axis=0), 1e-9)
        np.testing.assert_allclose(sums, (w * first * inverse).T @ problem.signals, 1e-9, 1e-9 * abs(sums).max())


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("noise_std", [1e-3, 0.05, 3.0])
def test_bounds_lie_above_the_log_weights_and_near_them_where_the_noise_is_right(many, noise_std, scale):
    problem = problem_of(many, noise_std, scale)
    state = seeded_state(problem, 4, np.random.default_rng(0))
    leading, rest, n_leading = problem.leading
    means = np.zeros((4, leading.shape[1]))
    means[:, :n_leading] = state.means[:, :n_leading]
    beyond = np.sqrt((state.means[:, n_leading:] ** 2).sum(axis=1))
    bounds = np.empty((4, TILE))
    settings = np.log(state.probs), means, beyond, state.norms, problem.scale_variance
    upper_bounds(leading[0], 1 / problem.variances[:TILE], rest[:TILE], *settings, bounds)
    excess = bounds - plain(problem, state)[0][:TILE].T
    assert excess.min() > -1e-9 * abs(bounds).max()
    assert noise_std < 0.05 or np.median(excess) < 1000  # the signals' noise is 0.05


def test_one_voxel_and_empty_clusters(many):
    problem = make_problem(many.signals[:1], many.kernel, 0.05)
    state = seeded_state(problem, 1, np.random.default_rng(0))
    value, moments, weights, sums = e_step(problem, state)
    assert np.isfinite(value) and moments[0, 0] == 1
    np.testing.assert_allclose(sums[0], problem.signals[0] / 0.05**2)


def test_a_state_gets_the_same_to_the_last_bit_whatever_the_others(many):
    signals = np.tile(many.signals, (40, 1))  # many blocks: the sums over these must not depend on the others either
    problem = make_problem(signals, many.kernel, np.linspace(0.04, 0.06, len(signals)))
    states = [seeded_state(problem, m, np.random.default_rng(m)) for m in (1, 3, 4)]
    for state, (value, sums) in zip(states, expect(problem, states), strict=True):
        alone, *rest = e_step(problem, state)
        assert value == alone
        for one, other in zip(sums, rest, strict=True):
            np.testing.assert_array_equal(one, other)
