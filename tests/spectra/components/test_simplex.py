import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from mrspec_prep.spectra.components.simplex import simplex_weights, solve_simplex, weights_block


def programmes(n_components, n_voxels, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((n_components, 12)) + 1
    return means @ means.T, (rng.standard_normal((n_voxels, 12)) * 2 + 1) @ means.T


def value(gram, linear, z):
    return 0.5 * z @ gram @ z - linear @ z


@pytest.mark.parametrize("n_components", [1, 2, 3, 6, 10])
def test_weights_obey_the_optimality_conditions(n_components):
    gram, products = programmes(n_components, 200)
    weights = simplex_weights(gram, products)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    slopes = weights @ gram - products
    multiplier = (slopes * weights).sum(axis=1)
    assert (slopes - multiplier[:, None]).min() > -1e-8
    np.testing.assert_allclose((slopes - multiplier[:, None]) * weights, 0, atol=1e-8)


def test_weights_match_a_general_solver():
    gram, products = programmes(3, 8)
    weights = simplex_weights(gram, products)
    for z, linear in zip(weights, products, strict=True):
        found = minimize(
            lambda z, linear=linear: value(gram, linear, z), np.full(3, 1 / 3), bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda z: z.sum() - 1}, options={"ftol": 1e-14},
        )  # fmt: skip
        assert value(gram, linear, z) <= found.fun + 1e-9


def test_start_changes_nothing():
    gram, products = programmes(4, 100)
    start = np.random.default_rng(1).dirichlet(np.ones(4), 100)
    np.testing.assert_allclose(simplex_weights(gram, products, start), simplex_weights(gram, products), atol=1e-10)


def test_objective_never_rises_from_any_start():
    gram, products = programmes(4, 60)
    starts = np.random.default_rng(2).dirichlet(np.full(4, 0.5), 60)
    for linear, start, end in zip(products, starts, simplex_weights(gram, products, starts), strict=True):
        assert value(gram, linear, end) <= value(gram, linear, start) + 1e-12


def test_free_sum_is_non_negative_least_squares():
    """Without the sum and with a prior of the scale, every subset of components is beaten."""
    gram, products = programmes(3, 40)
    precisions, pull = np.linspace(0.5, 4, 40), 4.0
    weights = np.zeros((40, 3))
    assert weights_block(gram, products, precisions, pull, False, weights) == 0
    for linear, precision, z in zip(products, precisions, weights, strict=True):
        hessian, slope = gram * precision + pull, linear * precision + pull
        best = 0.0
        for size in (1, 2, 3):
            for members in map(list, itertools.combinations(range(3), size)):
                x = np.linalg.solve(hessian[np.ix_(members, members)], slope[members])
                if (x >= 0).all():
                    best = min(best, value(hessian[np.ix_(members, members)], slope[members], x))
        np.testing.assert_allclose(value(hessian, slope, z), best, rtol=1e-9)


def test_equal_components_and_zero_signals_settle():
    gram = np.ones((3, 3))
    weights = simplex_weights(gram, np.ones((5, 3)))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    weights = simplex_weights(np.zeros((3, 3)), np.zeros((2, 3)))
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_one_component_weighs_one():
    np.testing.assert_array_equal(simplex_weights(np.eye(1), np.linspace(-1, 1, 5)[:, None]), 1)


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="fit"):
        simplex_weights(np.eye(2), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="NaN"):
        simplex_weights(np.eye(2), np.full((4, 2), np.nan))


def test_compiled_solver_reports_the_faces_it_visited():
    gram, products = programmes(3, 1)
    work = (np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    visited = solve_simplex(gram, products[0], np.zeros(3), True, np.zeros(3, np.int64), work)
    assert 1 <= visited <= 3
