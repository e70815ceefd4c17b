"""Laws of the model table: one equation for arrays, tensors and derivatives; bounds that hold the starts."""

import numpy as np
import pytest
import torch

from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS, Parameter, model_named


def encodings(rng, n=24):
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    bvalue = np.tile([0.0, 200.0, 1000.0, 2000.0], n // 4)
    times = {"echo_time": rng.uniform(20, 200, n), "inversion_time": rng.uniform(20, 3000, n)}
    return Encodings(bvalue=bvalue, repetition_time=5000.0, direction=direction, **times)


def random_values(model, rng, n=5):
    inner = [rng.uniform(0.2, 0.8, n) * (min(p.high, 500.0) - p.low) + p.low for p in model.parameters]
    return np.stack(inner, axis=1)


@pytest.mark.parametrize("name", MODELS)
def test_the_jacobian_is_the_slope_of_the_signal(name):
    rng, model, step = np.random.default_rng(0), MODELS[name], 1e-6
    table, values = encodings(rng), random_values(MODELS[name], rng)
    signals, derivatives = model.jacobian(table, values)
    np.testing.assert_allclose(signals, model.signal(table, dict(zip(model.names, values.T, strict=True))), rtol=1e-12)
    for p in range(len(model.names)):
        shift = step * np.abs(values[:, [p]]) * (np.arange(len(model.names)) == p)
        up, down = (model.jacobian(table, values + sign * shift)[0] for sign in (1, -1))
        slope = (up - down) / (2 * step * np.abs(values[:, [p]]))
        np.testing.assert_allclose(derivatives[p], slope, atol=1e-6 * (np.abs(slope).max() + np.abs(signals).max()))


@pytest.mark.parametrize("name", MODELS)
def test_tensors_and_arrays_give_the_same_signal(name):
    rng, model = np.random.default_rng(1), MODELS[name]
    table, values = encodings(rng), random_values(MODELS[name], rng)
    arrays = dict(zip(model.names, values.T, strict=True))
    tensors = {key: torch.tensor(value) for key, value in arrays.items()}
    np.testing.assert_allclose(model.signal(table, tensors).numpy(), model.signal(table, arrays), rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_s0_is_the_signal_of_the_unweighted_volume(name):
    model = MODELS[name]
    values = dict(zip(model.names, random_values(model, np.random.default_rng(2)).T, strict=True))
    unweighted = Encodings(bvalue=[0.0], echo_time=[0.0], inversion_time=[1e9], direction=np.zeros((1, 3)))
    np.testing.assert_allclose(model.signal(unweighted, values)[:, 0], values["s0"], rtol=1e-12)


def test_a_parameter_out_of_order_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Parameter("t2", "ms", 10.0, 1.0)
    with pytest.raises(ValueError, match="starts of t2"):
        Parameter("t2", "ms", 1.0, 10.0, (20.0,))
    with pytest.raises(ValueError, match="unknown model 'dki'; known: msdki"):
        model_named("dki")


def test_msdki_says_where_it_turns_up():
    table = Encodings(bvalue=[0.0, 2500.0])
    valid = MODELS["msdki"].valid(table, diffusivity=np.array([1.0, 1.0]), kurtosis=np.array([1.1, 1.3]))
    assert valid.tolist() == [True, False]
