"""Certificate of given dual coefficients: how far their spectra can be from the best."""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.voxelwise.newton import gradient, relative_gap
from mrspec_prep.threads import for_blocks, single_threaded_blas

BLOCK = 256  # voxels looked at by one call of compiled code


def certified_gap(dual, signals, kernel, alpha, n_threads=None):
    """Relative duality gap of spectra ``max(dual @ basis, 0) / alpha``, whatever the coefficients come from.

    The objective ||K f - s||2 + alpha ||f||2 of these spectra is above its least value by no more
    than this share of it.

    Parameters
    ----------
    dual : (n_voxels, n_ranks) array
        y, of the ranks of ``reduce_kernel(kernel)``.
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array or ReducedKernel
    alpha : float or (n_voxels,) array
        Above 0.
    n_threads : int, optional
        Default: the cores available. The result does not depend on it.

    Returns
    -------
    (n_voxels,) array

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import fit_nnls
    >>> from mrspec_prep.spectra.voxelwise.certificate import certified_gap
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 40)))
    >>> signals = simulate_signals("t2", encodings, {"t2": [60.0, 90.0, 120.0]})
    >>> found = fit_nnls(signals, kernel, alpha=0.01)
    >>> gap = certified_gap(found.dual * (1 + 1e-6), signals, kernel, 0.01)
    >>> bool((gap > found.gap).all() and gap.max() < 1e-3)
    True

    """
    reduced = reduce_kernel(kernel)
    alphas = np.broadcast_to(np.asarray(alpha, float), len(dual))
    gaps = np.empty(len(dual))

    def work(start, stop):
        part = slice(start, stop)
        coefficients = np.ascontiguousarray(dual[part], float)
        compressed, outside = reduced.compress(signals[part])
        _gaps(reduced.columns, coefficients @ reduced.basis, compressed, outside, alphas[part].copy(), coefficients,
              gaps[part])  # fmt: skip

    with single_threaded_blas():
        for_blocks(len(dual), BLOCK, work, n_threads)
    return gaps


@compiled
def _gaps(columns, products, signals, outside, alphas, duals, gaps):
    """Relative gap of every voxel from its dual and B'y (``products``), into ``gaps``."""
    n_bins, n_ranks = columns.shape
    every, g = np.arange(n_bins), np.empty(n_ranks)
    for v in range(len(duals)):
        squared, penalty = gradient(columns, every, signals[v], alphas[v], duals[v], products[v], g)
        gaps[v] = relative_gap(outside[v], alphas[v], duals[v], g, squared, penalty)
