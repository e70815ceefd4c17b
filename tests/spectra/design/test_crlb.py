import numpy as np
import pytest
from scipy.optimize import least_squares

from mrspec_prep.physics import Encodings
from mrspec_prep.physics.kernels import signal
from mrspec_prep.spectra.design.crlb import component_bound, separable_factor, spread_components, widest_factor

ECHOES = Encodings(echo_time=10.0 * np.arange(1, 33))


def maximum_likelihood(kernel, encodings, start, data):
    """Least squares over log amplitudes and log positions, from the truth."""
    axes, k = list(start), len(next(iter(start.values())))

    def residual(parameters, signals):
        blocks = np.exp(parameters.reshape(-1, k))
        return signal(kernel, encodings, **dict(zip(axes, blocks[1:], strict=True))) @ blocks[0] - signals

    first = np.concatenate([np.log(np.full(k, 1 / k)), *(np.log(v) for v in start.values())])
    return np.array([least_squares(residual, first, args=(signals,), method="lm").x for signals in data])


@pytest.mark.parametrize(
    ("kernel", "encodings", "positions", "snr"),
    [
        ("t2", ECHOES, {"t2": [70.0]}, 50),
        ("t2", ECHOES, {"t2": [30.0, 180.0]}, 200),
        (
            "adc-t2",
            Encodings(bvalue=np.tile([0, 0, 500, 1000, 2000], 4), echo_time=np.repeat([60, 90, 120, 150], 5)),
            {"diffusivity": [0.5, 3.0], "t2": [60.0, 200.0]},
            200,
        ),
    ],
)
def test_maximum_likelihood_reaches_the_bound(kernel, encodings, positions, snr):
    positions = {axis: np.array(values) for axis, values in positions.items()}
    k = len(next(iter(positions.values())))
    bound = component_bound(kernel, encodings, positions, snr)
    clean = signal(kernel, encodings, **positions) @ np.full(k, 1 / k)
    noise = clean[encodings.reference()].mean() / snr
    n = 250
    data = clean + noise * np.random.default_rng(0).standard_normal((n, len(clean)))
    fits = maximum_likelihood(kernel, encodings, positions, data)
    expected = np.sqrt(np.diag(bound.covariance))
    np.testing.assert_allclose(fits.std(axis=0, ddof=1), expected, rtol=4 / np.sqrt(2 * n))
    fractions = np.exp(fits[:, :k]) / np.exp(fits[:, :k]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fractions.std(axis=0), bound.fraction_errors, rtol=4 / np.sqrt(2 * n), atol=1e-9)


def test_errors_fall_with_the_noise_and_with_repeats():
    few = component_bound("t2", ECHOES, {"t2": [40.0, 150.0]}, 50)
    clear = component_bound("t2", ECHOES, {"t2": [40.0, 150.0]}, 100)
    many = component_bound("t2", Encodings(echo_time=np.tile(ECHOES.echo_time, 4)), {"t2": [40.0, 150.0]}, 50)
    np.testing.assert_allclose(clear.position_errors["t2"], few.position_errors["t2"] / 2, rtol=1e-5)
    np.testing.assert_allclose(many.position_errors["t2"], few.position_errors["t2"] / 2, rtol=1e-5)
    assert few.worst == pytest.approx(2 * clear.worst, rel=1e-5)


def test_what_is_not_encoded_has_no_bound():
    encodings = Encodings(bvalue=[0, 500, 1000, 1500], echo_time=[80.0] * 4)
    bound = component_bound("adc-t2", encodings, {"diffusivity": [1.0], "t2": [80.0]}, 50)
    assert np.isinf(bound.position_errors["t2"]).all()
    assert bound.position_errors["diffusivity"][0] < 0.1
    two_echoes = Encodings(echo_time=[30.0, 60.0])
    assert np.isinf(component_bound("t2", two_echoes, {"t2": [30.0, 90.0]}, 50).worst)


def test_components_are_told_apart_from_a_factor_that_falls_with_the_noise():
    ranges = {"t2": (10.0, 320.0)}
    factors = [separable_factor("t2", ECHOES, ranges, "t2", snr) for snr in (20, 80, 320)]
    assert factors[0] > factors[1] > factors[2] > 1
    assert separable_factor("t2", Encodings(echo_time=[30.0, 60.0]), ranges, "t2", 100) == np.inf


def test_spread_components_fill_the_range_evenly():
    placed = spread_components({"t2": (10.0, 1000.0)}, 2)["t2"]
    np.testing.assert_allclose(placed, [10 ** (1.5), 10 ** (2.5)])


def test_components_are_sought_as_far_apart_as_the_grid_holds():
    """Four echoes from 60 to 160 ms weigh a narrow range: components told apart lie beyond it."""
    echoes, ranges = Encodings(echo_time=np.repeat([60.0, 90.0, 120.0, 160.0], 15)), {"t2": (60.0, 160.0)}
    assert separable_factor("t2", echoes, ranges, "t2", 20) == np.inf
    factor = separable_factor("t2", echoes, ranges, "t2", 20, (12.0, 800.0))
    assert 160 / 60 < factor < widest_factor(ranges["t2"], (12.0, 800.0)) == pytest.approx(800 / 12)
    assert separable_factor("t2", echoes, ranges, "t2", 1, (12.0, 800.0)) == np.inf
