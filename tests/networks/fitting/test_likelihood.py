"""Laws of the likelihood: scipy's Rice density, exact slopes, information that is the slope's variance."""

import numpy as np
import pytest
from scipy.stats import norm, rice

from mrspec_prep.networks.fitting.likelihood import evaluate
from mrspec_prep.networks.problem import Problem
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS


def problem_of(signals, n_averages, distribution, sigma=0.5):
    n = signals.shape[1]
    noise_std = np.full(len(signals), sigma)
    table = Encodings(bvalue=np.linspace(0, 1000, n))
    return Problem(MODELS["adc"], signals, table, np.asarray(n_averages, float), noise_std, distribution)


@pytest.mark.parametrize(("distribution", "density"), [("gaussian", norm), ("rician", rice)])
def test_differences_of_the_cost_are_those_of_the_density(distribution, density):
    rng, sigma = np.random.default_rng(0), 0.5
    signals = rng.uniform(0.1, 3, (6, 4))
    problem = problem_of(signals, np.ones(4), distribution, sigma)
    one, two = rng.uniform(0.01, 4, (2, 6, 4))
    if density is norm:
        logs = [norm.logpdf(signals, x, sigma).sum(1) for x in (one, two)]
    else:
        logs = [rice.logpdf(signals, x / sigma, scale=sigma).sum(1) for x in (one, two)]
    costs = [evaluate(problem, x)[0] for x in (one, two)]
    np.testing.assert_allclose(costs[1] - costs[0], logs[0] - logs[1], atol=1e-8)


@pytest.mark.parametrize("distribution", ["gaussian", "rician"])
@pytest.mark.parametrize("n_averages", [1, 6])
def test_the_score_is_the_slope(distribution, n_averages):
    rng, step = np.random.default_rng(1), 1e-5
    predicted = rng.uniform(0.01, 30, (40, 1))
    problem = problem_of(np.abs(predicted + rng.standard_normal((40, 1))), [n_averages], distribution)
    up, down = (evaluate(problem, predicted + sign * step)[0] for sign in (1, -1))
    np.testing.assert_allclose(evaluate(problem, predicted)[1][:, 0], (down - up) / (2 * step), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n_averages", "tolerance"), [(1, 0.02), (6, 0.1)])  # a mean of six is nearly Gaussian
def test_the_information_is_the_variance_of_the_score_of_magnitudes(n_averages, tolerance):
    rng, sigma, n = np.random.default_rng(2), 0.5, 200_000
    for signal in (0.2, 0.6, 2.0):
        noise = sigma * rng.standard_normal((2, n, n_averages))
        magnitudes = np.hypot(signal + noise[0], noise[1]).mean(axis=1, keepdims=True)
        _, score, weight = evaluate(problem_of(magnitudes, [n_averages], "rician"), np.full((n, 1), signal))
        assert abs(score.mean()) < 5 * score.std() / np.sqrt(n) + (0.02 if n_averages > 1 else 0)
        np.testing.assert_allclose(score.var(), weight[0, 0], rtol=tolerance)
