"""Regularised NNLS in the dual: semismooth Newton with a duality gap per voxel.

min_{f>=0} 1/2 ||B f - s||2 + alpha/2 ||f||2 has the dual
min_y phi(y) = 1/2 y'y - s'y + 1/(2 alpha) ||(B'y)_+||2 with f = (B'y)_+ / alpha.
With g = y - s + B f, the gap between the two objectives is exactly 1/2 ||g||2.
"""

import numpy as np

from mrspec_prep.spectra.compiled import compiled

SUFFICIENT_SLOPE = 0.1  # a full step is taken when it leaves at most this part of the slope
STALLED_STEPS = 10  # steps without halving a small gap after which rounding is held to be reached
SMALL_GAP = 1e-4
COARSE_TOLERANCE = 1e-5  # relative gap at which a coarse problem has given what it can
COARSE_STEPS = 30


@compiled
def dots(columns, vector, out):
    """out_j = b_j' vector for every column b_j of the basis."""
    n_bins, n_ranks = columns.shape
    for j in range(n_bins):
        total = 0.0
        for k in range(n_ranks):
            total += columns[j, k] * vector[k]
        out[j] = total


@compiled
def gradient(columns, signal, alpha, y, z, g):
    """G = y - s + B (z)_+ / alpha; returns ||g||2."""
    n_bins, n_ranks = columns.shape
    for k in range(n_ranks):
        g[k] = 0.0
    for j in range(n_bins):
        if z[j] > 0.0:
            zj = z[j]
            for k in range(n_ranks):
                g[k] += zj * columns[j, k]
    total = 0.0
    for k in range(n_ranks):
        g[k] = y[k] - signal[k] + g[k] / alpha
        total += g[k] * g[k]
    return total


@compiled
def curvature(columns, alpha, z, hessian, rows):
    """Lower triangle of H = alpha I + B_A B_A', A = {z > 0}; four columns at a time."""
    n_bins, n_ranks = columns.shape
    for i in range(n_ranks):
        for k in range(i + 1):
            hessian[i, k] = 0.0
        hessian[i, i] = alpha
    waiting = 0
    for j in range(n_bins):
        if z[j] > 0.0:
            rows[waiting] = j
            waiting += 1
            if waiting == 4:
                a, b, c, d = columns[rows[0]], columns[rows[1]], columns[rows[2]], columns[rows[3]]
                for i in range(n_ranks):
                    ai, bi, ci, di = a[i], b[i], c[i], d[i]
                    for k in range(i + 1):
                        hessian[i, k] += ai * a[k] + bi * b[k] + ci * c[k] + di * d[k]
                waiting = 0
    for w in range(waiting):
        a = columns[rows[w]]
        for i in range(n_ranks):
            ai = a[i]
            for k in range(i + 1):
                hessian[i, k] += ai * a[k]


@compiled
def cholesky(matrix):
    """Replace the lower triangle of a positive definite matrix by its Cholesky factor."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / matrix[j, j]
        total = matrix[i, i]
        for k in range(i):
            total -= matrix[i, k] * matrix[i, k]
        matrix[i, i] = np.sqrt(max(total, 1e-300))


@compiled
def solve_factored(factor, x):
    """Solve L L' x = x in place."""
    n = factor.shape[0]
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= factor[i, i]
        xi = x[i]
        for k in range(i):
            x[k] -= factor[i, k] * xi


@compiled
def slope(y, signal, d, z, zd, alpha, t):
    """First and second derivative of phi(y + t d) in t, from z = B'y and zd = B'd."""
    first, second = 0.0, 0.0
    for k in range(y.shape[0]):
        first += d[k] * (y[k] + t * d[k] - signal[k])
        second += d[k] * d[k]
    bent, curved = 0.0, 0.0
    for j in range(z.shape[0]):
        moved = z[j] + t * zd[j]
        if moved > 0.0:
            bent += moved * zd[j]
            curved += zd[j] * zd[j]
    return first + bent / alpha, second + curved / alpha


