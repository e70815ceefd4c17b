"""Laws of posterior quantiles: of draws and of mixtures they are those of numpy and scipy."""

import numpy as np
from scipy.stats import norm

from mrspec_prep.networks.priors.coordinates import Coordinates
from mrspec_prep.networks.priors.mixture import Mixture, Posterior
from mrspec_prep.networks.priors.quantiles import draw_quantiles, mixture_quantiles
from mrspec_prep.networks.result import LEVELS
from mrspec_prep.physics.models import MODELS


def test_quantiles_of_equal_draws_are_those_of_numpy():
    values = np.random.default_rng(0).standard_normal((3, 400, 2))
    found = draw_quantiles(values, np.full((3, 400), 1 / 400))
    np.testing.assert_allclose(found, np.quantile(values, LEVELS, axis=1, method="hazen").transpose(1, 2, 0))


def test_weights_turn_one_distribution_into_another():
    rng = np.random.default_rng(1)
    values = 2 * rng.standard_normal((1, 40_000, 1))
    weights = norm.pdf(values[..., 0], 1.0, 0.5) / norm.pdf(values[..., 0], 0, 2)
    found = draw_quantiles(values, weights / weights.sum())
    np.testing.assert_allclose(found[0, 0], norm.ppf(LEVELS, 1.0, 0.5), atol=0.03)


def test_mass_at_a_bound_has_its_quantiles_there():
    values = np.maximum(np.random.default_rng(2).standard_normal((1, 2000, 1)) + 0.2, 0.0)
    found = draw_quantiles(values, np.full((1, 2000), 1 / 2000))[0, 0]
    assert found[0] == found[1] == 0.0
    np.testing.assert_allclose(found[2:], 0.2 + norm.ppf(LEVELS[2:]), atol=0.1)


def test_quantiles_of_a_mixture_are_those_of_its_draws():
    rng, coordinates = np.random.default_rng(3), Coordinates(MODELS["msdki"])
    mixture = Mixture(
        np.array([0.3, 0.7]),
        np.array([[0.0, 1.0, 0.8], [0.2, 2.0, 0.1]]),
        np.array([np.diag([0.1, 0.2, 0.1]) ** 2, np.array([[0.04, 0.01, 0], [0.01, 0.09, 0.02], [0, 0.02, 0.09]])]),
    )
    factors = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    found = Posterior(mixture.weights[None], mixture.means[None], factors[None], 0.0)
    values = coordinates.values(mixture.sample(400_000, rng)[0])
    np.testing.assert_allclose(
        mixture_quantiles(coordinates, found)[0], np.quantile(values, LEVELS, axis=0).T, atol=8e-3
    )
