"""Laws of voxelwise spectra from magnitudes."""

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import NoiseModel, fit_nnls, integrate_regions, reduce_kernel, restore_polarity
from mrspec_prep.spectra.noise.rician import expected_real, penalised_misfit, real_signals, standardised_signals

ALPHA = 0.01
MODELS = [NoiseModel("rician"), NoiseModel("nc-chi", n_coils=4)]


def decays(snr, model, n_voxels=100, seed=0):
    encodings = Encodings(echo_time=np.tile(np.arange(1, 21) * 10.0, 3))
    kernel = kernel_matrix("t2", encodings, default_grid(("t2",), encodings, points=(50,)))
    clean = simulate_signals("t2", encodings, {"t2": np.full(n_voxels, 50.0)})
    rng = np.random.default_rng(seed)
    return kernel, clean, add_noise(clean, 1 / snr, rng, "nc-chi", model.n_coils)


def inversion_recovery(name, snr, repetition_time=None, n_voxels=60, seed=0):
    """Two T1 compartments, which null at different times at each echo time."""
    times = np.array([50, 85, 143, 243, 412, 697, 1181, 2000.0])
    if name == "t1":
        encodings = Encodings(inversion_time=np.tile(times, 3), repetition_time=repetition_time)
        parameters, points = {"t1": np.array([[300.0, 1500.0]])}, (60,)
    else:
        ti, te = (a.ravel() for a in np.meshgrid(times, [5.0, 12, 20, 33, 55, 91, 150]))
        encodings = Encodings(inversion_time=ti, echo_time=te, repetition_time=repetition_time)
        parameters, points = {"t1": np.array([[300.0, 1500.0]]), "t2": np.array([[20.0, 100.0]])}, (16, 16)
    rng = np.random.default_rng(seed)
    fractions = rng.dirichlet([2, 2], n_voxels)
    parameters = {axis: np.repeat(values, n_voxels, axis=0) for axis, values in parameters.items()}
    grid = default_grid(kernel_axes(name), encodings, points=points)
    clean = simulate_signals(name, encodings, parameters, fractions)
    kernel = kernel_matrix(name, encodings, grid)
    return encodings, grid, kernel, clean, add_noise(clean, 1 / snr, rng, "rician"), fractions


def fitted(signals, kernel):
    return fit_nnls(signals, kernel, ALPHA).predict(kernel)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.distribution)
def test_no_round_lowers_the_penalised_likelihood(model):
    kernel, _, magnitudes = decays(4.0, model)
    reduced, sigma, values = reduce_kernel(kernel), np.full(len(magnitudes), 0.25), []
    targets = magnitudes
    for _ in range(8):
        result = fit_nnls(targets, reduced, ALPHA, tolerance=1e-12)
        x = result.predict(kernel)
        values.append(penalised_misfit(magnitudes, x, sigma, ALPHA * (result.spectra**2).sum(axis=1), model.n_coils))
        targets = expected_real(magnitudes, x, 0.25, model.n_coils)
    falls = np.diff(np.array(values), axis=0)
    assert falls.max() < 1e-8
    assert falls[0].max() < -1e-3


def test_rounds_of_the_solver_end_in_the_fixed_point():
    model = MODELS[0]
    kernel, _, magnitudes = decays(6.0, model, n_voxels=300)
    real = real_signals(magnitudes, kernel, 1 / 6, model, ALPHA, n_rounds=60)
    x = fitted(real.signals, kernel)
    assert real.change.max() < 2e-3
    again = fitted(expected_real(magnitudes, x, 1 / 6), kernel)
    assert np.abs(again - x).max() * 6 < 2e-3


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.distribution)
def test_weak_signals_are_fitted_without_the_bias_of_the_floor(model):
    kernel, clean, magnitudes = decays(5.0, model, n_voxels=300)
    real = real_signals(magnitudes, kernel, 0.2, model, ALPHA)
    bias = np.abs((fitted(real.signals, kernel) - clean).mean(axis=0)).max() / 0.2
    floor = np.abs((fitted(magnitudes, kernel) - clean).mean(axis=0)).max() / 0.2
    assert bias < 0.3
    assert floor > 4 * bias


