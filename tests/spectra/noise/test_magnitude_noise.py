"""Laws of the noise level of magnitudes."""

import numpy as np
import pytest

from mrspec_prep.physics import add_noise
from mrspec_prep.spectra import NoiseModel, estimate_noise
from mrspec_prep.spectra.noise.magnitude_noise import channel_variance, shared_channel_variance, shared_prior
from tests.spectra.conftest import placenta_protocol


def magnitudes(signal, kind, n_coils, sigma=0.05, n_voxels=300):
    """Placenta protocol: mono-exponential voxels with the given signal at b = 0 and the shortest TE."""
    encodings = placenta_protocol()
    clean = signal * np.exp(-2e-3 * encodings.bvalue - (encodings.echo_time - 78) / 50)
    rng = np.random.default_rng(0)
    return encodings, add_noise(np.tile(clean, (n_voxels, 1)), sigma, rng, kind, n_coils)


@pytest.mark.parametrize(("kind", "n_coils"), [("rician", 1), ("nc-chi", 4)])
@pytest.mark.parametrize("signal", [0.0, 0.02, 0.15, 0.4, 2.0])
def test_the_level_of_the_channels_is_found_from_dark_to_bright(kind, n_coils, signal):
    encodings, signals = magnitudes(signal, kind, n_coils)
    found = estimate_noise(signals, encodings, model=NoiseModel(kind, n_coils)).noise_std
    assert found.mean() == pytest.approx(0.05, rel=0.04)


def test_scatter_alone_is_too_low_in_the_dark():
    encodings, signals = magnitudes(0.0, "rician", 1)
    plain = estimate_noise(signals, encodings).noise_std
    assert np.sqrt((plain**2).mean()) == pytest.approx(0.05 * np.sqrt(2 - np.pi / 2), rel=0.05)


def test_bright_magnitudes_scatter_as_their_channels_do():
    squares, power, degrees = np.array([5.0, 20.0]), np.full((2, 1), 1e6), np.array([5])
    np.testing.assert_allclose(channel_variance(squares, power, degrees), [1, 4], rtol=1e-3)


def test_equal_voxels_share_one_level_and_unequal_ones_keep_theirs():
    rng = np.random.default_rng(1)
    degrees = np.full(500, 20.0)
    power = np.full((500, 1), 1e6)
    equal, freedom = shared_channel_variance(rng.chisquare(20, 500), power, np.array([20]))
    assert equal.std() < 0.1
    assert freedom.min() > 100
    levels = np.exp(rng.normal(0, 1, 500))
    squares = levels * rng.chisquare(20, 500)
    unequal, freedom = shared_channel_variance(squares, power, np.array([20]))
    own = squares / degrees
    assert np.corrcoef(np.log(unequal), np.log(levels))[0, 1] > 0.9
    assert np.abs(np.log(unequal / levels)).mean() < np.abs(np.log(own / levels)).mean()
    assert freedom.max() < 30


def test_prior_of_variances_is_recovered():
    rng = np.random.default_rng(2)
    true = 3.0 * 8 / rng.chisquare(8, 20000)
    variance, degrees = shared_prior(true * rng.chisquare(10, 20000), np.full(20000, 10.0))
    assert variance == pytest.approx(3.0, rel=0.05)
    assert degrees == pytest.approx(8.0, rel=0.1)
