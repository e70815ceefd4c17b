"""Pooling of neighbours: the noise falls within a tissue, borders stay."""

import numpy as np
import pytest

from mrspec_prep.networks.compartments.paper_protocol import paper_protocol
from mrspec_prep.networks.compartments.pooling import pool_signals
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import simulate

CLEAN = simulate(Recipe(noise_range=(1e-9, 1e-9)), paper_protocol(), 40, np.random.default_rng(0)).signals.astype(float)


def image(labels, noise_std, rng, scale=1.0):
    """Noisy signals of a label image, and the clean ones."""
    clean = CLEAN[labels.ravel()]
    return scale * (clean + noise_std * rng.standard_normal(clean.shape)), clean


def test_noise_falls_to_what_is_said_in_equal_tissue():
    labels = np.zeros((7, 7, 7), int)
    signals, clean = image(labels, 0.005, np.random.default_rng(1), scale=30.0)
    pooled, std, n_pooled = pool_signals(signals, np.ones(labels.shape, bool), 0.005 * 30)
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    inner = inner.ravel()
    found = np.sqrt(np.mean((pooled - clean)[inner] ** 2))
    assert found == pytest.approx(std[inner].mean(), rel=0.12)
    assert found < 0.3 * 0.005
    assert n_pooled[inner].mean() > 18
    assert n_pooled[~inner].mean() < n_pooled[inner].mean()
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1)


def test_a_border_stays():
    distance = np.linalg.norm(CLEAN[0] - CLEAN, axis=1)
    other = int(np.argmax(distance > 0.1))
    labels = np.zeros((6, 6, 6), int)
    labels[3:] = other
    signals, clean = image(labels, 0.005, np.random.default_rng(2))
    pooled, _, n_pooled = pool_signals(signals, np.ones(labels.shape, bool), 0.005)
    before, after = (np.linalg.norm(found - clean, axis=1).reshape(labels.shape) for found in (signals, pooled))
    assert (after[2:4] < before[2:4]).mean() > 0.99
    at_border = n_pooled.reshape(labels.shape)[2:4, 1:-1, 1:-1]
    assert 10 < at_border.mean() < 18.01


def test_voxels_outside_the_mask_and_alone_are_left_alone():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[3, 3, 3] = mask[2, 3, 3] = True
    signals, _ = image(np.zeros(3, int), 0.005, np.random.default_rng(3))
    pooled, std, n_pooled = pool_signals(signals, mask, 0.005)
    norm = np.linalg.norm(signals[0])
    np.testing.assert_allclose(pooled[0], signals[0] / norm)
    assert std[0] == pytest.approx(0.005 / norm)
    assert n_pooled[0] == pytest.approx(1)
    assert n_pooled[1:].min() > 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"noise_std": 0.0}, "noise_std"),
        ({"mask": np.ones((2, 2), bool)}, "mask"),
        ({"signals": np.zeros((8, 4))}, "no signal"),
    ],
)
def test_wrong_input_is_refused(change, named):
    given = {"signals": np.ones((8, 4)), "mask": np.ones((2, 2, 2), bool), "noise_std": 1.0} | change
    with pytest.raises(ValueError, match=named):
        pool_signals(**given)
