"""Problems that the tests of this room share."""

from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_matrix, simulate_signals

WEIGHTINGS = ((0, 6), (5, 3), (10, 3), (18, 8), (25, 3), (36, 7), (50, 3), (100, 3), (200, 3), (400, 3), (600, 3))
WEIGHTINGS += ((800, 15), (1200, 3), (1600, 3))


def placenta_protocol():
    """330 volumes: 66 diffusion weightings at 5 echo times."""
    bvalue = np.concatenate([np.full(count, float(b)) for b, count in WEIGHTINGS])
    return Encodings(bvalue=np.tile(bvalue, 5), echo_time=np.repeat([78, 114, 150, 186, 222], len(bvalue)))


def placenta_problem(points, n_voxels, seed=0, snr=20):
    """Two-compartment voxels, S = 1 at b=0 and the shortest TE, with noise."""
    encodings = placenta_protocol()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=points)
    rng = np.random.default_rng(seed)
    parameters = {
        "diffusivity": rng.uniform(0.5, 3, (n_voxels, 2)) * np.array([1, 10]),
        "t2star": rng.uniform(30, 100, (n_voxels, 2)),
    }
    clean = simulate_signals("adc-t2star", encodings, parameters, rng.dirichlet([1, 1], n_voxels))
    clean = clean / clean.max(axis=1, keepdims=True)
    signals = add_noise(clean, 1 / snr, rng)
    kernel = kernel_matrix("adc-t2star", encodings, grid)
    return SimpleNamespace(encodings=encodings, grid=grid, kernel=kernel, signals=signals, noise_std=1 / snr)


@pytest.fixture(scope="session")
def placenta():
    return placenta_problem((20, 20), 60)


@pytest.fixture(scope="session")
def four_tissues():
    """The example of the authors' toolbox: four clusters of one component each, SNR 20."""
    encodings = placenta_protocol()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(20, 20))
    truth = np.repeat(np.arange(4), [50, 60, 70, 80])
    t2star, diffusivity = np.array([50.0, 100, 50, 100])[truth], np.array([1.0, 1, 20, 20])[truth]
    rng = np.random.default_rng(1)
    clean = simulate_signals("adc-t2star", encodings, {"diffusivity": diffusivity, "t2star": t2star})
    signals = add_noise(clean / clean.max(axis=1, keepdims=True), 0.05, rng)
    kernel = kernel_matrix("adc-t2star", encodings, grid)
    return SimpleNamespace(encodings=encodings, grid=grid, kernel=kernel, signals=signals, noise_std=0.05, truth=truth)
