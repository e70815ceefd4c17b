from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import nnls

from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix, simulate_signals
from mrspec_prep.spectra import choose_alpha, fit_nnls, reduce_kernel
from mrspec_prep.spectra.noise.estimate import effective_parameters

FREE_OF_NOISE = ("gcv", "lcurve", "chi2")
ROOTS = ("chi2", "discrepancy", "brd")
WINDOW = 10 ** (1 / 3)


def relaxation(n_voxels, seed=0, snr=100.0):
    """Three T2 per voxel, 32 echoes, 30 bins."""
    encodings = Encodings(echo_time=10.0 * np.arange(1, 33))
    grid = Grid(t2=np.geomspace(10, 2000, 30))
    rng = np.random.default_rng(seed)
    t2 = np.stack([rng.uniform(*bounds, n_voxels) for bounds in ((15, 35), (60, 120), (400, 1500))], axis=1)
    clean = simulate_signals("t2", encodings, {"t2": t2}, rng.dirichlet([2, 5, 1], n_voxels))
    signals = add_noise(clean, 1 / snr, rng)
    return SimpleNamespace(signals=signals, kernel=kernel_matrix("t2", encodings, grid), noise_std=1 / snr)


@pytest.fixture(scope="module")
def echoes():
    return relaxation(40)


def by_scipy(kernel, signal, alpha):
    """Residual, ||f||2 and trace of the hat matrix on the non-zero bins, by dense algebra."""
    n_bins = kernel.shape[1]
    stacked = np.vstack([kernel, np.sqrt(alpha) * np.eye(n_bins)])
    f = nnls(stacked, np.concatenate([signal, np.zeros(n_bins)]), maxiter=50 * n_bins)[0]
    used = kernel[:, f > 0]
    trace = np.trace(used @ np.linalg.solve(used.T @ used + alpha * np.eye(used.shape[1]), used.T))
    return ((kernel @ f - signal) ** 2).sum(), (f**2).sum(), trace


def brute_path(kernel, signal, n_points):
    """Alphas over the range searched, and the path by scipy."""
    largest = np.linalg.norm(kernel, 2) ** 2
    alphas = largest * np.geomspace(1e-9, 1, n_points)
    return alphas, np.array([by_scipy(kernel, signal, alpha) for alpha in alphas])


def chi2_ratio(kernel, signal, alpha):
    return by_scipy(kernel, signal, alpha)[0] / ((kernel @ nnls(kernel, signal)[0] - signal) ** 2).sum()


@pytest.mark.parametrize("which", ["echoes", "placenta"])
def test_chi2_residual_is_102_percent_of_the_unregularised_one(which, request):
    problem = request.getfixturevalue(which)
    choice = choose_alpha(problem.signals[:8], problem.kernel, "chi2")
    assert choice.met.all()
    found = [chi2_ratio(problem.kernel, s, a) for s, a in zip(problem.signals, choice.alpha, strict=False)]
    np.testing.assert_allclose(found, 1.02, rtol=1e-6)


@pytest.mark.parametrize("which", ["echoes", "placenta"])
def test_discrepancy_residual_is_the_noise_energy_or_cannot_be(which, request):
    problem = request.getfixturevalue(which)
    signals, n_encodings = problem.signals[:12], len(problem.kernel)
    choice = choose_alpha(signals, problem.kernel, "discrepancy", problem.noise_std)
    wanted = n_encodings * problem.noise_std**2
    assert choice.met.sum() >= 4
    for signal, alpha, met in zip(signals, choice.alpha, choice.met, strict=True):
        residual = by_scipy(problem.kernel, signal, alpha)[0]
        assert residual == pytest.approx(wanted, rel=1e-5) if met else residual > wanted


def test_discrepancy_recovers_sigma():
    problem = relaxation(40, seed=1)
    choice = choose_alpha(problem.signals, problem.kernel, "discrepancy", problem.noise_std)
    residual = problem.signals - fit_nnls(problem.signals, problem.kernel, choice).spectra @ problem.kernel.T
    sigma = np.sqrt((residual**2).mean(axis=1))
    np.testing.assert_allclose(sigma[choice.met], problem.noise_std, rtol=1e-4)
    assert (sigma[~choice.met] > problem.noise_std).all()