@compiled
def step_length(y, signal, d, z, zd, alpha, slope0):
    """Step along d: 1 where it leaves little slope, else the root of the slope by safeguarded Newton."""
    first, second = slope(y, signal, d, z, zd, alpha, 1.0)
    if abs(first) <= SUFFICIENT_SLOPE * abs(slope0):
        return 1.0
    low, high, t = 0.0, -1.0, 1.0
    if first > 0.0:
        high = 1.0
    else:
        low = 1.0
    for _ in range(60):
        candidate = t - first / second
        if high > 0.0 and not low < candidate < high:
            candidate = 0.5 * (low + high)
        elif high < 0.0 and candidate <= low:
            candidate = 2.0 * low
        t = candidate
        first, second = slope(y, signal, d, z, zd, alpha, t)
        if abs(first) <= SUFFICIENT_SLOPE * abs(slope0):
            break
        if first > 0.0:
            high = t
        else:
            low = t
    return t


@compiled
def relative_gap(signal, outside, alpha, y, z, g, squared):
    """Duality gap over the dual objective (a lower bound of the best objective), not halved."""
    primal = outside
    for k in range(y.shape[0]):
        primal += (g[k] - y[k]) ** 2  # B f - s = g - y
    penalty = 0.0
    for j in range(z.shape[0]):
        if z[j] > 0.0:
            penalty += z[j] * z[j]
    primal += penalty / alpha
    if squared == 0.0:
        return 0.0
    return squared / max(primal - squared, 1e-300)


@compiled
def newton(columns, signal, outside, alpha, y, tolerance, max_steps, work):
    """Minimise phi from y, in place, until the relative gap is within the tolerance.

    Returns the relative gap of the y left behind, computed afresh, and the steps taken.
    """
    n_ranks = columns.shape[1]
    z, zd, g, d, hessian, rows = work
    dots(columns, y, z)
    squared = gradient(columns, signal, alpha, y, z, g)
    gap = relative_gap(signal, outside, alpha, y, z, g, squared)
    fresh, best_y, best_gap, since_best, step = True, y.copy(), gap, 0, 0
    while step < max_steps and since_best < STALLED_STEPS:
        if gap <= tolerance:
            if fresh:
                return gap, step
        else:
            curvature(columns, alpha, z, hessian, rows)
            cholesky(hessian)
            slope0 = 0.0
            for k in range(n_ranks):
                d[k] = -alpha * g[k]
            solve_factored(hessian, d)
            for k in range(n_ranks):
                slope0 += g[k] * d[k]
            dots(columns, d, zd)
            t = step_length(y, signal, d, z, zd, alpha, slope0)
            for k in range(n_ranks):
                y[k] += t * d[k]
            step += 1
        dots(columns, y, z)
        squared = gradient(columns, signal, alpha, y, z, g)
        gap = relative_gap(signal, outside, alpha, y, z, g, squared)
        fresh = True
        since_best += 1
        if gap < 0.5 * best_gap or best_gap > SMALL_GAP:
            since_best = 0
        if gap < best_gap:
            best_gap = gap
            best_y[:] = y
    y[:] = best_y
    return best_gap, step


@compiled
def solve_block(columns, levels, ranks, signals, outside, alpha, tolerance, max_steps, duals, gaps, steps):
    """Solve voxels one by one through coarser bases; fills duals, relative gaps and steps.

    ``levels`` holds two coarse bases, coarsest first (no columns: level left out), and
    ``ranks`` the number of leading rows each of them uses. With no level in use,
    ``duals`` are the starting points.
    """
    n_bins, n_ranks = columns.shape
    z, zd, g, d = np.empty(n_bins), np.empty(n_bins), np.empty(n_ranks), np.empty(n_ranks)
    hessian, rows = np.empty((n_ranks, n_ranks)), np.empty(4, np.int64)
    coarse_hessians = (np.empty((ranks[0], ranks[0])), np.empty((ranks[1], ranks[1])))
    for v in range(signals.shape[0]):
        signal, y = signals[v], duals[v]
        started = False
        for level in range(2):
            coarse, rank = levels[level], ranks[level]
            n_coarse = coarse.shape[0]
            if n_coarse == 0:
                continue
            if not started:
                y[:] = signal
                y[:rank] = 0.0
                started = True
            energy = outside[v]
            for k in range(rank, n_ranks):
                energy += signal[k] * signal[k]
            work = (z[:n_coarse], zd[:n_coarse], g[:rank], d[:rank], coarse_hessians[level], rows)
            newton(coarse, signal[:rank], energy, alpha, y[:rank], COARSE_TOLERANCE, COARSE_STEPS, work)
        work = (z, zd, g, d, hessian, rows)
        gaps[v], steps[v] = newton(columns, signal, outside[v], alpha, y, tolerance, max_steps, work)
