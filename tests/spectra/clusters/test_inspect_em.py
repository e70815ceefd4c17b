import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from mrspec_prep.spectra import fit_inspect
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import e_step
from mrspec_prep.spectra.clusters.em_updates import empty_state, run_em
from mrspec_prep.spectra.clusters.short_runs import seeded_state


def agreement(labels, truth):
    """Proportion of voxels whose cluster is mostly of their own tissue."""
    return sum(np.bincount(truth[labels == label]).max() for label in np.unique(labels)) / len(truth)


@pytest.mark.parametrize("mode", ["exact", "paper"])
@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_four_tissues_are_recovered(four_tissues, mode, scale):
    fit = fit_inspect(four_tissues.signals, four_tissues.kernel, 0.05, 4, mode=mode, scale=scale, n_starts=5)
    assert agreement(fit.labels, four_tissues.truth) == 1.0
    np.testing.assert_allclose(fit.cluster_probs, np.array([80, 70, 60, 50]) / 260, atol=0.01)
    assert fit.converged


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 1.0])
def test_penalised_likelihood_never_falls_in_exact_mode(placenta, scale, alpha):
    rng = np.random.default_rng(5)
    noise_std = rng.uniform(0.03, 0.1, len(placenta.signals))
    problem = make_problem(placenta.signals, placenta.kernel, noise_std, alpha, "exact", scale)
    for seed in range(3):
        state = seeded_state(problem, 3, np.random.default_rng(seed))
        trace, _ = run_em(problem, state, 40)
        assert np.diff(trace).min() > -1e-7 * abs(trace[-1]) / 1e3


def test_responsibilities_are_probabilities_and_clusters_fall_in_weight(four_tissues):
    fit = fit_inspect(four_tissues.signals, four_tissues.kernel, 0.3, 5, n_starts=3)
    np.testing.assert_allclose(fit.responsibilities.sum(axis=1), 1, atol=1e-12)
    assert (fit.responsibilities >= 0).all() and (fit.spectra >= 0).all()
    assert (np.diff(fit.cluster_probs) <= 0).all()
    np.testing.assert_allclose(fit.cluster_probs.sum(), 1)


def test_likelihood_is_that_of_the_full_signals(placenta):
    noise_std = np.linspace(0.04, 0.08, len(placenta.signals))
    fit = fit_inspect(placenta.signals, placenta.kernel, noise_std, 2, n_starts=2)
    residual = placenta.signals[:, None] - (fit.spectra @ placenta.kernel.T)[None]
    density = -0.5 * (residual**2).sum(axis=2) / noise_std[:, None] ** 2
    density -= 330 * np.log(noise_std * np.sqrt(2 * np.pi))[:, None]
    expected = logsumexp(density + np.log(fit.cluster_probs), axis=1).sum()
    np.testing.assert_allclose(fit.log_likelihood, expected, rtol=1e-10)


def test_free_scale_is_integrated_out(placenta):
    """The voxel's density is the normal one with covariance s2 I + t2 mu mu', in the voxel's unit."""
    problem = make_problem(placenta.signals[:5], placenta.kernel, 0.05, scale="profiled")
    state = empty_state(problem, 1)
    spectrum = np.random.default_rng(0).exponential(1 / 400, 400)
    state.spectra[0] = spectrum
    state.means[0] = spectrum @ problem.reduced.columns
    state.norms[0] = state.means[0] @ state.means[0]
    found, *_ = e_step(problem, state)
    mean, expected = placenta.kernel @ spectrum, 0.0
    for signal, unit in zip(placenta.signals[:5], problem.units, strict=True):
        covariance = 0.05**2 * np.eye(330) + problem.scale_variance * unit**2 * np.outer(mean, mean)
        expected += multivariate_normal(unit * mean, covariance).logpdf(signal)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_profiled_scale_returns_s0_and_ignores_the_voxels_units(four_tissues):
    rng = np.random.default_rng(0)
    s0 = rng.uniform(200, 2000, len(four_tissues.truth))
    signals = four_tissues.signals * s0[:, None]
    fit = fit_inspect(signals, four_tissues.kernel, 0.05 * s0, 4, scale="profiled", n_starts=5)
    assert agreement(fit.labels, four_tissues.truth) == 1.0
    np.testing.assert_allclose(fit.spectra.sum(axis=1), 1)
    decay = np.exp(-78 / np.array([50.0, 100, 50, 100]))[four_tissues.truth]
    assert np.median(np.abs(fit.scale * decay / s0 - 1)) < 0.15


def test_same_seed_same_fit_whatever_the_threads(four_tissues):
    fits = [
        fit_inspect(four_tissues.signals, four_tissues.kernel, 0.05, 3, seed=7, n_starts=3, n_threads=n) for n in (1, 3)
    ]
    np.testing.assert_array_equal(fits[0].responsibilities, fits[1].responsibilities)
    np.testing.assert_array_equal(fits[0].spectra, fits[1].spectra)


def test_paper_mode_is_unweighted_means_with_plain_alpha(placenta):
    """Eqs. 15-16: with one cluster the spectrum is that of the plain mean signal."""
    from mrspec_prep.spectra import fit_nnls

    noise_std = np.linspace(0.01, 0.2, len(placenta.signals))
    fit = fit_inspect(placenta.signals, placenta.kernel, noise_std, 1, mode="paper", n_starts=1)
    mean = fit_nnls(placenta.signals.mean(axis=0)[None], placenta.kernel, 0.01, tolerance=1e-12)
    np.testing.assert_allclose(fit.spectra, mean.spectra, atol=1e-5 * mean.spectra.max())


def test_more_clusters_than_tissues_leave_no_nan(four_tissues):
    fit = fit_inspect(four_tissues.signals[:12], four_tissues.kernel, 0.05, 12, n_starts=2, max_steps=20)
    for values in (fit.responsibilities, fit.spectra, fit.cluster_probs, fit.trace):
        assert np.isfinite(values).all()


def test_black_voxels_are_fitted_without_nan(four_tissues):
    signals = four_tissues.signals.copy()
    signals[:3] = 0
    for scale in ("fixed", "profiled"):
        fit = fit_inspect(signals, four_tissues.kernel, 0.05, 3, scale=scale, n_starts=2)
        assert np.isfinite(fit.responsibilities).all() and np.isfinite(fit.scale).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "guess"}, "mode"),
        ({"scale": "guess"}, "scale"),
        ({"noise_std": 0.0}, "noise_std"),
        ({"noise_std": np.ones(3)}, "noise_std"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 1000}, "n_clusters"),
        ({"alpha": -1.0}, "alpha"),
        ({"signals": np.ones((2, 3))}, "3 encodings"),
    ],
)
def test_bad_input_is_refused(four_tissues, change, words):
    good = {"signals": four_tissues.signals, "kernel": four_tissues.kernel, "noise_std": 0.05, "n_clusters": 2}
    with pytest.raises(ValueError, match=words):
        fit_inspect(**{**good, **change})