@pytest.mark.parametrize("which", ["echoes", "placenta"])
def test_brd_is_its_own_fixed_point(which, request):
    problem = request.getfixturevalue(which)
    reduced = reduce_kernel(problem.kernel)
    choice = choose_alpha(problem.signals[:12], reduced, "brd", problem.noise_std)
    assert choice.met.sum() >= 4
    for signal, alpha in zip(problem.signals[:12][choice.met], choice.alpha[choice.met], strict=True):
        inside = signal @ reduced.projection
        residual = by_scipy(problem.kernel, signal, alpha)[0] - (signal**2).sum() + (inside**2).sum()
        assert alpha * problem.noise_std * np.sqrt(reduced.n_ranks / residual) == pytest.approx(alpha, rel=1e-4)


def test_gcv_is_least_on_the_whole_path(echoes, placenta):
    for problem, n_points in ((echoes, 80), (placenta, 16)):
        choice = choose_alpha(problem.signals[:4], problem.kernel, "gcv")
        n_encodings = len(problem.kernel)
        for signal, alpha in zip(problem.signals, choice.alpha, strict=False):
            _, path = brute_path(problem.kernel, signal, n_points)
            residual, _, trace = by_scipy(problem.kernel, signal, alpha)
            best = (path[:, 0] / (n_encodings - path[:, 2]) ** 2).min()
            assert residual / (n_encodings - trace) ** 2 < 1.01 * best


def test_lcurve_turns_nowhere_faster(echoes):
    choice = choose_alpha(echoes.signals[:4], echoes.kernel, "lcurve")

    def turn(signal, alpha):
        """Angle between tangents, by finite differences, over the distance travelled."""
        near = (WINDOW, WINDOW * 1.01, 1.01 / WINDOW, 1 / WINDOW)
        points = np.array([by_scipy(echoes.kernel, signal, alpha * x)[:2] for x in near])
        x, y = 0.5 * np.log(points.T)
        upper, lower = np.arctan2(x[1] - x[0], y[0] - y[1]), np.arctan2(x[2] - x[3], y[3] - y[2])
        return (upper - lower) / np.hypot(x[0] - x[3], y[0] - y[3])

    largest = np.linalg.norm(echoes.kernel, 2) ** 2
    for signal, alpha in zip(echoes.signals, choice.alpha, strict=False):
        best = max(turn(signal, a) for a in largest * np.geomspace(1e-7, 0.4, 60))
        assert turn(signal, alpha) > 0.95 * best


@pytest.mark.parametrize("rule", ROOTS)
def test_an_image_has_one_alpha_for_the_stacked_problem(echoes, rule):
    signals, sigma = echoes.signals[:6], np.array([1, 1, 2, 2, 1, 1]) * echoes.noise_std
    reduced = reduce_kernel(echoes.kernel)
    choice = choose_alpha(signals, reduced, rule, sigma, scope="image")
    weighted = np.array([by_scipy(echoes.kernel, s, choice.alpha)[0] for s in signals]) / sigma**2
    if rule == "chi2":
        base = [((echoes.kernel @ nnls(echoes.kernel, s)[0] - s) ** 2).sum() for s in signals] / sigma**2
        assert choice.met and weighted.sum() == pytest.approx(1.02 * base.sum(), rel=1e-6)
    elif rule == "discrepancy":
        assert choice.met and weighted.sum() == pytest.approx(signals.size, rel=1e-5)
    else:
        outside = reduced.compress(signals)[1] / sigma**2
        assert choice.met and (weighted - outside).sum() == pytest.approx(6 * reduced.n_ranks, rel=1e-5)
    assert choice.n_stacked == 6


@pytest.mark.parametrize("rule", ["gcv", "lcurve"])
def test_an_image_of_equal_voxels_has_the_alpha_of_one(echoes, rule):
    signals = np.tile(echoes.signals[:1], (3, 1))
    image = choose_alpha(signals, echoes.kernel, rule, scope="image")
    assert image.alpha == pytest.approx(choose_alpha(signals[:1], echoes.kernel, rule).alpha[0], rel=1e-6)


