"""Rearrangements of participants within blocks: all of them where they can be counted out, else a random sample."""

from itertools import combinations, product
from math import factorial, prod

import numpy as np

EXACT_UP_TO = 20_000  # rearrangements that are counted out
N_RANDOM = 9_999  # drawn where there are more
BLOCK = 512  # rearrangements held at a time


def n_arrangements(codes, strata):
    """Number of distinct rearrangements of ``codes`` that keep every stratum's own."""
    total = 1
    for stratum in np.unique(strata):
        counts = np.unique(codes[strata == stratum], return_counts=True)[1]
        total *= factorial(int(counts.sum())) // prod(factorial(int(n)) for n in counts)
    return total


def all_arrangements(codes, strata):
    """Every distinct rearrangement of ``codes`` within strata.

    Parameters
    ----------
    codes : (n,) int array
        What is rearranged.
    strata : (n,) int array

    Returns
    -------
    (n_arrangements, n) int array

    """
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    within = [_multiset(codes[place]) for place in places]
    chosen = np.array(list(product(*(range(len(orders)) for orders in within))))
    found = np.empty((len(chosen), len(codes)), dtype=codes.dtype)
    for place, orders, choice in zip(places, within, chosen.T, strict=True):
        found[:, place] = orders[choice]
    return found


def random_arrangements(codes, strata, n, rng):
    """(n, len(codes)) random rearrangements of ``codes`` within strata."""
    found = np.tile(codes, (n, 1))
    for stratum in np.unique(strata):
        place = np.flatnonzero(strata == stratum)
        found[:, place] = rng.permuted(found[:, place], axis=1)
    return found


def _multiset(codes):
    """(n_arrangements, n) distinct orders of a multiset: the places of one value after another."""
    values, counts = np.unique(codes, return_counts=True)
    n = len(codes)
    orders = [np.full(n, values[-1])]
    for value, count in zip(values[:-1], counts[:-1], strict=True):
        orders = [_put(order, chosen, value) for order in orders
                  for chosen in combinations(np.flatnonzero(order == values[-1]), count)]  # fmt: skip
    return np.array(orders)


def _put(order, places, value):
    filled = order.copy()
    filled[list(places)] = value
    return filled
