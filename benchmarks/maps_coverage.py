"""How often the intervals of parameter maps hold the truth."""

import numpy as np

from mrspec_prep.networks.result import LEVELS

TWO_SIDED = np.array([LEVELS[2] - LEVELS[1], LEVELS[3] - LEVELS[0]])  # .683, .95
ENDS = ((1, 2), (0, 3))


def coverage(truth, intervals, low=-np.inf, high=np.inf):
    """Coverage of the 68 % and the 95 % intervals, comparable to .683 and .95 also near bounds.

    Where a posterior has mass at a bound and an end of its interval lies there, the interval holds everything
    up to its other end: .841 and .975 instead. Of such intervals as much is expected, and the excess of what
    is expected over .683 and .95, a mean over voxels, is taken off the share of intervals that hold the truth.

    Parameters
    ----------
    truth : (n,) array
    intervals : (n, 4) array
        Quantiles at ``LEVELS``.
    low, high : float
        Bounds of the parameter.

    Returns
    -------
    (2,) array

    """
    found = np.empty(2)
    for i, (first, last) in enumerate(ENDS):
        start, end = intervals[:, first], intervals[:, last]
        at_low, at_high = start <= low, end >= high
        expected = np.where(at_high, 1.0, LEVELS[last]) - np.where(at_low, 0.0, LEVELS[first])
        found[i] = np.mean((start <= truth) & (truth <= end)) - expected.mean() + TWO_SIDED[i]
    return found
