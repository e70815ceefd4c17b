"""NNLS by an active set with Cholesky factors that grow and shrink (Bro and de Jong's use of the Gram matrix).

min_{f>=0} ||B f - s||2 + alpha ||f||2 for few non-zero bins: alpha = 0, tiny alpha, small
problems, and warm starts from a spectrum that is nearly right.
"""

import numpy as np

from mrspec_prep.compiled import compiled

ROUNDING = 4e-15  # of the squared signal: the products that an excess is made from are no more exact
DEPENDENT = 1e-13  # a column whose new part is below this share of itself lies in the span of those in use


@compiled
def grow(columns, alpha, members, n_members, factor, new):
    """Append a column to the factor of B_P'B_P + alpha I; False where it is dependent."""
    n_ranks = columns.shape[1]
    b = columns[new]
    norm = alpha
    for k in range(n_ranks):
        norm += b[k] * b[k]
    rest = norm
    for i in range(n_members):
        c = columns[members[i]]
        total = 0.0
        for k in range(n_ranks):
            total += b[k] * c[k]
        for k in range(i):
            total -= factor[i, k] * factor[n_members, k]
        total /= factor[i, i]
        factor[n_members, i] = total
        rest -= total * total
    if rest <= DEPENDENT * norm:
        return False
    factor[n_members, n_members] = np.sqrt(rest)
    members[n_members] = new
    return True


@compiled
def best_on_members(columns, signal, members, n_members, factor, target):
    """Unconstrained solution on the columns in use."""
    n_ranks = columns.shape[1]
    for i in range(n_members):
        c = columns[members[i]]
        total = 0.0
        for k in range(n_ranks):
            total += c[k] * signal[k]
        for k in range(i):
            total -= factor[i, k] * target[k]
        target[i] = total / factor[i, i]
    for i in range(n_members - 1, -1, -1):
        total = target[i]
        for k in range(i + 1, n_members):
            total -= factor[k, i] * target[k]
        target[i] = total / factor[i, i]


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
def settle(columns, signal, members, n_members, factor, f_members, target):
    """Move to the best point of the face in reach, dropping bins that reach zero; returns their number left."""
    while n_members > 0:
        best_on_members(columns, signal, members, n_members, factor, target)
        t, blocked = 1.0, -1
        for i in range(n_members):
            if target[i] <= 0.0:
                share = f_members[i] / (f_members[i] - target[i]) if f_members[i] > 0.0 else 0.0
                if share < t or blocked < 0:
                    t, blocked = share, i
        for i in range(n_members):
            f_members[i] += t * (target[i] - f_members[i])
        if blocked < 0:
            return n_members
        f_members[blocked] = 0.0
        for i in range(n_members - 1, -1, -1):
            if f_members[i] <= 0.0:
                for k in range(i, n_members - 1):
                    f_members[k] = f_members[k + 1]
                remove_bin(members, n_members, factor, target, i)  # target is made anew: its rotation is idle
                n_members -= 1
    return 0


