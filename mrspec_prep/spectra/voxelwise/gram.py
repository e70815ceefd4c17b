"""NNLS on few bins from their Gram matrix (Bro and de Jong 1997), with growing and shrinking Cholesky factors.

Serves small problems whole, and larger ones as the coarsest level of a warm start.
"""

import numpy as np

from mrspec_prep.spectra.compiled import compiled

DEPENDENT = 1e-12  # a bin whose new part is below this share of itself lies in the span of those in use


@compiled
def append_bin(gram, alpha, members, n_members, factor, new):
    """Append a bin to the factor of G_PP + alpha I; False where it is dependent."""
    row = gram[new]
    norm = row[new] + alpha
    rest = norm
    last = factor[n_members]
    for i in range(n_members):
        total = row[members[i]]
        for k in range(i):
            total -= factor[i, k] * last[k]
        total /= factor[i, i]
        last[i] = total
        rest -= total * total
    if rest <= DEPENDENT * norm:
        return False
    last[n_members] = np.sqrt(rest)
    members[n_members] = new
    return True


@compiled
def remove_bin(members, n_members, factor, half, gone):
    """Remove one bin from the factor, and from the half-solved right side, by Givens rotations."""
    for i in range(gone, n_members - 1):
        members[i] = members[i + 1]
        for k in range(i + 2):
            factor[i, k] = factor[i + 1, k]
    removed = half[gone]
    for i in range(gone, n_members - 1):
        a, b = factor[i, i], factor[i, i + 1]
        length = np.sqrt(a * a + b * b)
        cosine, sine = a / length, b / length
        factor[i, i] = length
        factor[i, i + 1] = 0.0
        for j in range(i + 1, n_members - 1):
            p, q = factor[j, i], factor[j, i + 1]
            factor[j, i] = cosine * p + sine * q
            factor[j, i + 1] = cosine * q - sine * p
        after = half[i + 1]
        half[i] = cosine * removed + sine * after
        removed = cosine * after - sine * removed


@compiled
def gram_active_set(gram, correlation, alpha, tolerance, max_changes, f, work):
    """argmin_{f>=0} f'Gf/2 - f'c + alpha/2 ||f||2 from f = 0; returns the changes of the active set.

    Bins enter by the largest multiplier over the square root of their diagonal; stops where none exceeds
    ``tolerance`` times the first one.
    """
    n_bins = correlation.shape[0]
    factor, half, target, amount, multiplier, members, inverse, weight = work
    limit = factor.shape[0]
    for j in range(n_bins):
        inverse[j] = 1.0 / gram[j, j] if gram[j, j] > 0.0 else 0.0
    weight[:] = inverse  # zero for bins that cannot enter
    n_members, changes, first = 0, 0, -1.0
    multiplier[:] = correlation
    while changes < max_changes:
        best, entering = 0.0, -1
        for j in range(n_bins):
            scaled = max(multiplier[j], 0.0) * multiplier[j] * weight[j]
            if scaled > best:
                best, entering = scaled, j
        if first < 0.0:
            first = best
        if entering < 0 or best <= tolerance * tolerance * first or n_members >= limit:
            break
        changes += 1
        if not append_bin(gram, alpha, members, n_members, factor, entering):
            weight[entering] = 0.0  # dependent on the bins in use: left out until they change
            continue
        total = correlation[entering]
        for k in range(n_members):
            total -= factor[n_members, k] * half[k]
        half[n_members] = total / factor[n_members, n_members]
        amount[n_members] = 0.0
        n_members += 1
        while True:
            for i in range(n_members):
                target[i] = half[i]
            for i in range(n_members - 1, -1, -1):
                target[i] /= factor[i, i]
                ti = target[i]
                for k in range(i):
                    target[k] -= factor[i, k] * ti
            t, blocked = 1.0, -1
            for i in range(n_members):
                if target[i] <= 0.0:
                    share = amount[i] / (amount[i] - target[i]) if amount[i] > 0.0 else 0.0
                    if share < t or blocked < 0:
                        t, blocked = share, i
            for i in range(n_members):
                amount[i] += t * (target[i] - amount[i])
            if blocked < 0:
                break
            amount[blocked] = 0.0
            for i in range(n_members - 1, -1, -1):
                if amount[i] <= 0.0:
                    remove_bin(members, n_members, factor, half, i)
                    for k in range(i, n_members - 1):
                        amount[k] = amount[k + 1]
                    n_members -= 1
        multiplier[:] = correlation
        for i in range(n_members):
            row, fi = gram[members[i]], amount[i]
            for j in range(n_bins):
                multiplier[j] -= fi * row[j]
        weight[:] = inverse
        for i in range(n_members):
            weight[members[i]] = 0.0
        weight[entering] = 0.0  # also where it left at once by rounding
    f[:] = 0.0
    for i in range(n_members):
        f[members[i]] = amount[i]
    return changes


@compiled
def gram_workspace(n_bins, limit):
    """Arrays that ``gram_active_set`` writes to; at most ``limit`` bins can be in use."""
    return (
        np.zeros((limit, limit)),
        np.zeros(limit),
        np.zeros(limit),
        np.zeros(limit),
        np.zeros(n_bins),
        np.zeros(limit, np.int64),
        np.zeros(n_bins),
        np.zeros(n_bins),
    )


@compiled
def gram_start_block(gram, columns, rank, signals, alpha, tolerance, max_changes, duals):
    """Dual points y = s - B f of the exact solutions on a coarse basis that uses the leading rows."""
    n_bins = columns.shape[0]
    work = gram_workspace(n_bins, n_bins)
    f, correlation = np.zeros(n_bins), np.zeros(n_bins)
    for v in range(signals.shape[0]):
        signal, y = signals[v], duals[v]
        for j in range(n_bins):
            total = 0.0
            for k in range(rank):
                total += columns[j, k] * signal[k]
            correlation[j] = total
        gram_active_set(gram, correlation, alpha, tolerance, max_changes, f, work)
        y[:] = signal
        for j in range(n_bins):
            if f[j] > 0.0:
                fj = f[j]
                for k in range(rank):
                    y[k] -= fj * columns[j, k]
