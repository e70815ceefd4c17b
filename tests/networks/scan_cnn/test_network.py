from dataclasses import replace

import numpy as np
import pytest
import torch

from mrspec_prep.networks import fit_scan_cnn
from mrspec_prep.networks.scan_cnn.decays import fit_decay, least_errors, rician_mean, synthesise
from mrspec_prep.networks.scan_cnn.leaf_images import FINE, leaf_image
from mrspec_prep.networks.scan_cnn.levelling import levelled
from mrspec_prep.networks.scan_cnn.network import new_network
from mrspec_prep.networks.scan_cnn.pretraining import add_noise, draw_batch, random_protocol
from mrspec_prep.networks.scan_cnn.recorrupted import misfit, misfit_of_noise, recorrupted
from mrspec_prep.networks.scan_cnn.scan import make_scan
from mrspec_prep.networks.scan_cnn.slices import keep_aside, slices_of, turned, turned_back
from mrspec_prep.networks.scan_cnn.structural import WINDOW, structural_similarity
from mrspec_prep.networks.scan_cnn.virtual_echoes import VIRTUAL_TIMES, Protocol
from mrspec_prep.physics.magnitudes import expected_magnitude

TIMES = np.array([20.0, 50.0, 80.0, 110.0])  # ms
SIGMA = 0.03
QUICK = {"n_steps": 4, "every": 2, "n_pieces": 1, "piece": 16, "passes": 2, "draws": 1}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scan():
    """Images (32, 28, 2, 4) of two tissues and a smooth field, T2 and noise-free images."""
    x, y = np.meshgrid(np.arange(32), np.arange(28), indexing="ij")
    t2 = np.stack([np.where(x > 14, 60.0, 110.0), np.where(y > 12, 80.0, 50.0)], axis=2)
    clean = np.exp(-TIMES / t2[..., None]) * (1 - 0.1 * (x / 32)[:, :, None, None])
    return clean + SIGMA * np.random.default_rng(0).standard_normal(clean.shape), t2, clean


def maps(b=1, h=6, w=5):
    generator = torch.Generator().manual_seed(0)
    return torch.rand((2, b, h, w), generator=generator) + torch.tensor([-0.5, 0.5])[:, None, None, None]


def test_least_squares_of_images_returns_what_made_them():
    log_rate, amplitude = maps()
    times = Protocol(TIMES, SIGMA).times()
    found = fit_decay(synthesise(log_rate, amplitude, times), times)
    torch.testing.assert_close(found[0], log_rate, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], amplitude, rtol=1e-4, atol=1e-4)


def test_the_bound_of_one_voxel_is_reached_by_least_squares():
    times = Protocol(TIMES, SIGMA).times()
    log_rate, amplitude = torch.full((1, 100, 100), 0.1), torch.full((1, 100, 100), 0.6)
    signals = synthesise(log_rate, amplitude, times)
    noise = 0.005 * torch.randn(signals.shape, generator=torch.Generator().manual_seed(1))
    found = fit_decay(signals + noise, times)
    bounds = least_errors(log_rate, amplitude, times, 0.005)
    for estimate, truth, bound in zip(found, (log_rate, amplitude), bounds, strict=True):
        assert (estimate - truth).std() / bound.mean() == pytest.approx(1, abs=0.04)


def test_the_expected_magnitude_is_that_of_physics():
    signals = np.linspace(0, 3, 50)
    found = rician_mean(torch.tensor(signals), 0.2).numpy()
    np.testing.assert_allclose(found, expected_magnitude(signals, 0.2), rtol=1e-6)


@pytest.mark.parametrize("times", [TIMES, np.arange(1, 33) * 10.0, np.array([30.0, 90.0])])
def test_virtual_echoes_predict_decays_and_know_their_errors(times):
    """Errors over tissue drawn from the prior are, root mean square, what the protocol says they are."""
    rng, protocol = np.random.default_rng(0), Protocol(times, 0.02)
    rates = np.exp(rng.uniform(np.log(0.02), np.log(12), 4000))
    amplitudes = np.sqrt(0.5) * rng.choice([-1, 1], 4000)
    there = amplitudes[:, None] * np.exp(-np.outer(rates, times / protocol.unit))
    images = torch.from_numpy(there + 0.02 * rng.standard_normal(there.shape)).T[None, :, :, None]
    found = protocol.channels(images)[0, : len(VIRTUAL_TIMES), :, 0].numpy().T
    off = found - amplitudes[:, None] * np.exp(-np.outer(rates, VIRTUAL_TIMES))
    np.testing.assert_allclose(np.sqrt(np.mean(off**2, axis=0)), protocol.virtual_errors, rtol=0.06)


