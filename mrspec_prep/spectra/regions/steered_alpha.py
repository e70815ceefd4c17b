"""One regularisation weight for an image, from how many compartments its voxels were found to hold."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics import Grid
from mrspec_prep.physics.peaks import find_peaks
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls

ALPHAS = (1e-6, 10.0)  # searched
N_HALVINGS = 9  # of that range, in logarithms: alpha within 4 %
MOST_VOXELS = 300  # that the peaks are counted in


@dataclass(frozen=True)
class SteeredAlpha:
    """Weight at which spectra have as many peaks as their voxels hold compartments, on average.

    Attributes
    ----------
    alpha : float
    n_peaks, n_compartments : float
        Means over the voxels they were counted in.
    n_voxels : int
    met : bool
        False where even the largest weight leaves more peaks.

    """

    alpha: float
    n_peaks: float
    n_compartments: float
    n_voxels: int
    met: bool


def steer_alpha(signals, kernel, grid: Grid, n_compartments) -> SteeredAlpha:
    """Find the least weight at which spectra have no more peaks than compartments, on average over voxels.

    Too small a weight splits a compartment into several peaks, too large a one merges compartments; peaks are counted
    as in the report, from 5 % of the spectrum on. Where few voxels hold several compartments the weight is large and
    peaks are broad. Along one axis only: in planes regularised spectra break into more peaks at any weight.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array
    grid : Grid
    n_compartments : (n_voxels,) int array
        1 and more; 0 where undecided: such voxels are not asked.

    Returns
    -------
    SteeredAlpha

    Raises
    ------
    ValueError
        No voxel is decided, or the grid has several axes.

    """
    if len(grid.shape) > 1:
        raise ValueError(f"peaks can steer the weight along one axis only, and the grid has {len(grid.shape)}")
    decided = np.flatnonzero(np.asarray(n_compartments) > 0)
    if not len(decided):
        raise ValueError("the number of compartments is decided in no voxel: nothing can steer the weight")
    chosen = decided[np.unique(np.linspace(0, len(decided) - 1, MOST_VOXELS).round().astype(int))]
    wanted, reduced, signals = float(np.mean(n_compartments[chosen])), reduce_kernel(kernel), signals[chosen]

    def peaks(exponent):
        fit = fit_nnls(signals, reduced, 10.0**exponent)
        return float(np.mean([len(find_peaks(row, grid)) for _, block in fit.blocks() for row in block]))

    low, high = np.log10(ALPHAS)
    found = peaks(high)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        n_peaks = peaks(middle)
        if n_peaks > wanted:
            low = middle
        else:
            high, found = middle, n_peaks
    return SteeredAlpha(float(10.0**high), found, wanted, len(chosen), found <= wanted)
