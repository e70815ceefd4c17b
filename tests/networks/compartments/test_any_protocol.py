"""The representation is the posterior mean of the tissue, for every protocol; both forms of the network agree."""

import numpy as np
import pytest
import torch

from mrspec_prep.networks.compartments.any_network import AnyProtocolNetwork
from mrspec_prep.networks.compartments.any_protocol import N_FEATURES, noise_levels, protocol_map
from mrspec_prep.networks.compartments.any_training import Pool, Trainer, Training
from mrspec_prep.networks.compartments.calibration import fit_temperature
from mrspec_prep.networks.compartments.coverage import outside, training_range
from mrspec_prep.networks.compartments.merged_network import TYPICAL_LEVEL, merge
from mrspec_prep.networks.compartments.random_protocols import KINDS, random_protocol
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import draw_fractions, draw_tissue, simulate

RECIPE = Recipe(noise_steps=0)


def protocols(kind, n, seed=5):
    rng = np.random.default_rng(seed)
    return [random_protocol(kind, rng) for _ in range(n)]


def whitened_truth(mapping, n, rng):
    """Whitened coefficients of random tissue."""
    classes = rng.integers(1, 5, n)
    fractions = draw_fractions(classes, RECIPE, rng)
    indices = draw_tissue(mapping.basis.axes, (n, 4), RECIPE, rng)
    flat = mapping.basis.whitened_tissue({axis: values.ravel() for axis, values in indices.items()})
    return np.einsum("nc,nck->nk", fractions, flat.reshape(n, 4, -1))


def posterior_mean(signals, mapping, variance):
    gain = mapping.strength / (mapping.strength**2 + variance)
    return (signals @ mapping.project * gain) @ mapping.rotate.T


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_error_of_the_posterior_mean_is_the_spread_it_claims(kind):
    rng = np.random.default_rng(2)
    for protocol in protocols(kind, 3):
        mapping = protocol_map(protocol, RECIPE)
        truth = whitened_truth(mapping, 20000, rng)
        clean = (truth @ mapping.rotate * mapping.strength) @ mapping.project.T
        level = 0.03
        noisy = clean + level / np.sqrt(len(protocol)) * rng.standard_normal(clean.shape)
        error = posterior_mean(noisy, mapping, level**2 / len(protocol)) - truth
        claimed = np.diagonal(mapping.spread(level))
        assert np.mean(np.sum(clean**2, axis=1)) == pytest.approx(1, rel=0.03)
        np.testing.assert_allclose(np.mean(error**2, axis=0)[:10], claimed[:10], rtol=0.08, atol=2e-4)


@pytest.mark.parametrize("kind", list(KINDS))
def test_signals_lie_in_the_span_of_the_functions_and_the_rest_tells_the_noise(kind):
    for protocol in protocols(kind, 4):
        mapping = protocol_map(protocol, RECIPE)
        assert mapping.misfit < 0.002
        if mapping.n_left > 12:
            drawn = simulate(RECIPE, protocol, 2000, np.random.default_rng(1))
            found = noise_levels(drawn.signals @ mapping.project, mapping)
            given = drawn.noise_std * np.sqrt(len(protocol))
            assert np.median(found / given) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("known", [False, True])
def test_training_draws_what_the_simulation_draws(known):
    protocol = protocols("t1-t2", 1)[0]
    mapping = protocol_map(protocol, RECIPE)
    pool = Pool([mapping], RECIPE)
    pool._levels = lambda told, n, rng: rng.uniform(*RECIPE.noise_range, (len(told), n)).astype(np.float32)
    torch.manual_seed(0)
    features, levels, classes, _ = pool.draw(np.zeros(1, int), np.full(1, known), 20000, np.random.default_rng(0))
    drawn = simulate(RECIPE, protocol, 20000, np.random.default_rng(1))
    projected = drawn.signals @ mapping.project
    given = drawn.noise_std * np.sqrt(len(protocol)) if known else noise_levels(projected, mapping)
    given = given if known else np.clip(given, *RECIPE.noise_range)
    gain = mapping.strength / (mapping.strength**2 + (given**2 / len(protocol))[:, None])
    expected = (projected * gain) @ mapping.rotate[: N_FEATURES[2]].T
    part = [0.05, 0.25, 0.5, 0.75, 0.95]  # the tails are heavy: signals of fast decays are small before they are scaled
    low, *_, high = wanted = np.quantile(expected, part, axis=0)
    assert np.all(np.abs(np.quantile(features[0].numpy(), part, axis=0) - wanted) < 0.06 * (high - low) + 1e-4)
    assert np.mean(levels[0].numpy()) == pytest.approx(np.mean(np.log(given / TYPICAL_LEVEL)), abs=0.02)
    assert np.bincount(classes[0].numpy(), minlength=4) == pytest.approx(5000, rel=0.06)


