"""Laws of least squares: exact on clean signals, errors as stated, the optimum that scipy finds."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares as scipy_least_squares

from mrspec_prep.networks import METHODS, fit_maps
from mrspec_prep.networks.fitting.least_squares import covariances, least_squares, standard_errors
from mrspec_prep.networks.maps import likely_distribution, make_problem
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS
from mrspec_prep.physics.models.model import S0

TRUTH = {
    "msdki": {"diffusivity": 0.9, "kurtosis": 0.8},
    "ball-stick": {"stick_fraction": 0.6, "stick_diffusivity": 1.8, "ball_diffusivity": 0.9},
    "adc": {"diffusivity": 0.8},
    "adc-t2": {"diffusivity": 1.2, "t2": 80.0},
    "adc-t2star": {"diffusivity": 1.2, "t2star": 60.0},
    "ivim": {"perfusion_fraction": 0.2, "pseudo_diffusivity": 20.0, "diffusivity": 1.1},
    "t2": {"t2": 70.0},
    "t2star": {"t2star": 40.0},
    "t2-biexp": {"short_fraction": 0.2, "t2_short": 18.0, "t2_long": 90.0},
    "ir-t1": {"t1": 900.0, "inversion_efficiency": 0.95},
    "ir-t1-signed": {"t1": 900.0, "inversion_efficiency": 0.95},
}


def protocol(name, rng):
    if name == "ball-stick":
        direction = rng.standard_normal((62, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        direction[:2] = 0
        return Encodings(bvalue=[0.0, 0.0] + [1000.0] * 30 + [2500.0] * 30, direction=direction)
    if "t1" in name:
        return Encodings(inversion_time=np.geomspace(50, 4000, 12), repetition_time=6000.0)
    if name.startswith("t2"):
        return Encodings(echo_time=np.arange(8.0, 264, 8))
    bvalue = np.array([0.0, 10, 20, 40, 80, 120, 200, 400, 700, 1000, 1500])
    return Encodings(bvalue=np.tile(bvalue, 2), echo_time=np.repeat([60.0, 120.0 if "t2" in name else 60.0], 11))


def clean(name, rng, n_voxels, spread=0.05):
    model, table = MODELS[name], protocol(name, rng)
    values = {S0: 300 * rng.uniform(0.8, 1.2, n_voxels)}
    values |= {key: value * rng.uniform(1 - spread, 1 + spread, n_voxels) for key, value in TRUTH[name].items()}
    if "inversion_efficiency" in values:
        values["inversion_efficiency"] = np.minimum(values["inversion_efficiency"], 1.0)
    if model.oriented:
        direction = rng.standard_normal((3, n_voxels))
        values |= dict(zip(model.names[-3:], direction / np.linalg.norm(direction, axis=0), strict=True))
    return table, values, model.signal(table, values)


@pytest.mark.parametrize("distribution", ["gaussian", "rician"])
@pytest.mark.parametrize("name", MODELS)
def test_clean_signals_give_the_truth_back(name, distribution):
    if name == "ir-t1-signed" and distribution == "rician":
        pytest.skip("magnitudes have no sign")
    table, truth, signals = clean(name, np.random.default_rng(0), 40)
    result = fit_maps(signals, table, model=name, noise_std=0.01, distribution=distribution)
    assert result.converged.all()
    for key in (S0, *TRUTH[name]):
        np.testing.assert_allclose(result.maps[key], truth[key], rtol=1e-3, err_msg=key)
    if MODELS[name].oriented:
        cosine = sum(result.maps[key] * truth[key] for key in MODELS[name].names[-3:])
        assert np.abs(cosine).min() > 1 - 1e-6


@pytest.mark.parametrize(
    ("name", "distribution"), [("msdki", "gaussian"), ("adc-t2", "rician"), ("ball-stick", "gaussian")]
)
def test_errors_are_as_large_as_stated(name, distribution):
    rng = np.random.default_rng(1)
    table, truth, signals = clean(name, rng, 1, spread=0.0)
    noisy = add_noise(np.repeat(signals, 3000, axis=0), 4.0, rng, "rician" if distribution == "rician" else "gaussian")
    result = fit_maps(noisy, table, model=name, noise_std=4.0, distribution=distribution)
    for key in (S0, *TRUTH[name]):
        error = result.maps[key] - truth[key]
        np.testing.assert_allclose(error.std(), np.median(result.std[key]), rtol=0.1, err_msg=key)
        assert abs(np.median(error)) < 0.15 * error.std()


def test_the_optimum_is_the_one_scipy_finds_within_the_same_bounds():
    rng = np.random.default_rng(2)
    table, _, signals = clean("msdki", rng, 12)
    noisy = add_noise(signals, 20.0, rng)
    result, model = fit_maps(noisy, table, noise_std=20.0), MODELS["msdki"]
    keep = table.echo_time == 60
    low, high = zip(*[(p.low, p.high) for p in model.parameters], strict=True)
    for n in range(12):

        def rest(x, n=n):
            return model.signal(table, dict(zip(model.names, x, strict=True)))[keep] - noisy[n, keep]

        best = scipy_least_squares(rest, (300.0, 1.0, 0.5), bounds=(low, high), x_scale=(300.0, 1.0, 1.0), xtol=1e-12)
        mine = [result.maps[key][n] for key in model.names]
        assert (rest(mine) ** 2).sum() <= 2 * best.cost * (1 + 1e-6)


def test_sigma_is_found_from_the_residuals():
    rng = np.random.default_rng(3)
    table, _, signals = clean("adc-t2", rng, 800)
    result = fit_maps(add_noise(signals, 5.0, rng), table, model="adc-t2")
    assert result.settings["noise"] == "residuals of least squares"
    np.testing.assert_allclose(result.noise_std, 5.0, rtol=0.05)


def test_wrong_requests_are_answered_with_the_remedy():
    table = Encodings(bvalue=[0.0, 500, 1000, 2000])
    with pytest.raises(ValueError, match="unknown method 'nlls' of parameter maps; known: lsq"):
        fit_maps(np.ones((2, 4)), table, method="nlls")
    with pytest.raises(ValueError, match="1 signals are NaN"):
        fit_maps(np.array([[1.0, np.nan, 1, 1]]), table)
    with pytest.raises(ValueError, match="noise_std must be"):
        fit_maps(np.ones((2, 4)), table, noise_std=0.0)
    with pytest.raises(ValueError, match="settings must be among fit"):
        fit_maps(np.ones((2, 4)), table, noise_std=1.0, settings="paper")


def test_least_squares_does_not_wait_for_torch():
    code = "import sys, mrspec_prep.networks.fitting.least_squares; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert all(":" in place for place in METHODS.values())


def test_the_log_linear_fit_is_that_of_dipy():
    from dipy.core.gradients import gradient_table
    from dipy.reconst.msdki import MeanDiffusionKurtosisModel

    rng = np.random.default_rng(4)
    bvalue = np.repeat([0.0, 1000.0, 2000.0], [2, 8, 8])
    direction = rng.standard_normal((18, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[:2] = 0
    tissue = {"s0": np.full(30, 100.0), "diffusivity": rng.uniform(0.6, 2, 30), "kurtosis": rng.uniform(0.2, 1.2, 30)}
    table = Encodings(bvalue=bvalue, direction=direction)
    signals = add_noise(MODELS["msdki"].signal(table, tissue), 2.0, rng)
    ours = fit_maps(signals, table, noise_std=2.0, settings={"fit": "log-linear"})
    theirs = MeanDiffusionKurtosisModel(gradient_table(bvalue, bvecs=direction)).fit(signals).model_params
    np.testing.assert_allclose(ours.maps["diffusivity"], theirs[:, 0] * 1e3, rtol=1e-6)
    np.testing.assert_allclose(ours.maps["kurtosis"], theirs[:, 1], rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="logarithm of model ivim is not linear"):
        fit_maps(
            np.ones((1, 18)),
            Encodings(bvalue=100.0 * np.arange(18)),
            "ivim",
            "lsq",
            1.0,
            settings={"fit": "log-linear"},
        )


def test_the_compiled_fit_of_log_linear_models_ends_where_the_general_one_does():
    rng, n = np.random.default_rng(6), 1500
    table = Encodings(bvalue=np.linspace(0, 2500, 11))
    truth = {"s0": np.full(n, 50.0), "diffusivity": rng.uniform(0.5, 2.9, n), "kurtosis": rng.uniform(0, 1.0, n)}
    signals = add_noise(MODELS["msdki"].signal(table, truth), 2.5, rng)
    problem, _ = make_problem(signals, table, "msdki", 2.5)
    quick, general = (
        least_squares(replace(problem, model=replace(problem.model, log_design=design)))
        for design in (problem.model.log_design, None)
    )
    assert quick.converged.mean() > 0.99
    errors = standard_errors(problem, covariances(problem, general))
    close = np.abs(quick.values - general.values).max(axis=1) < 0.01 * errors.max(axis=1)
    assert close.mean() > 0.98
    assert (quick.cost <= general.cost + 1e-3)[close].all() and np.mean(quick.cost <= general.cost + 1e-3) > 0.99
    scaled = fit_maps(1e-6 * signals, table, noise_std=2.5e-6)  # the unit of the signals does not matter
    np.testing.assert_allclose(scaled.maps["diffusivity"], quick.values[:, 1], rtol=1e-4)


CHOICES = {
    ("ball-stick", "lsq"): "rician",
    ("msdki", "lsq"): "gaussian",
    ("t2", "lsq-gmm"): "gaussian",
    ("msdki", "learned-prior"): "rician",
}


def test_magnitudes_of_single_volumes_are_rician_to_every_method_and_powder_means_gaussian():
    kinds = {(model, method): likely_distribution(model, method, np.ones((2, 3))) for model, method in CHOICES}
    assert kinds == CHOICES
    few = np.where(np.arange(300) < 2, -1.0, 1.0)[:, None]
    assert likely_distribution("ball-stick", "lsq", few) == "rician"
    assert likely_distribution("ball-stick", "lsq", few[:100]) == "gaussian"
    assert likely_distribution("ir-t1-signed", "learned-prior", few) == "gaussian"
