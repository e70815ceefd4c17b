"""Laws of the scan-specific networks and of coefficients from known sampling."""

import numpy as np
import pytest
import torch

from mrspec_prep.networks import fit_fingerprint
from mrspec_prep.networks.fingerprinting.deconvolution import deconvolve
from mrspec_prep.networks.fingerprinting.dictionary import make_dictionary
from mrspec_prep.networks.fingerprinting.frame_sets import make_frame_sets
from mrspec_prep.networks.fingerprinting.reconstruction import coefficients_of, leaks, noise_of_halves
from mrspec_prep.networks.fingerprinting.sampling import Sampling
from mrspec_prep.networks.fingerprinting.series import checked_series
from mrspec_prep.physics import Grid
from mrspec_prep.physics.fingerprinting import fisp_schedule, simulate_fisp

N_FRAMES = 180
SCHEDULE = fisp_schedule(N_FRAMES)
GRID = Grid(t1=np.geomspace(300, 3000, 25), t2=np.geomspace(20, 400, 25))
SHORT = {"n_steps": 20, "judge_every": 5, "n_blocks": 1, "n_channels": 8, "n_splits": 1, "crop": 24, "radius": 2}
PAPER = {"base": "paper", "n_steps": 3, "n_blocks": 1, "n_channels": 8, "crop": 16}


def two_tissues(n=24, sigma=0.02, n_slices=1, seed=0):
    """T1, T2 [ms] and a noisy series, (n, n, n_slices, n_frames)."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    inner = np.hypot(x - n / 2, y - n / 2) < n / 3
    t1, t2 = np.where(inner, 800.0, 1300.0), np.where(inner, 60.0, 95.0)
    t1, t2 = (np.repeat(t[:, :, None], n_slices, axis=2) for t in (t1, t2))
    m0 = (1 + 0.2 * np.sin(x / 9)) * np.exp(1j * y / 7)
    signals = simulate_fisp(SCHEDULE, t1.ravel(), t2.ravel()).reshape(*t1.shape, -1) * m0[:, :, None, None]
    noise = rng.standard_normal((*signals.shape, 2)) @ [1, 1j]
    return t1, t2, signals + sigma * noise


def relative_rmse(found, truth):
    return float(np.sqrt(np.mean((found / truth - 1) ** 2)))


def test_the_network_beats_the_voxel_alone_and_tells_risk_and_learning():
    t1, t2, series = two_tissues()
    steps = []
    alone = fit_fingerprint(series, SCHEDULE, grid=GRID)
    found = fit_fingerprint(
        series, SCHEDULE, "scan-cnn", grid=GRID, device="cpu", settings=SHORT, on_step=lambda *s: steps.append(s)
    )
    for name, truth in (("t1", t1), ("t2", t2)):
        errors = [relative_rmse(getattr(result, name), truth) for result in (found, alone)]
        assert errors[0] < 0.75 * errors[1]
    assert 0.4 < np.median(found.risk) < 1.2  # what noise explains
    assert np.quantile(found.risk, 0.99) < 3
    assert steps[-1] == (20, 20)
    assert found.history["step"] == [0, 5, 10, 15, 20]
    assert min(found.history["judged"]) <= found.history["judged"][0]
    assert found.settings["base"] == "ours"
    assert found.coefficients.shape == (24, 24, 1, 6)
    # size and phase are the voxel's own
    along = (found.coefficients.conj() * alone.coefficients).sum(axis=-1) / (np.abs(found.coefficients) ** 2).sum(-1)
    np.testing.assert_allclose(along, 1, atol=1e-6)


@pytest.mark.parametrize("settings", [SHORT | {"n_steps": 4, "judge_every": 2}, PAPER])
def test_a_seed_gives_its_maps_whatever_torch_drew_before(settings):
    _, _, series = two_tissues(16, n_slices=2)
    mask = np.ones((16, 16, 2), bool)
    mask[:3] = False
    runs = []
    for before, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        runs.append(fit_fingerprint(series, SCHEDULE, "scan-cnn", mask=mask, seed=seed, grid=GRID, settings=settings))
        assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(runs[0].t1, runs[1].t1)
    np.testing.assert_array_equal(runs[0].risk, runs[1].risk)
    assert (runs[0].t2 != runs[2].t2).any()
    assert (runs[0].t1[~mask] == 0).all()
    assert np.isfinite(runs[0].t1).all()
    assert runs[0].settings["base"] == settings.get("base", "ours")
    assert runs[0].seed == 5


def test_the_published_network_learns_to_repeat_the_series():
    _, _, series = two_tissues(16)
    settings = PAPER | {"n_steps": 60, "learning_rate": 5e-3}
    found = fit_fingerprint(series, SCHEDULE, "scan-cnn", grid=GRID, settings=settings)
    assert np.mean(found.history["loss"][-5:]) < 0.5 * np.mean(found.history["loss"][:5])


def dense_sampling(n=8, n_interleaves=3, seed=0):
    """Random points of k-space with coils, by sums of exponentials: the encoding matrices and what is told of them."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij"), -1).reshape(-1, 2)
    wide = np.stack(np.meshgrid(np.arange(2 * n) - n, np.arange(2 * n) - n, indexing="ij"), -1).reshape(-1, 2)
    coils = rng.standard_normal((2, n, n, 1, 2)) @ [1, 1j] * 0.5 + 1
    weights = rng.uniform(0.5, 1.5, (n_interleaves, 40)) / 40
    points = rng.uniform(-np.pi, np.pi, (n_interleaves, 40, 2))
    spread = np.array([np.exp(1j * wide @ k.T) @ w for k, w in zip(points, weights, strict=True)])
    matrices = [np.exp(-1j * k @ places.T) for k in points]
    interleaf = np.arange(N_FRAMES) % n_interleaves
    support = np.ones((n, n), bool)
    sampling = Sampling(spread.reshape(n_interleaves, 2 * n, 2 * n), interleaf, coils, support)
    return sampling, matrices, weights


