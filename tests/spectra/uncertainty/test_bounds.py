import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import chi2

from mrspec_prep.physics import Encodings, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_nnls, integrate_regions, reduce_kernel
from mrspec_prep.spectra.regions.integration import integrate_visible, region_bins
from mrspec_prep.spectra.uncertainty.bounds import bound_fractions, enclosed_bins, misfit_limit, touched_bins

REGIONS = {"short": {"t2": (0.0, 40.0)}, "medium": {"t2": (40.0, 200.0)}, "long": {"t2": (200.0, np.inf)}}
NOISE = 0.01


@pytest.fixture(scope="module")
def echoes():
    """Two-component T2 decays on a grid: kernel, grid, true spectra, clean signals."""
    encodings = Encodings(echo_time=10.0 * np.arange(1, 25))
    grid = default_grid(("t2",), encodings, points=(50,))
    kernel = kernel_matrix("t2", encodings, grid)
    rng = np.random.default_rng(3)
    truth = np.zeros((40, grid.n_bins))
    for spectrum in truth:
        spectrum[rng.integers(5, 25)] = rng.uniform(0.1, 0.6)
        spectrum[rng.integers(25, 45)] = rng.uniform(0.3, 0.9)
    return kernel, grid, truth, truth @ kernel.T


def noisy(clean, seed=0):
    return clean + NOISE * np.random.default_rng(seed).standard_normal(clean.shape)


def least_misfit(kernel, signal, weight, t, penalty=1e4):
    """Least ||K f - s||2 at a fraction t, by scipy."""
    stacked = np.vstack([kernel, penalty * (weight - t)])
    return nnls(stacked, np.append(signal, 0.0))[1] ** 2


@pytest.mark.parametrize("joint", [True, False])
def test_beyond_the_bound_the_misfit_exceeds_the_limit_and_within_it_does_not(echoes, joint):
    kernel, grid, _, clean = echoes
    reduced = reduce_kernel(kernel)
    signals = noisy(clean[:6])
    found = bound_fractions(signals, kernel, NOISE, grid, REGIONS, joint=joint, n_numbers=6)
    targets = reduced.compress(signals)[0][:, :6] / NOISE
    basis = reduced.basis[:6]
    for name, box in REGIONS.items():
        outer, inner = touched_bins(grid, box).astype(float), enclosed_bins(grid, box).astype(float)
        for voxel, target in enumerate(targets):
            limit = chi2.ppf(0.95, 6) if joint else nnls(basis, target)[1] ** 2 + chi2.ppf(0.95, 1)
            low, high = found.low[name][voxel], found.high[name][voxel]
            for bound, outward, weight in ((low, -1, inner), (high, 1, outer)):
                if 0 < bound < 1:
                    assert least_misfit(basis, target, weight, bound + 1e-4 * outward) >= limit * (1 - 1e-6)
                    assert least_misfit(basis, target, weight, bound - 2e-3 * outward) <= limit * (1 + 1e-6)


def test_the_truth_lies_within_for_95_percent(echoes):
    kernel, grid, truth, clean = echoes
    signals, truth = noisy(np.repeat(clean, 5, axis=0)), np.repeat(truth, 5, axis=0)
    found = bound_fractions(signals, kernel, NOISE, grid, REGIONS)
    fractions = integrate_regions(truth, grid, REGIONS)
    inside = np.all([(found.low[n] <= fractions[n]) & (fractions[n] <= found.high[n]) for n in REGIONS], axis=0)
    assert inside.mean() >= 0.95
    assert found.possible.mean() >= 0.95


