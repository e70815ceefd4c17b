"""Voxelwise spectra that also fit the signals of neighbours, where these do not differ beyond noise.

min_{f>=0} (||K f - s_n||2 + lambda sum_m c_nm ||K f - s_m||2) / (1 + lambda sum_m c_nm) + alpha ||f||2

is the plain problem of the weighted mean signal: one certified solve per voxel, and alpha keeps its
meaning. c_nm is the closeness of the voxels times the p-value of the test that both have the same
signal, so that nothing is shared across an edge that the data show (adaptive weights as in Polzehl
and Spokoiny 2000, in one step).
"""

from dataclasses import dataclass

import numpy as np
import scipy
import scipy.sparse

from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.threads import single_threaded_blas

ABOVE_NOISE = 2.0  # mean square over noise variance from which a compressed signal takes part in the test
BLOCK = 65536  # pairs tested at once


@dataclass(frozen=True, eq=False)
class SharedSignals:
    """Weighted means over neighbours.

    Attributes
    ----------
    signals : (n_voxels, n_encodings) array
        [signal units], the type of the signals given.
    noise_std : (n_voxels,) array
        Of the means, where noise is independent between voxels.
    n_shared : (n_voxels,) array
        Voxels' worth of data in each mean: (sum of weights)2 / sum of squared weights.

    """

    signals: np.ndarray
    noise_std: np.ndarray
    n_shared: np.ndarray


def share_signals(signals, kernel, noise_std, neighbours, spatial):
    """Mean of every voxel's signal and those of the neighbours that may share its spectrum.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array or ReducedKernel
        Its leading singular vectors, as far as the image's signal stands above noise, are compared.
    noise_std : float or (n_voxels,) array
        sigma [signal units].
    neighbours : Neighbours
        Of these voxels.
    spatial : float
        lambda: weight of a nearest neighbour that does not differ, the voxel's own being 1. 0: nothing is shared.

    Returns
    -------
    SharedSignals

    Raises
    ------
    ValueError
        Wrong shapes, a negative weight, neighbours of other voxels, noise not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import neighbours_of, share_signals
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> signals = simulate_signals("t2", encodings, {"t2": [60.0, 60.0]})
    >>> pair = neighbours_of(np.ones((2, 1, 1), bool))
    >>> shared = share_signals(signals, kernel, 0.01, pair, spatial=1.0)
    >>> shared.n_shared.tolist(), shared.noise_std.round(4).tolist()  # two voxels alike: noise falls by sqrt(2)
    ([2.0, 2.0], [0.0071, 0.0071])

    """
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    if not (np.isfinite(spatial) and spatial >= 0):
        raise ValueError(f"spatial must be a finite number >= 0, got {spatial}")
    if neighbours.n_voxels != len(signals):
        raise ValueError(f"neighbours are those of {neighbours.n_voxels} voxels, signals hold {len(signals)}")
    variances = np.broadcast_to(np.asarray(noise_std, dtype=float), len(signals)) ** 2
    if not (np.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError("noise_std must be finite and > 0 everywhere")
    weights = neighbours.weight * alike(signals, reduced, variances, neighbours) * spatial
    shape = (len(signals), len(signals))
    average = scipy.sparse.csr_array((weights, neighbours.index, neighbours.starts), shape=shape)
    average = average + scipy.sparse.eye_array(len(signals), format="csr")
    average = scipy.sparse.csr_array(scipy.sparse.diags_array(1.0 / average.sum(axis=1)) @ average)
    squared = average.power(2)
    shared = average @ signals
    return SharedSignals(shared.astype(signals.dtype), np.sqrt(squared @ variances), 1.0 / squared.sum(axis=1))


def alike(signals, reduced, variances, neighbours):
    """P-value, for every pair of neighbours, of the hypothesis that their signals are equal.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    reduced : ReducedKernel
    variances : (n_voxels,) array
    neighbours : Neighbours

    Returns
    -------
    (n_pairs,) array

    """
    compressed, _ = reduced.compress(signals)
    energy = np.mean(compressed**2 / variances[:, None], axis=0)
    n_tested = max(1, int((energy > ABOVE_NOISE).sum()))
    tested = compressed[:, np.argsort(-energy, kind="stable")[:n_tested]]
    rows = np.repeat(np.arange(neighbours.n_voxels), np.diff(neighbours.starts))
    values = np.empty(len(rows))
    with single_threaded_blas():
        for start in range(0, len(rows), BLOCK):
            n, m = rows[start : start + BLOCK], neighbours.index[start : start + BLOCK]
            distance = ((tested[n] - tested[m]) ** 2).sum(axis=1) / (variances[n] + variances[m])
            values[start : start + BLOCK] = scipy.stats.chi2.sf(distance, n_tested)
    return values