def test_the_recorrupted_misfit_is_the_error_plus_a_constant():
    """E|f(y1) - y2|^2 - noise = E|f(y1) - truth|^2, though the truth is never looked at."""

    class Smoothing:
        def estimate(self, images, protocol):
            mean = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
            self.seen = 0.5 * images + 0.5 * mean
            log_rate, amplitude = fit_decay(self.seen, protocol.times())
            return type("Found", (), {"log_rate": log_rate, "amplitude": amplitude})

    generator, network, protocol = torch.Generator().manual_seed(0), Smoothing(), Protocol(TIMES, SIGMA)
    log_rate, amplitude = maps(20, 16, 16)
    truth = synthesise(log_rate, amplitude, protocol.times())
    noisy = truth + SIGMA * torch.randn(truth.shape, generator=generator)
    noise = torch.randn(truth.shape, generator=generator)
    weights = torch.ones(log_rate.shape)
    told = misfit(network, noisy, weights, protocol, 0.5, noise) - misfit_of_noise(0.5)
    found = network.estimate(recorrupted(noisy, protocol, 0.5, noise)[0], protocol)
    off = synthesise(found.log_rate, found.amplitude, protocol.times()) - truth
    assert float(told) == pytest.approx(float((off**2).mean()) / SIGMA**2, abs=0.15)
    assert float((off**2).mean()) / SIGMA**2 > 1  # there was something to tell


def test_recorrupted_images_have_independent_noise_of_the_told_size():
    protocol, generator = Protocol(TIMES, SIGMA), torch.Generator().manual_seed(0)
    noisy = SIGMA * torch.randn((4, 4, 50, 50), generator=generator)
    first, second, told = recorrupted(noisy, protocol, 0.5, torch.randn(noisy.shape, generator=generator))
    assert float((first * second).mean()) == pytest.approx(0, abs=0.05 * SIGMA**2)
    assert float(first.std()) == pytest.approx(told.noise_std, rel=0.02)
    assert float(second.std()) == pytest.approx(SIGMA * misfit_of_noise(0.5) ** 0.5, rel=0.02)


