"""NNLS on few bins from their Gram matrix (Bro and de Jong 1997), with the inverse of the block in use kept up to date.

Serves small problems whole, and larger ones as the coarsest level of a warm start. Bins enter and leave the
inverse by changes of rank one (the bordering method), all plain loops over rows that fill vector registers;
what rounding leaves in it is corrected at the end by one step of iterative refinement.
"""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within

DEPENDENT = 1e-12  # a bin whose new part is below this share of itself lies in the span of those in use
LANES = 8  # rows of the inverse are worked on in multiples of this length; they hold zeros beyond the bins in use


@compiled_within
def padded(n):
    """Next multiple of ``LANES``."""
    return (n + LANES - 1) // LANES * LANES


@compiled_within
def enter_bin(gram, alpha, new, multiplier, n_members, use):
    """Take one more bin into the inverse of G_PP + alpha I and into the solution on P; False where it is dependent."""
    members, target, inverse, row, change = use
    g = gram[new]
    width = padded(n_members)
    for i in range(n_members):
        row[i] = g[members[i]]
    for k in range(width):
        change[k] = 0.0
    for i in range(n_members):
        h, r = inverse[i], row[i]
        for k in range(width):
            change[k] += h[k] * r
    norm = g[new] + alpha
    rest = norm
    for i in range(n_members):
        rest -= row[i] * change[i]
    if rest <= max(DEPENDENT * norm, 0.5 * alpha):  # exactly, it is never below alpha
        return False
    scale = 1.0 / rest
    amount = multiplier * scale
    for i in range(n_members):
        h, c = inverse[i], change[i] * scale
        for k in range(width):
            h[k] += c * change[k]
        target[i] -= amount * change[i]
    last = inverse[n_members]
    for i in range(n_members):
        x = -change[i] * scale
        last[i] = x
        inverse[i, n_members] = x
    last[n_members] = scale
    target[n_members] = amount
    members[n_members] = new
    return True


@compiled_within
def leave_bin(gone, n_members, amount, use):
    """Take one bin out; the last one gets its place."""
    members, target, inverse, row, _ = use
    h = inverse[gone]
    width = padded(n_members)
    for k in range(width):
        row[k] = h[k]
    scale = 1.0 / row[gone]
    step = target[gone] * scale
    for i in range(n_members):
        target[i] -= step * row[i]
        h, c = inverse[i], row[i] * scale
        for k in range(width):
            h[k] -= c * row[k]
    last = n_members - 1
    if gone < last:
        members[gone], target[gone], amount[gone] = members[last], target[last], amount[last]
        h, moved = inverse[gone], inverse[last]
        for k in range(n_members):
            h[k] = moved[k]
        for i in range(last):
            inverse[i, gone] = inverse[i, last]
        h[gone] = moved[last]
    for k in range(width):
        inverse[last, k] = 0.0
    for i in range(last):
        inverse[i, last] = 0.0


@compiled_within
def settle(n_members, amount, use):
    """Go to the solution on the bins in use, dropping those that reach zero on the way; returns their number."""
    target = use[1]
    while True:
        t, blocked = 1.0, -1
        for i in range(n_members):
            if target[i] <= 0.0:
                share = amount[i] / (amount[i] - target[i]) if amount[i] > 0.0 else 0.0
                if share < t or blocked < 0:
                    t, blocked = share, i
        for i in range(n_members):
            amount[i] += t * (target[i] - amount[i])
        if blocked < 0:
            return n_members
        amount[blocked] = 0.0
        for i in range(n_members - 1, -1, -1):
            if amount[i] <= 0.0:
                leave_bin(i, n_members, amount, use)
                n_members -= 1


@compiled_within
def refine_target(multiplier, alpha, n_members, use):
    """One step of iterative refinement: on the bins in use, the multipliers should be alpha f."""
    members, target, inverse, row, _ = use
    for i in range(n_members):
        row[i] = multiplier[members[i]] - alpha * target[i]
    for i in range(n_members):
        h, total = inverse[i], 0.0
        for k in range(n_members):
            total += h[k] * row[k]
        target[i] += total


