"""Laws of extreme deconvolution: EM never falls, the mixture behind the errors is found, shrinkage helps."""

import numpy as np
import pytest

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.priors.coordinates import Coordinates, Errors
from mrspec_prep.networks.priors.mixture import Mixture, posterior
from mrspec_prep.networks.priors.mixture_prior import (
    MixtureSettings,
    deconvolve,
    em_step,
    least_covariance,
    random_start,
)
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

TRUTH = Mixture(
    np.array([0.6, 0.4]),
    np.array([[0.0, 0.0], [3.0, 1.0]]),
    np.array([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.4]]]),
)


def noisy_errors(n, rng):
    """Draws of the truth seen with errors that differ from voxel to voxel."""
    true, component = TRUTH.sample(n, rng)
    roots = rng.standard_normal((n, 2, 2)) * rng.uniform(0.2, 1.0, (n, 1, 1)) + 0.2 * np.eye(2)
    covariances = roots @ roots.transpose(0, 2, 1)
    seen = true + np.einsum("nij,nj->ni", roots, rng.standard_normal((n, 2)))
    precision = np.linalg.inv(covariances)
    return true, component, Errors(precision, np.einsum("nij,nj->ni", precision, seen), seen)


def test_the_posterior_of_one_gaussian_is_the_textbook_one():
    rng = np.random.default_rng(0)
    _, _, errors = noisy_errors(5, rng)
    one = Mixture(np.ones(1), TRUTH.means[1:], TRUTH.covariances[1:])
    found = posterior(errors, one)
    prior = np.linalg.inv(one.covariances[0])
    for n in range(5):
        covariance = np.linalg.inv(errors.precision[n] + prior)
        mean = covariance @ (errors.potential[n] + prior @ one.means[0])
        np.testing.assert_allclose(found.means[n, 0], mean, rtol=1e-10)
        factor = found.factors[n, 0]
        np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(covariance), rtol=1e-10)


def test_evidence_is_that_of_the_convolved_mixture():
    rng = np.random.default_rng(1)
    _, _, errors = noisy_errors(50, rng)
    shifted = Mixture(np.array([0.3, 0.7]), TRUTH.means + 0.5, 2 * TRUTH.covariances)

    def direct(mixture):
        total = 0.0
        for seen, precision in zip(errors.best, errors.precision, strict=True):
            density = 0.0
            for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True):
                both, rest = np.linalg.inv(precision) + covariance, seen - mean
                density += weight * np.exp(-0.5 * rest @ np.linalg.solve(both, rest)) / np.sqrt(np.linalg.det(both))
            total += np.log(density)
        return total

    difference = posterior(errors, TRUTH).log_evidence - posterior(errors, shifted).log_evidence
    np.testing.assert_allclose(difference, direct(TRUTH) - direct(shifted), rtol=1e-9)


def test_em_never_falls():
    rng = np.random.default_rng(2)
    _, _, errors = noisy_errors(600, rng)
    mixture, least, trace = random_start(errors, 3, rng), least_covariance(errors), []
    for _ in range(60):
        mixture, evidence = em_step(errors, mixture, least)
        trace.append(evidence)
    assert (np.diff(trace) > -1e-8 * abs(trace[0])).all()
    assert trace[-1] > trace[0] + 1


def test_the_mixture_behind_the_errors_is_found():
    rng = np.random.default_rng(3)
    true, component, errors = noisy_errors(6000, rng)
    mixture, _ = deconvolve(errors, 2, rng, MixtureSettings())
    order = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.weights[order], TRUTH.weights, atol=0.03)
    np.testing.assert_allclose(mixture.means[order], TRUTH.means, atol=0.1)
    np.testing.assert_allclose(mixture.covariances[order], TRUTH.covariances, atol=0.1)
    found = posterior(errors, mixture)
    shrunken = np.einsum("nk,nkd->nd", found.probs, found.means)
    assert ((shrunken - true) ** 2).sum() < 0.6 * ((errors.best - true) ** 2).sum()
    assert np.mean(found.probs[:, order].argmax(axis=1) == component) > 0.9


@pytest.mark.parametrize("name", MODELS)
def test_coordinates_and_parameters_are_inverse(name):
    coordinates, rng = Coordinates(MODELS[name]), np.random.default_rng(4)
    x = np.stack([rng.uniform(0.1, 0.9, 20) * (min(p.high, 99.0) - p.low) + p.low for p in coordinates.parameters], 1)
    u, slopes = coordinates.at(x)
    np.testing.assert_allclose(coordinates.values(u), x, rtol=1e-12)
    up, down = coordinates.values(u + 1e-6), coordinates.values(u - 1e-6)
    np.testing.assert_allclose((up - down) / 2e-6, slopes, rtol=1e-5)


@pytest.mark.long
def test_shrinkage_beats_least_squares():
    rng, model = np.random.default_rng(5), MODELS["adc-t2"]
    table = Encodings(bvalue=np.tile([0.0, 300, 800, 1500], 3), echo_time=np.repeat([60.0, 100.0, 140.0], 4))
    tissue = rng.integers(0, 2, 800)
    truth = {
        "s0": np.full(800, 200.0),
        "diffusivity": np.array([0.8, 1.6])[tissue] * np.exp(0.05 * rng.standard_normal(800)),
        "t2": np.array([60.0, 110.0])[tissue] * np.exp(0.05 * rng.standard_normal(800)),
    }
    noisy = add_noise(model.signal(table, truth), 6.0, rng)
    plain, shrunken = (fit_maps(noisy, table, "adc-t2", method, 6.0) for method in ("lsq", "lsq-gmm"))
    for key in ("diffusivity", "t2"):
        errors = [np.sqrt(((result.maps[key] - truth[key]) ** 2).mean()) for result in (plain, shrunken)]
        assert errors[1] < 0.75 * errors[0]
    assert shrunken.settings["chosen"] == 2
    np.testing.assert_allclose(shrunken.cluster_probs.sum(axis=1), 1.0)
