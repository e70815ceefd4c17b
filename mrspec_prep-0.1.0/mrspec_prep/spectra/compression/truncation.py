"""Compression that others can store and fit: the leading ranks of a kernel, and what they leave out."""

import numpy as np

from mrspec_prep.spectra.compression.reduction import ReducedKernel, reduce_kernel

MOST_RANKS = 47  # 4 bytes a rank, sigma and the energy left out: 196 bytes a voxel
INVISIBLE = 1e-6  # share of S0: a rank that moves no signal by more is below any noise, also in means over a study
CONSISTENT = 1e-6  # of the largest singular value: how well a kernel made again must agree with the stored one


def truncate_kernel(kernel, most=MOST_RANKS, invisible=INVISIBLE):
    """Leading ranks of a kernel.

    The choice depends on the kernel alone, so that equal protocols are compressed equally. A rank
    is left out where no spectrum of unit sum moves its coefficient by more than ``invisible``.
    Fits to truncated signals with the truncated kernel are consistent: what is lost is the
    information in the ranks left out, nothing is biased.

    Parameters
    ----------
    kernel : (n_encodings, n_bins) array or ReducedKernel
    most : int
        Ranks to keep at most.
    invisible : float
        Share of the signal at S0 = 1.

    Returns
    -------
    ReducedKernel
        Of at least one rank.

    """
    reduced = reduce_kernel(kernel)
    visible = np.flatnonzero(np.abs(reduced.basis).max(axis=1) > invisible)
    n_ranks = min(most, int(visible[-1]) + 1 if len(visible) else 1)
    return ReducedKernel(
        reduced.basis[:n_ranks],
        reduced.projection[:, :n_ranks],
        reduced.singular_values[:n_ranks],
        np.ascontiguousarray(reduced.basis[:n_ranks].T),
    )


def compress_signals(signals, truncated):
    """Signals as they are stored: t = P's in single precision, and the energy outside.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    truncated : ReducedKernel
        From ``truncate_kernel``.

    Returns
    -------
    compressed : (n_voxels, n_ranks) float32 array
        Signal units.
    outside : (n_voxels,) float32 array
        ||s||2 - ||t||2 [signal units squared]: outside the kernel's range, and in the ranks left out.

    """
    compressed, outside = truncated.compress(signals)
    return compressed.astype(np.float32), outside.astype(np.float32)


def rebuild_kernel(kernel, projection, singular_values):
    """Truncated kernel behind stored signals, from the kernel matrix and the stored projection: B = P'K.

    Parameters
    ----------
    kernel : (n_encodings, n_bins) array
    projection : (n_encodings, n_ranks) array
        Orthonormal columns.
    singular_values : (n_ranks,) array
        As stored; they tell whether this is the kernel that the signals were compressed with.

    Returns
    -------
    ReducedKernel

    Raises
    ------
    ValueError
        The kernel is another one.

    """
    kernel, projection = np.asarray(kernel, float), np.asarray(projection, float)
    if kernel.ndim != 2 or kernel.shape[:1] != projection.shape[:1]:
        raise ValueError(f"kernel of shape {kernel.shape} does not match a projection of shape {projection.shape}")
    basis = projection.T @ kernel
    values = np.linalg.norm(basis, axis=1)
    stored = np.asarray(singular_values, float)
    wrong = np.abs(values - stored).max()
    if not wrong <= CONSISTENT * stored[0]:
        raise ValueError(
            f"the kernel is not the one the signals were compressed with: singular values differ by {wrong:.3g} "
            f"where the largest is {stored[0]:.3g}"
        )
    return ReducedKernel(basis, projection, stored, np.ascontiguousarray(basis.T))