@compiled
def active_set(columns, signal, alpha, f, tolerance, max_changes):
    """Solve from the feasible start f, in place; returns the largest scaled multiplier left and the changes made.

    Stops when no bin outside the set would lower the objective: b_j'(s - B f) <= tolerance ||b_j|| ||s||.
    """
    n_bins, n_ranks = columns.shape
    norms = np.empty(n_bins)
    for j in range(n_bins):
        total = 0.0
        for k in range(n_ranks):
            total += columns[j, k] * columns[j, k]
        norms[j] = np.sqrt(total)
    size = 0.0
    for k in range(n_ranks):
        size += signal[k] * signal[k]
    size = np.sqrt(size)
    limit = min(n_bins, 64)
    factor, members = np.zeros((limit, limit)), np.zeros(limit, np.int64)
    f_members, target = np.zeros(limit), np.zeros(limit)
    banned = np.zeros(n_bins, np.bool_)
    residual = np.empty(n_ranks)
    n_members = 0
    for j in range(n_bins):
        if f[j] > 0.0:
            if n_members + 1 >= limit and limit < n_bins:
                limit, factor, members, f_members, target = _enlarge(limit, n_bins, factor, members, f_members, target)
            if grow(columns, alpha, members, n_members, factor, j):
                f_members[n_members] = f[j]
                n_members += 1
    n_members = settle(columns, signal, members, n_members, factor, f_members, target)
    changes, worst = 0, 0.0
    while True:
        for k in range(n_ranks):
            residual[k] = signal[k]
        for i in range(n_members):
            c = columns[members[i]]
            for k in range(n_ranks):
                residual[k] -= f_members[i] * c[k]
        for i in range(n_members):
            banned[members[i]] = True
        worst, best, entering = 0.0, 0.0, -1
        for j in range(n_bins):
            if norms[j] > 0.0 and not banned[j]:
                total = 0.0
                for k in range(n_ranks):
                    total += columns[j, k] * residual[k]
                scaled = total / norms[j]
                if scaled > best:
                    best, entering = scaled, j
        for i in range(n_members):
            banned[members[i]] = False
        worst = best / size if size > 0.0 else 0.0
        if entering < 0 or worst <= tolerance or changes >= max_changes:
            break
        changes += 1
        if n_members + 1 >= limit and limit < n_bins:
            limit, factor, members, f_members, target = _enlarge(limit, n_bins, factor, members, f_members, target)
        if n_members >= limit or not grow(columns, alpha, members, n_members, factor, entering):
            banned[entering] = True
            continue
        f_members[n_members] = 0.0
        before = n_members
        n_members = settle(columns, signal, members, n_members + 1, factor, f_members, target)
        stays = False
        for i in range(n_members):
            if members[i] == entering:
                stays = True
        if stays:
            banned[:] = False
        else:
            banned[entering] = True
            if n_members < before:
                banned[:] = False
                banned[entering] = True
    f[:] = 0.0
    for i in range(n_members):
        f[members[i]] = f_members[i]
    return worst, changes


@compiled
def _enlarge(limit, n_bins, factor, members, f_members, target):
    """Room for twice as many columns."""
    new = min(2 * limit, n_bins)
    factor2, members2 = np.zeros((new, new)), np.zeros(new, np.int64)
    f2, target2 = np.zeros(new), np.zeros(new)
    factor2[:limit, :limit] = factor
    members2[:limit] = members
    f2[:limit] = f_members
    target2[:limit] = target
    return new, factor2, members2, f2, target2


@compiled
def active_set_block(columns, signals, outside, alpha, tolerance, max_changes, spectra, gaps, changes):
    """Solve voxels one by one from ``spectra``, in place.

    ``gaps`` receives a first-order estimate of the relative excess of the objective,
    2 max_j(b_j'r) ||f||_1 / objective: exact in the limit, not a bound. No excess is larger than the objective, and
    one within the rounding of ||s||2 counts as none: a perfect fit leaves nothing to divide by.
    """
    n_bins, n_ranks = columns.shape
    residual = np.empty(n_ranks)
    for v in range(signals.shape[0]):
        f = spectra[v]
        _, changes[v] = active_set(columns, signals[v], alpha, f, tolerance, max_changes)
        residual[:] = signals[v]
        mass, value, power = 0.0, outside[v], outside[v]
        for k in range(n_ranks):
            power += residual[k] * residual[k]
        for j in range(n_bins):
            if f[j] > 0.0:
                mass += f[j]
                value += alpha * f[j] * f[j]
                for k in range(n_ranks):
                    residual[k] -= f[j] * columns[j, k]
        for k in range(n_ranks):
            value += residual[k] * residual[k]
        largest = 0.0
        for j in range(n_bins):
            total = -alpha * f[j]
            for k in range(n_ranks):
                total += columns[j, k] * residual[k]
            largest = max(largest, total)
        excess = min(2.0 * largest * mass, value)
        gaps[v] = excess / value if excess > ROUNDING * power else 0.0
