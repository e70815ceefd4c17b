"""Coefficients of sets of frames, by projection or, where the sampling is known, by least squares of the samples."""

import numpy as np

from mrspec_prep.networks.fingerprinting.projection import BLOCK, SPAN, times
from mrspec_prep.threads import for_blocks, single_threaded_blas

N_ITERATIONS = 4  # of conjugate gradients


def coefficients_of(series, subspace, sets, sampling=None, n_iterations=N_ITERATIONS, device="cpu"):
    """Coefficients of several sets of frames.

    min over c of sum over t in the set of |c Phi_t - rho_t|2, voxel by voxel; with ``sampling`` see ``deconvolve``.

    Parameters
    ----------
    series : Series
    subspace : (rank, n_frames) array
    sets : (n_sets, n_frames) bool array
    sampling : Sampling, optional
    n_iterations : int
        Of conjugate gradients.
    device : str

    Yields
    ------
    (n_voxels, rank) complex array
        Of each set.

    """
    bases, mixings = zip(*(_orthonormal(subspace, frames) for frames in np.asarray(sets)), strict=True)
    if sampling is None:
        for values, mixing in zip(_projected(series.voxels, bases), mixings, strict=True):
            yield values.astype(complex) @ mixing
        return
    from mrspec_prep.networks.fingerprinting.deconvolution import deconvolve  # needs torch

    volume = series.volume
    projections = _projected(volume.reshape(-1, volume.shape[-1]), bases)
    for values, basis, mixing in zip(projections, bases, mixings, strict=True):
        images = values.reshape(*volume.shape[:-1], -1)
        yield deconvolve(images, basis, sampling, n_iterations, device)[series.mask].astype(complex) @ mixing


def _orthonormal(subspace, frames):
    """Orthonormal basis of the subspace over some frames, 0 elsewhere, and what turns its coefficients into c.

    c Phi_S = c L Q, L the Cholesky factor of Phi_S Phi_S' and Q the basis: c = (c L) L^-1. Conjugate gradients
    converge for Q as they do for all frames.
    """
    used = np.where(frames, subspace, 0.0)
    factor = np.linalg.cholesky(used @ used.T)
    return np.linalg.solve(factor, used), np.linalg.inv(factor)


def _projected(rows, bases):
    """Coefficients in several bases, in one pass over the series."""
    stacked = np.concatenate(bases).T
    found = np.empty((len(rows), stacked.shape[1]), np.complex64)

    def block(start, stop):
        found[start:stop] = times(np.asarray(rows[start:stop], dtype=complex), stacked)

    with single_threaded_blas():
        for_blocks(len(rows), BLOCK, block)
    return np.split(found, len(bases), axis=1)


def noise_of_halves(one, two):
    """Sigma of coefficients of all frames, from those of two halves.

    Parameters
    ----------
    one, two : (n_voxels, rank) complex array

    Returns
    -------
    float
        Of the real (or imaginary) part: the difference of two halves has four times the variance of their whole.

    """
    return float(np.sqrt(np.median((np.abs(one - two) ** 2).mean(axis=1)) / 2 / 4))


def alternating_halves(n_frames):
    """(3, n_frames) bool: all frames, even spans, odd spans."""
    even = np.arange(n_frames) // SPAN % 2 == 0
    return np.stack([np.ones(n_frames, bool), even, ~even])


def leaks(dictionary, atoms, sets):
    """What atoms put into the coefficients of a set of frames beyond those of all frames.

    The part of a signal outside the subspace is orthogonal to it over all frames, not over some:
    d_S pinv(Phi_S) - d Phi', per unit of M0.

    Parameters
    ----------
    dictionary : Dictionary
    atoms : (n_voxels,) int array
        Indices of ``dictionary.atoms``.
    sets : (n_sets, n_frames) bool array

    Yields
    ------
    (n_voxels, rank) array
        Of each set.

    """
    unique, inverse = np.unique(atoms, return_inverse=True)
    pairs, chosen = dictionary.grid.bins(), dictionary.atoms[unique]
    signals = dictionary.simulate(pairs["t1"][chosen], pairs["t2"][chosen])
    with single_threaded_blas():
        whole = signals @ dictionary.subspace.T
        for frames in np.asarray(sets):
            some = signals[:, frames] @ np.linalg.pinv(dictionary.subspace[:, frames])
            yield (some - whole)[inverse]
