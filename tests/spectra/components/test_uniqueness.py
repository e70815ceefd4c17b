import numpy as np
import pytest

from mrspec_prep.spectra.clusters.inspect_em import make_problem
from mrspec_prep.spectra.components.inspect_map import starting_means
from mrspec_prep.spectra.components.map_descent import MapSteps, descend, state_from_means
from mrspec_prep.spectra.components.uniqueness import explore, in_words, mixing_tests, to_shares


@pytest.fixture(scope="module")
def ended(placenta):
    """Problem, state and objective at the end of one descent."""
    problem = make_problem(placenta.signals, placenta.kernel, placenta.noise_std, scale="fixed")
    means = starting_means(problem, 2, 1, np.random.default_rng(0))[0]
    state, trace, _ = descend(MapSteps(problem), state_from_means(problem, means), 200)
    return problem, state, trace[-1]


def test_a_fit_is_as_good_as_itself_with_its_components_swapped(ended):
    problem, state, objective = ended
    swapped = state.copy()
    for name in ("spectra", "duals", "means"):
        setattr(swapped, name, getattr(state, name)[::-1].copy())
    swapped.weights = state.weights[:, ::-1].copy()
    found = explore(problem, [state, swapped], [objective, objective], 0)
    assert found.equivalent.all()
    np.testing.assert_allclose(found.weight_spread, 0, atol=1e-12)
    np.testing.assert_allclose(found.signal_spread, 0, atol=1e-12)


def test_a_worse_start_does_not_count(ended):
    problem, state, objective = ended
    other = state.copy()
    other.weights = state.weights[:, ::-1] * 0.5 + 0.25
    found = explore(problem, [state, other], [objective, objective + 1e4], 0)
    assert found.equivalent.tolist() == [True, False] and found.weight_difference[1] > 0
    np.testing.assert_allclose(found.weight_spread, 0, atol=1e-12)


def test_mixing_reaches_farther_where_more_is_allowed(ended):
    problem, state, objective = ended
    weights, _, _ = to_shares(problem, state)
    spreads = [mixing_tests(problem, state, objective + allowed, weights)[0].max() for allowed in (0.1, 3.0, 100.0)]
    assert 0 <= spreads[0] < spreads[1] < spreads[2]


def test_misfit_widens_what_counts_as_equal(placenta, ended):
    """With a noise level a third of the true one, the likelihood ratio alone would call everything unique."""
    _, state, _ = ended
    spreads = []
    for noise_std in (placenta.noise_std, placenta.noise_std / 3):
        problem = make_problem(placenta.signals, placenta.kernel, noise_std, alpha=0.0, scale="fixed")
        fitted, trace, _ = descend(MapSteps(problem), state.copy(), 200)
        spreads.append(explore(problem, [fitted], [trace[-1]], 0).mixing_spread.max())
    assert spreads[1] > 0.7 * spreads[0]


def test_words_follow_the_spread(ended):
    problem, state, objective = ended
    found = explore(problem, [state], [objective], 0)
    found.mixing_spread[:] = 0.001
    assert "unique within the noise" in in_words(found, 1.0, True)[0]
    found.mixing_spread[1] = 0.3
    said = in_words(found, 2.0, False)
    assert "not unique" in said[0] and "component 2" in said[0]
    assert any("2.00 times the noise" in text for text in said)
    assert any("max_steps" in text for text in said)
