import numpy as np
import pytest

from mrspec_prep.networks.scan_cnn.fit import BASELINES, fit_scan_cnn
from mrspec_prep.networks.scan_cnn.noise import noise_between_neighbours

TIMES = np.array([10.0, 30.0, 50.0, 80.0, 120.0])
SIGMA = 0.02


@pytest.fixture(scope="module")
def scan():
    """Images (24, 20, 2, 5) of smooth T2 40 to 120 ms, M0 near 1; their noise-free version and T2."""
    x, y = np.meshgrid(np.linspace(0, 1, 24), np.linspace(0, 1, 20), indexing="ij")
    t2 = np.stack([40 + 80 * x, 120 - 80 * y], axis=2)
    m0 = np.stack([1 + 0.1 * y, 1 - 0.1 * x], axis=2)
    clean = m0[..., None] * np.exp(-TIMES / t2[..., None])
    noisy = clean + SIGMA * np.random.default_rng(0).standard_normal(clean.shape)
    return clean, noisy, t2, m0


@pytest.mark.parametrize("method", [name for name in BASELINES if name != "nlm-varpro"])
def test_voxelwise_methods_return_the_truth_without_noise(scan, method):
    clean, _, t2, m0 = scan
    found = fit_scan_cnn(clean, TIMES, method=method, noise_std=1e-5)
    np.testing.assert_allclose(found.t2, t2, rtol=1e-4)
    np.testing.assert_allclose(found.m0, m0, rtol=1e-4)
    assert found.method == method and found.history == {}


def test_standard_deviations_of_least_squares_are_what_the_noise_makes_of_it(scan):
    _, noisy, t2, _ = scan
    found = fit_scan_cnn(noisy, TIMES, method="varpro", noise_std=SIGMA)
    z = (found.t2 - t2) / found.t2_std
    assert 0.9 < np.std(z) < 1.1
    assert 0.95 < np.sqrt(np.mean(found.residual**2)) < 1.05


def test_non_local_means_lowers_the_error(scan):
    _, noisy, t2, _ = scan

    def error(method):
        return np.sqrt(np.mean((fit_scan_cnn(noisy, TIMES, method=method).t2 - t2) ** 2))

    assert error("nlm-varpro") < 0.8 * error("varpro")


def test_the_order_of_echoes_does_not_matter(scan):
    noisy, shuffled = scan[1], [3, 0, 4, 1, 2]
    there = fit_scan_cnn(noisy[..., shuffled], TIMES[shuffled], method="varpro").t2
    np.testing.assert_array_equal(there, fit_scan_cnn(noisy, TIMES, method="varpro").t2)


@pytest.mark.parametrize("n_echoes", [2, 5])
def test_sigma_is_found_without_repeats(scan, n_echoes):
    found = fit_scan_cnn(scan[1][..., :n_echoes], TIMES[:n_echoes], method="log-linear")
    assert found.noise_std == pytest.approx(SIGMA, rel=0.1)


def test_an_edge_does_not_count_as_noise():
    rng = np.random.default_rng(0)
    images = 0.01 * rng.standard_normal((40, 40, 1, 1)) + (np.arange(40) > 17)[:, None, None, None]
    assert noise_between_neighbours(images, np.ones((40, 40, 1), bool)) == pytest.approx(0.01, rel=0.1)


def test_voxels_outside_the_mask_are_zero_and_a_slice_may_come_without_its_axis(scan):
    mask = np.zeros((24, 20), bool)
    mask[3:9, 4:11] = True
    found = fit_scan_cnn(scan[1][:, :, 0], TIMES, method="varpro", mask=mask, noise_std=SIGMA)
    assert found.t2.shape == (24, 20, 1)
    np.testing.assert_array_equal(found.t2[:, :, 0] > 0, mask)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"echo_times": TIMES[:3]}, "for 3 echo times"),
        ({"echo_times": [10, 10, 50, 80, 120]}, "different times"),
        ({"echo_times": [0, 10, 50, 80, 120]}, "times > 0"),
        ({"mask": np.zeros((24, 20, 2))}, "no voxel"),
        ({"mask": np.ones((24, 20, 3))}, "shape of the images"),
        ({"noise_std": 0.0}, "must be finite and > 0"),
        ({"method": "varrpo"}, "known: scan-cnn"),
        ({"kind": "t1"}, "t2, t2star"),
        ({"distribution": "laplace"}, "auto, gaussian, rician"),
        ({"method": "varpro", "settings": "paper"}, "has none"),
        ({"noise_std": None, "mask": np.eye(24, 20)[:, :, None] * [1, 1] > 0, "echoes": 2}, "give noise_std"),
    ],
)
def test_bad_input_is_refused_in_words(scan, changes, words):
    given = {"images": scan[1], "echo_times": TIMES, "method": "varpro", "noise_std": SIGMA} | changes
    if n := given.pop("echoes", 0):
        given |= {"images": scan[1][..., :n], "echo_times": TIMES[:n]}
    with pytest.raises(ValueError, match=words):
        fit_scan_cnn(**given)


def test_signals_that_are_not_numbers_are_refused(scan):
    images = scan[1].copy()
    images[2, 2, 0, 1] = np.nan
    with pytest.raises(ValueError, match="1 voxels of the mask are NaN"):
        fit_scan_cnn(images, TIMES, method="varpro")