@pytest.mark.parametrize("rule", [*FREE_OF_NOISE, "discrepancy", "brd"])
def test_unit_order_and_threads_do_not_matter(rule):
    problem = relaxation(70, seed=2)
    signals, kernel, sigma = problem.signals, problem.kernel, problem.noise_std
    choice = choose_alpha(signals, kernel, rule, sigma, n_threads=1)
    backwards = choose_alpha(signals[::-1], kernel, rule, sigma, n_threads=3)
    np.testing.assert_allclose(backwards.alpha[::-1], choice.alpha, rtol=1e-9)  # BLAS may sum a block otherwise
    again = choose_alpha(signals, kernel, rule, sigma, n_threads=3)
    np.testing.assert_array_equal(again.alpha, choice.alpha)
    np.testing.assert_array_equal(again.dual, choice.dual)
    scaled = choose_alpha(1024 * signals, kernel, rule, 1024 * sigma)
    np.testing.assert_allclose(scaled.alpha, choice.alpha, rtol=1e-3)


def test_noise_is_weighed_by_the_image_not_by_rules_that_do_without(echoes):
    with_noise = choose_alpha(echoes.signals, echoes.kernel, "chi2", echoes.noise_std)
    np.testing.assert_array_equal(with_noise.alpha, choose_alpha(echoes.signals, echoes.kernel, "chi2").alpha)


@pytest.mark.parametrize("which", ["echoes", "placenta"])
def test_spectra_with_own_alphas_are_the_spectra_of_each_alpha(which, request):
    problem = request.getfixturevalue(which)
    signals = problem.signals[:6]
    choice = choose_alpha(signals, problem.kernel, "chi2")
    warm = fit_nnls(signals, problem.kernel, choice, tolerance=1e-12)
    cold = fit_nnls(signals, problem.kernel, choice.alpha, tolerance=1e-12)
    assert warm.converged.all() and cold.converged.all()
    assert warm.n_steps.max() <= 2
    for v, alpha in enumerate(choice.alpha):
        one = fit_nnls(signals[v : v + 1], problem.kernel, float(alpha), tolerance=1e-12)
        np.testing.assert_allclose(warm.spectra[v], one.spectra[0], atol=1e-5 * one.spectra.max())
        np.testing.assert_allclose(cold.spectra[v], one.spectra[0], atol=1e-5 * one.spectra.max())
        assert effective_parameters(warm)[v] == pytest.approx(effective_parameters(one)[0], rel=1e-4)
    np.testing.assert_array_equal(np.vstack([part for _, part in warm.blocks(4)]), warm.spectra)


def test_silent_perfect_and_hopeless_signals_are_flagged(echoes):
    smallest, largest = choose_alpha(echoes.signals, echoes.kernel, "chi2").bounds
    perfect = echoes.kernel[:, 10]
    choice = choose_alpha(np.stack([np.zeros(32), perfect]), echoes.kernel, "chi2")
    assert not choice.met.any()
    np.testing.assert_allclose(choice.alpha, smallest)
    weak = choose_alpha(echoes.signals[:2], echoes.kernel, "discrepancy", 10.0)
    assert not weak.met.any()
    np.testing.assert_allclose(weak.alpha, largest)
    for rule in FREE_OF_NOISE:
        silent = choose_alpha(np.zeros((1, 32)), echoes.kernel, rule)
        np.testing.assert_array_equal(fit_nnls(np.zeros((1, 32)), echoes.kernel, silent).spectra, 0)


def test_fixed_is_the_alpha_given(echoes):
    choice = choose_alpha(echoes.signals, echoes.kernel, "fixed", alpha=0.3)
    np.testing.assert_array_equal(
        fit_nnls(echoes.signals, echoes.kernel, choice).dual, fit_nnls(echoes.signals, echoes.kernel, 0.3).dual
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rule": "best"}, "rule must be one of"),
        ({"scope": "slice"}, "scope must be one of"),
        ({"rule": "brd"}, "needs noise_std"),
        ({"noise_std": 0.0}, "noise_std must be finite"),
        ({"noise_std": np.ones(3)}, "noise_std must be a number"),
        ({"chi2_factor": 1.0}, "chi2_factor"),
        ({"signals": np.ones((0, 32)), "scope": "image"}, "at least one voxel"),
    ],
)
def test_bad_input_is_refused(echoes, change, words):
    with pytest.raises(ValueError, match=words):
        choose_alpha(**{"signals": echoes.signals, "kernel": echoes.kernel, "rule": "chi2", **change})


@pytest.mark.parametrize("alpha", [np.ones(3), np.zeros(40), np.full(40, np.nan)])
def test_alphas_that_do_not_fit_the_voxels_are_refused(echoes, alpha):
    with pytest.raises(ValueError, match="alpha must be a number, or"):
        fit_nnls(echoes.signals, echoes.kernel, alpha)
