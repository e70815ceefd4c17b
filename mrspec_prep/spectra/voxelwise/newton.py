"""Regularised NNLS in the dual: semismooth Newton with a duality gap per voxel.

min_{f>=0} 1/2 ||B f - s||2 + alpha/2 ||f||2 has the dual
min_y phi(y) = 1/2 y'y - s'y + 1/(2 alpha) ||(B'y)_+||2 with f = (B'y)_+ / alpha.
With g = y - s + B f, the gap between the two objectives is exactly 1/2 ||g||2.

Most bins stay at zero, far from entering: Newton works on the bins that might take part
(``index``), and all bins are looked at again when it has converged.
"""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within

SUFFICIENT_SLOPE = 0.1  # a full step is taken when it leaves at most this part of the slope
STALLED_STEPS = 10  # steps without halving a small gap after which rounding is held to be reached
SMALL_GAP = 1e-4
WOODBURY_SHARE = 0.8  # active bins per rank below which the smaller of the two Newton systems is solved
CHUNK = 64  # columns added to Newton's matrix at a time
CANDIDATE_SHARE = 0.3  # bins whose z is above minus this share of the largest z might become active
RESTRICTED_SHARE = 0.3  # of the tolerance, to be reached on the bins that take part


@compiled_within
def dots(columns, index, vector, out):
    """out_i = b_j' vector for the columns j = index_i."""
    n_ranks = vector.shape[0]
    for i in range(index.shape[0]):
        column = columns[index[i]]
        total = 0.0
        for k in range(n_ranks):
            total += column[k] * vector[k]
        out[i] = total


@compiled_within
def gradient(columns, index, signal, alpha, y, z, g):
    """G = y - s + B (z)_+ / alpha; returns ||g||2 and ||f||2 alpha2."""
    n_ranks = y.shape[0]
    for k in range(n_ranks):
        g[k] = 0.0
    penalty = 0.0
    for i in range(index.shape[0]):
        zi = z[i]
        if zi > 0.0:
            penalty += zi * zi
            column = columns[index[i]]
            for k in range(n_ranks):
                g[k] += zi * column[k]
    total = 0.0
    for k in range(n_ranks):
        g[k] = y[k] - signal[k] + g[k] / alpha
        total += g[k] * g[k]
    return total, penalty


@compiled_within
def relative_gap(outside, alpha, y, g, squared, penalty):
    """Duality gap over the dual objective (a lower bound of the best objective), neither halved."""
    if squared == 0.0:
        return 0.0
    primal = outside + penalty / alpha
    for k in range(y.shape[0]):
        primal += (g[k] - y[k]) ** 2  # B f - s = g - y
    return squared / max(primal - squared, 1e-300)


@compiled_within
def add_products(columns, chosen, signs, n_chosen, matrix, space):
    """Add signs_c b_c b_c' over the chosen columns to the lower triangle, two rows by two columns at a time."""
    n = matrix.shape[0]
    plain = space[: n * n_chosen].reshape(n, n_chosen)
    signed = space[n * n_chosen : 2 * n * n_chosen].reshape(n, n_chosen)
    for c in range(n_chosen):
        column, sign = columns[chosen[c]], signs[c]
        for k in range(n):
            plain[k, c] = column[k]
            signed[k, c] = sign * column[k]
    for i in range(0, n, 2):
        next_i = min(i + 1, n - 1)
        a, b = signed[i], signed[next_i]
        for k in range(0, next_i + 1, 2):
            next_k = min(k + 1, n - 1)
            p, q = plain[k], plain[next_k]
            ap, aq, bp, bq = 0.0, 0.0, 0.0, 0.0
            for c in range(n_chosen):
                ap += a[c] * p[c]
                aq += a[c] * q[c]
                bp += b[c] * p[c]
                bq += b[c] * q[c]
            matrix[i, k] += ap
            if next_k > k:
                matrix[i, next_k] += aq
            if next_i > i:
                matrix[next_i, k] += bp
                if next_k > k:
                    matrix[next_i, next_k] += bq


@compiled_within
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


@compiled_within
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


@compiled_within
def direction_by_ranks(products, alpha, g, d, matrix):
    """D = -alpha (alpha I + B_A B_A')^-1 g on the leading ranks, -g on the others (where B_A B_A' << alpha).

    ``products`` holds B_A B_A' in its lower triangle.
    """
    n = matrix.shape[0]
    for i in range(n):
        for k in range(i):
            matrix[i, k] = products[i, k]
        matrix[i, i] = products[i, i] + alpha
        d[i] = -alpha * g[i]
    cholesky(matrix)
    solve_factored(matrix, d[:n])
    for k in range(n, g.shape[0]):
        d[k] = -g[k]


@compiled_within
def update_products(columns, index, z, counted, products, changed, signs, space):
    """Bring B_A B_A' up to date with A = {z > 0}: columns that entered are added, those that left taken away."""
    n_changed = 0
    for i in range(index.shape[0]):
        positive = z[i] > 0.0
        if positive != counted[i]:
            counted[i] = positive
            changed[n_changed] = index[i]
            signs[n_changed] = 1.0 if positive else -1.0
            n_changed += 1
            if n_changed == CHUNK:
                add_products(columns, changed, signs, n_changed, products, space)
                n_changed = 0
    add_products(columns, changed, signs, n_changed, products, space)


