"""The regularised spectrum as a function of alpha: residual, norm, slope and effective parameters along the path.

For a set of voxels with weights w the path is that of one stacked problem: residual
rho = sum w ||B f - s||2 (never falls with alpha), penalty eta = sum w ||f||2 (never rises).
On the face of the non-zero bins A, d rho / d log alpha = 2 alpha2 f'(B_A'B_A + alpha I)^-1 f, and the
effective parameters are tr[B_A (B_A'B_A + alpha I)^-1 B_A'].

Small problems are solved on the Gram matrix by principal block pivoting, which trades all
bins of the wrong sign at once (Kim and Park, SIAM J Sci Comput 2011); large ones by Newton in the dual.
"""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.voxelwise.newton import cholesky, solve_factored, step_length

CHANCES = 3  # block trades without fewer wrong signs before single trades take over (Kim and Park 2011)
MAX_PASSES = 400
MULTIPLIER_FLOOR = 1e-13
PATH_TOLERANCE = 1e-14  # relative duality gap on the path: rho is then right to about 1e-7
PATH_STEPS = 60
START_ALPHA = 1e-2  # of the largest squared singular value (or more), where a cold start begins
COARSE_TOLERANCE = 1e-5
SMALL_GAP = 1e-4
STALLED_STEPS = 8  # steps without halving a small gap after which rounding is held to be reached


@compiled
def factorise(gram, alpha, members, n_members, factor):
    """Cholesky factor of G_AA + alpha I."""
    for i in range(n_members):
        row = members[i]
        for j in range(i):
            total = gram[row, members[j]]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = total * factor[j, j]
        total = gram[row, row] + alpha
        for k in range(i):
            total -= factor[i, k] * factor[i, k]
        factor[i, i] = 1.0 / np.sqrt(max(total, 1e-300))  # the diagonal is kept inverted


