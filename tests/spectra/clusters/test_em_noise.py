"""Laws of InSpect's EM for noise that is not Gaussian."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import NoiseModel, find_peaks, fit_inspect, reduce_kernel, restore_polarity, select_n_clusters
from mrspec_prep.spectra.clusters.em_noise import magnitude_fit
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_updates import run_em, state_from_responsibilities
from mrspec_prep.spectra.noise.likelihoods import bessel_table, knee, log_bessel, log_density

MODELS = {
    "rician": NoiseModel("rician"),
    "nc-chi": NoiseModel("nc-chi", n_coils=4),
    "student-t": NoiseModel("student-t", degrees_of_freedom=5.0),
}


def multi_echo(snr, model, n_voxels=150, scale=0.0, seed=0):
    """Two T2 clusters, 32 echoes; sigma estimated with few degrees of freedom for student-t."""
    encodings = Encodings(echo_time=np.tile(np.arange(1, 17) * 12.0, 2))
    grid = default_grid(("t2",), encodings, points=(40,))
    rng = np.random.default_rng(seed)
    truth = np.arange(n_voxels) % 2
    clean = simulate_signals("t2", encodings, {"t2": np.array([40.0, 60.0])[truth]})
    clean *= np.exp(scale * rng.standard_normal(n_voxels))[:, None]
    sigma = np.full(n_voxels, 1 / snr)
    if model.is_magnitude:
        signals = add_noise(clean, 1 / snr, rng, "nc-chi", model.n_coils)
    else:
        signals = add_noise(clean, 1 / snr, rng)
        sigma = sigma * np.sqrt(rng.chisquare(5, n_voxels) / 5)
    kernel = kernel_matrix("t2", encodings, grid)
    return SimpleNamespace(signals=signals, kernel=kernel, sigma=sigma, truth=truth, grid=grid)


def fit(data, model, **settings):
    settings = {"n_starts": 3, "max_steps": 60} | settings
    return fit_inspect(data.signals, data.kernel, data.sigma, 2, noise=model, **settings)


def agreement(labels, truth):
    same = ((labels - 1) == truth).mean()
    return max(same, 1 - same)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("name", MODELS)
def test_penalised_likelihood_never_falls(name, scale):
    data = multi_echo(5, MODELS[name], scale=0.3 if scale == "profiled" else 0.0)
    problem = make_problem(data.signals, data.kernel, data.sigma, scale=scale, noise=MODELS[name])
    start = np.random.default_rng(0).dirichlet([1, 1, 1], len(data.signals))
    trace, _ = run_em(problem, state_from_responsibilities(problem, start), 60)
    assert len(trace) > 5
    assert trace[-1] > trace[0] + 1
    assert np.diff(trace).min() > -1e-9 * abs(trace[-1])


@pytest.mark.parametrize("name", MODELS)
def test_log_likelihood_and_responsibilities_are_those_of_the_density(name):
    model = MODELS[name]
    data = multi_echo(5, model)
    found = fit(data, model)
    means = found.spectra @ data.kernel.T
    if model.is_magnitude:
        logs = [log_density(data.signals, mean, data.sigma[:, None], model.n_coils).sum(axis=1) for mean in means]
    else:
        pairs = list(zip(data.signals, data.sigma, strict=True))
        logs = [[multivariate_t(mean, s**2 * np.eye(32), df=5.0).logpdf(v) for v, s in pairs] for mean in means]
    logs = np.array(logs).T + np.log(found.cluster_probs)
    assert found.log_likelihood == pytest.approx(logsumexp(logs, axis=1).sum(), abs=1e-3)
    wanted = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    np.testing.assert_allclose(found.responsibilities, wanted, atol=1e-4)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("model", [NoiseModel("rician"), NoiseModel("student-t", degrees_of_freedom=1e7)])
def test_where_noise_is_as_good_as_gaussian_so_is_the_fit(model, scale):
    data = multi_echo(5, MODELS["student-t"])
    rng = np.random.default_rng(3)
    clean = simulate_signals("t2", Encodings(echo_time=np.full(32, 1.0) + np.arange(32)), {"t2": np.full(150, 50.0)})
    data.signals = add_noise(clean * np.where(data.truth, 1.002, 1.0)[:, None], 1e-3, rng, "rician")
    data.kernel = kernel_matrix("t2", Encodings(echo_time=np.full(32, 1.0) + np.arange(32)), data.grid)
    data.sigma = np.full(150, 1e-3)
    gaussian, other = fit(data, None, scale=scale), fit(data, model, scale=scale)
    np.testing.assert_allclose(other.responsibilities, gaussian.responsibilities, atol=5e-3)
    np.testing.assert_allclose(other.scale, gaussian.scale, rtol=1e-4)


def test_bound_of_a_latent_scale_is_below_the_integral_and_close():
    rng = np.random.default_rng(0)
    for snr in (1.0, 3.0, 10.0):
        x = snr * np.exp(-np.arange(40) / 10)
        v = np.hypot(x * 1.2 + rng.standard_normal(40), rng.standard_normal(40))
        ratios = np.empty(40)
        found, mean, square = magnitude_fit(v * x, x @ x, 0.25, 1.0, -np.inf, 1, knee(1), bessel_table(1), ratios)

        def joint(a, v=v, x=x, shift=found):
            prior = np.exp(-((a - 1) ** 2) / 0.5) / np.sqrt(0.5 * np.pi)
            return prior * np.exp(log_bessel(abs(a) * v * x).sum() - a * a * (x @ x) / 2 - shift)

        exact = found + np.log(quad(joint, -3, 5, limit=500, points=[mean])[0])
        assert 0 <= exact - found < 0.35
        assert mean == pytest.approx(1.2, abs=4 / np.sqrt(x @ x))
        assert square > mean**2


def test_weak_rician_signals_are_told_apart_better_by_their_own_density():
    data = multi_echo(3.0, MODELS["rician"], n_voxels=600, seed=1)
    fits = {name: fit(data, NoiseModel(name), max_steps=200) for name in ("gaussian", "rician")}
    scores = {name: agreement(found.labels, data.truth) for name, found in fits.items()}
    pure = np.array([[40.0], [60.0]])
    echo = np.tile(np.arange(1, 17) * 12.0, 2)
    logs = [log_density(data.signals, np.exp(-echo / t2), data.sigma[:, None]).sum(axis=1) for t2 in pure]
    oracle = ((logs[1] > logs[0]) == data.truth).mean()
    assert scores["rician"] > oracle - 0.02
    assert scores["rician"] >= scores["gaussian"]


def test_rician_spectra_are_unbiased_where_gaussian_ones_take_the_floor_for_signal():
    model = MODELS["rician"]
    data = multi_echo(4.0, model, n_voxels=400)
    errors = {}
    for name in ("gaussian", "rician"):
        found = fit(data, NoiseModel(name), max_steps=300)
        fitted = found.spectra[found.labels - 1] @ data.kernel.T
        clean = np.exp(-np.tile(np.arange(1, 17) * 12.0, 2) / np.array([40.0, 60.0])[data.truth][:, None])
        errors[name] = np.abs((fitted - clean).mean(axis=0)).max() * 4.0
    assert errors["rician"] < 0.1
    assert errors["gaussian"] > 0.5


def test_student_t_forgives_a_noise_level_estimated_too_low():
    data = multi_echo(8.0, MODELS["student-t"], n_voxels=300)
    data.sigma = data.sigma / np.sqrt(5 / np.random.default_rng(5).chisquare(2, 300))
    gaussian, student = fit(data, None), fit(data, NoiseModel("student-t", degrees_of_freedom=2.0))
    assert student.log_likelihood > gaussian.log_likelihood
    assert agreement(student.labels, data.truth) >= agreement(gaussian.labels, data.truth) - 0.01


@pytest.mark.parametrize("repetition_time", [None, 2500.0])
def test_magnitude_inversion_recovery_clusters_by_the_signed_kernel(repetition_time):
    times = np.tile([50.0, 100, 200, 300, 400, 500, 600, 700, 900, 1200, 1600, 2400], 2)
    encodings = Encodings(inversion_time=times, repetition_time=repetition_time)
    grid = default_grid(("t1",), encodings, points=(60,))
    kernel = kernel_matrix("t1", encodings, grid)
    truth = np.arange(200) % 2
    t1 = np.array([500.0, 900.0])
    rng = np.random.default_rng(0)
    signals = add_noise(simulate_signals("t1", encodings, {"t1": t1[truth]}), 0.1, rng, "rician")
    start, _ = restore_polarity(signals, kernel, encodings)
    found = fit_inspect(start, kernel, 0.1, 2, noise=MODELS["rician"], n_starts=5, max_steps=300)
    assert agreement(found.labels, truth) == 1
    peaks = sorted(find_peaks(spectrum, grid)[0].position["t1"] for spectrum in found.spectra)
    np.testing.assert_allclose(peaks, t1, rtol=0.1)
    assert np.diff(found.trace).min() > -1e-9 * abs(found.trace[-1])


def test_result_does_not_depend_on_threads_and_selection_knows_the_noise():
    model = MODELS["nc-chi"]
    data = multi_echo(5, model, n_voxels=600)
    one, two = (fit(data, model, n_threads=n, max_steps=5) for n in (1, 2))
    np.testing.assert_array_equal(one.responsibilities, two.responsibilities)
    chosen = select_n_clusters(
        data.signals, data.kernel, data.sigma, (1, 2, 3), n_starts=3, max_steps=30, noise=MODELS["nc-chi"]
    )
    assert chosen.best == 2


def test_paper_mode_is_gaussian():
    data = multi_echo(5, MODELS["rician"])
    with pytest.raises(ValueError, match="needs mode exact"):
        fit(data, MODELS["rician"], mode="paper")


def test_zero_magnitudes_leave_everything_finite():
    data = multi_echo(5, MODELS["rician"])
    data.signals[:5] = 0.0
    found = fit(data, MODELS["rician"], scale="profiled", max_steps=10)
    assert np.isfinite(found.trace).all()
    assert np.isfinite(found.responsibilities).all()
    assert reduce_kernel(data.kernel).n_bins == found.spectra.shape[1]