@compiled_within
def direction_by_bins(columns, active, n_active, alpha, g, d, matrix, x):
    """The same by Woodbury's identity: d = -g + B_A (alpha I + B_A'B_A)^-1 B_A'g."""
    n_ranks = g.shape[0]
    gram = matrix[:n_active, :n_active]
    for i in range(n_active):
        a = columns[active[i]]
        for j in range(i + 1):
            b = columns[active[j]]
            total = 0.0
            for k in range(n_ranks):
                total += a[k] * b[k]
            gram[i, j] = total
        gram[i, i] += alpha
        total = 0.0
        for k in range(n_ranks):
            total += a[k] * g[k]
        x[i] = total
    cholesky(gram)
    solve_factored(gram, x[:n_active])
    for k in range(n_ranks):
        d[k] = -g[k]
    for i in range(n_active):
        a = columns[active[i]]
        for k in range(n_ranks):
            d[k] += x[i] * a[k]


@compiled_within
def slope(y, signal, d, z, zd, alpha, t):
    """First and second derivative of phi(y + t d) in t, from z = B'y and zd = B'd."""
    first, second = 0.0, 0.0
    for k in range(y.shape[0]):
        first += d[k] * (y[k] + t * d[k] - signal[k])
        second += d[k] * d[k]
    bent, curved = 0.0, 0.0
    for i in range(z.shape[0]):
        moved = z[i] + t * zd[i]
        if moved > 0.0:
            bent += moved * zd[i]
            curved += zd[i] * zd[i]
    return first + bent / alpha, second + curved / alpha


@compiled_within
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


@compiled_within
def newton(columns, index, n_leading, signal, outside, alpha, y, tolerance, max_steps, work):
    """Minimise phi over the columns of ``index`` from y, in place, until the relative gap is within the tolerance.

    Returns the relative gap of the best y met, which is left behind, and the steps taken.
    """
    n_ranks, n_index = y.shape[0], index.shape[0]
    z, zd, signs, g, d, best_y, x, active, counted, matrix_space, products_space, space = work
    z, zd, best_y = z[:n_index], zd[:n_index], best_y[:n_ranks]
    g, d = g[:n_ranks], d[:n_ranks]
    counted = counted[:n_index]
    counted[:] = False
    products = products_space[: n_leading * n_leading].reshape(n_leading, n_leading)
    products[:] = 0.0
    dots(columns, index, y, z)
    best_gap, since_best, step = np.inf, 0, 0
    best_y[:] = y
    while True:
        squared, penalty = gradient(columns, index, signal, alpha, y, z, g)
        gap = relative_gap(outside, alpha, y, g, squared, penalty)
        if gap < 0.5 * best_gap or best_gap > SMALL_GAP:
            since_best = 0
        else:
            since_best += 1
        if gap < best_gap:
            best_gap = gap
            best_y[:] = y
        if best_gap <= tolerance or step >= max_steps or since_best >= STALLED_STEPS:
            break
        n_active = np.sum(z > 0.0)
        if n_active <= WOODBURY_SHARE * n_leading:
            n_active = 0
            for i in range(n_index):
                if z[i] > 0.0:
                    active[n_active] = index[i]
                    n_active += 1
            matrix = matrix_space[: n_active * n_active].reshape(n_active, n_active)
            direction_by_bins(columns, active, n_active, alpha, g, d, matrix, x)
        else:
            matrix = matrix_space[: n_leading * n_leading].reshape(n_leading, n_leading)
            update_products(columns, index, z, counted, products, active, signs, space)
            direction_by_ranks(products, alpha, g, d, matrix)
        slope0 = 0.0
        for k in range(n_ranks):
            slope0 += g[k] * d[k]
        dots(columns, index, d, zd)
        t = step_length(y, signal, d, z, zd, alpha, slope0)
        for k in range(n_ranks):
            y[k] += t * d[k]
        for i in range(n_index):
            z[i] += t * zd[i]
        step += 1
    y[:] = best_y
    return best_gap, step


@compiled_within
def workspace(n_bins, n_ranks):
    """Arrays that ``newton`` writes to."""
    return (
        np.empty(n_bins),
        np.empty(n_bins),
        np.empty(n_bins),
        np.empty(n_ranks),
        np.empty(n_ranks),
        np.empty(n_ranks),
        np.empty(n_ranks),
        np.empty(n_bins, np.int64),
        np.empty(n_bins, np.bool_),
        np.empty(n_ranks * n_ranks),
        np.empty(n_ranks * n_ranks),
        np.empty(2 * n_ranks * CHUNK),
    )


@compiled
def refine_block(
    columns, n_leading, products, pending, signals, outside, alpha, tolerance, max_steps, duals, gaps, steps
):
    """Look at all bins of the voxels pending; solve on the bins that might take part where the gap is too wide.

    ``products`` holds B'y of every voxel pending. A voxel whose gap is within the tolerance,
    or that has used its steps, is left as it is.
    """
    n_bins, n_ranks = columns.shape
    work = workspace(n_bins, n_ranks)
    every, index = np.arange(n_bins), np.empty(n_bins, np.int64)
    g = np.empty(n_ranks)
    for p in range(pending.shape[0]):
        v, z = pending[p], products[p]
        signal, y = signals[v], duals[v]
        squared, penalty = gradient(columns, every, signal, alpha, y, z, g)
        gaps[v] = relative_gap(outside[v], alpha, y, g, squared, penalty)
        if gaps[v] <= tolerance or steps[v] >= max_steps:
            continue
        floor = 0.0
        for j in range(n_bins):
            floor = max(floor, z[j])
        floor *= -CANDIDATE_SHARE
        n_index = 0
        for j in range(n_bins):
            if z[j] > floor:
                index[n_index] = j
                n_index += 1
        _, taken = newton(
            columns, index[:n_index], n_leading, signal, outside[v], alpha, y, RESTRICTED_SHARE * tolerance,
            max_steps - steps[v], work,
        )  # fmt: skip
        steps[v] += max(taken, 1)
