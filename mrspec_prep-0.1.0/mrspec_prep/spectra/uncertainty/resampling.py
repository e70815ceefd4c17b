"""Refits of many noisy copies of one voxel's signal: Newton in the dual from the fit that the copies surround.

The copies share their neighbourhood, so one factor of the Hessian serves them all until a step gains too little;
then that copy gets a factor of its own. See ``newton`` for the problem and its dual.
"""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.voxelwise.newton import cholesky, solve_factored, step_length

FAIR_GAIN = 0.25  # a step with an old factor is worth it while ||g|| falls at least to this part
MAX_STEPS = 100


@compiled
def _products(columns, vector, out):
    """Out = B' vector."""
    n_bins, n_ranks = columns.shape
    for j in range(n_bins):
        total = 0.0
        for k in range(n_ranks):
            total += columns[j, k] * vector[k]
        out[j] = total


@compiled
def _slack(columns, signal, alpha, y, z, g):
    """G = y - s + B (z)_+ / alpha; returns ||g||2 and ||(z)_+||2."""
    n_bins, n_ranks = columns.shape
    size, squared = 0.0, 0.0
    g[:] = 0.0
    for j in range(n_bins):
        if z[j] > 0.0:
            zj = z[j]
            size += zj * zj
            for k in range(n_ranks):
                g[k] += zj * columns[j, k]
    for k in range(n_ranks):
        g[k] = y[k] - signal[k] + g[k] / alpha
        squared += g[k] * g[k]
    return squared, size


@compiled
def _factor(columns, alpha, z, factor):
    """Cholesky factor of alpha I + B_A B_A', A = {z > 0}."""
    n_bins, n_ranks = columns.shape
    factor[:] = 0.0
    for i in range(n_ranks):
        factor[i, i] = alpha
    for j in range(n_bins):
        if z[j] > 0.0:
            column = columns[j]
            for i in range(n_ranks):
                ci = column[i]
                for k in range(i + 1):
                    factor[i, k] += ci * column[k]
    cholesky(factor)


@compiled
def refit_copies(columns, copies, alpha, start, tolerance, duals):
    """Dual solutions of the copies of one voxel, from one starting point.

    Parameters
    ----------
    columns : (n_bins, n_ranks) array
    copies : (n_copies, n_ranks) array
        Compressed signals.
    alpha : float
    start : (n_ranks,) array
        Dual of the fit they surround.
    tolerance : float
        Relative error allowed of the spectrum, ||f - f*|| / ||f||, certified by the duality gap.
    duals : (n_copies, n_ranks) array
        Filled.

    Returns
    -------
    int
        Copies that did not get there.

    """
    n_bins, n_ranks = columns.shape
    z0, z, zd = np.empty(n_bins), np.empty(n_bins), np.empty(n_bins)
    g, d = np.empty(n_ranks), np.empty(n_ranks)
    shared, own = np.zeros((n_ranks, n_ranks)), np.zeros((n_ranks, n_ranks))
    _products(columns, start, z0)
    _factor(columns, alpha, z0, shared)
    failed = 0
    for c in range(copies.shape[0]):
        signal, y = copies[c], duals[c]
        y[:] = start
        z[:] = z0
        factor = shared
        squared, size = _slack(columns, signal, alpha, y, z, g)
        for _ in range(MAX_STEPS):
            # ||f - f*|| <= ||g|| / sqrt(alpha), f = (z)_+ / alpha
            if squared * alpha <= tolerance * tolerance * size:
                break
            slope0 = 0.0
            for k in range(n_ranks):
                d[k] = -alpha * g[k]
            solve_factored(factor, d)
            for k in range(n_ranks):
                slope0 += g[k] * d[k]
            _products(columns, d, zd)
            t = step_length(y, signal, d, z, zd, alpha, slope0)
            for k in range(n_ranks):
                y[k] += t * d[k]
            for j in range(n_bins):
                z[j] += t * zd[j]
            before = squared
            squared, size = _slack(columns, signal, alpha, y, z, g)
            if squared > FAIR_GAIN * FAIR_GAIN * before:
                _factor(columns, alpha, z, own)
                factor = own
        if squared * alpha > tolerance * tolerance * size and size > 0.0:
            failed += 1
    return failed
