"""Laws of what is written twice, for arrays and tensors: likelihood, signals, links, divergences."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.fitting.likelihood import costs as array_costs
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.priors.coordinates import Coordinates
from mrspec_prep.networks.priors.importance import Sampler
from mrspec_prep.networks.priors.mixture import Mixture, posterior
from mrspec_prep.networks.problem import Problem
from mrspec_prep.networks.voxel_nets.learnable_mixture import LearnableMixture
from mrspec_prep.networks.voxel_nets.perceptrons import categorical_divergence, gaussian_divergence
from mrspec_prep.networks.voxel_nets.randomness import Randomness
from mrspec_prep.networks.voxel_nets.residual_encoder import ResidualEncoder
from mrspec_prep.networks.voxel_nets.signal_likelihood import costs
from mrspec_prep.networks.voxel_nets.tissue_decoder import TissueDecoder
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

CPU = torch.device("cpu")


@pytest.mark.parametrize("distribution", ["gaussian", "rician"])
@pytest.mark.parametrize("n_averages", [(1, 1, 1), (6, 6, 6), (1, 6, 1)])
def test_the_likelihood_is_that_of_arrays_and_its_slope_the_numeric_one(distribution, n_averages):
    rng, averages = np.random.default_rng(0), np.array(n_averages, float)
    predicted = rng.uniform(0.05, 30, (40, 5, 3))
    signals = np.abs(predicted[:, 0] + rng.standard_normal((40, 3)))
    problem = Problem(MODELS["adc"], signals, Encodings(bvalue=[0, 1, 2]), averages, np.ones(40), distribution)
    x = torch.tensor(predicted, requires_grad=True)
    given = torch.tensor(signals), torch.tensor(averages), distribution
    found = costs(x, *given)
    theirs = array_costs(problem, predicted, slice(0, 40))
    np.testing.assert_allclose(found.detach(), theirs, rtol=2e-6, atol=2e-4)
    (slope,) = torch.autograd.grad(found.sum(), x)
    for e in range(3):
        off = torch.zeros(3, dtype=torch.float64)
        off[e] = 1e-5
        with torch.no_grad():
            numeric = (costs(x + off, *given) - costs(x - off, *given)) / 2e-5
        away = (x[..., e] - 12).abs() > 1e-4  # where series take over
        np.testing.assert_allclose(slope[..., e][away].detach(), numeric[away], rtol=1e-4, atol=1e-4)


def test_the_slope_of_the_rician_likelihood_is_finite_at_both_ends():
    x = torch.tensor([[[0.0, 1e-6, 1e3, 1e5]]], requires_grad=True)
    cost = costs(x, torch.tensor([[0.0, 2.0, 1e3, 1e5]]), torch.ones(4), "rician")
    (slope,) = torch.autograd.grad(cost.sum(), x)
    assert torch.isfinite(cost).all()
    assert torch.isfinite(slope).all()


def encodings_of(name):
    """A small protocol that a model can use."""
    rng = np.random.default_rng(1)
    direction = rng.standard_normal((16, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Encodings(
        bvalue=np.tile([0.0, 100, 1000, 2500], 4),
        echo_time=np.repeat([40.0, 60, 80, 120], 4),
        inversion_time=np.linspace(50, 4000, 16),
        direction=direction,
    )


@pytest.mark.parametrize("name", MODELS)
def test_signals_and_links_on_tensors_are_those_of_arrays(name):
    rng, model, table = np.random.default_rng(2), MODELS[name], encodings_of(name)
    coordinates, n = Coordinates(model), 12
    x = np.stack([rng.uniform(0.2, 0.8, n) * (min(p.high, 99.0) - p.low) + p.low for p in model.parameters], 1)
    if model.oriented:
        x[:, -3:] /= np.linalg.norm(x[:, -3:], axis=1, keepdims=True)
    named = {key: x[:, p] for p, key in enumerate(model.names)}
    signals, sigma = model.signal(table, named), 2.0
    problem = Problem(model, signals, table, np.ones(16), np.full(n, sigma), "gaussian")
    fit = least_squares(problem)
    errors = coordinates.errors(fit)
    decoder = TissueDecoder(problem, fit, coordinates, errors, CPU)
    u = coordinates.at(x[:, : coordinates.n])[0]
    z = decoder.tensor((u - decoder.location) / decoder.scale)[:, None]
    np.testing.assert_allclose(decoder.values(z)[:, 0], x[:, : coordinates.n], rtol=3e-4)
    expected = signals / sigma  # a direction is that of least squares: there is no noise
    scale = np.abs(expected).max()
    np.testing.assert_allclose(decoder.predicted(z, torch.arange(n))[:, 0], expected, atol=3e-4 * scale)


def test_divergences_are_those_of_numeric_integration():
    z = np.linspace(-12, 12, 20001)
    mean, variance, prior_mean, prior_variance = 0.4, 0.3, -0.5, 1.7
    density, prior = norm.pdf(z, mean, variance**0.5), norm.pdf(z, prior_mean, prior_variance**0.5)
    numeric = np.trapezoid(density * np.log(np.maximum(density, 1e-300) / prior), z)
    numbers = [torch.tensor([value]) for value in (mean, np.log(variance), prior_mean, np.log(prior_variance))]
    assert abs(float(gaussian_divergence(*numbers)) - numeric) < 1e-5
    logits, prior_logits = torch.tensor([[0.2, 1.0, -1.0]]), torch.tensor([0.0, 0.5, 0.1])
    q, pi = (np.exp(x) / np.exp(x).sum() for x in (logits.numpy()[0], prior_logits.numpy()))
    assert abs(float(categorical_divergence(logits, prior_logits)) - (q * np.log(q / pi)).sum()) < 1e-6


MIXTURE = Mixture(
    np.array([0.3, 0.7]),
    np.array([[0.0, 1.0, 1.5], [0.1, 1.5, 1.0]]),
    np.array([[[0.04, 0.01, 0], [0.01, 0.02, 0], [0, 0, 0.03]], np.diag([0.01, 0.05, 0.02])]),
)


def test_a_learnable_mixture_is_the_mixture_it_starts_from():
    location, scale = np.array([0.1, 1.2, 1.1]), np.array([0.2, 0.5, 0.3])
    learnable = LearnableMixture(MIXTURE, location, scale, CPU)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(learnable.mixture(), name), getattr(MIXTURE, name), atol=1e-6)
    u = np.random.default_rng(3).normal(0.8, 0.3, (20, 3))
    found = learnable.log_joint(torch.tensor((u - location) / scale).float()).logsumexp(dim=1)
    factors, constants = MIXTURE.factors()
    along = np.einsum("kca,nkc->nka", factors, u[:, None] - MIXTURE.means)
    expected = np.log(np.exp(constants - 0.5 * (along**2).sum(-1)).sum(1)) + np.log(scale).sum()
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-4)
    learnable.become(Mixture(MIXTURE.weights, MIXTURE.means + 1, 2 * MIXTURE.covariances))
    np.testing.assert_allclose(learnable.mixture().covariances, 2 * MIXTURE.covariances, atol=1e-6)


def test_an_untrained_encoder_is_the_posterior_of_a_gaussian_likelihood():
    rng, table = np.random.default_rng(4), Encodings(bvalue=np.linspace(0, 2500, 8))
    truth = {"s0": np.ones(30), "diffusivity": rng.uniform(0.8, 1.6, 30), "kurtosis": rng.uniform(0.8, 1.6, 30)}
    signals = add_noise(MODELS["msdki"].signal(table, truth), 0.05, rng, "rician")
    problem, _ = make_problem(signals, table, "msdki", 0.05, "rician")
    fit = least_squares(problem)
    sampler = Sampler(problem, fit, 8, 0)
    decoder = TissueDecoder(problem, fit, sampler.coordinates, sampler.errors, CPU)
    shape = 2, 8, 2
    encoder = ResidualEncoder(sampler.errors, problem.noise_std, decoder, *shape, Randomness(0, CPU))
    prior = LearnableMixture(MIXTURE, decoder.location, decoder.scale, CPU)
    found, expected = encoder(torch.arange(30), prior), posterior(sampler.errors, MIXTURE)
    np.testing.assert_allclose(found.log_probs.exp().detach(), expected.probs, atol=1e-4)
    means = found.means.detach().numpy() * decoder.scale + decoder.location
    np.testing.assert_allclose(means, expected.means, atol=1e-4)
    np.testing.assert_allclose(
        found.factors.detach().numpy() / decoder.scale[:, None], expected.factors, rtol=1e-3, atol=1e-3
    )
