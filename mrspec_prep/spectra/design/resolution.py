"""Resolution of a regularised spectrum: rows of (K'K + alpha I)^-1 K'K."""

import numpy as np

from mrspec_prep.threads import single_threaded_blas


def resolution_rows(reduced, alpha, index):
    """Rows of the resolution kernel: what a single bin looks like after measurement and linear inversion.

    (K'K + alpha I)^-1 K'K = B'(B B' + alpha I)^-1 B, symmetric, eigenvalues between 0 and 1; non-negativity
    is left aside (it narrows isolated peaks further).

    Parameters
    ----------
    reduced : ReducedKernel
    alpha : float
        > 0.
    index : (n,) int array
        Bins.

    Returns
    -------
    (n, n_bins) array

    """
    with single_threaded_blas():
        weights = reduced.singular_values**2 + alpha  # B B' is diagonal: its rows are orthogonal
        return (reduced.columns[np.atleast_1d(index)] / weights) @ reduced.basis


def peak_width(row, grid, axis):
    """Full width at half height of a row's main peak along one axis, in decades.

    Measured through the highest bin, between the half-height crossings on the logarithm of the axis; a
    side that does not fall to half within the grid counts to its edge. On an axis that holds zero
    (kurtosis) the width is in units of the axis.

    Parameters
    ----------
    row : (n_bins,) array
    grid : Grid
    axis : str

    Returns
    -------
    float

    """
    image = np.asarray(row).reshape(grid.shape)
    top = np.unravel_index(image.argmax(), grid.shape)
    dimension = grid.names.index(axis)
    profile = np.moveaxis(image, dimension, -1)[tuple(top[d] for d in range(image.ndim) if d != dimension)]
    values = getattr(grid, axis)
    scale = np.log10(values) if values.min() > 0 else values
    half, peak = profile.max() / 2, int(profile.argmax())
    left = _crossing(scale[peak::-1], profile[peak::-1], half)
    right = _crossing(scale[peak:], profile[peak:], half)
    return float(right - left)


def _crossing(scale, profile, half):
    """Where a profile that starts at its maximum first falls to ``half``; the end where it does not."""
    below = np.flatnonzero(profile <= half)
    if not len(below):
        return scale[-1]
    i = below[0]
    share = (profile[i - 1] - half) / (profile[i - 1] - profile[i])
    return scale[i - 1] + share * (scale[i] - scale[i - 1])