def test_known_sampling_gives_the_truth_of_undersampled_frames():
    n, rng = 8, np.random.default_rng(1)
    subspace = make_dictionary(SCHEDULE, GRID, 3).subspace
    sampling, matrices, weights = dense_sampling(n)
    truth = rng.standard_normal((n, n, 1, 3, 2)) @ [1, 1j]
    series = np.zeros((n, n, 1, N_FRAMES), complex)
    for t in range(N_FRAMES):
        i = sampling.interleaf[t]
        image = (truth @ subspace[:, t]).reshape(1, -1)
        for coil in sampling.coils.reshape(2, 1, -1):
            samples = matrices[i] @ (coil * image).ravel()
            series[..., t] += (coil.conj() * (matrices[i].conj().T @ (weights[i] * samples))).reshape(n, n, 1)
    solved = deconvolve(series @ subspace.T, subspace, sampling, 60, "cpu")
    np.testing.assert_allclose(solved, truth, atol=0.02)  # 40 samples of 64 voxels in each frame
    assert np.abs(series @ subspace.T - truth).mean() > 0.3
    half = np.arange(N_FRAMES) % 24 < 12
    found = next(coefficients_of(checked_series(series, SCHEDULE), subspace, [half], sampling, 60))
    np.testing.assert_allclose(found, truth.reshape(-1, 3), atol=0.05)


def test_sampling_that_sees_everything_changes_nothing():
    """With every frame fully sampled the point spread is a point, and least squares is projection."""
    n = 16
    _, _, series = two_tissues(n)
    spread = np.zeros((2, 2 * n, 2 * n))
    spread[:, n, n] = 1
    sampling = Sampling(spread, np.arange(N_FRAMES) % 2)
    plain = fit_fingerprint(series, SCHEDULE, grid=GRID)
    known = fit_fingerprint(series, SCHEDULE, grid=GRID, sampling=sampling)
    inside = sampling.support
    np.testing.assert_allclose(known.coefficients[inside], plain.coefficients[inside], atol=1e-4)
    assert known.noise_std == pytest.approx(0.02, rel=0.2)
    np.testing.assert_allclose(known.t1[inside], plain.t1[inside], rtol=5e-3)


