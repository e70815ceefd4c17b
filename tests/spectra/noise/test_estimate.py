import numpy as np
import pytest

from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import estimate_noise, fit_nnls
from mrspec_prep.spectra.noise.estimate import effective_parameters
from tests.spectra.conftest import placenta_problem


@pytest.fixture(scope="module")
def many():
    return placenta_problem((20, 20), 400, seed=4)


@pytest.mark.parametrize("method", ["b0-repeats", "residual"])
def test_noise_is_recovered(many, method):
    estimate = estimate_noise(many.signals, many.encodings, method, many.kernel)
    variance = np.mean(estimate.noise_std**2)
    assert abs(variance / many.noise_std**2 - 1) < 0.08
    assert estimate.method == method and estimate.note
    # the stated degrees of freedom explain the scatter of the estimates
    scatter = np.var(estimate.noise_std**2) / many.noise_std**4
    assert scatter == pytest.approx(2 / np.mean(estimate.degrees_of_freedom), rel=0.4)


def test_unit_of_the_signals_carries_over(many):
    plain, scaled = (estimate_noise(many.signals[:9] * c, many.encodings).noise_std for c in (1, 500))
    np.testing.assert_allclose(scaled, 500 * plain)


def test_repeats_differ_by_noise_only_when_their_encodings_are_equal():
    encodings = Encodings(bvalue=[0, 0, 0, 0, 900], echo_time=[60, 60, 90, 90, 60])
    signals = np.array([[10.0, 12.0, 5.0, 5.0, 3.0]])
    estimate = estimate_noise(signals, encodings)
    np.testing.assert_allclose(estimate.noise_std, [1.0])  # (1 + 1 + 0 + 0) / 2 degrees of freedom
    assert estimate.degrees_of_freedom[0] == 2


def test_anisotropy_is_not_taken_for_noise():
    rng = np.random.default_rng(0)
    encodings = Encodings(bvalue=np.repeat(np.arange(0, 3000, 150.0), 6))
    grid = default_grid(("diffusivity",), encodings, points=[60])
    clean = simulate_signals("adc", encodings, {"diffusivity": np.full(200, 0.8)})
    pattern = np.tile([-1, 1, -0.5, 0.5, 0.2, -0.2], 20) * (encodings.bvalue > 0)
    signals = add_noise(clean + 0.1 * pattern, 0.01, rng)
    estimate = estimate_noise(signals, encodings, "residual", kernel_matrix("adc", encodings, grid))
    assert np.median(estimate.noise_std) == pytest.approx(0.01, rel=0.2)


def test_effective_parameters_are_the_trace_of_the_hat_matrix(placenta):
    result = fit_nnls(placenta.signals[:4], placenta.kernel, 0.01)
    for spectrum, found in zip(result.spectra, effective_parameters(result), strict=True):
        active = placenta.kernel[:, spectrum > 0]
        hat = active @ np.linalg.solve(active.T @ active + 0.01 * np.eye(active.shape[1]), active.T)
        assert found == pytest.approx(np.trace(hat), rel=1e-6)


def test_a_number_is_taken_as_it_is(placenta):
    estimate = estimate_noise(placenta.signals, placenta.encodings, 0.07)
    np.testing.assert_array_equal(estimate.noise_std, 0.07)
    assert np.isinf(estimate.degrees_of_freedom).all()


@pytest.mark.parametrize(
    ("method", "words"), [("guess", "method"), (-1.0, "> 0"), (np.nan, "> 0"), ("residual", "needs the kernel")]
)
def test_bad_methods_are_refused(placenta, method, words):
    with pytest.raises(ValueError, match=words):
        estimate_noise(placenta.signals, placenta.encodings, method)


def test_without_repeats_or_scatter_it_says_so(placenta):
    single = Encodings(bvalue=[0.0, 500, 1000])
    with pytest.raises(ValueError, match="repeated"):
        estimate_noise(np.ones((2, 3)), single)
    with pytest.raises(ValueError, match="no scatter"):
        estimate_noise(np.ones((2, 3)), Encodings(bvalue=[0.0, 0, 0]))
    grid = default_grid(("diffusivity",), single, points=[20])
    with pytest.raises(ValueError, match="leave no residual"):
        estimate_noise(np.array([[1.0, 0.5, 0.4]]), single, "residual", kernel_matrix("adc", single, grid), alpha=1e-9)