def test_structural_similarity_of_one_window_is_the_formula():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, WINDOW, WINDOW))
    line = np.exp(-((np.arange(WINDOW) - 5) ** 2) / (2 * 1.5**2))
    w = np.outer(line, line) / line.sum() ** 2
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, both = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum(), (w * (x - mx) * (y - my)).sum()
    wanted = (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    found = structural_similarity(*(torch.from_numpy(v)[None, None] for v in (x, y)))
    assert float(found) == pytest.approx(wanted, abs=1e-9)
    assert float(structural_similarity(*[torch.from_numpy(x)[None, None]] * 2)) == pytest.approx(1)


@pytest.mark.parametrize("turn", range(8))
def test_turning_back_undoes_turning(turn):
    images = torch.arange(24.0).view(2, 3, 4)
    torch.testing.assert_close(turned_back(turned(images, turn), turn), images)
    assert turn == 0 or turned(images, turn).shape != images.shape or not torch.equal(turned(images, turn), images)


def test_voxels_kept_aside_are_blocks_inside_the_mask():
    mask = torch.ones((2, 60, 60), dtype=torch.bool)
    mask[:, :10] = False
    aside = keep_aside(mask, 0.1, np.random.default_rng(0))
    assert 0.05 < float(aside.float().sum() / mask.float().sum()) < 0.17
    assert not (aside & ~mask).any()


def test_something_is_kept_aside_and_something_learned_from_of_any_two_blocks():
    mask = torch.ones((1, 7, 6), dtype=torch.bool)
    for seed in range(20):
        aside = keep_aside(mask, 0.1, np.random.default_rng(seed))
        assert aside.any() and (mask & ~aside).any()


def test_simulated_images_are_finite_and_scaled():
    rng = np.random.default_rng(0)
    pool = np.stack([leaf_image(rng, 32) for _ in range(3)])
    assert pool.shape == (3, 2, 32 * FINE, 32 * FINE) and np.isfinite(pool).all() and (pool[:, 1] >= 0).all()
    for _ in range(10):
        protocol = random_protocol(rng)
        signals = draw_batch(pool, rng, protocol.times(), 4, 16)
        assert torch.isfinite(signals).all() and signals.shape == (4, len(protocol.echo_times), 16, 16)
        assert float(signals.max()) < 1.7
        noisy = add_noise(signals, replace(protocol, magnitude=True), torch.Generator().manual_seed(0))
        assert (noisy >= 0).all()


def test_shipped_weights_lower_the_error_before_and_after_the_scan_was_seen(scan):
    _, t2, clean = scan
    images = clean + 0.08 * np.random.default_rng(1).standard_normal(clean.shape)

    def error(**given):
        return np.sqrt(np.mean((fit_scan_cnn(images, TIMES, **given).t2 - t2) ** 2))

    least_squares, learned = error(method="varpro"), {"n_steps": 20, "every": 10, "n_pieces": 2, "piece": 24}
    assert error(settings={"n_steps": 0}) < 0.6 * least_squares
    assert error(settings=learned) < 0.6 * least_squares


def test_same_seed_same_bytes_on_any_number_of_threads(scan):
    first = fit_scan_cnn(scan[0], TIMES, 3, settings=QUICK)
    torch.set_num_threads(2)
    again = fit_scan_cnn(scan[0], TIMES, 3, settings=QUICK)
    assert torch.get_num_threads() == 2
    np.testing.assert_array_equal(first.t2, again.t2)
    assert first.history == again.history
    other = fit_scan_cnn(scan[0], TIMES, 4, settings=QUICK | {"start": "random"})
    assert not np.array_equal(first.t2, other.t2)


def test_what_was_watched_the_risk_and_the_errors_are_given(scan):
    images, _, _ = scan
    steps = []
    found = fit_scan_cnn(images, TIMES, settings=QUICK, kind="t2star", on_step=lambda *step: steps.append(step))
    assert steps == [(2, 4), (4, 4)]
    assert found.history["step"] == [0, 2, 4] and np.isfinite(found.history["aside"]).all()
    assert found.kind == "t2star" and found.settings["base"] == "ours"
    assert found.settings["best_step"] == found.history["step"][int(np.argmin(found.history["aside"]))]
    for name in ("t2", "m0", "t2_std", "m0_std", "risk", "residual"):
        values = getattr(found, name)
        assert values.shape == images.shape[:3] and np.isfinite(values).all() and (values[found.mask] >= 0).all()


def test_learning_stops_where_voxels_kept_aside_no_longer_gain(scan):
    """With a rate far too high nothing improves: the weights from before are kept."""
    wild = QUICK | {"n_steps": 40, "learning_rate": 0.02, "patience": 2}
    found = fit_scan_cnn(scan[0], TIMES, settings=wild)
    assert found.settings["best_step"] == 0 and found.history["step"][-1] <= 6
    untouched = fit_scan_cnn(scan[0], TIMES, settings=QUICK | {"n_steps": 0})
    np.testing.assert_array_equal(found.t2, untouched.t2)


def test_all_planes_of_a_volume_are_used(scan):
    volume = np.repeat(scan[0][:, :, :1], 6, axis=2)
    one, all_planes = (
        fit_scan_cnn(volume, TIMES, noise_std=SIGMA, settings=QUICK | {"n_steps": 0, "planes": planes}).t2
        for planes in ("slices", "all")
    )
    assert one.shape == all_planes.shape and not np.array_equal(one, all_planes)
    np.testing.assert_allclose(np.median(all_planes / one), 1, atol=0.1)


def test_published_settings_learn_by_structural_similarity(scan):
    settings = {"base": "paper", "n_steps": 24, "every": 6, "n_pieces": 1, "piece": 24, "learning_rate": 1e-3}
    found = fit_scan_cnn(scan[0], TIMES, settings=settings)
    assert found.settings["loss"] == "ssim" and found.settings["network"] == "paper" and found.t2_std is None
    assert found.settings["best_step"] == 24  # no voxel is kept aside: the last weights
    assert found.history["loss"][-1] < 0.99 * found.history["loss"][1]


def test_two_echoes_are_enough(scan):
    _, t2, clean = scan
    few = [0, 3]
    images = (clean + 0.08 * np.random.default_rng(1).standard_normal(clean.shape))[..., few]

    def error(**given):
        return np.sqrt(np.mean((fit_scan_cnn(images, TIMES[few], **given).t2 - t2) ** 2))

    assert error(settings=QUICK) < 0.6 * error(method="varpro")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("papers", "ours or paper"),
        ({"n_stepps": 3}, "n_steps"),
        ({"n_steps": -1}, "n_steps must be >= 0"),
        ({"loss": "l1"}, "recorrupted, ssim"),
        ({"passes": 9}, "1 to 8"),
        ({"aside": 0.0}, "between 0 and 0.5"),
        ({"network": "paper"}, "no weights are shipped"),
    ],
)
def test_unknown_settings_are_refused(scan, settings, words):
    with pytest.raises(ValueError, match=words):
        fit_scan_cnn(scan[0], TIMES, settings=settings)