def test_strong_signals_are_left_alone():
    kernel, clean, _ = decays(10.0, MODELS[0])
    magnitudes = clean + 1.0
    real = real_signals(magnitudes, kernel, 1e-6, MODELS[0], ALPHA)
    np.testing.assert_allclose(real.signals, magnitudes, rtol=1e-6)
    np.testing.assert_allclose(real.standardised, magnitudes, rtol=1e-6)
    assert (real.n_rounds <= 2).all()


def test_standardised_signals_scatter_by_sigma_even_in_the_dark():
    rng = np.random.default_rng(0)
    for level in (0.0, 0.5, -2.0, 20.0):
        x = np.full(200000, level)
        values = standardised_signals(add_noise(x, 0.5, rng, "rician"), x, 0.5)
        assert values.std() == pytest.approx(0.5, rel=0.01)
        assert values.mean() == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("repetition_time", [None, 2500.0])
@pytest.mark.parametrize("name", ["t1", "t1-t2"])
def test_magnitude_inversion_recovery_is_fitted_as_if_signs_were_known(name, repetition_time):
    encodings, grid, kernel, clean, magnitudes, fractions = inversion_recovery(name, 40.0, repetition_time)
    start, _ = restore_polarity(magnitudes, kernel, encodings, ALPHA)
    real = real_signals(start, kernel, 1 / 40, MODELS[0], ALPHA)
    informed = real_signals(magnitudes * np.sign(clean), kernel, 1 / 40, MODELS[0], ALPHA)
    error, best = (np.sqrt(((fitted(r.signals, kernel) - clean) ** 2).mean()) * 40 for r in (real, informed))
    assert error < 1.1 * best
    short = {"short": {"t1": (1.0, 800.0)}}
    parts = [
        integrate_regions(fit_nnls(s, kernel, ALPHA), grid, short)["short"] for s in (real.signals, informed.signals)
    ]
    assert np.abs(parts[0] - parts[1]).mean() < 0.02
    assert np.corrcoef(parts[0], fractions[:, 0])[0, 1] > 0.7


def test_near_the_null_a_magnitude_counts_neither_way():
    x, sigma = np.array([-0.01, 0.0, 0.01]), 1.0
    real = expected_real(np.full(3, 1.5), x, sigma)
    np.testing.assert_allclose(real, 1.5 * 1.5 * x / 2, rtol=1e-3)


def test_alpha_zero_and_silent_voxels_work():
    kernel, _, magnitudes = decays(5.0, MODELS[0], n_voxels=6)
    magnitudes[0] = 0.0
    real = real_signals(magnitudes, kernel, 0.2, MODELS[0], 0.0, n_rounds=3)
    assert np.isfinite(real.signals).all()
    assert not real.signals[0].any()


def test_threads_change_nothing():
    kernel, _, magnitudes = decays(5.0, MODELS[1], n_voxels=600)
    one, two = (real_signals(magnitudes, kernel, 0.2, MODELS[1], ALPHA, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.signals, two.signals)


def test_wrong_input_is_refused_in_words():
    kernel, _, magnitudes = decays(5.0, MODELS[0], n_voxels=4)
    with pytest.raises(ValueError, match="for rician or nc-chi"):
        real_signals(magnitudes, kernel, 0.2, NoiseModel(), ALPHA)
    with pytest.raises(ValueError, match="noise_std must be finite and > 0"):
        real_signals(magnitudes, kernel, 0.0, MODELS[0], ALPHA)
    with pytest.raises(ValueError, match="n_rounds"):
        real_signals(magnitudes, kernel, 0.2, MODELS[0], ALPHA, n_rounds=0)
