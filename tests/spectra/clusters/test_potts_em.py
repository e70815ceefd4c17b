import copy
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_inspect, neighbours_of, reduce_kernel, select_n_clusters
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import e_step
from mrspec_prep.spectra.clusters.em_updates import m_step
from mrspec_prep.spectra.clusters.potts_em import begin, find_sums, fit_prior, settle
from mrspec_prep.spectra.clusters.short_runs import best_start
from mrspec_prep.spectra.noise.likelihoods import NoiseModel

SHAPE = (8, 8, 8)


def image(labels, noise_std, encodings, seed=0):
    """Two tissues that differ in T2*, one per label."""
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(12, 12))
    tissues = {"diffusivity": np.array([2.0, 2.0]), "t2star": np.array([60.0, 75.0])}
    pure = simulate_signals("adc-t2star", encodings, tissues)
    signals = add_noise(pure[labels], noise_std, np.random.default_rng(seed))
    kernel = reduce_kernel(kernel_matrix("adc-t2star", encodings, grid))
    neighbours = neighbours_of(np.ones(SHAPE, bool), n_neighbours=6)
    return SimpleNamespace(signals=signals, kernel=kernel, noise_std=noise_std, labels=labels, neighbours=neighbours)


def smooth_labels(seed=0):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.5)
    return (field > np.median(field)).ravel().astype(int)


def random_labels(seed=0):
    return np.random.default_rng(seed).integers(0, 2, np.prod(SHAPE))


@pytest.fixture(scope="module")
def shapes(placenta):
    return image(smooth_labels(), 0.35, placenta.encodings)


@pytest.fixture(scope="module")
def fits(shapes):
    common = (shapes.signals, shapes.kernel, shapes.noise_std, 2)
    return {
        "plain": fit_inspect(*common, n_starts=3),
        "spatial": fit_inspect(*common, n_starts=3, neighbours=shapes.neighbours),
    }


def recovered(fit, labels):
    same = (fit.labels - 1 == labels).mean()
    return max(same, 1 - same)


def problem_of(data, beta, **more):
    common = (data.signals, data.kernel, data.noise_std)
    problem = make_problem(*common, neighbours=data.neighbours, spatial_weight=beta, **more)
    return problem, best_start(make_problem(*common, **more), 2, np.random.default_rng(0), 2)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_weight_zero_is_em_of_independent_voxels(shapes, scale):
    problem, state = problem_of(shapes, 0.0, scale=scale)
    plain = copy.deepcopy(state)
    one = begin(problem, state, 0.0, m_step)
    rises, _ = settle(problem, one, m_step, 8, False)
    for _ in range(1 + len(rises)):
        _, *sums = e_step(problem, plain)
        m_step(problem, plain, *sums)
    np.testing.assert_allclose(state.spectra, plain.spectra, atol=1e-9 * plain.spectra.max())
    np.testing.assert_allclose(state.probs, plain.probs, rtol=1e-9)


def test_weight_zero_gives_the_plain_fit(shapes, fits):
    fit = fit_inspect(
        shapes.signals, shapes.kernel, shapes.noise_std, 2, n_starts=3, neighbours=shapes.neighbours, spatial_weight=0.0
    )
    np.testing.assert_allclose(fit.responsibilities, fits["plain"].responsibilities, atol=1e-3)
    np.testing.assert_allclose(fit.log_likelihood, fits["plain"].log_likelihood, rtol=1e-7)
    assert fit.spatial.weight == 0 and not fit.spatial.estimated and fits["plain"].spatial is None


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("beta", [None, 0.2, 1.6])
@pytest.mark.parametrize("noise", [None, NoiseModel("rician"), NoiseModel("student-t", degrees_of_freedom=25)])
def test_free_energy_never_falls(shapes, scale, beta, noise):
    problem, state = problem_of(shapes, beta, scale=scale, noise=noise)
    rises, _ = settle(problem, begin(problem, state, beta or 0.0, m_step), m_step, 12, beta is None)
    assert rises.min() > -1e-10 * abs(problem.constant.sum())
    assert rises.sum() > 0


def test_smooth_shapes_are_recovered_better_than_by_independent_voxels(shapes, fits):
    assert recovered(fits["spatial"], shapes.labels) > recovered(fits["plain"], shapes.labels) + 0.05
    assert fits["spatial"].spatial.weight > 0.3
    assert fits["spatial"].spatial.estimated and fits["spatial"].converged


