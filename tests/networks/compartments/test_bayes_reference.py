"""The Bayes reference against sums that can be done by hand: enumeration, quadrature, chance."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mrspec_prep.networks.compartments.bayes_reference import class_posterior, compare, noise_nodes, sampler_input
from mrspec_prep.networks.compartments.direction_density import log_direction_density, log_radial
from mrspec_prep.networks.compartments.evidence import log_evidence, log_evidence_of_one
from mrspec_prep.networks.compartments.recipe import NOISES, Recipe
from mrspec_prep.networks.compartments.simulation import signal_tables, simulate
from mrspec_prep.physics import Encodings

PROTOCOL = Encodings(inversion_time=np.repeat([100.0, 400, 1500], 4), echo_time=np.tile([10.0, 30, 60, 120], 3))
SMALL = {"t1": (300, 2700, 400), "t2": (20, 200, 30)}


def drawn(recipe, n, seed=0, **settings):
    signals = simulate(recipe, PROTOCOL, n, np.random.default_rng(seed), **settings)
    exact = signals.signals / np.linalg.norm(signals.signals.astype(float), axis=1, keepdims=True)
    return signals, exact


@pytest.mark.parametrize("b", [-3.0, 0.0, 4.0, 300.0])
def test_radial_integral(b):
    top = max(b, 0) + 12
    exact = quad(lambda t: t**11 * np.exp(-0.5 * (t - b) ** 2), 0, top, points=[max(b, 1)])[0]
    assert log_radial(b, 12) == pytest.approx(np.log(exact), abs=0.03)


@pytest.mark.parametrize("noise", NOISES)
def test_density_of_a_direction_integrates_the_norm(noise):
    """Ratio of the densities of one direction under two tissues, by quadrature over the norm."""
    recipe = Recipe(noise=noise, noise_range=(0.05, 0.05), noise_steps=1)
    simulated, signals = drawn(recipe, 2, n_compartments=np.array([1, 1]))
    first = int(PROTOCOL.reference()[0])
    found, expected = [], []
    for tissue in range(2):
        t1, t2 = simulated.tissue["t1"][tissue, 0], simulated.tissue["t2"][tissue, 0]
        pure = (1 - 2 * np.exp(-PROTOCOL.inversion_time / t1)) * np.exp(-PROTOCOL.echo_time / t2)
        unit = {"rms": np.sqrt(np.mean(pure**2)), "m0": 1, "maximum": np.abs(pure).max()}
        unit |= {"mean": np.abs(pure).mean(), "first": abs(pure[first]), "multiplicative": np.abs(pure)}
        sigma = 0.05 * np.broadcast_to(unit[noise], pure.shape)
        found.append(
            log_direction_density(signals[0], pure, list(NOISES).index(noise), first, np.array([0.05]), np.zeros(1))
        )

        radii = np.linspace(1e-4, 2.5 * np.linalg.norm(pure) + 2, 40_001)
        logs = 11 * np.log(radii) + norm.logpdf(radii[:, None] * signals[0], pure, sigma).sum(axis=1)
        expected.append(logs.max() + np.log(np.exp(logs - logs.max()).sum() * (radii[1] - radii[0])))
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], abs=0.05, rel=1e-3)


@pytest.mark.parametrize("settings", [{}, {"noise": "m0"}, {"t2_below_t1": True}])
def test_sampling_agrees_with_enumeration_of_one_compartment(settings):
    recipe = Recipe(**settings)
    _, signals = drawn(recipe, 3)
    given = sampler_input(recipe, PROTOCOL)
    for signal in signals:
        runs = [log_evidence(signal, 1, *given, 256, 12, seed) for seed in range(8)]
        mean = np.logaddexp.reduce(runs) - np.log(8)
        assert mean == pytest.approx(log_evidence_of_one(signal, *given), abs=0.25)


@pytest.mark.parametrize("fractions", ["simplex", "normalised"])
def test_sampling_agrees_with_quadrature_of_two_compartments(fractions):
    """Two compartments of few values: all pairs, the fraction on a fine grid under its own density."""
    recipe = Recipe(
        t1=(300, 2700, 1200), t2=(20, 200, 90), fractions=fractions, noise_range=(0.03, 0.03), noise_steps=1
    )
    tables = signal_tables(PROTOCOL, recipe)
    pure = (tables["t1"][:, None] * tables["t2"][None]).reshape(-1, len(PROTOCOL))
    parts = 0.05 + 0.9 * (np.arange(200) + 0.5) / 200
    density = np.maximum(parts, 1 - parts) ** -2.0 if fractions == "normalised" else np.ones(200)
    log_density = np.log(density / density.sum())
    given = sampler_input(recipe, PROTOCOL)
    for signal in drawn(recipe, 3)[1]:
        logs = [
            log_direction_density(signal, f * a + (1 - f) * b, *given[3]) + weight - np.log(len(pure) ** 2)
            for a in pure
            for b in pure
            for f, weight in zip(parts, log_density, strict=True)
        ]
        runs = [log_evidence(signal, 2, *given, 256, 24, seed) for seed in range(6)]
        assert np.logaddexp.reduce(runs) - np.log(6) == pytest.approx(np.logaddexp.reduce(logs), abs=0.2)


@pytest.mark.long
def test_posterior_is_calibrated_and_beats_a_worse_choice():
    recipe = Recipe(**SMALL, n_classes=2, noise_range=(0.02, 0.02), noise_steps=1)
    simulated, signals = drawn(recipe, 200, seed=3)
    posterior = class_posterior(signals, recipe, PROTOCOL, n_population=128, n_moves=24, n_repeats=3)
    np.testing.assert_allclose(posterior.probs.sum(axis=1), 1)
    two = simulated.n_compartments == 2
    assert posterior.probs[:, 1].mean() == pytest.approx(two.mean(), abs=0.08)
    right = np.mean((posterior.probs[:, 1] > 0.5) == two)
    found = compare(posterior, np.ones(200, int))
    assert right > 0.7
    assert right == pytest.approx(found.least, abs=0.08)
    assert found.given == pytest.approx(posterior.probs[:, 0].mean(), abs=0.03)
    assert found.least <= found.most + 0.02
    assert found.gap > 5 * found.gap_error > 0
    assert compare(posterior, np.ones(200, int), beside=np.full((200, 2), 0.5)).least == found.least
    misled = compare(posterior, np.ones(200, int), beside=np.tile([1.0, 0.0], (200, 1)))  # but where evidence is strong
    assert found.given < misled.least < found.least
    assert posterior.evidence_std[0] < 1e-9
    assert 0 < posterior.evidence_std[1] < 0.5


def test_same_seed_same_posterior_whatever_the_threads():
    recipe = Recipe(**SMALL, n_classes=2)
    _, signals = drawn(recipe, 20)
    runs = [class_posterior(signals, recipe, PROTOCOL, 32, 4, 2, seed=1).probs for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def test_noise_levels_are_integrated():
    levels, weights = noise_nodes(Recipe(noise_steps=0))
    assert weights.sum() == pytest.approx(1)
    assert weights @ levels**3 == pytest.approx((0.05**4 - 0.01**4) / 4 / 0.04)


def test_wrong_input_is_refused():
    recipe = Recipe(**SMALL)
    with pytest.raises(ValueError, match="n_repeats"):
        class_posterior(np.ones((1, 12)), recipe, PROTOCOL, n_repeats=1)
    with pytest.raises(ValueError, match=r"\(n, 12\)"):
        class_posterior(np.ones((1, 5)), recipe, PROTOCOL)
