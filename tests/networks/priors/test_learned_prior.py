"""Laws of exact posteriors: those of a fine grid; a learned prior that climbs, and ends near what is possible."""

import numpy as np
import pytest
from scipy.stats import norm, rice

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.priors.bayes_reference import bayes_reference
from mrspec_prep.networks.priors.importance import Sampler
from mrspec_prep.networks.priors.learned_prior import draw_all, em_step
from mrspec_prep.networks.priors.mixture import Mixture
from mrspec_prep.networks.priors.mixture_prior import MixtureSettings, deconvolve, least_covariance
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

TABLE = Encodings(bvalue=np.linspace(0, 2500, 11))
WEIGHTS, SPREAD = np.array([0.5, 0.5]), 0.12
MEANS = np.array([[0.0, 1.0, 1.5], [0.0, 1.5, 1.0]])  # log S0, D, K
PRIOR = Mixture(WEIGHTS, MEANS, np.tile(np.diag([1e-3, SPREAD, SPREAD]) ** 2, (2, 1, 1)))


def simulated(n, rng, sigma):
    u, component = PRIOR.sample(n, rng)
    truth = {"s0": np.exp(u[:, 0]), "diffusivity": u[:, 1], "kurtosis": np.maximum(u[:, 2], 0)}
    return truth, component, add_noise(MODELS["msdki"].signal(TABLE, truth), sigma, rng, "rician")


def test_the_posterior_is_that_of_a_fine_grid():
    rng, sigma = np.random.default_rng(0), 0.1
    table = Encodings(bvalue=[0.0, 400, 900, 1500, 2500])
    d = np.exp(rng.normal(0, 0.4, 25))
    signals = add_noise(MODELS["adc"].signal(table, {"s0": np.ones(25), "diffusivity": d}), sigma, rng, "rician")
    prior = Mixture(np.array([0.4, 0.6]), np.array([[0.0, -0.3], [0.1, 0.5]]), np.array([np.diag([0.04, 0.1])] * 2))
    found = bayes_reference(make_problem(signals, table, "adc", sigma, "rician")[0], prior, 2048)
    log_s0, log_d = np.meshgrid(np.linspace(-1.2, 1.2, 200), np.linspace(-2.5, 1.6, 220), indexing="ij")
    density = sum(
        w * norm.pdf(log_s0, m[0], 0.2) * norm.pdf(log_d, m[1], np.sqrt(0.1))
        for w, m in zip(prior.weights, prior.means, strict=True)
    )
    predicted = MODELS["adc"].signal(table, {"s0": np.exp(log_s0), "diffusivity": np.exp(log_d)})
    for n in range(25):
        mass = density * np.exp(rice.logpdf(signals[n], predicted / sigma, scale=sigma).sum(axis=-1))
        mean = (mass * np.exp(log_d)).sum() / mass.sum()
        std = np.sqrt((mass * (np.exp(log_d) - mean) ** 2).sum() / mass.sum())
        assert abs(found.mean[n, 1] - mean) < 0.06 * std
        assert abs(found.std[n, 1] / std - 1) < 0.08


def test_the_truth_is_covered_as_often_as_stated_under_its_prior():
    rng, sigma = np.random.default_rng(1), 1 / 20
    truth, _, signals = simulated(1500, rng, sigma)
    problem, _ = make_problem(signals, TABLE, "msdki", sigma, "rician")
    found = bayes_reference(problem, PRIOR, 512)
    for d, key in ((1, "diffusivity"), (2, "kurtosis")):
        off = np.abs(found.mean[:, d] - truth[key]) / found.std[:, d]
        assert abs(np.mean(off < 1) - 0.68) < 0.04
        assert abs(np.mean(off < 1.96) - 0.95) < 0.03
        for (first, last), share in (((1, 2), 0.683), ((0, 3), 0.95)):
            ends = found.quantiles[:, d, first], found.quantiles[:, d, last]
            assert abs(np.mean((ends[0] < truth[key]) & (truth[key] < ends[1])) - share) < 0.03


