import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.noise.residuals import residual_in_sigmas


@pytest.fixture
def problem():
    bvalue = np.repeat([0, 200, 500, 1000, 1500, 2000, 3000], 6).astype(float)
    echo_time = np.tile(np.repeat([60.0, 90.0, 120.0], 2), 7)
    encodings = Encodings(bvalue=bvalue, echo_time=echo_time)
    grid = default_grid(kernel_axes("adc-t2"), encodings, points=(20, 20))
    return encodings, kernel_matrix("adc-t2", encodings, grid), grid


def test_noise_alone_leaves_one_and_misfit_leaves_more(problem):
    encodings, kernel, grid = problem
    rng = np.random.default_rng(0)
    truth = np.zeros(grid.n_bins)
    truth[np.random.default_rng(1).integers(grid.n_bins, size=3)] = 1.0
    clean = np.tile(kernel @ truth, (300, 1))
    sigma = 0.02 * clean.max()
    noisy = clean + sigma * rng.standard_normal(clean.shape)
    group_of = encodings.groups()[0]
    result = fit_nnls(noisy, kernel, 1e-3)
    fitted = residual_in_sigmas(result, noisy, kernel, np.full(300, sigma), group_of)
    assert np.median(fitted) == pytest.approx(1.0, abs=0.15)
    bent = noisy * (1 + 0.3 * np.sin(np.arange(clean.shape[1]) // 2))
    bad = residual_in_sigmas(fit_nnls(bent, kernel, 1e-3), bent, kernel, np.full(300, sigma), group_of)
    assert np.median(bad) > 3


def test_spread_over_directions_is_not_misfit(problem):
    encodings, kernel, grid = problem
    truth = np.zeros(grid.n_bins)
    truth[grid.n_bins // 2] = 1.0
    clean = kernel @ truth
    sign = np.where(np.arange(len(clean)) % 2, 1.0, -1.0)
    anisotropic = (clean + 0.1 * sign)[None]
    group_of = encodings.groups()[0]
    result = fit_nnls(anisotropic, kernel, 1e-4)
    assert residual_in_sigmas(result, anisotropic, kernel, np.array([0.01]), group_of)[0] < 1
