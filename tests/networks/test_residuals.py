"""Residuals are 1 where model and noise explain the signals, more where they do not."""

import numpy as np
import pytest

from mrspec_prep.networks import fit_maps
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

N = 400
TABLE = Encodings(bvalue=np.repeat([0, 500, 1000, 1500, 2000, 2500], 3).astype(float))


def voxels(model, distribution, **tissue):
    shape = {name: np.full(N, value) for name, value in tissue.items()}
    clean = MODELS[model].signal(TABLE, {"s0": np.ones(N), **shape})
    return add_noise(clean, 0.05, np.random.default_rng(3), distribution)


@pytest.mark.parametrize("distribution", ["gaussian", "rician"])
def test_one_where_the_model_holds_also_near_the_noise(distribution):
    signals = voxels("msdki", distribution, diffusivity=2.2, kurtosis=0.2)
    found = fit_maps(signals, TABLE, "msdki", noise_std=0.05, distribution=distribution).residual
    assert abs(np.sqrt((found**2).mean()) - 1) < 0.07


def test_more_where_it_does_not():
    signals = voxels("msdki", "gaussian", diffusivity=1.0, kurtosis=1.5)
    right, wrong = (fit_maps(signals, TABLE, model, noise_std=0.05).residual for model in ("msdki", "adc"))
    assert np.median(wrong) > 2 * np.median(right)


def test_nothing_is_said_without_an_encoding_to_spare():
    table = TABLE.take([0, 3, 6])
    signals = voxels("msdki", "gaussian", diffusivity=1.0, kurtosis=1.0)[:, [0, 3, 6]]
    assert fit_maps(signals, table, "msdki", noise_std=0.05).residual is None