def test_the_fraction_of_a_feasible_fit_lies_within(echoes):
    kernel, grid, _, clean = echoes
    signals = noisy(clean)
    fit = fit_nnls(signals, kernel, alpha=0.0)
    found = bound_fractions(signals, kernel, NOISE, grid, REGIONS, n_numbers=8)
    misfit = ((fit.spectra @ reduce_kernel(kernel).basis.T - reduce_kernel(kernel).compress(signals)[0]) ** 2)[:, :8]
    feasible = misfit.sum(axis=1) <= NOISE**2 * chi2.ppf(0.95, 8)
    assert feasible.sum() > 20
    for name, fraction in integrate_regions(fit, grid, REGIONS).items():
        assert (found.low[name][feasible] <= fraction[feasible] + 1e-9).all()
        assert (fraction[feasible] <= found.high[name][feasible] + 1e-9).all()


def test_a_small_misfit_of_the_kernel_widens_the_comparison_and_not_all_is_lost(echoes):
    kernel, grid, _, clean = echoes
    shift = 5.0 * NOISE * reduce_kernel(kernel).projection[:, 3]
    missed = np.concatenate([clean[:10] + shift, clean[:10] - shift])
    found = bound_fractions(missed, kernel, NOISE, grid, REGIONS, n_numbers=5)
    assert (found.compared_in_full & found.possible).any()
    wide = bound_fractions(missed, kernel, NOISE, grid, REGIONS, n_numbers=1000)
    which = found.compared_in_full
    np.testing.assert_array_equal(found.high["long"][which], wide.high["long"][which])


def test_less_noise_gives_narrower_bounds_inside_the_wider(echoes):
    kernel, grid, _, clean = echoes
    wide, narrow = (bound_fractions(clean, kernel, std, grid, REGIONS, n_numbers=8) for std in (0.02, 0.002))
    for name in REGIONS:
        assert (narrow.low[name] >= wide.low[name] - 2e-3).all()
        assert (narrow.high[name] <= wide.high[name] + 2e-3).all()
    assert np.mean(narrow.high["long"] - narrow.low["long"]) < 0.75 * np.mean(wide.high["long"] - wide.low["long"])


def test_bins_at_a_border_count_for_both_sides(echoes):
    _, grid, _, _ = echoes
    box, rest = {"t2": (40.0, 200.0)}, [{"t2": (0.0, 40.0)}, {"t2": (200.0, np.inf)}]
    inside, touched, enclosed = region_bins(grid, box), touched_bins(grid, box), enclosed_bins(grid, box)
    assert touched.sum() == inside.sum() + 2
    assert enclosed.sum() == inside.sum() - 2
    assert (enclosed <= inside).all()
    assert (inside <= touched).all()
    np.testing.assert_array_equal(~enclosed, touched_bins(grid, rest[0]) | touched_bins(grid, rest[1]))
    np.testing.assert_array_equal(enclosed_bins(grid, {"t2": (0.0, np.inf)}), True)
    assert not enclosed_bins(grid, {"t2": (grid.t2[7], grid.t2[8])}).any()


def test_the_truth_between_grid_points_lies_within():
    encodings = Encodings(echo_time=10.0 * np.arange(1, 25))
    coarse = default_grid(("t2",), encodings, points=(30,))
    rng = np.random.default_rng(5)
    t2 = np.stack([rng.uniform(30, 50, 200), rng.uniform(150, 260, 200)], axis=1)
    shares = rng.dirichlet([2, 2], 200)
    signals = simulate_signals("t2", encodings, {"t2": t2}, shares) + 0.003 * rng.standard_normal((200, 24))
    found = bound_fractions(signals, kernel_matrix("t2", encodings, coarse), 0.003, coarse, REGIONS)
    inside = []
    for name, box in REGIONS.items():
        truth = (shares * ((t2 >= box["t2"][0]) & (t2 < box["t2"][1]))).sum(axis=1)
        inside.append((found.low[name] <= truth) & (truth <= found.high[name]))
    assert np.all(inside, axis=0).mean() >= 0.95


