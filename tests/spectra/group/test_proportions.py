"""Shared probabilities from members' own."""

import numpy as np
from scipy.special import gammaln

from mrspec_prep.spectra.group.proportions import dirichlet_mode


def test_the_mode_is_better_than_what_is_near_and_recovers_the_mean():
    rng = np.random.default_rng(0)
    truth, c = np.array([0.5, 0.3, 0.15, 0.05]), 200.0
    rows = np.maximum(rng.dirichlet(1 + c * truth, 500), 1e-300)
    found = dirichlet_mode(rows, c, 2.0, np.full(4, 0.25))
    assert np.allclose(found, truth, atol=0.01)

    def value(p):
        return c * p @ np.log(rows).sum(axis=0) - 500 * gammaln(c * p + 1).sum() + 2.0 * np.log(p).sum()

    for _ in range(100):
        other = np.abs(found + rng.normal(0, 1e-3, 4))
        assert value(found) >= value(other / other.sum())


def test_a_cluster_that_no_member_has_keeps_a_finite_share():
    found = dirichlet_mode(np.array([[1 - 2e-300, 1e-300, 1e-300]] * 3), 20.0, 0.0, np.full(3, 1 / 3))
    assert np.isfinite(found).all() and np.isclose(found.sum(), 1) and found[0] > 0.99
