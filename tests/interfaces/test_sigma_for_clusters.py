"""Sigma from residuals of a few echoes, as the mixture takes it."""

import json

import numpy as np
import pytest

from mrspec_prep.interfaces.noise import sigma_for_clusters
from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import estimate_noise, select_n_clusters

ECHOES = Encodings(echo_time=np.arange(1, 7) * 15.0)
T2 = np.array([30.0, 60.0, 110.0])


@pytest.fixture(scope="module")
def echoes(tmp_path_factory):
    """Signals of three tissues, the kernel, and files of the noise: two to four degrees of freedom a voxel."""
    rng = np.random.default_rng(2)
    clean = simulate_signals("t2", ECHOES, {"t2": T2})[rng.choice(3, 2000)]
    signals = add_noise(600 * clean, 20.0, rng)
    kernel = kernel_matrix("t2", ECHOES, default_grid(("t2",), ECHOES, points=(30,)))
    found = estimate_noise(signals, ECHOES, "residual", kernel=kernel)
    place = tmp_path_factory.mktemp("noise")
    files = place / "noise.npy", place / "noise.json"
    np.save(files[0], found.noise_std)
    notes = {"method": "residual", "degrees_of_freedom": float(np.median(found.degrees_of_freedom))}
    files[1].write_text(json.dumps(notes))
    return signals, kernel, files


def test_residuals_of_few_echoes_make_no_clusters_of_noise(echoes):
    signals, kernel, files = echoes
    sigma, about = sigma_for_clusters(*files, "gaussian", "exact")
    assert np.median(sigma) == pytest.approx(20, rel=0.1) and sigma.std() < 0.1 * np.load(files[0]).std()
    assert about["NoiseOwnDegreesOfFreedom"] < 7 and about["NoiseShared"]["Sigma"] == pytest.approx(20, rel=0.1)
    candidates = range(2, 7)
    assert select_n_clusters(signals, kernel, sigma, candidates=candidates, n_starts=4).best == 3
    assert select_n_clusters(signals, kernel, np.load(files[0]), candidates=candidates, n_starts=4).best > 3


@pytest.mark.parametrize(
    ("method", "distribution", "mode"),
    [("b0-repeats", "gaussian", "exact"), ("residual", "rician", "exact"), ("residual", "gaussian", "paper")],
)
def test_else_sigma_is_each_voxels_own(echoes, tmp_path, method, distribution, mode):
    (own, _) = echoes[2]
    notes = tmp_path / "noise.json"
    notes.write_text(json.dumps({"method": method, "degrees_of_freedom": 5.0}))
    sigma, about = sigma_for_clusters(own, notes, distribution, mode)
    assert np.array_equal(sigma, np.load(own)) and about == {}
