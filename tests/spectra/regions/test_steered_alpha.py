"""A weight at which peaks and compartments agree."""

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, Grid, kernel_matrix
from mrspec_prep.spectra import find_peaks, fit_nnls
from mrspec_prep.spectra.regions.steered_alpha import steer_alpha

ENCODINGS = Encodings(echo_time=10.0 * np.arange(1, 33))
GRID = Grid(t2=np.geomspace(5, 800, 60))
KERNEL = kernel_matrix("t2", ENCODINGS, GRID)
PAIR = np.exp(-ENCODINGS.echo_time / 15) + np.exp(-ENCODINGS.echo_time / 90)
SIGNALS = PAIR + 0.01 * np.random.default_rng(0).standard_normal((50, 32))


def mean_peaks(alpha):
    fit = fit_nnls(SIGNALS, KERNEL, alpha)
    return np.mean([len(find_peaks(row, GRID)) for _, block in fit.blocks() for row in block])


def test_spectra_have_as_many_peaks_as_compartments_and_more_below():
    found = steer_alpha(SIGNALS, KERNEL, GRID, np.full(50, 2))
    assert found.met and found.n_peaks == mean_peaks(found.alpha) <= 2 < mean_peaks(found.alpha / 1.3)
    assert steer_alpha(SIGNALS, KERNEL, GRID, np.full(50, 1)).alpha > 3 * found.alpha


def test_undecided_voxels_are_not_asked():
    number = np.where(np.arange(50) < 20, 2, 0)
    assert steer_alpha(SIGNALS, KERNEL, GRID, number) == steer_alpha(SIGNALS[:20], KERNEL, GRID, number[:20])


def test_what_cannot_steer_is_refused():
    with pytest.raises(ValueError, match="decided in no voxel"):
        steer_alpha(SIGNALS, KERNEL, GRID, np.zeros(50, int))
    plane = Grid(t2=np.geomspace(5, 800, 5), t1=np.geomspace(50, 5000, 5))
    with pytest.raises(ValueError, match="one axis only"):
        steer_alpha(SIGNALS, KERNEL, plane, np.ones(50, int))
