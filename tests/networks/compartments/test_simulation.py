"""The simulation holds the paper's law: Eq. 1, its ranges, its noise, unit norm."""

import numpy as np
import pytest

from mrspec_prep.networks.compartments.paper_protocol import paper_protocol
from mrspec_prep.networks.compartments.recipe import FRACTIONS, NOISES, Recipe
from mrspec_prep.networks.compartments.simulation import simulate, weighted_axes
from mrspec_prep.physics import Encodings, simulate_signals

PROTOCOL = paper_protocol()


def pure(simulation, i, protocol=PROTOCOL):
    """Noise-free signal of row i by the package's kernels."""
    n = simulation.n_compartments[i]
    tissue = {axis: simulation.tissue[axis][i, :n][None] for axis in ("t2", "t1")}
    return simulate_signals("t1-t2", protocol, tissue, simulation.fractions[i, :n][None])[0]


def test_signals_are_equation_1_when_noise_vanishes():
    drawn = simulate(Recipe(noise_range=(1e-7, 1e-7)), PROTOCOL, 40, np.random.default_rng(0))
    for i in range(40):
        expected = pure(drawn, i)
        np.testing.assert_allclose(drawn.norm[i], np.linalg.norm(expected), rtol=1e-5)
        np.testing.assert_allclose(drawn.signals[i], expected / np.linalg.norm(expected), atol=2e-6)


@pytest.mark.parametrize("fractions", FRACTIONS)
def test_ranges_classes_and_norm(fractions):
    recipe = Recipe(fractions=fractions)
    drawn = simulate(recipe, PROTOCOL, 20_000, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(drawn.signals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(drawn.fractions.sum(axis=1), 1)
    held = np.arange(4) < drawn.n_compartments[:, None]
    assert drawn.fractions[held].min() >= 0.05 - 1e-12
    assert (drawn.fractions[~held] == 0).all()
    assert set(np.unique(drawn.tissue["t1"])) == set(np.arange(50.0, 5001, 50))
    assert set(np.unique(drawn.tissue["t2"])) == set(np.arange(5.0, 501, 5))
    np.testing.assert_allclose(np.bincount(drawn.n_compartments)[1:] / 20_000, 0.25, atol=0.015)
    np.testing.assert_allclose(np.unique(drawn.noise_level), [0.01, 0.02, 0.03, 0.04, 0.05])


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_a_fraction_of_what_its_name_says(noise):
    recipe = Recipe(noise=noise, noise_range=(0.05, 0.05), t1=(1000, 1000, 50), t2=(80, 80, 5))
    drawn = simulate(recipe, PROTOCOL, 8000, np.random.default_rng(2), np.ones(8000, int))
    clean = pure(drawn, 0)
    residual = drawn.signals * drawn.norm[:, None] - clean
    reference = PROTOCOL.reference()[0]
    units = {
        "rms": np.sqrt(np.mean(clean**2)),
        "m0": 1.0,
        "maximum": np.abs(clean).max(),
        "mean": np.abs(clean).mean(),
        "first": abs(clean[reference]),
        "multiplicative": np.abs(clean),
    }
    np.testing.assert_allclose(residual.std(axis=0), 0.05 * units[noise] * np.ones(64), rtol=0.04)
    if noise != "multiplicative":
        np.testing.assert_allclose(drawn.noise_std * drawn.norm, 0.05 * units[noise], rtol=1e-5)


def test_fractions_laws_differ_as_they_should():
    """Uniform over the simplex: the variance of Dirichlet(1); normalised uniform numbers lie nearer to equal parts."""
    n = 40_000
    three = np.full(n, 3)
    spread = {}
    for law in FRACTIONS:
        recipe = Recipe(fractions=law, smallest_fraction=0.05)
        spread[law] = simulate(recipe, PROTOCOL, n, np.random.default_rng(3), three).fractions[:, 0].var()
    np.testing.assert_allclose(spread["simplex"], 0.85**2 * 2 / (9 * 4), rtol=0.03)
    assert spread["normalised"] < 0.8 * spread["simplex"]


def test_same_seed_same_signals():
    a, b = (simulate(Recipe(), PROTOCOL, 50, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a.signals, b.signals)


def test_any_protocol_and_constraints():
    echoes = Encodings(echo_time=np.arange(10.0, 200, 10))
    assert weighted_axes(echoes) == ("t2",)
    assert set(simulate(Recipe(), echoes, 5, np.random.default_rng(0)).tissue) == {"t2"}
    whole = Encodings(echo_time=[10, 50, 10, 10.0], inversion_time=[50, 50, 900, 50.0], bvalue=[0, 0, 0, 1000.0])
    drawn = simulate(Recipe(t2_below_t1=True), whole, 2000, np.random.default_rng(0))
    assert set(drawn.tissue) == {"t1", "t2", "diffusivity"}
    assert (drawn.tissue["t2"] <= drawn.tissue["t1"]).all()
    with pytest.raises(ValueError, match="cannot be told apart"):
        simulate(Recipe(), Encodings(echo_time=[10.0, 10.0]), 5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"noise": "snr"}, "noise"),
        ({"fractions": "equal"}, "fractions"),
        ({"t1": (0, 5, 1)}, "t1"),
        ({"smallest_fraction": 0.25}, "smallest_fraction"),
        ({"noise_range": (0.05, 0.01)}, "noise_range"),
        ({"n_classes": 1}, "n_classes"),
    ],
)
def test_wrong_recipes_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        Recipe(**settings)


def test_recipe_survives_a_file():
    recipe = Recipe(noise="m0", t2_below_t1=True)
    assert Recipe.from_dict({k: list(v) if isinstance(v, tuple) else v for k, v in recipe.as_dict().items()}) == recipe
    with pytest.raises(ValueError, match="unknown setting"):
        Recipe.from_dict({"colour": 1})