def test_weight_of_labels_without_neighbourhood_is_about_zero(placenta):
    data = image(random_labels(), 0.02, placenta.encodings)
    fit = fit_inspect(data.signals, data.kernel, data.noise_std, 2, n_starts=3, neighbours=data.neighbours)
    assert fit.spatial.weight < 0.06
    assert recovered(fit, data.labels) > 0.99


def test_weight_is_that_of_the_potts_model_the_labels_came_from(placenta):
    """Gibbs samples at beta = 0.25 (below the transition), seen without noise."""
    beta, rng = 0.25, np.random.default_rng(0)
    neighbours = neighbours_of(np.ones(SHAPE, bool), n_neighbours=6)
    labels = random_labels()
    for _ in range(100):
        for n in range(len(labels)):
            near = labels[neighbours.index[neighbours.starts[n] : neighbours.starts[n + 1]]]
            odds = beta * (2 * near.sum() - len(near))
            labels[n] = rng.random() < 1 / (1 + np.exp(-odds))
    data = image(labels, 0.01, placenta.encodings)
    fit = fit_inspect(data.signals, data.kernel, data.noise_std, 2, n_starts=3, neighbours=neighbours)
    assert fit.spatial.weight == pytest.approx(beta, abs=0.06)


def test_permuted_voxels_give_the_permuted_fit(shapes):
    order = np.random.default_rng(4).permutation(len(shapes.signals))
    problem, state = problem_of(shapes, None)
    other, again = copy.deepcopy(problem), copy.deepcopy(state)
    moved = make_problem(
        shapes.signals[order], shapes.kernel, shapes.noise_std, neighbours=shapes.neighbours.permuted(order)
    )
    results = []
    for one_problem, one_state in ((other, state), (moved, again)):
        one = begin(one_problem, one_state, 0.0, m_step)
        settle(one_problem, one, m_step, 10, True)
        results.append(one)
    np.testing.assert_allclose(results[1].responsibilities, results[0].responsibilities[order], atol=1e-9)
    assert results[1].beta == pytest.approx(results[0].beta, rel=1e-9)


def test_same_fit_whatever_the_threads(shapes):
    common = (shapes.signals, shapes.kernel, shapes.noise_std, 2)
    one, three = (
        fit_inspect(*common, n_starts=2, neighbours=shapes.neighbours, max_steps=5, n_threads=n) for n in (1, 3)
    )
    np.testing.assert_array_equal(one.responsibilities, three.responsibilities)
    np.testing.assert_array_equal(one.spectra, three.spectra)


def test_prior_maximises_the_pseudo_likelihood(shapes):
    """No nearby beta or h explains the responsibilities better."""
    problem, state = problem_of(shapes, None)
    one = begin(problem, state, 0.0, m_step)
    settle(problem, one, m_step, 20, True)
    for _ in range(30):
        fit_prior(problem, one, True)

    def value(beta, field):
        logs = field + beta * one.supports
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
        prior = problem.prior_voxels * (field - np.log(np.exp(field).sum())).sum()
        return (one.responsibilities * logs).sum() + prior

    best = value(one.beta, one.field)
    for change in (-0.02, 0.02):
        assert value(one.beta + change, one.field) < best
        assert value(one.beta, one.field + np.array([change, 0])) < best


@pytest.mark.parametrize("noise", [NoiseModel("rician"), NoiseModel("student-t", degrees_of_freedom=25)])
@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_sums_are_those_of_the_responsibilities_for_every_noise(shapes, noise, scale):
    problem, state = problem_of(shapes, 0.5, scale=scale, noise=noise)
    one = begin(problem, state, 0.5, m_step)
    settle(problem, one, m_step, 2, False)
    counts = find_sums(problem, one)[0][0]
    np.testing.assert_allclose(counts, one.responsibilities.sum(axis=0), rtol=1e-6)


def test_selection_hands_the_neighbours_on(shapes):
    found = select_n_clusters(
        shapes.signals, shapes.kernel, shapes.noise_std, candidates=(1, 2), n_starts=2, neighbours=shapes.neighbours
    )
    assert found.best == 2
    assert found.fits[2].spatial.weight > 0.3 and found.fits[1].spatial is None


@pytest.mark.parametrize(("change", "words"), [({"spatial_weight": -1.0}, "spatial_weight"), ({"signals": 3}, "3")])
def test_bad_input_is_refused(shapes, change, words):
    signals = shapes.signals[: change.pop("signals", None)]
    with pytest.raises(ValueError, match=words):
        fit_inspect(signals, shapes.kernel, 0.1, 2, neighbours=shapes.neighbours, **change)
