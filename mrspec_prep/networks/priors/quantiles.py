"""Quantiles of posteriors: of weighted draws, and of Gaussian mixtures."""

from math import erfc, sqrt

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.priors.mixture import marginal_std
from mrspec_prep.networks.result import LEVELS
from mrspec_prep.threads import for_blocks

LIGHT = 1e-7  # of a voxel's draws or components: lighter ones are left out
BISECTIONS = 40
WIDEST = 9.0  # standard deviations: a component has no mass farther out
BLOCK = 1024


@compiled
def draws_block(values, weights, levels, found):
    """Quantiles found (n, d, q) of weighted draws: values (n, s, d), weights (n, s) that sum to one.

    Each draw stands for the middle of its weight; between draws the quantile is interpolated.
    """
    n_draws, d = values.shape[1:]
    kept, column, middle = np.empty(n_draws, np.int64), np.empty(n_draws), np.empty(n_draws)
    for n in range(values.shape[0]):
        m = 0
        for s in range(n_draws):
            if weights[n, s] > LIGHT:
                kept[m] = s
                m += 1
        for a in range(d):
            for i in range(m):
                column[i] = values[n, kept[i], a]
            order = np.argsort(column[:m])
            total = 0.0
            for i in range(m):
                weight = weights[n, kept[order[i]]]
                middle[i] = total + 0.5 * weight
                total += weight
            i = 0
            for q in range(levels.shape[0]):
                wanted = levels[q] * total
                while i < m - 1 and middle[i + 1] < wanted:
                    i += 1
                here = column[order[i]]
                if i == m - 1 or wanted <= middle[i]:
                    found[n, a, q] = here
                else:
                    part = (wanted - middle[i]) / (middle[i + 1] - middle[i])
                    found[n, a, q] = here + part * (column[order[i + 1]] - here)


@compiled
def _mass_below(u, probs, means, stds, a):
    total = 0.0
    for k in range(probs.shape[0]):
        if probs[k] > LIGHT:
            total += probs[k] * 0.5 * erfc((means[k, a] - u) / (stds[k, a] * sqrt(2.0)))
    return total


@compiled
def mixture_block(probs, means, stds, levels, found):
    """Quantiles found (n, d, q) of the marginals of Gaussian mixtures: probs (n, K), means and stds (n, K, d)."""
    n_components, d = means.shape[1:]
    for n in range(probs.shape[0]):
        for a in range(d):
            lowest, highest = np.inf, -np.inf
            for k in range(n_components):
                if probs[n, k] > LIGHT:
                    lowest = min(lowest, means[n, k, a] - WIDEST * stds[n, k, a])
                    highest = max(highest, means[n, k, a] + WIDEST * stds[n, k, a])
            for q in range(levels.shape[0]):
                low, high = lowest, highest
                for _ in range(BISECTIONS):
                    middle = 0.5 * (low + high)
                    if _mass_below(middle, probs[n], means[n], stds[n], a) < levels[q]:
                        low = middle
                    else:
                        high = middle
                found[n, a, q] = 0.5 * (low + high)


def draw_quantiles(values, weights, levels=LEVELS):
    """Quantiles of weighted draws.

    Parameters
    ----------
    values : (n, n_draws, d) array
    weights : (n, n_draws) array
        Sum to one per voxel.
    levels : tuple of float
        Probabilities, rising.

    Returns
    -------
    (n, d, n_levels) array

    """
    found = np.empty((len(values), values.shape[2], len(levels)))
    draws_block(values, weights, np.array(levels), found)
    return found


def mixture_quantiles(coordinates, found):
    """Quantiles of the parameters where the posterior of their coordinates is a Gaussian mixture.

    Parameters
    ----------
    coordinates : Coordinates
    found : Posterior

    Returns
    -------
    (n_voxels, d, 4) array
        At ``result.LEVELS``; parameters rise with their coordinates, so quantiles go through.

    """
    (n, _), d = found.probs.shape, found.means.shape[2]
    quantiles, levels = np.empty((n, d, len(LEVELS))), np.array(LEVELS)

    def block(start, stop):
        stds = marginal_std(found.factors[start:stop])
        mixture_block(found.probs[start:stop], found.means[start:stop], stds, levels, quantiles[start:stop])

    for_blocks(n, BLOCK, block)
    return coordinates.values(quantiles.transpose(0, 2, 1)).transpose(0, 2, 1)


def named_quantiles(names, quantiles):
    """Quantiles (n_voxels, d, 4) as ``intervals`` of a result: by name, the first d, each (n_voxels, 4)."""
    return {name: np.ascontiguousarray(quantiles[:, d]) for d, name in enumerate(names[: quantiles.shape[1]])}
