from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_inspect_map
from mrspec_prep.spectra.components.simplex import simplex_weights


def mixed_tissues(encodings, concentration, snr=50, n_voxels=300, seed=0):
    """Voxels that mix three single-component tissues; every tissue has signal 1 at b=0 and the shortest TE."""
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(15, 15))
    tissues = {"diffusivity": np.array([1.0, 10, 100]), "t2star": np.array([40.0, 100, 200])}
    pure = simulate_signals("adc-t2star", encodings, tissues)
    pure /= pure.max(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(3, concentration), n_voxels)
    signals = add_noise(weights @ pure, 1 / snr, rng)
    kernel = kernel_matrix("adc-t2star", encodings, grid)
    return SimpleNamespace(signals=signals, weights=weights, pure=pure, kernel=kernel, noise_std=1 / snr)


@pytest.fixture(scope="module")
def tissues(placenta):
    return mixed_tissues(placenta.encodings, 1.0)


@pytest.fixture(scope="module")
def fit(tissues):
    return fit_inspect_map(tissues.signals, tissues.kernel, tissues.noise_std, 3, n_starts=3)


def error(found, truth):
    """RMSE of the weights; components matched by correlation."""
    order = np.corrcoef(found.T, truth.T)[3:, :3].argmax(axis=1)
    assert sorted(order) == [0, 1, 2]
    return np.sqrt(((found[:, order] - truth) ** 2).mean())


def test_weights_are_recovered_within_twice_the_error_with_the_true_spectra(tissues, fit):
    oracle = simplex_weights(tissues.pure @ tissues.pure.T, tissues.signals @ tissues.pure.T)
    assert error(fit.weights, tissues.weights) < 2 * error(oracle, tissues.weights)
    assert fit.converged and fit.unique


def test_weights_are_shares_and_components_fall_in_weight(fit):
    np.testing.assert_allclose(fit.weights.sum(axis=1), 1, atol=1e-9)
    assert (fit.weights >= 0).all() and (fit.spectra >= 0).all()
    assert (np.diff(fit.weights.mean(axis=0)) <= 0).all()


def test_trace_never_rises_and_ends_at_the_objective(fit):
    assert np.diff(fit.trace).max() <= 1e-9 * fit.trace[0]
    assert fit.trace[-1] == fit.objective and len(fit.trace) == fit.n_steps + 1


def test_likelihood_is_that_of_the_full_signals(tissues, fit):
    residual = tissues.signals - fit.weights @ fit.spectra @ tissues.kernel.T
    sigma = tissues.noise_std
    expected = -0.5 * (residual**2).sum() / sigma**2 - residual.size * np.log(sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(fit.log_likelihood, expected, rtol=1e-9)


def test_residual_is_at_the_noise_level(tissues, fit):
    residual = tissues.signals - fit.weights @ fit.spectra @ tissues.kernel.T
    assert 0.97 < residual.std() / tissues.noise_std < 1.01
    assert 0.95 < np.median(fit.residual) < 1.05


def test_too_few_components_are_said(tissues):
    found = fit_inspect_map(tissues.signals, tissues.kernel, tissues.noise_std, 2, n_starts=1)
    assert np.median(found.residual) > 1.3
    assert any("more than 2 components" in sentence for sentence in found.statements)


@pytest.mark.parametrize("concentration", [8.0])
def test_without_pure_voxels_the_fit_says_that_it_is_not_unique(placenta, concentration):
    tissues = mixed_tissues(placenta.encodings, concentration)
    found = fit_inspect_map(tissues.signals, tissues.kernel, tissues.noise_std, 3, n_starts=2)
    assert not found.unique
    assert any("not unique" in sentence for sentence in found.statements)
    assert len(found.uniqueness.spectra) >= 2


def test_unique_components_are_called_so(fit):
    assert any("unique within the noise" in sentence for sentence in fit.statements)
    assert fit.uniqueness.equivalent.any() and fit.weight_spread.max() < 0.02


def test_free_scale_ignores_the_voxels_units_and_returns_s0(tissues):
    s0 = np.random.default_rng(3).uniform(200, 2000, len(tissues.signals))
    found = fit_inspect_map(
        tissues.signals * s0[:, None], tissues.kernel, tissues.noise_std * s0, 3, scale="profiled", n_starts=2
    )
    assert error(found.weights, tissues.weights) < 0.02
    assert np.abs(found.scale / s0 - 1).max() < 0.1
    np.testing.assert_allclose((found.spectra @ tissues.kernel.T).max(axis=1), 1)


def test_same_seed_same_fit_whatever_the_threads(tissues):
    fits = [
        fit_inspect_map(tissues.signals, tissues.kernel, 0.02, 2, seed=7, n_starts=3, n_threads=n, max_steps=20)
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(fits[0].weights, fits[1].weights)
    np.testing.assert_array_equal(fits[0].spectra, fits[1].spectra)


def test_one_component_weighs_one_and_more_than_needed_leave_no_nan(tissues):
    one = fit_inspect_map(tissues.signals[:40], tissues.kernel, 0.02, 1, n_starts=1)
    np.testing.assert_array_equal(one.weights, 1)
    many = fit_inspect_map(tissues.signals[:40], tissues.kernel, 0.02, 6, n_starts=1, max_steps=30)
    for values in (many.weights, many.spectra, many.trace, many.weight_spread):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_black_voxels_leave_no_nan(tissues, scale):
    signals = tissues.signals[:60].copy()
    signals[:3] = 0
    found = fit_inspect_map(signals, tissues.kernel, 0.02, 3, scale=scale, n_starts=1, max_steps=20)
    assert np.isfinite(found.weights).all() and np.isfinite(found.scale).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": "guess"}, "scale"),
        ({"noise_std": 0.0}, "noise_std"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 1000}, "n_components"),
        ({"n_starts": 0}, "n_starts"),
        ({"alpha": -1.0}, "alpha"),
    ],
)
def test_bad_input_is_refused(tissues, change, words):
    good = {"signals": tissues.signals, "kernel": tissues.kernel, "noise_std": 0.02, "n_components": 2}
    with pytest.raises(ValueError, match=words):
        fit_inspect_map(**{**good, **change})