def test_noise_that_coefficients_cannot_tell_is_refused():
    mapping = protocol_map(protocols("t2", 1)[0], RECIPE)
    with pytest.raises(ValueError, match="got m0"):
        Pool([mapping], Recipe(noise="m0", noise_steps=0))


def test_plain_products_of_merged_weights_are_the_network():
    protocol = protocols("t1-t2", 1)[0]
    mapping = protocol_map(protocol, RECIPE)
    torch.manual_seed(3)
    network = AnyProtocolNetwork(N_FEATURES[2], len(mapping.describe(True)), width=24, n_mixed=2, n_embedded=8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.15)
    drawn = simulate(RECIPE, protocol, 50, np.random.default_rng(1))
    level = (drawn.noise_std * np.sqrt(len(protocol))).astype(np.float32)
    state = {name: value.numpy() for name, value in network.state_dict().items()} | {"temperature": np.zeros((2, 7))}
    found, _ = merge(state, mapping, True, (0.004, 0.2)).probabilities(drawn.signals, level)
    gain = mapping.strength / (mapping.strength**2 + (level**2 / len(protocol))[:, None])
    features = (drawn.signals @ mapping.project * gain) @ mapping.rotate[: N_FEATURES[2]].T
    inputs = [features, np.log(level / TYPICAL_LEVEL), mapping.describe(True)]
    with torch.no_grad():
        logits = network(*(torch.as_tensor(np.asarray(value, np.float32))[None] for value in inputs))
    np.testing.assert_allclose(found, torch.softmax(logits[0], dim=-1).numpy(), atol=2e-3)


def test_a_training_stopped_and_taken_up_again_is_the_same(tmp_path):
    pool = Pool([protocol_map(protocol, RECIPE) for protocol in protocols("t2", 20)], RECIPE)
    settings = Training(40, n_protocols=4, n_signals=64)
    whole, first, second = (Trainer(pool, settings, width=16, n_mixed=1, n_embedded=4) for _ in range(3))
    expected = whole.run().state_dict()
    first.run(until=20)
    first.save(tmp_path / "half.pt")
    second.load(tmp_path / "half.pt")
    found = second.run().state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    other = Trainer(pool, Training(41, n_protocols=4, n_signals=64), width=16, n_mixed=1, n_embedded=4)
    with pytest.raises(ValueError, match="n_steps"):
        other.load(tmp_path / "half.pt")


@pytest.mark.long
def test_a_temperature_undoes_logits_that_are_too_sure():
    pool = Pool([protocol_map(protocol, RECIPE) for protocol in protocols("t2", 20)], RECIPE)
    trainer = Trainer(pool, Training(60, n_protocols=4, n_signals=256, averaging=0.5), width=16, n_mixed=1)
    network = trainer.run()
    before = fit_temperature(network, pool, n_rounds=6)
    with torch.no_grad():
        for parameter in (network.layers[-1].weight, network.layers[-1].bias):
            parameter.mul_(3)
        network.layers[-1].mixing.weight[-4:].mul_(3)
        network.layers[-1].mixing.bias[-4:].mul_(3)
    after = fit_temperature(network, pool, n_rounds=6)
    levels, told = np.log([0.015, 0.03]) - np.log(TYPICAL_LEVEL), np.median(pool.information)
    powers = np.stack([levels**k for k in range(5)] + [levels * 0 + told, told * levels], axis=1)
    np.testing.assert_allclose((after - before) @ powers.T, np.log(3), atol=0.03)


def test_coverage_holds_what_it_was_made_of_and_not_the_rest():
    maps = [protocol_map(protocol, RECIPE) for protocol in protocols("t2", 300)]
    covered = training_range(maps)
    assert np.mean([outside(mapping, covered) == "" for mapping in maps]) > 0.97
    short = protocol_map(protocols("t2", 1)[0].take(np.arange(3)), RECIPE)
    assert "3 encodings" in outside(short, covered)


@pytest.mark.parametrize(("kind", "axes"), list(KINDS.items()))
def test_random_protocols_weight_what_their_kind_says(kind, axes):
    for protocol in protocols(kind, 50):
        assert protocol_map(protocol, RECIPE).basis.axes == axes
