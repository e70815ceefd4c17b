"""Inversion efficiency: found within its interval, and no wiser than the data."""

from dataclasses import replace

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix
from mrspec_prep.physics.simulate import simulate_signals
from mrspec_prep.spectra import mean_parameters, restore_polarity
from mrspec_prep.spectra.noise.efficiency import estimate_inversion_efficiency, profile_efficiency

TI, TE = (axis.ravel() for axis in np.meshgrid(np.geomspace(50, 3000, 8), np.geomspace(5, 150, 8), indexing="ij"))
PROTOCOLS = {
    "t1": Encodings(inversion_time=np.geomspace(30, 4000, 14)),
    "t1-t2": Encodings(inversion_time=TI, echo_time=TE, repetition_time=5000.0),
}


def signals_of(name, efficiency, snr, seed, kind="gaussian", n_voxels=60):
    """Voxels of two compartments each."""
    rng = np.random.default_rng(seed)
    tissue = {"t1": np.stack([rng.uniform(500, 900, n_voxels), rng.uniform(1000, 2000, n_voxels)], axis=1)}
    if name == "t1-t2":
        tissue["t2"] = np.stack([rng.uniform(30, 60, n_voxels), rng.uniform(70, 120, n_voxels)], axis=1)
    clean = simulate_signals(name, replace(PROTOCOLS[name], inversion_efficiency=efficiency), tissue)
    return add_noise(clean, np.abs(clean).max(axis=1).mean() / snr, rng, kind)


@pytest.mark.parametrize("name", list(PROTOCOLS))
@pytest.mark.parametrize("efficiency", [0.0, 0.4, 0.8, 1.0])
def test_the_simulated_efficiency_lies_within_its_interval(name, efficiency):
    found = estimate_inversion_efficiency(
        signals_of(name, efficiency, 50, seed=3), name, PROTOCOLS[name], magnitudes=False, n_threads=1
    )
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low - 1e-3 <= efficiency <= found.high + 1e-3
    if name == "t1-t2":
        assert found.high - found.low < 0.1
        assert abs(found.value - efficiency) < 0.05
        assert found.residual <= found.residual_at_one


def test_perfect_inversion_is_kept_unless_the_data_exclude_it():
    perfect = estimate_inversion_efficiency(
        signals_of("t1-t2", 1.0, 50, seed=1), "t1-t2", PROTOCOLS["t1-t2"], magnitudes=False, n_threads=1
    )
    assert perfect.adopted == 1.0 == perfect.high
    poor = estimate_inversion_efficiency(
        signals_of("t1-t2", 0.7, 50, seed=1), "t1-t2", PROTOCOLS["t1-t2"], magnitudes=False, n_threads=1
    )
    assert poor.high < 1.0 and poor.adopted == poor.value


def test_magnitudes_give_the_efficiency_too():
    found = estimate_inversion_efficiency(
        signals_of("t1", 0.5, 100, seed=2, kind="rician"), "t1", PROTOCOLS["t1"], magnitudes=True, n_threads=1
    )
    assert found.low <= 0.5 <= found.high < 1.0


def test_signs_follow_the_null_of_an_imperfect_inversion():
    encodings = Encodings(inversion_time=[100.0, 300, 500, 700, 900, 2000], inversion_efficiency=0.5)
    grid = Grid(t1=np.geomspace(200, 3000, 60))
    clean = simulate_signals("t1", encodings, {"t1": np.array([1000.0])})
    signed, polarity = restore_polarity(np.abs(clean), kernel_matrix("t1", encodings, grid), encodings, alpha=1e-4)
    np.testing.assert_allclose(signed, clean)
    assert polarity == (encodings.inversion_time < 1000 * np.log(1.5)).sum() == 2


def test_apparent_t1_reads_the_imperfect_curve():
    encodings = Encodings(inversion_time=np.geomspace(50, 4000, 12), repetition_time=4500.0, inversion_efficiency=0.6)
    grid = Grid(t1=np.geomspace(100, 4000, 80))
    spectrum = np.zeros((1, 80))
    spectrum[0, 40] = 1.0
    assert np.isclose(mean_parameters(spectrum, grid, "t1", encodings)["t1"][0], grid.t1[40], rtol=1e-3)


def test_profile_of_a_parabola():
    found = profile_efficiency(lambda e: (4.0 + 400.0 * (e - 0.63) ** 2, 3), 104)
    assert np.isclose(found.value, 0.63, atol=2e-4)
    half = np.sqrt(3.9361 * (4.0 / 100) / 400.0)  # F(1, 100)
    assert np.allclose([found.low, found.high], [0.63 - half, 0.63 + half], atol=5e-4)
    assert np.isclose(found.residual, np.sqrt(4.0 / 104), rtol=1e-3)


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(ValueError, match="no inversion recovery"):
        estimate_inversion_efficiency(np.ones((1, 2)), "t2", Encodings(echo_time=[10.0, 20]), magnitudes=False)
    with pytest.raises(ValueError, match="level"):
        profile_efficiency(lambda e: (1.0, 1), 10, level=1.0)
