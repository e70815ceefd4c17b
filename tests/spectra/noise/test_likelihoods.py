"""Laws of the noise densities: they integrate to one, have the moments they claim, and end in the Gaussian."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive
from scipy.stats import norm, rice

from mrspec_prep.spectra.noise.likelihoods import (
    NoiseModel,
    bessel_ratio,
    bessel_table,
    expected_magnitude,
    knee,
    log_bessel,
    log_density,
    magnitude_variance,
    ratio,
    sum_log_bessel,
)

COILS = (1, 2, 4, 32)


@pytest.mark.parametrize("n_coils", COILS)
def test_bessel_functions_agree_with_scipy_where_scipy_has_them(n_coils):
    z = np.geomspace(1e-3, 1e6, 2000)
    upper, lower = ive(n_coils, z), ive(n_coils - 1, z)
    seen = upper > 1e-250
    np.testing.assert_allclose(bessel_ratio(z, n_coils)[seen], upper[seen] / lower[seen], atol=1e-11)
    rise = np.diff(log_bessel(z[seen], n_coils))
    wanted = np.diff(np.log(lower[seen]) - (n_coils - 1) * np.log(z[seen]) + z[seen])
    np.testing.assert_allclose(rise, wanted, atol=1e-7)


@pytest.mark.parametrize("n_coils", (1, 3, 64))
def test_no_argument_is_too_small_or_too_large(n_coils):
    z = np.array([0.0, 1e-300, 1e-12, 1e12, 1e300, np.inf])
    found, logs = bessel_ratio(z, n_coils), log_bessel(z, n_coils)
    assert np.isfinite(found).all()
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(found, [0, 0, 0, 1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(logs[:3], 0, atol=1e-12)
    ratios = np.empty(len(z))
    total = sum_log_bessel(z, 1.0, n_coils, knee(n_coils), bessel_table(n_coils), ratios)
    assert np.isfinite(total)
    np.testing.assert_allclose(ratios, found, atol=1e-12)


def test_compiled_and_plain_functions_are_the_same():
    z = np.random.default_rng(0).uniform(0, 500, 300)
    ratios = np.empty(300)
    total = sum_log_bessel(z, 1.0, 2, knee(2), bessel_table(2), ratios)
    assert total == pytest.approx(log_bessel(z, 2).sum(), rel=1e-12)
    assert ratios[7] == ratio(z[7], 2, bessel_table(2)) == pytest.approx(bessel_ratio(z[7], 2), rel=1e-13)


@pytest.mark.parametrize("n_coils", COILS)
@pytest.mark.parametrize("signal", [0.0, 0.7, -5.0])
def test_density_is_one_in_all_and_has_the_moments_claimed(n_coils, signal):
    sigma = 1.3

    def moment(power):
        return quad(lambda v: v**power * np.exp(log_density(v, signal, sigma, n_coils)), 0, 40, limit=200)[0]

    assert moment(0) == pytest.approx(1, abs=1e-8)
    assert moment(1) == pytest.approx(expected_magnitude(signal, sigma, n_coils), rel=1e-7)
    variance = moment(2) - moment(1) ** 2
    assert variance == pytest.approx(sigma**2 * magnitude_variance(abs(signal) / sigma, n_coils), rel=1e-5)


def test_one_coil_is_rician():
    v = np.linspace(0.1, 8, 50)
    np.testing.assert_allclose(log_density(v, 2.0, 0.7), rice.logpdf(v, 2.0 / 0.7, scale=0.7), rtol=1e-8)


def test_a_strong_signal_makes_it_gaussian():
    v = np.linspace(997, 1003, 21)
    np.testing.assert_allclose(log_density(v, 1000.0, 1.0), norm.logpdf(v, 1000.0, 1.0), atol=4e-3)
    assert expected_magnitude(1000.0, 1.0, 1) == pytest.approx(1000.0005, abs=1e-6)
    np.testing.assert_allclose(magnitude_variance(np.array([1e3, 1e6]), 4), 1, atol=1e-5)


@pytest.mark.parametrize("n_coils", (1, 8, 64))
def test_moments_have_no_step_where_series_take_over(n_coils):
    switch = 35 * np.sqrt(n_coils)
    theta = np.array([switch * (1 - 1e-9), switch * (1 + 1e-9)])
    assert np.ptp(expected_magnitude(theta, 1.0, n_coils)) < 2e-4
    assert np.ptp(magnitude_variance(theta, n_coils)) < 1e-3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distribution": "poisson"}, "must be one of"),
        ({"distribution": "nc-chi", "n_coils": 0}, "between 1 and 64"),
        ({"distribution": "rician", "n_coils": 2}, "use nc-chi"),
        ({"distribution": "student-t"}, "needs the degrees of freedom"),
        ({"distribution": "student-t", "degrees_of_freedom": -1.0}, "> 0"),
    ],
)
def test_wrong_models_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        NoiseModel(**settings)
