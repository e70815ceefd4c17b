"""Laws of the intervals of least squares: those of scipy's cut-off normal; within bounds; cover as stated."""

import numpy as np
import pytest
from scipy.stats import truncnorm

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.fitting.intervals import cut_normal
from mrspec_prep.networks.result import LEVELS
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS


def test_a_cut_off_normal_has_the_quantiles_of_scipy():
    low = np.array([-np.inf, -1.0, 0.5, 3.0, 12.0, -20.0])
    high = np.array([np.inf, 0.3, np.inf, 4.0, 60.0, -15.0])
    truth = truncnorm.ppf(np.array(LEVELS), low[:, None], high[:, None])
    np.testing.assert_allclose(cut_normal(LEVELS, low, high), truth, atol=1e-7)


def test_a_bound_far_off_leaves_an_interval_at_the_bound():
    found = cut_normal(LEVELS, np.array([500.0]), np.array([600.0]))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["adc-t2", "t2-biexp"])
def test_intervals_hold_the_truth_as_often_as_stated(name):
    rng, model = np.random.default_rng(0), MODELS[name]
    n, table = 2000, Encodings(bvalue=np.tile([0.0, 300, 800, 1500], 3), echo_time=np.repeat([60.0, 100.0, 140.0], 4))
    if name == "t2-biexp":
        table = Encodings(echo_time=np.arange(8.0, 264, 8))
    tissue = {"diffusivity": 1.0, "t2": 80.0, "short_fraction": 0.3, "t2_short": 20.0, "t2_long": 100.0, "s0": 100.0}
    truth = {key: np.full(n, tissue[key]) for key in model.names}
    noisy = add_noise(model.signal(table, truth), 0.5, rng)
    result = fit_maps(noisy, table, name, noise_std=0.5)
    for parameter in model.parameters:
        found = result.intervals[parameter.name]
        assert (np.diff(found, axis=1) > 0).all()
        assert (found >= parameter.low).all() and (found <= parameter.high).all()
        x = truth[parameter.name]
        assert abs(np.mean((found[:, 1] <= x) & (x <= found[:, 2])) - 0.683) < 0.05
        assert abs(np.mean((found[:, 0] <= x) & (x <= found[:, 3])) - 0.95) < 0.04


def test_a_parameter_at_its_bound_has_an_interval_inside():
    rng, n = np.random.default_rng(1), 300
    table = Encodings(bvalue=np.linspace(0, 2500, 11))
    truth = {"s0": np.ones(n), "diffusivity": np.ones(n), "kurtosis": np.zeros(n)}
    noisy = add_noise(MODELS["msdki"].signal(table, truth), 0.02, rng)
    result = fit_maps(noisy, table, noise_std=0.02)
    held, found = result.maps["kurtosis"] == 0, result.intervals["kurtosis"]
    assert 0.2 < held.mean() < 0.8
    assert (found > 0).all() and (found[held, 0] < 0.05).all()
    assert np.median(found[held, 3]) < np.median(found[~held, 3])
