import numpy as np
import pytest

from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.clusters.inspect_em import make_problem
from mrspec_prep.spectra.components.inspect_map import starting_means
from mrspec_prep.spectra.components.map_descent import (
    MapSteps,
    descend,
    fit_weights,
    improve_spectra,
    rescale,
    state_from_means,
)


def direct_objective(problem, state, placenta, noise_std):
    """From the full signals, without compression; problem with voxel units 1."""
    residual = placenta.signals - state.weights @ state.spectra @ placenta.kernel.T
    loss = 0.5 * ((residual**2).sum(axis=1) / noise_std**2).sum() + 0.5 * problem.alpha * (state.spectra**2).sum()
    if problem.scale_variance > 0:
        loss += 0.5 * ((state.weights.sum(axis=1) - 1) ** 2).sum() / problem.scale_variance
    return loss


def started(placenta, scale, alpha=0.01, n_components=3):
    noise_std = np.random.default_rng(5).uniform(0.03, 0.1, len(placenta.signals))
    problem = make_problem(placenta.signals, placenta.kernel, noise_std, alpha=alpha, scale=scale)
    means = starting_means(problem, n_components, 1, np.random.default_rng(0))[0]
    return problem, state_from_means(problem, means), noise_std


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 10.0])
def test_objective_never_rises(placenta, scale, alpha):
    problem, state, _ = started(placenta, scale, alpha)
    _, trace, _ = descend(MapSteps(problem), state, 60)
    assert np.diff(trace).max() <= 1e-9 * trace[0]
    assert trace[-1] < trace[0]


def test_objective_is_that_of_the_full_signals(placenta):
    """Differences between two states: the energy outside the kernel's range is the same in both."""
    problem, state, noise_std = started(placenta, "fixed")
    before, direct_before = fit_weights(problem, state), direct_objective(problem, state, placenta, noise_std)
    improve_spectra(problem, state)
    after, direct_after = fit_weights(problem, state), direct_objective(problem, state, placenta, noise_std)
    np.testing.assert_allclose(after - before, direct_after - direct_before, rtol=1e-6)


def test_component_step_is_the_exact_nnls_of_its_target(placenta):
    problem, state, noise_std = started(placenta, "fixed")
    fit_weights(problem, state)
    others = state.weights[:, 1:] @ state.spectra[1:] @ placenta.kernel.T
    shares = state.weights[:, 0] / noise_std**2
    precision = (shares * state.weights[:, 0]).sum()
    target = (shares[:, None] * (placenta.signals - others)).sum(axis=0) / precision
    expected = fit_nnls(target[None], placenta.kernel, 0.01 / precision, tolerance=1e-12)
    improve_spectra(problem, state)
    np.testing.assert_allclose(placenta.kernel @ state.spectra[0], placenta.kernel @ expected.spectra[0], atol=1e-7)


def test_change_of_scale_moves_no_residual_and_lowers_the_objective(placenta):
    problem, state, _ = started(placenta, "profiled", alpha=5.0)
    state.weights *= 1.7
    predicted = state.weights @ state.means

    def penalty():
        prior = ((state.weights.sum(axis=1) - 1) ** 2).sum() / problem.scale_variance
        return 0.5 * prior + 0.5 * problem.alpha * (state.spectra**2).sum()

    before = penalty()
    rescale(problem, state)
    np.testing.assert_allclose(state.weights @ state.means, predicted, atol=1e-12)
    assert penalty() < before


def test_component_without_voxels_leaves_no_nan(placenta):
    problem, state, _ = started(placenta, "fixed")
    state.curvature[1] = state.curvature[:, 1] = 0
    improve_spectra(problem, state)
    assert not state.spectra[1].any() and np.isfinite(state.means).all()