@compiled
def forward(factor, n_members, x):
    """Solve L x = x in place."""
    for i in range(n_members):
        total = x[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total * factor[i, i]


@compiled
def backward(factor, n_members, x):
    """Solve L' x = x in place."""
    for i in range(n_members - 1, -1, -1):
        xi = x[i] * factor[i, i]
        x[i] = xi
        for k in range(i):
            x[k] -= factor[i, k] * xi


@compiled
def pivot(gram, projected, alpha, floor, passive, members, swap, factor, x, multipliers):
    """Solve min f'Gf/2 - c'f + alpha f'f/2, f >= 0 from the non-zero bins ``passive``, in place.

    Returns the number of non-zero bins; ``members`` and ``x`` hold them, ``factor`` their factor.
    """
    n_bins = gram.shape[0]
    fewest, chances = n_bins + 1, CHANCES
    n_members = 0
    for _ in range(MAX_PASSES):
        n_members = 0
        for j in range(n_bins):
            if passive[j]:
                members[n_members] = j
                n_members += 1
        factorise(gram, alpha, members, n_members, factor)
        for i in range(n_members):
            x[i] = projected[members[i]]
        forward(factor, n_members, x)
        backward(factor, n_members, x)
        for j in range(n_bins):
            multipliers[j] = projected[j]
        for i in range(n_members):
            row, xi = gram[members[i]], x[i]
            for j in range(n_bins):
                multipliers[j] -= xi * row[j]
        wrong, last, i = 0, -1, 0
        for j in range(n_bins):
            if passive[j]:
                swap[j] = x[i] < 0.0
                i += 1
            else:
                swap[j] = multipliers[j] > floor * np.sqrt(gram[j, j])
            if swap[j]:
                wrong += 1
                last = j
        if wrong == 0:
            return n_members
        if wrong < fewest:
            fewest, chances = wrong, CHANCES
        elif chances > 0:
            chances -= 1
        else:
            swap[:last] = False
        for j in range(n_bins):
            if swap[j]:
                passive[j] = not passive[j]
    for i in range(n_members):  # cycled on rounding: the caller's certificate judges what is left
        x[i] = max(x[i], 0.0)
    return n_members


@compiled
def inverse_norm(factor, n, inverted, column):
    """||L^-1||2 summed over all entries, the trace of (L L')^-1."""
    trace = 0.0
    for i in range(n):
        for j in range(i, n):
            total = 1.0 if j == i else 0.0
            for k in range(i, j):
                total -= factor[j, k] * column[k]
            column[j] = total * factor[j, j] if inverted else total / factor[j, j]
            trace += column[j] * column[j]
    return trace


@compiled
def gram_point(columns, gram, signal, projected, alpha, passive, y, work, with_trace):
    """Residual (in the range of the basis), ||f||2, d residual / d log alpha and effective parameters; updates y."""
    members, swap, factor, x, multipliers = work
    n_ranks = columns.shape[1]
    size = 0.0
    for k in range(n_ranks):
        size += signal[k] * signal[k]
    floor = MULTIPLIER_FLOOR * np.sqrt(size)
    n_members = pivot(gram, projected, alpha, floor, passive, members, swap, factor, x, multipliers)
    y[:] = signal
    eta = 0.0
    for i in range(n_members):
        xi = x[i]
        eta += xi * xi
        c = columns[members[i]]
        for k in range(n_ranks):
            y[k] -= xi * c[k]
    rho = 0.0
    for k in range(n_ranks):
        rho += y[k] * y[k]
    forward(factor, n_members, x)
    bent = 0.0
    for i in range(n_members):
        bent += x[i] * x[i]
    trace = n_members - alpha * inverse_norm(factor, n_members, True, x) if with_trace else 0.0
    return rho, eta, 2.0 * alpha * alpha * bent, trace


@compiled
def face(columns, alpha, z, inside, outer, hessian, rows, signs):
    """H = alpha I + B_A B_A', A = {z > 0}, in its lower triangle.

    ``outer`` holds B_A B_A' for the bins ``inside``: columns that entered are added, those that left
    taken away, four at a time.
    """
    n_bins, n_ranks = columns.shape
    waiting = 0
    for j in range(n_bins):
        positive = z[j] > 0.0
        if positive != inside[j]:
            inside[j] = positive
            rows[waiting] = j
            signs[waiting] = 1.0 if positive else -1.0
            waiting += 1
            if waiting == 4:
                a, b, c, d = columns[rows[0]], columns[rows[1]], columns[rows[2]], columns[rows[3]]
                for i in range(n_ranks):
                    ai, bi, ci, di = signs[0] * a[i], signs[1] * b[i], signs[2] * c[i], signs[3] * d[i]
                    for k in range(i + 1):
                        outer[i, k] += ai * a[k] + bi * b[k] + ci * c[k] + di * d[k]
                waiting = 0
    for w in range(waiting):
        a = columns[rows[w]]
        for i in range(n_ranks):
            ai = signs[w] * a[i]
            for k in range(i + 1):
                outer[i, k] += ai * a[k]
    for i in range(n_ranks):
        for k in range(i + 1):
            hessian[i, k] = outer[i, k]
        hessian[i, i] += alpha


@compiled
def forget(work):
    """Clear what ``face`` keeps, so that no voxel depends on the one before."""
    inside, outer = work[4], work[5]
    for j in range(inside.shape[0]):
        inside[j] = False
    for i in range(outer.shape[0]):
        for k in range(outer.shape[1]):
            outer[i, k] = 0.0


@compiled
def newton_work(n_bins, n_ranks):
    """Arrays that Newton in the dual writes to."""
    return (
        np.empty(n_bins), np.empty(n_bins), np.empty(n_ranks), np.empty(n_ranks), np.zeros(n_bins, np.bool_),
        np.zeros((n_ranks, n_ranks)), np.empty((n_ranks, n_ranks)), np.empty(4, np.int64), np.empty(4),
    )  # fmt: skip


@compiled
def products(columns, vector, out):
    """Products b_j' vector of every column."""
    n_bins, n_ranks = columns.shape
    for j in range(n_bins):
        column = columns[j]
        total = 0.0
        for k in range(n_ranks):
            total += column[k] * vector[k]
        out[j] = total


@compiled
def dual_gap(columns, signal, outside, alpha, y, z, g):
    """Gradient g = y - s + B (z)_+ / alpha, and its ||g||2 over the dual objective: the relative duality gap."""
    n_bins, n_ranks = columns.shape
    g[:] = 0.0
    penalty = 0.0
    for j in range(n_bins):
        zj = z[j]
        if zj > 0.0:
            penalty += zj * zj
            column = columns[j]
            for k in range(n_ranks):
                g[k] += zj * column[k]
    squared, primal = 0.0, outside + penalty / alpha
    for k in range(n_ranks):
        g[k] = y[k] - signal[k] + g[k] / alpha
        squared += g[k] * g[k]
        primal += (g[k] - y[k]) ** 2
    return squared / max(primal - squared, 1e-300) if squared > 0.0 else 0.0


@compiled
def warm_newton(columns, signal, outside, alpha, y, tolerance, max_steps, work):
    """Semismooth Newton in the dual from y, in place; returns the relative gap of what is left and the steps."""
    n_ranks = columns.shape[1]
    z, zd, g, d, inside, outer, hessian, rows, signs = work
    best_y, best_gap, since_best, step = y.copy(), np.inf, 0, 0
    while True:
        products(columns, y, z)
        gap = dual_gap(columns, signal, outside, alpha, y, z, g)
        since_best = 0 if gap < 0.5 * best_gap or best_gap > SMALL_GAP else since_best + 1
        if gap < best_gap:
            best_gap = gap
            best_y[:] = y
        if best_gap <= tolerance or step >= max_steps or since_best >= STALLED_STEPS:
            break
        face(columns, alpha, z, inside, outer, hessian, rows, signs)
        cholesky(hessian)
        for k in range(n_ranks):
            d[k] = -alpha * g[k]
        solve_factored(hessian, d)
        slope0 = 0.0
        for k in range(n_ranks):
            slope0 += g[k] * d[k]
        products(columns, d, zd)
        t = step_length(y, signal, d, z, zd, alpha, slope0)
        for k in range(n_ranks):
            y[k] += t * d[k]
        step += 1
    y[:] = best_y
    return best_gap, step


@compiled
def dual_point(columns, signal, outside, alpha, y, work, with_trace):
    """The same by Newton in the dual from y, in place. Without trace the slope may be that of a nearby face."""
    n_ranks = columns.shape[1]
    z, _, g, d, inside, outer, hessian, rows, signs = work
    _, steps = warm_newton(columns, signal, outside, alpha, y, PATH_TOLERANCE, PATH_STEPS, work)
    products(columns, y, z)
    eta = 0.0
    for j in range(z.shape[0]):
        if z[j] > 0.0:
            eta += z[j] * z[j]
    if with_trace or steps == 0:
        face(columns, alpha, z, inside, outer, hessian, rows, signs)
        cholesky(hessian)
    rho = 0.0
    for k in range(n_ranks):
        rho += y[k] * y[k]
        d[k] = signal[k] - y[k]
    solve_factored(hessian, d)
    slope = 0.0
    for k in range(n_ranks):
        slope += y[k] * d[k]
    trace = n_ranks - alpha * inverse_norm(hessian, n_ranks, False, g) if with_trace else 0.0
    return rho, eta / (alpha * alpha), 2.0 * alpha * slope, trace


@compiled
def evaluate(problem, voxels, state, alpha, with_trace):
    """Residual, penalty, d residual / d log alpha (weighted sums) and effective parameters of a set at one alpha.

    ``problem``: columns, Gram matrix, whether it is used. ``voxels``: compressed signals,
    signals times columns, energy outside the range, weights. ``state``: non-zero bins, duals
    (both warm, updated in place), buffers of either solver.
    """
    columns, gram, is_small = problem
    signals, projected, outside, weights = voxels
    passive, duals, small_work, large_work = state
    rho, eta, slope, trace = 0.0, 0.0, 0.0, 0.0
    for v in range(signals.shape[0]):
        y = duals[v]
        if is_small:
            one = gram_point(columns, gram, signals[v], projected[v], alpha, passive[v], y, small_work, with_trace)
        else:
            one = dual_point(columns, signals[v], outside[v], alpha, y, large_work, with_trace)
        rho += weights[v] * (one[0] + outside[v])
        eta += weights[v] * one[1]
        slope += weights[v] * one[2]
        trace += one[3]
    return rho, eta, slope, trace


@compiled
def new_state(problem, signals, projected):
    """Starting state of a set, right for a large alpha."""
    columns, _, is_small = problem
    n_bins, n_ranks = columns.shape
    passive = projected > 0.0
    duals = signals.copy()
    n_small = n_bins if is_small else 1
    small_work = (np.empty(n_small, np.int64), np.empty(n_small, np.bool_), np.empty((n_small, n_small)),
                  np.empty(n_small), np.empty(n_small))  # fmt: skip
    large_work = newton_work(1, 1) if is_small else newton_work(n_bins, n_ranks)
    return passive, duals, small_work, large_work


@compiled
def fit_each(problem, voxels, alphas, duals, are_warm, tolerance, max_steps, gaps, steps):
    """Spectra of voxels that have an alpha each, with their certificate; ``duals`` in place.

    It starts from them if warm. A cold start of a large problem comes down from a large alpha by factors of ten.
    """
    columns, gram, is_small = problem
    signals, projected, outside, _ = voxels
    n_bins, n_ranks = columns.shape
    passive, _, small_work, _ = new_state(problem, signals[:1], projected[:1])
    work, largest = newton_work(n_bins, n_ranks), 0.0
    z = work[0]
    for j in range(n_bins):
        for k in range(n_ranks):
            largest += columns[j, k] * columns[j, k]
    for v in range(signals.shape[0]):
        alpha, y, n_steps = alphas[v], duals[v], 0
        forget(work)
        if not are_warm:
            for k in range(n_ranks):
                y[k] = signals[v, k]
        if is_small:
            products(columns, y, z)
            for j in range(n_bins):
                passive[0, j] = z[j] > 0.0
            gram_point(columns, gram, signals[v], projected[v], alpha, passive[0], y, small_work, False)
        here = alpha if are_warm or is_small else max(alpha, START_ALPHA * largest)
        while True:
            reached = here <= alpha
            wanted = tolerance if reached else COARSE_TOLERANCE
            gaps[v], taken = warm_newton(columns, signals[v], outside[v], here, y, wanted, max_steps, work)
            n_steps += taken
            if reached:
                break
            here = max(0.1 * here, alpha)
        steps[v] = n_steps