def test_a_scan_too_small_to_learn_from_is_refused_and_can_be_mapped_unlearned():
    images = np.exp(-TIMES / 60) * np.ones((5, 6, 1, 1))
    with pytest.raises(ValueError, match="30 voxels within 6 x 6 are too few"):
        fit_scan_cnn(images, TIMES, noise_std=SIGMA)
    found = fit_scan_cnn(images, TIMES, noise_std=SIGMA, settings={"n_steps": 0})
    np.testing.assert_allclose(found.t2, 60, rtol=0.1)


def test_an_image_without_signal_is_refused(scan):
    with pytest.raises(ValueError, match="no signal"):
        fit_scan_cnn(np.zeros((8, 8, 1, 4)), TIMES, mask=np.ones((8, 8, 1)), noise_std=1.0)


def test_the_scan_is_recorrupted_with_its_own_noise_also_where_the_network_knows_only_more(scan):
    for sigma in (1e-4, SIGMA, 2.0):
        slices = slices_of(make_scan(scan[0], TIMES, None, sigma))
        assert slices.protocol.noise_std * slices.scale == pytest.approx(sigma)
        found = new_network(0).estimate(slices.images[:1], slices.protocol)
        assert all(torch.isfinite(values).all() for values in found)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e4])
@pytest.mark.parametrize("rising", [False, True])
def test_no_signal_makes_estimates_or_gradients_infinite(value, rising):
    """Air, negative and rising signals: logarithms are kept from them."""
    images = torch.full((1, 4, 8, 8), value) + rising * torch.arange(4.0)[None, :, None, None]
    network = new_network(0)
    found = network.estimate(images, Protocol(TIMES, 0.003))
    sum(values.sum() for values in found).backward()
    assert all(torch.isfinite(values).all() for values in found)
    assert all(torch.isfinite(weights.grad).all() for weights in network.parameters())


@pytest.mark.parametrize("distribution", ["gaussian", "rician"])
def test_levelling_takes_a_common_bias_away_and_leaves_the_truth_alone(distribution):
    t2 = np.where(np.arange(40) < 20, 60.0, 100.0)[:, None, None] * np.ones((40, 30, 1))
    unit = TIMES.mean()
    truth = np.stack([np.log(unit / t2), 5 * np.exp(-unit / t2)])
    images = truth[1][..., None] * np.exp(-np.exp(truth[0])[..., None] * (TIMES / unit - 1))
    if distribution == "rician":
        images = expected_magnitude(images, 0.2)
    scan = make_scan(images, TIMES, None, 0.2, distribution)
    np.testing.assert_allclose(levelled(scan, truth, 3), truth, atol=1e-6)
    biased = truth + np.array([0.1, 0.0])[:, None, None, None]
    biased[1] *= 0.95
    found = levelled(scan, biased, 3)
    np.testing.assert_allclose(found[0], truth[0], atol=4e-3)
    np.testing.assert_allclose(found[1], truth[1], rtol=4e-3)
