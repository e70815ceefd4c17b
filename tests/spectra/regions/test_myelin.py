"""Myelin water: where it is told, and how well on simulated truth."""

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, Grid, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_nnls, integrate_regions
from mrspec_prep.spectra.regions.myelin import REGION, myelin_box

SPIN_ECHOES = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))
GRID = default_grid(kernel_axes("t2"), SPIN_ECHOES)
FRACTIONS = (0.05, 0.1, 0.15, 0.2)
N_VOXELS, N_SEEDS = 60, 4
BOUNDS = {100: (0.03, 0.085), 200: (0.05, 0.05), 300: (0.055, 0.04)}  # SNR: bias and spread, as in docs/nnls.md


@pytest.mark.parametrize("snr", BOUNDS)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_bias_and_spread_on_simulated_truth(snr, fraction):
    kernel = kernel_matrix("t2", SPIN_ECHOES, GRID)
    tissue = {"t2": np.full((N_VOXELS, 2), [20.0, 80.0])}
    clean = simulate_signals("t2", SPIN_ECHOES, tissue, np.full((N_VOXELS, 2), [fraction, 1 - fraction]))
    box = {REGION: myelin_box("t2", SPIN_ECHOES, GRID)}
    found = []
    for seed in range(N_SEEDS):
        signals = add_noise(clean, 1 / snr, np.random.default_rng([seed, snr]))
        found.append(integrate_regions(fit_nnls(signals, kernel), GRID, box)[REGION])
    bias, spread = BOUNDS[snr]
    assert abs(np.mean(found) - fraction) < bias
    assert np.std(found) < spread
    assert np.mean(np.concatenate(found)) > 0.3 * fraction


def test_more_myelin_gives_a_larger_fraction():
    kernel = kernel_matrix("t2", SPIN_ECHOES, GRID)
    shares = np.array([[f, 1 - f] for f in FRACTIONS])
    signals = simulate_signals("t2", SPIN_ECHOES, {"t2": np.full((4, 2), [20.0, 80.0])}, shares)
    found = integrate_regions(fit_nnls(signals, kernel), GRID, {"m": myelin_box("t2", SPIN_ECHOES, GRID)})["m"]
    assert (np.diff(found) > 0.02).all()


def test_limits_are_those_of_the_literature_and_can_be_set():
    gradient_echoes = Encodings(echo_time=np.arange(2.0, 60.0, 2.0))
    grid = Grid(t2star=np.geomspace(2, 300, 40))
    assert myelin_box("t2", SPIN_ECHOES, GRID) == {"t2": (0.0, 40.0)}
    assert myelin_box("t2star", gradient_echoes, grid) == {"t2star": (0.0, 25.0)}
    assert myelin_box("t2star", gradient_echoes, grid, {"myelin": {"t2star": [3, 20]}}) == {"t2star": (3.0, 20.0)}
    assert myelin_box("t2star", gradient_echoes, grid, {"other": {"t2star": [3, 20]}}) == {"t2star": (0.0, 25.0)}


@pytest.mark.parametrize(
    ("kernel", "echo_times", "grid"),
    [
        ("t2", [50.0, 80.0, 110.0], GRID),  # the first echo is too late
        ("t2", [10.0, 30.0], GRID),
        ("t2", [30.0, 60.0, 90.0, 120.0], GRID),  # one early echo alone, ...
        ("t2", [30.0, 30.0, 60.0, 90.0], GRID),  # also where it was measured twice
        ("t2", SPIN_ECHOES.echo_time, Grid(t2=[50.0, 100.0])),
        ("t2", SPIN_ECHOES.echo_time, Grid(t2=[10.0, 30.0])),
        ("t1", SPIN_ECHOES.echo_time, Grid(t1=[500.0, 900.0])),
        ("t1-t2", SPIN_ECHOES.echo_time, Grid(t1=[500.0, 900.0], t2=[10.0, 90.0])),
    ],
)
def test_no_map_where_it_cannot_be_told(kernel, echo_times, grid):
    assert myelin_box(kernel, Encodings(echo_time=echo_times), grid) is None
