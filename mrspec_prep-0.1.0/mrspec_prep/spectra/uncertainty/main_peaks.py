"""Position of the largest peak of many spectra at once."""

from itertools import product

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.voxelwise.nnls import NNLSResult


def main_peaks(spectra, grid):
    """Centre of the peak that holds most of each spectrum.

    Every bin climbs to its highest neighbour until a local maximum; the bins that end there are a
    peak. This is ``find_peaks`` without its joining of small peaks, compiled, for maps.

    Parameters
    ----------
    spectra : (n_spectra, n_bins) array or NNLSResult
        Not negative.
    grid : Grid

    Returns
    -------
    dict of str to (n_spectra,) array
        One entry per axis: amplitude-weighted centre, logarithmic where the axis is positive [um2/ms, ms].
        0 for an empty spectrum.

    Raises
    ------
    ValueError
        Another number of bins than the grid.

    """
    neighbours = _neighbours(grid.shape)
    bins = grid.bins()
    logarithmic = np.array([values.min() > 0 for values in bins.values()])
    values = list(bins.values())
    scales = np.array([np.log(v) if log else v for v, log in zip(values, logarithmic, strict=True)])
    blocks = spectra.blocks() if isinstance(spectra, NNLSResult) else [(slice(None), np.atleast_2d(spectra))]
    found = []
    for _, block in blocks:
        if block.shape[1] != grid.n_bins:
            raise ValueError(f"the grid has {grid.n_bins} bins, the spectra have {block.shape[1]}")
        centres = np.empty((len(block), len(scales)))
        _main_peaks_block(np.ascontiguousarray(block, dtype=float), neighbours, scales, centres)
        found.append(centres)
    centres = np.concatenate(found) if found else np.zeros((0, len(scales)))
    centres[:, logarithmic] = np.exp(centres[:, logarithmic])
    return {axis: np.nan_to_num(centres[:, i]) for i, axis in enumerate(bins)}


def _neighbours(shape):
    """(n_bins, 3^d - 1) index of each bin's neighbours, -1 beyond the edge."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    padded = np.pad(index, 1, constant_values=-1)
    shifts = [shift for shift in product((0, 1, 2), repeat=len(shape)) if shift != (1,) * len(shape)]
    around = [padded[tuple(slice(s, s + n) for s, n in zip(shift, shape, strict=True))].ravel() for shift in shifts]
    return np.stack(around, axis=1)


@compiled
def _main_peaks_block(spectra, neighbours, scales, centres):
    """Fill the centres (n_spectra, n_axes) on the given scales; NaN for an empty spectrum."""
    n_bins, n_around = neighbours.shape
    n_axes = scales.shape[0]
    top, mass = np.empty(n_bins, np.int64), np.empty(n_bins)
    for s in range(spectra.shape[0]):
        f = spectra[s]
        for j in range(n_bins):
            mass[j] = 0.0
            best = j
            for k in range(n_around):
                i = neighbours[j, k]
                if i >= 0 and (f[i] > f[best] or (f[i] == f[best] and i < best)):
                    best = i
            top[j] = best
        for j in range(n_bins):
            peak = top[j]
            while top[peak] != peak:
                peak = top[peak]
            top[j] = peak
            mass[peak] += f[j]
        main = 0
        for j in range(n_bins):
            if mass[j] > mass[main]:
                main = j
        for a in range(n_axes):
            centres[s, a] = np.nan
            if mass[main] > 0.0:
                total = 0.0
                for j in range(n_bins):
                    if top[j] == main:
                        total += f[j] * scales[a, j]
                centres[s, a] = total / mass[main]