def test_halves_share_no_frame_and_what_leaks_into_them_is_known():
    sets = make_frame_sets(N_FRAMES, 6, 3, np.random.default_rng(0))
    assert not (sets.halves[:, 0] & sets.halves[:, 1]).any()
    assert (sets.halves.any(axis=1) == sets.training).all()
    assert not (sets.training & sets.judging).any()
    dictionary = make_dictionary(SCHEDULE, GRID, 3)
    atoms = np.array([5, 300, 5])
    pairs, chosen = GRID.bins(), dictionary.atoms[atoms]
    series = simulate_fisp(SCHEDULE, pairs["t1"][chosen], pairs["t2"][chosen])
    masks = sets.halves[0]
    found = coefficients_of(checked_series(series, SCHEDULE), dictionary.subspace, masks)
    for coefficients, leak in zip(found, leaks(dictionary, atoms, masks), strict=True):
        assert np.abs(leak).max() > 1e-4
        np.testing.assert_allclose(coefficients - leak, series @ dictionary.subspace.T, atol=1e-6)


def test_noise_of_halves_is_that_of_the_whole():
    rng = np.random.default_rng(0)
    one, two = (0.1 * np.sqrt(2) * (rng.standard_normal((4000, 6, 2)) @ [1, 1j]) for _ in range(2))
    assert noise_of_halves(one, two) == pytest.approx(0.1, rel=0.05)


FLAT = np.ones((8, 8, 1, N_FRAMES), complex)
POINT = np.zeros((1, 16, 16))
POINT[0, 8, 8] = 1
ZERO = np.zeros(N_FRAMES, int)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"series": FLAT[:, 0, 0]}, r"give the series as \(x, y, z, n_frames\)"),
        ({"settings": "papr"}, "ours or paper, got 'papr'"),
        ({"settings": {"n_step": 3}}, "settings must be among radius"),
        ({"settings": {"n_steps": 0}}, "n_steps must be > 0"),
        ({"settings": {"radius": 1.5}}, "radius must be a whole number"),
        ({"settings": {"base": "paper", "radius": 3}}, "settings must be among n_blocks"),
        ({"settings": 3}, "ours, paper or a dict"),
        ({"device": "gpu"}, "device must be auto, cpu or cuda"),
        ({"schedule": fisp_schedule(24), "series": FLAT[..., :24]}, "24 frames are too few"),
        ({"sampling": Sampling(POINT, ZERO), "series": np.abs(FLAT)}, "magnitudes: leave sampling out"),
        ({"sampling": Sampling(POINT, ZERO), "settings": {"window": 6}}, "exclude each other"),
        ({"sampling": Sampling(POINT[:, :8, :8], ZERO)}, r"matrix \(4, 4\)"),
        ({"sampling": Sampling(POINT, ZERO[:5])}, "interleaf has 5 frames"),
    ],
)
def test_errors_name_the_remedy(change, words):
    arguments = {"series": FLAT, "schedule": SCHEDULE, "method": "scan-cnn", "grid": GRID} | change
    with pytest.raises(ValueError, match=words):
        fit_fingerprint(**arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spread": POINT[0]}, "spread must be"),
        ({"interleaf": ZERO + 1}, "interleaf must lie between 0 and 0"),
        ({"interleaf": ZERO * 1.0}, "one whole number per frame"),
        ({"coils": np.ones((2, 4, 8, 1))}, "coils must be"),
        ({"spread": POINT * np.nan}, "spread holds NaN"),
        ({"support": np.zeros((8, 8))}, "with some voxels"),
    ],
)
def test_sampling_is_checked(change, words):
    with pytest.raises(ValueError, match=words):
        Sampling(**{"spread": POINT, "interleaf": ZERO} | change)
