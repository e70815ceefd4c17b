import numpy as np
import pytest

from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix, simulate_signals

ENCODINGS = Encodings(bvalue=[0, 0, 500, 1000, 0, 500], echo_time=[60, 60, 60, 60, 100, 100])


def test_one_compartment_is_the_kernel():
    grid = Grid(diffusivity=[1.0, 2.0], t2=[50.0, 80.0])
    signals = simulate_signals("adc-t2", ENCODINGS, grid.bins())
    assert np.allclose(signals, kernel_matrix("adc-t2", ENCODINGS, grid).T, rtol=1e-14)


def test_mixture_is_the_weighted_sum_of_its_parts():
    parameters = {"diffusivity": np.array([[1.0, 3.0]]), "t2": np.array([[50.0, 200.0]])}
    mixed = simulate_signals("adc-t2", ENCODINGS, parameters, np.array([[0.3, 0.7]]), s0=100.0)
    pure = simulate_signals("adc-t2", ENCODINGS, {"diffusivity": np.array([1.0, 3.0]), "t2": np.array([50.0, 200.0])})
    assert np.allclose(mixed[0], 100 * (0.3 * pure[0] + 0.7 * pure[1]), rtol=1e-14)


def test_equal_parts_by_default_and_scalars_broadcast():
    parameters = {"diffusivity": np.array([[1.0, 3.0]]), "t2": 80.0}
    halves = simulate_signals("adc-t2", ENCODINGS, parameters, np.full((1, 2), 0.5))
    assert np.allclose(simulate_signals("adc-t2", ENCODINGS, parameters), halves, rtol=1e-14)


def test_s0_scales_each_voxel():
    parameters = {"diffusivity": np.ones(3), "t2": np.full(3, 70.0)}
    s0 = np.array([1.0, 10.0, 0.0])
    signals = simulate_signals("adc-t2", ENCODINGS, parameters, s0=s0)
    assert np.allclose(signals, s0[:, None] * signals[:1], rtol=1e-14)


def test_inversion_recovery_keeps_its_sign():
    signals = simulate_signals("t1", Encodings(inversion_time=[10.0, 5000.0]), {"t1": np.array([900.0])})
    assert signals[0, 0] < 0 < signals[0, 1]


@pytest.mark.parametrize("kind", ["gaussian", "rician", "nc-chi"])
def test_same_generator_state_same_noise(kind):
    signals = np.full((5, 6), 3.0)
    first, second = (add_noise(signals, 0.5, np.random.default_rng(3), kind, n_coils=4) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == signals.shape
    assert not np.array_equal(first, add_noise(signals, 0.5, np.random.default_rng(4), kind, n_coils=4))


@pytest.mark.parametrize("kind", ["gaussian", "rician", "nc-chi"])
def test_no_noise_leaves_the_magnitude(kind):
    signals = np.linspace(0, 2, 12)
    assert np.allclose(add_noise(signals, 0.0, np.random.default_rng(0), kind, n_coils=3), signals)


N = 200_000


@pytest.mark.parametrize("amplitude", [0.0, 1.0, 3.0, 20.0])
def test_power_of_magnitude_noise(amplitude):
    rng = np.random.default_rng(11)
    signals = np.full(N, amplitude)
    rician = add_noise(signals, 2.0, rng, "rician")
    coils = add_noise(signals, 2.0, rng, "nc-chi", n_coils=4)
    # E[m^2] = A^2 + 2 L sigma^2, whatever A; its standard error is 2 sigma sqrt(A^2 + L sigma^2) / sqrt(n)
    for magnitude, n_coils in ((rician, 1), (coils, 4)):
        error = 2 * 2.0 * np.sqrt(amplitude**2 + n_coils * 4.0) / np.sqrt(N)
        assert abs(np.mean(magnitude**2) - (amplitude**2 + 2 * n_coils * 4.0)) < 4 * error


def test_noise_alone_is_rayleigh():
    magnitude = add_noise(np.zeros(N), 2.0, np.random.default_rng(5), "rician")
    assert abs(magnitude.mean() - 2.0 * np.sqrt(np.pi / 2)) < 0.02
    assert abs(magnitude.std() - 2.0 * np.sqrt(2 - np.pi / 2)) < 0.02


def test_noise_std_broadcasts_over_voxels():
    noise_std = np.array([[0.1], [1.0], [10.0]])
    noisy = add_noise(np.zeros((3, N // 4)), noise_std, np.random.default_rng(6))
    assert np.allclose(noisy.std(axis=1), noise_std[:, 0], rtol=0.02)


def test_unknown_kind_lists_the_known_ones():
    with pytest.raises(ValueError, match="gaussian, rician, nc-chi"):
        add_noise(np.zeros(2), 1.0, np.random.default_rng(0), "poisson")