def test_regions_that_fill_the_grid_have_complementary_bounds(echoes):
    kernel, grid, _, clean = echoes
    halves = {"below": {"t2": (0.0, 60.0)}, "above": {"t2": (60.0, np.inf)}}
    found = bound_fractions(noisy(clean[:10]), kernel, NOISE, grid, halves)
    np.testing.assert_allclose(found.low["below"], 1 - found.high["above"], atol=2e-3)


def test_a_signal_that_no_spectrum_explains_leaves_everything_open(echoes):
    kernel, grid, _, clean = echoes
    rising = np.vstack([clean[:1], clean[:1, ::-1]])
    found = bound_fractions(rising, kernel, NOISE, grid, REGIONS, n_numbers=8)
    assert found.possible.tolist() == [True, False]
    assert found.compared_in_full.tolist() == [False, True]
    assert found.low["short"][1] == 0
    assert found.high["short"][1] == 1


def test_scale_order_and_threads_do_not_matter(echoes):
    kernel, grid, _, clean = echoes
    signals, order = noisy(clean), np.random.default_rng(0).permutation(len(clean))
    one = bound_fractions(signals, kernel, NOISE, grid, REGIONS, n_threads=1)
    two = bound_fractions(signals[order], kernel, NOISE, grid, REGIONS, n_threads=2)
    scaled = bound_fractions(700 * signals, kernel, 700 * NOISE, grid, REGIONS)
    for name in REGIONS:
        np.testing.assert_array_equal(one.high[name][order], two.high[name])
        np.testing.assert_allclose(one.high[name], scaled.high[name], atol=1e-3)


def test_an_estimated_noise_level_widens_the_limit():
    limits = [misfit_limit(8, 0.95, degrees) for degrees in (5, 25, 1e6, np.inf)]
    assert limits == sorted(limits, reverse=True)
    assert limits[2] == pytest.approx(limits[3], rel=1e-3)
    draws = np.random.default_rng(0)
    ratio = draws.chisquare(8, 20000) / (draws.chisquare(5, 20000) / 5)
    assert (ratio <= limits[0]).mean() == pytest.approx(0.95, abs=0.006)


def test_nonsense_is_refused(echoes):
    kernel, grid, _, clean = echoes
    with pytest.raises(ValueError, match="level"):
        bound_fractions(clean, kernel, NOISE, grid, REGIONS, level=1.0)
    with pytest.raises(ValueError, match="noise_std"):
        bound_fractions(clean, kernel, 0.0, grid, REGIONS)
    with pytest.raises(ValueError, match="without any bin"):
        bound_fractions(clean, kernel, NOISE, grid, {"nowhere": {"t2": (1e6, 2e6)}})


def test_visible_fractions_are_bounded_more_narrowly_and_hold_the_truth(echoes):
    kernel, grid, truth, clean = echoes
    encodings = Encodings(echo_time=10.0 * np.arange(1, 25))
    signals, box = noisy(clean), {"short": {"t2": (0.0, 20.0)}}
    spins = bound_fractions(signals, kernel, NOISE, grid, box)
    visible = bound_fractions(signals, kernel_matrix("t2", encodings.from_first_echo(), grid), NOISE, grid, box)
    own = integrate_visible(truth, grid, box, "t2", encodings)["short"]
    assert np.mean((visible.low["short"] <= own) & (own <= visible.high["short"])) >= 0.9
    widths = [np.mean(found.high["short"] - found.low["short"]) for found in (spins, visible)]
    assert widths[1] < 0.8 * widths[0]


def test_visible_fractions_weigh_a_spectrum_by_its_first_echo():
    encodings = Encodings(echo_time=[50.0, 100.0, 150.0])
    grid = default_grid(("t2",), encodings, points=(2,), bounds={"t2": (50.0, 100.0)})
    (share,) = integrate_visible(np.ones((1, 2)), grid, {"low": {"t2": (0, 60)}}, "t2", encodings)["low"]
    assert np.isclose(share, np.exp(-1.0) / (np.exp(-1.0) + np.exp(-0.5)))
