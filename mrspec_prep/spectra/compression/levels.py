"""A coarser basis for warm starts: columns of a kernel merged where they look alike."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.threads import single_threaded_blas

#: below this number of bins the problem is solved whole, above it on merged columns first
WHOLE_PROBLEM = 150
#: measured: number of merged columns that is fastest in all at 2500 bins and alpha = 1.4e-7 of the largest
#: squared singular value, and the powers by which it grows with the bins and falls with alpha
MERGED_COLUMNS, REFERENCE_BINS, REFERENCE_ALPHA = 300, 2500, 1.4e-7
BINS_POWER, ALPHA_POWER = 0.4, -0.15
FEWEST_MERGED, MOST_MERGED = 100, 1500
RELATIVE_FLOOR = 0.03  # smallest singular value that counts on merged columns, relative to sqrt(alpha)


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


@dataclass(frozen=True, eq=False)
class CoarseBasis:
    """Merged columns (n_columns, n_leading), the leading rows they use, and their Gram matrix."""

    columns: np.ndarray
    n_leading: int
    gram: np.ndarray


def merged_columns(n_bins, relative_alpha):
    """Number of merged columns that makes the warm start and the steps after it cheapest together."""
    n = MERGED_COLUMNS * (n_bins / REFERENCE_BINS) ** BINS_POWER * (relative_alpha / REFERENCE_ALPHA) ** ALPHA_POWER
    return int(min(max(n, FEWEST_MERGED), MOST_MERGED, 0.75 * n_bins))


def coarse_basis(reduced, alpha):
    """Basis on which a warm start is found; the whole one for small problems."""
    if reduced.n_bins <= WHOLE_PROBLEM:
        columns, n_leading = reduced.columns, reduced.n_ranks
    else:
        n_columns = merged_columns(reduced.n_bins, alpha / reduced.singular_values[0] ** 2)
        columns, n_leading = coarse_columns(reduced, alpha, n_columns, RELATIVE_FLOOR)
    with single_threaded_blas():
        return CoarseBasis(columns, n_leading, columns @ columns.T)
