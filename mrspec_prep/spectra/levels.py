"""Coarser bases for warm starts: columns of a kernel merged where they look alike."""

import numpy as np

from mrspec_prep.spectra.compiled import compiled

#: merged columns and smallest singular value kept, relative to sqrt(alpha), for the two levels
LEVELS = ((100, 1.0), (400, 0.1))
SMALLEST_PROBLEM = 150  # below this number of bins a level costs more than it saves


@compiled
def spread_points(points, chosen, owner):
    """Farthest-point choice of ``len(chosen)`` points; fills chosen and the nearest choice of every point."""
    n_points, n_dims = points.shape
    distance = np.full(n_points, np.inf)
    far = 0
    for c in range(chosen.shape[0]):
        chosen[c] = far
        center = points[far]
        widest = -1.0
        for j in range(n_points):
            total = 0.0
            for k in range(n_dims):
                total += (points[j, k] - center[k]) ** 2
            if total < distance[j]:
                distance[j] = total
                owner[j] = c
            if distance[j] > widest:
                widest = distance[j]
                far = j


def coarse_columns(reduced, alpha, n_columns, relative_floor):
    """Columns that stand for groups of similar columns, and the leading rows they use.

    A group of c similar columns acts in the dual like one column, their mean, times
    sqrt(c); likeness is judged on the directions that alpha lets through.

    Returns
    -------
    columns : (n_columns, n_kept) array
    n_kept : int

    """
    values = reduced.singular_values
    kept = max(1, int((values > relative_floor * np.sqrt(alpha)).sum()))
    metric = reduced.columns / np.sqrt(values**2 + alpha)
    owner, chosen = np.zeros(reduced.n_bins, np.int64), np.zeros(n_columns, np.int64)
    spread_points(np.ascontiguousarray(metric), chosen, owner)
    counts = np.bincount(owner, minlength=n_columns)
    sums = np.zeros((n_columns, kept))
    np.add.at(sums, owner, reduced.columns[:, :kept])
    used = counts > 0
    return np.ascontiguousarray(sums[used] / np.sqrt(counts[used])[:, None]), kept


def coarse_levels(reduced, alpha):
    """Two coarse bases, coarsest first, and their ranks; empty where they would not pay.

    Returns
    -------
    levels : tuple of two (n, rank) arrays
    ranks : tuple of two int

    """
    levels, ranks = [], []
    for n_columns, floor in LEVELS:
        if reduced.n_bins < max(SMALLEST_PROBLEM, 2 * n_columns):
            columns, rank = np.zeros((0, 1)), 1
        else:
            columns, rank = coarse_columns(reduced, alpha, n_columns, floor)
        levels.append(columns)
        ranks.append(rank)
    return tuple(levels), tuple(ranks)