def test_em_over_draws_never_falls():
    rng = np.random.default_rng(2)
    _, _, signals = simulated(400, rng, 0.05)
    problem, _ = make_problem(signals, TABLE, "msdki", 0.05, "rician")
    sampler = Sampler(problem, least_squares(problem), 64, 0)
    mixture, _ = deconvolve(sampler.errors, 3, rng, MixtureSettings(max_steps=5))
    draws, log_ratio = draw_all(sampler, mixture)
    least, trace = least_covariance(sampler.errors), []
    for _ in range(30):
        mixture, evidence = em_step(draws, log_ratio, mixture, least)
        trace.append(evidence)
    assert (np.diff(trace) > -1e-8 * abs(trace[0])).all()
    assert trace[-1] > trace[0] + 1


@pytest.mark.parametrize("snr", [20])
def test_a_prior_learned_from_the_scan_comes_close_to_the_true_one(snr):
    rng = np.random.default_rng(3)
    truth, component, signals = simulated(1500, rng, 1 / snr)
    small = {"n_components": 3, "n_starts": 2, "n_starting": 500, "max_steps": 8, "n_draws": 32, "n_final_draws": 128}
    learned = fit_maps(signals, TABLE, method="learned-prior", noise_std=1 / snr, settings=small)
    likely = fit_maps(signals, TABLE, noise_std=1 / snr, distribution="rician")
    found = bayes_reference(make_problem(signals, TABLE, "msdki", 1 / snr, "rician")[0], PRIOR, 256)
    assert learned.settings["distribution"] == "rician"
    for d, key in ((1, "diffusivity"), (2, "kurtosis")):
        for cluster in (0, 1):
            rows = component == cluster
            rmse = [
                np.sqrt(((estimate[rows] - truth[key][rows]) ** 2).mean())
                for estimate in (learned.maps[key], likely.maps[key], found.mean[:, d])
            ]
            assert rmse[0] < 0.8 * rmse[1]
            assert rmse[0] < 1.1 * rmse[2]


def test_the_same_seed_gives_the_same_maps():
    _, _, signals = simulated(200, np.random.default_rng(4), 0.05)
    small = {"n_components": 2, "n_draws": 32, "n_final_draws": 64, "n_rounds": 1, "max_steps": 5}
    runs = [fit_maps(signals, TABLE, "msdki", "learned-prior", 0.05, seed=7, settings=small) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].maps["kurtosis"], runs[1].maps["kurtosis"])
    with pytest.raises(ValueError, match="settings must be among n_components"):
        fit_maps(signals, TABLE, "msdki", "learned-prior", 0.05, settings={"n_clusters": 2})


def test_voxels_that_tell_nothing_get_the_prior_and_stop_no_one():
    rng, model = np.random.default_rng(5), MODELS["ball-stick"]
    direction = rng.standard_normal((31, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[0] = 0
    table = Encodings(bvalue=[0.0] + [1000.0] * 15 + [2500.0] * 15, direction=direction)
    truth = {"s0": np.full(60, 100.0), "stick_fraction": rng.uniform(0.3, 0.7, 60)}
    truth |= {"stick_diffusivity": np.full(60, 1.7), "ball_diffusivity": np.full(60, 0.9)}
    truth |= dict(zip(model.names[-3:], rng.standard_normal((3, 60)), strict=True))
    truth["stick_fraction"][:5] = 0.0  # no direction
    signals = add_noise(model.signal(table, truth), 2.0, rng, "rician")
    signals[5] = 0.0
    small = {"n_components": 1, "n_starts": 1, "n_draws": 32, "n_final_draws": 64, "n_rounds": 1, "max_steps": 5}
    for method, settings in (("lsq-gmm", {"n_components": (1,)}), ("learned-prior", small)):
        result = fit_maps(signals, table, "ball-stick", method, 2.0, settings=settings)
        assert all(np.isfinite(values).all() for values in (*result.maps.values(), *result.std.values()))
        assert np.abs(result.maps["stick_fraction"] - truth["stick_fraction"])[6:].max() < 0.2
