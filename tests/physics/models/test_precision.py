"""Least standard errors: those that least squares reaches, none where the protocol is blind."""

import numpy as np
import pytest

from mrspec_prep.networks import fit_maps
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS
from mrspec_prep.physics.models.precision import least_errors

SNR, N = 100.0, 1500
SHELLS = np.repeat([0.0, 1000, 2000], [6, 30, 60])


def directions(n):
    vectors = np.random.default_rng(0).standard_normal((n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


PROTOCOLS = {
    "msdki": Encodings(bvalue=np.linspace(0, 2500, 11)),
    "ball-stick": Encodings(bvalue=SHELLS, direction=directions(96) * (SHELLS > 0)[:, None]),
    "t2": Encodings(echo_time=np.linspace(10, 300, 12)),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_least_squares_scatters_as_much_and_no_less(name):
    model, encodings = MODELS[name], PROTOCOLS[name]
    errors = least_errors(model, encodings, SNR)
    values = {key: np.full(N, value) for key, (value, _) in errors.items()} | {"s0": np.ones(N)}
    values |= {f"direction_{axis}": np.full(N, part) for axis, part in zip("xyz", (0.36, 0.48, 0.8), strict=True)}
    clean = model.signal(encodings, values)
    signals = clean + np.random.default_rng(1).normal(0, 1 / SNR, clean.shape)
    found = fit_maps(signals, encodings, name, "lsq", 1 / SNR, distribution="gaussian").maps
    for key, (_, error) in errors.items():
        assert 0.9 < found[key].std() / error < 1.15, key


def test_errors_fall_with_the_signal_to_noise_ratio():
    one, ten = (least_errors(MODELS["msdki"], PROTOCOLS["msdki"], snr)["kurtosis"][1] for snr in (20, 200))
    assert one == pytest.approx(10 * ten)


def test_a_protocol_without_small_b_values_is_blind_to_perfusion():
    errors = least_errors(MODELS["ivim"], Encodings(bvalue=np.array([0.0, 750, 1500, 2250, 3000])), 1000.0)
    assert errors["pseudo_diffusivity"][1] > 295
