"""Dual coefficients with as many bits as matter, so that what is stored and what is used are the same numbers.

A change d of the dual y moves the gradient of the dual objective by (I + B_A B_A' / alpha) d, with A the bins in use,
and the squared length of that gradient is the duality gap. Coefficient k of a kernel with singular values s_k
therefore needs the precision (1 + s_k^2 / alpha)^-1: the leading directions have many bits, those that the kernel
hardly sees have few. Allotted is a share of alpha ||f||2, the part of the objective that bounds how far the
spectrum moves; the gap is a share of the whole objective, so that it widens by less.
"""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.voxelwise.certificate import certified_gap
from mrspec_prep.threads import for_blocks, single_threaded_blas

SHARE = 1e-4  # of the tolerance that is allotted to rounding
LOOSEST = (
    1e-9  # tolerance beyond which rounding grows no coarser: spectra then move by less than single precision shows
)
BLOCK = 4096  # voxels rounded at a time


def storable(result, signals, kernel, tolerance=1e-9, n_threads=None):
    """Result whose dual coefficients are rounded to the bits that matter, with the certificate of the rounded ones.

    The zeros behind the bits that are kept vanish when a file is compressed, and everything computed from the
    result afterwards is regenerated exactly from what the file holds.

    Parameters
    ----------
    result : NNLSResult
        With alpha > 0; one with sparse spectra (alpha = 0) is handed back.
    signals : (n_voxels, n_encodings) array
        That were fitted.
    kernel : (n_encodings, n_bins) array or ReducedKernel
        That they were fitted with.
    tolerance : float
        Relative gap that rounding must keep; coefficients of a voxel that would lose it are left as they are.
    n_threads : int, optional
        Default: the cores available. The result does not depend on it.

    Returns
    -------
    NNLSResult
        ``gap`` and ``converged`` are those of the rounded coefficients.

    """
    if result.dual is None:
        return result
    reduced = reduce_kernel(kernel)
    alpha = np.broadcast_to(np.asarray(result.alpha, float), result.n_voxels)
    allotted = SHARE * min(tolerance, LOOSEST)
    dual = np.empty_like(result.dual)

    def work(start, stop):
        part = slice(start, stop)
        steps = _steps(result.dual[part], signals[part], reduced, alpha[part], allotted)
        dual[part] = round_to_steps(result.dual[part], steps)

    with single_threaded_blas():
        for_blocks(result.n_voxels, BLOCK, work, n_threads)
    gap = certified_gap(dual, signals, reduced, alpha, n_threads)
    lost = np.flatnonzero((gap > tolerance) & (gap > result.gap))
    dual[lost], gap[lost] = result.dual[lost], result.gap[lost]
    return replace(result, dual=dual, gap=gap, converged=gap <= tolerance)


def _steps(dual, signals, reduced, alpha, allotted):
    """(n_voxels, n_ranks) precisions at which the gap widens by about ``allotted`` alpha ||f||2; 0: leave as it is."""
    compressed, _ = reduced.compress(signals)
    penalty = np.einsum("nr,nr->n", dual, compressed - dual)  # y'B f at the optimum, where y = s - B f
    steepness = 1 + reduced.singular_values**2 / alpha[:, None]
    return np.sqrt(allotted * np.maximum(penalty, 0) / reduced.n_ranks)[:, None] / steepness


def round_to_steps(values, steps):
    """Values rounded to multiples of the largest powers of two not above ``steps`` (broadcast); 0: left as they are."""
    _, exponent = np.frexp(steps)
    exponent = np.where(steps > 0, exponent - 1, -1074)
    with np.errstate(over="ignore"):
        rounded = np.ldexp(np.round(np.ldexp(values, -exponent)), exponent)
    return np.where(np.isfinite(rounded), rounded, values)