@compiled_within
def find_multipliers(gram, correlation, members, n_members, amount, multiplier):
    """C - G f, four bins in use at a time."""
    n_bins = multiplier.shape[0]
    for j in range(n_bins):
        multiplier[j] = correlation[j]
    i = 0
    while i + 4 <= n_members:
        a, b, c, d = gram[members[i]], gram[members[i + 1]], gram[members[i + 2]], gram[members[i + 3]]
        p, q, r, s = amount[i], amount[i + 1], amount[i + 2], amount[i + 3]
        for j in range(n_bins):
            multiplier[j] -= p * a[j] + q * b[j] + r * c[j] + s * d[j]
        i += 4
    while i < n_members:
        a, p = gram[members[i]], amount[i]
        for j in range(n_bins):
            multiplier[j] -= p * a[j]
        i += 1


@compiled_within
def best_bin(multiplier, weight):
    """Bin with the largest positive multiplier over the square root of its diagonal, and the square of this."""
    best, entering = 0.0, -1
    for j in range(multiplier.shape[0]):
        scaled = max(multiplier[j], 0.0) * multiplier[j] * weight[j]
        if scaled > best:
            best, entering = scaled, j
    return best, entering


@compiled_within
def gram_active_set(gram, correlation, alpha, tolerance, max_changes, work):
    """argmin_{f>=0} f'Gf/2 - f'c + alpha/2 ||f||2 from f = 0; returns the number of bins in use and of changes.

    Bins enter by the largest multiplier over the square root of their diagonal; stops where none exceeds
    ``tolerance`` times the first one. ``work`` holds the bins in use and their amounts.
    """
    amount, multiplier, inverse_norm, weight, use = work
    members, limit = use[0], use[0].shape[0]
    n_members, changes, first, is_refined = 0, 0, -1.0, False
    for j in range(correlation.shape[0]):
        multiplier[j], weight[j] = correlation[j], inverse_norm[j]  # the latter zero for bins that cannot enter
    while changes < max_changes:
        best, entering = best_bin(multiplier, weight)
        if first < 0.0:
            first = best
        if entering < 0 or best <= tolerance * tolerance * first or n_members >= limit:
            if is_refined:
                break
            refine_target(multiplier, alpha, n_members, use)
            is_refined, entering = True, -1
        else:
            is_refined = False
            changes += 1
            if not enter_bin(gram, alpha, entering, multiplier[entering], n_members, use):
                weight[entering] = 0.0  # dependent on the bins in use: left out until they change
                continue
            amount[n_members] = 0.0
            n_members += 1
        n_members = settle(n_members, amount, use)
        find_multipliers(gram, correlation, members, n_members, amount, multiplier)
        for j in range(correlation.shape[0]):
            weight[j] = inverse_norm[j]
        for i in range(n_members):
            weight[members[i]] = 0.0
        if entering >= 0:
            weight[entering] = 0.0  # also where it left at once by rounding
    for i in range(n_members):
        for k in range(padded(n_members)):
            use[2][i, k] = 0.0
    return n_members, changes


@compiled_within
def gram_workspace(gram):
    """Arrays of ``gram_active_set``: amounts, multipliers, 1 / diag(G), the same where a bin may enter; bins in use."""
    n_bins = gram.shape[0]
    limit = padded(n_bins)
    inverse_norm = np.zeros(n_bins)
    for j in range(n_bins):
        inverse_norm[j] = 1.0 / gram[j, j] if gram[j, j] > 0.0 else 0.0
    use = (np.zeros(limit, np.int64), np.zeros(limit), np.zeros((limit, limit)), np.zeros(limit), np.zeros(limit))
    return np.zeros(limit), np.zeros(n_bins), inverse_norm, np.zeros(n_bins), use


@compiled
def _start_block(gram, columns, rank, correlations, signals, alpha, tolerance, max_changes, duals):
    """Voxel by voxel; ``correlations`` are the signals times the columns."""
    work = gram_workspace(gram)
    amount, members = work[0], work[4][0]
    for v in range(signals.shape[0]):
        y = duals[v]
        n_members, _ = gram_active_set(gram, correlations[v], alpha, tolerance, max_changes, work)
        for k in range(y.shape[0]):
            y[k] = signals[v, k]
        for i in range(n_members):
            f, column = amount[i], columns[members[i]]
            for k in range(rank):
                y[k] -= f * column[k]


def gram_start_block(gram, columns, rank, signals, alpha, tolerance, max_changes, duals):
    """Dual points y = s - B f of the exact solutions on a coarse basis that uses the leading rows.

    The caller holds BLAS to one thread.
    """
    correlations = signals[:, :rank] @ columns.T
    _start_block(gram, columns, rank, correlations, signals, alpha, tolerance, max_changes, duals)
