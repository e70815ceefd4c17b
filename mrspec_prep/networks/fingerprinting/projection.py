"""From a series of frames to coefficients in the subspace, and their noise."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.threads import for_blocks, single_threaded_blas

SPAN = 12  # frames whose errors may hang together: two sliding windows of six interleaves
BLOCK = 1024  # voxels of one task


@dataclass(frozen=True, eq=False)
class Coefficients:
    """What a series is in the subspace.

    Attributes
    ----------
    values : (n_voxels, rank) complex array
        c = Phi rho [signal units].
    noise_std : float
        Standard deviation of the real (or imaginary) part of one coefficient of one voxel, median of the
        voxels [signal units]; NaN where the frames are too few to tell.

    """

    values: np.ndarray
    noise_std: float


def project(series, subspace):
    """Coefficients of every voxel, and their noise from what the subspace leaves.

    c = Phi rho. The errors of neighbouring frames hang together (sliding windows, aliasing), so the variance of c is
    estimated from sums over spans of 12 frames, sum_b |sum_(t in b) Phi_t r_t|2 / 2 with r = rho - c Phi, times
    n_b / (n_b - rank) (White 1980's estimate in clusters).

    Parameters
    ----------
    series : (n_voxels, n_frames) array
        Real or complex.
    subspace : (rank, n_frames) array
        Orthonormal rows.

    Returns
    -------
    Coefficients

    """
    rank, n_frames = subspace.shape
    values, variances = np.empty((len(series), rank), complex), np.empty(len(series))
    bounds = np.arange(0, n_frames, SPAN)

    def block(start, stop):
        part = np.asarray(series[start:stop], dtype=complex)
        c = times(part, subspace.T)
        left = part - times(c, subspace)
        sums = np.stack([np.add.reduceat(left * row, bounds, axis=1) for row in subspace], axis=-1)
        values[start:stop] = c
        variances[start:stop] = (np.abs(sums) ** 2).sum(axis=1).mean(axis=1) / 2

    with single_threaded_blas():
        for_blocks(len(series), BLOCK, block)
    spare = len(bounds) - rank
    if spare < 1:
        return Coefficients(values, float("nan"))
    parts = 2 if np.iscomplexobj(series) else 1  # without imaginary parts all of |r|2 is of the real one
    return Coefficients(values, float(np.sqrt(np.median(variances) * 2 / parts * len(bounds) / spare)))


def times(values, matrix):
    """Complex rows times a real matrix."""
    values = np.asarray(values)
    if not np.iscomplexobj(values):
        return values @ matrix
    product = np.empty((*values.shape[:-1], matrix.shape[1]), complex)
    product.real, product.imag = values.real @ matrix, values.imag @ matrix
    return product
