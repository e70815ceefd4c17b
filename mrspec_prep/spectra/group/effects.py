"""Sizes of differences that need no assumption about the shape of the distributions."""

import numpy as np
import scipy

EXACT_PAIRS = 2_000  # pairs up to which the distribution of the rank sum is counted out


def shift(first, second, level=0.95):
    """Hodges-Lehmann shift from the first sample to the second, with its distribution-free interval.

    The interval holds the order statistics of the differences of all pairs that the rank-sum test does not
    reject (Hodges and Lehmann 1963; Moses). Few participants allow few levels: the one reached is returned.

    Parameters
    ----------
    first, second : (n,) and (m,) arrays
    level : float
        Wanted; the interval has at least this one where n and m allow it, else the largest there is.

    Returns
    -------
    shift, low, high : float
        Median of second minus first over all pairs, and its interval.
    reached : float
        Confidence level of the interval.

    """
    differences = np.sort(np.subtract.outer(np.asarray(second, float), np.asarray(first, float)).ravel())
    n_out, reached = _pairs_outside(len(first), len(second), level)
    return float(np.median(differences)), float(differences[n_out]), float(differences[-1 - n_out]), reached


def dominance(first, second):
    """Cliff's delta: share of pairs in which the second is larger, minus that in which it is smaller; -1 to 1."""
    return float(np.sign(np.subtract.outer(np.asarray(second, float), np.asarray(first, float))).mean())


def rank_correlation(x, y, level=0.95):
    """Spearman's correlation and its interval by Fisher's transform (Bonett and Wright 2000).

    Returns
    -------
    correlation, low, high : float
        The interval is -1 to 1 for fewer than five points; 0 and no interval where one side is constant.

    """
    a, b = (scipy.stats.rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    norms = np.sqrt((a @ a) * (b @ b))
    if norms == 0:
        return 0.0, -1.0, 1.0
    correlation = float(np.clip(a @ b / norms, -1, 1))
    if len(a) < 5:
        return correlation, -1.0, 1.0
    half = scipy.stats.norm.ppf(0.5 + level / 2) * np.sqrt((1 + correlation**2 / 2) / (len(a) - 3))
    middle = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
    return correlation, float(np.tanh(middle - half)), float(np.tanh(middle + half))


def explained_ranks(values, codes):
    """Epsilon squared of Kruskal and Wallis: share of the variation of ranks between groups, 0 to 1."""
    ranks = scipy.stats.rankdata(values)
    ranks = ranks - ranks.mean()
    total = ranks @ ranks
    if total == 0:
        return 0.0
    between = sum((codes == code).sum() * ranks[codes == code].mean() ** 2 for code in np.unique(codes))
    return float(between / total)


def _pairs_outside(n, m, level):
    """Pairs that fall outside the interval on each side, and the level that leaves."""
    tail = (1 - level) / 2
    if n * m > EXACT_PAIRS:
        width = scipy.stats.norm.ppf(1 - tail) * np.sqrt(n * m * (n + m + 1) / 12)
        return max(int(np.floor(n * m / 2 - width)), 0), level
    below = np.cumsum(_rank_sum_counts(n, m))
    below = below / below[-1]  # P(U <= u)
    n_out = max(int(np.searchsorted(below, tail, side="right")) - 1, 0)  # 0: even the range of all pairs misses more
    return n_out, float(1 - 2 * below[n_out])


def _rank_sum_counts(n, m):
    """(n m + 1,) ways in which Mann and Whitney's U takes each value: the Gaussian binomial coefficient."""
    counts = np.zeros(n * m + 1)
    counts[0] = 1
    for i in range(1, n + 1):  # times (1 - q^(m + i)) / (1 - q^i)
        if m + i <= n * m:
            counts[m + i :] -= counts[: -(m + i)].copy()
        for start in range(i):
            counts[start::i] = np.cumsum(counts[start::i])
    return counts
