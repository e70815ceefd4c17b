"""Laws of posteriors over directions: draws weigh to an even sphere, cones and intervals cover as stated."""

import numpy as np

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.fitting.least_squares import LeastSquares
from mrspec_prep.networks.fitting.starts import hemisphere
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.priors.bayes_reference import bayes_reference
from mrspec_prep.networks.priors.directions import draw_axes, mean_axes, tangents
from mrspec_prep.networks.priors.mixture import Mixture
from mrspec_prep.networks.priors.quantiles import draw_quantiles
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

MODEL = MODELS["ball-stick"]
DIRECTIONS = hemisphere(24)
TABLE = Encodings(
    bvalue=np.repeat([0.0, 1000, 2500], [4, 24, 24]), direction=np.vstack([np.zeros((4, 3)), *[DIRECTIONS] * 2])
)
PRIOR = Mixture(
    np.array([0.5, 0.5]),
    np.array([[0.0, 0.65, 1.9, 1.1], [0.0, 0.25, 1.6, 0.9]]),
    np.tile(np.diag([0.05, 0.08, 0.2, 0.15]) ** 2, (2, 1, 1)),
)


def simulated(n, rng, sigma):
    u, _ = PRIOR.sample(n, rng)
    axes = rng.standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    values = np.hstack([np.exp(u[:, :1]), np.clip(u[:, 1:2], 0, 1), u[:, 2:], axes])
    truth = dict(zip(MODEL.names, values.T, strict=True))
    return truth, add_noise(MODEL.signal(TABLE, truth), sigma, rng, "rician")


def test_tangents_are_orthonormal_and_across():
    axes = np.random.default_rng(0).standard_normal((50, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    basis = tangents(axes)
    np.testing.assert_allclose(np.einsum("na,nab->nb", axes, basis), 0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("nab,nac->nbc", basis, basis), np.tile(np.eye(2), (50, 1, 1)), atol=1e-12)


def test_weighted_draws_are_even_over_all_axes():
    rng, n_draws = np.random.default_rng(1), 200_000
    root = rng.standard_normal((1, 7, 7))
    axis = np.array([[0.6, 0.0, 0.8]])
    fit = LeastSquares(np.hstack([[[1.0, 0.5, 1.7, 1.0]], axis]), root @ root.transpose(0, 2, 1), None, None, None)
    values = np.tile(fit.values[:, None, :4], (1, n_draws, 1)) + 0.1 * rng.standard_normal((1, n_draws, 4))
    axes, log_ratio = draw_axes(fit, slice(0, 1), values, rng.random((n_draws, 3)), rng.standard_normal((n_draws, 2)))
    weights = np.exp(log_ratio)  # of prior and density without the constant 1 / (2 pi) both have
    assert abs(weights.mean() - 1) < 0.02
    scatter = np.einsum("ns,nsa,nsb->ab", weights, axes, axes) / weights.sum()
    np.testing.assert_allclose(scatter, np.eye(3) / 3, atol=0.02)
    cosine = np.abs(axes[0] @ axis[0])
    np.testing.assert_allclose(weights[0, cosine < 0.5].sum() / weights.sum(), 0.5, atol=0.02)


def test_the_mean_of_an_axis_and_its_mirror_images_is_the_axis():
    rng, n = np.random.default_rng(2), 4000
    draws = np.array([0.0, 0.6, 0.8]) + 0.05 * rng.standard_normal((1, n, 3))
    draws *= rng.choice([-1, 1], (1, n, 1)) / np.linalg.norm(draws, axis=2, keepdims=True)
    mean, std, cones = mean_axes(draws, np.full((1, n), 1 / n), draw_quantiles)
    assert abs(mean[0] @ [0.0, 0.6, 0.8]) > 0.9999
    np.testing.assert_allclose(cones[0], 0.05 * np.sqrt(-2 * np.log([0.3173, 0.05])), rtol=0.05)
    np.testing.assert_allclose(std[0, 0], 0.05, rtol=0.1)


def test_cones_and_intervals_cover_as_often_as_stated():
    rng, sigma, n = np.random.default_rng(3), 1 / 20, 600
    truth, signals = simulated(n, rng, sigma)
    found = bayes_reference(make_problem(signals, TABLE, "ball-stick", sigma, "rician")[0], PRIOR, 256)
    for d, name in enumerate(MODEL.names[1:4], 1):
        for (first, last), share in (((1, 2), 0.683), ((0, 3), 0.95)):
            low, high = found.quantiles[:, d, first], found.quantiles[:, d, last]
            assert abs(np.mean((low <= truth[name]) & (truth[name] <= high)) - share) < 0.055
    cosine = np.abs(sum(found.direction[:, a] * truth[name] for a, name in enumerate(MODEL.names[-3:])))
    covered = np.arccos(np.minimum(cosine, 1))[:, None] <= found.cones
    np.testing.assert_allclose(covered.mean(axis=0), [0.683, 0.95], atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(found.direction, axis=1), 1)


def test_cones_of_least_squares_cover_and_open_where_nothing_is_known():
    rng, sigma, n = np.random.default_rng(4), 1 / 40, 800
    truth, signals = simulated(n, rng, sigma)
    signals[0] = add_noise(np.exp(-TABLE.bvalue * 1e-3), sigma, rng, "rician")  # no stick
    result = fit_maps(signals, TABLE, "ball-stick", "lsq", sigma, distribution="rician")
    cosine = np.abs(sum(result.maps[name] * truth[name] for name in MODEL.names[-3:]))[1:]
    covered = np.arccos(np.minimum(cosine, 1))[:, None] <= result.cones[1:]
    np.testing.assert_allclose(covered.mean(axis=0), [0.683, 0.95], atol=0.05)
    assert result.cones[0, 0] > 5 * np.median(result.cones[:, 0])
    assert set(result.intervals) == set(MODEL.names[:4])
