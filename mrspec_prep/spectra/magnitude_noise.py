"""Noise of the channels behind magnitudes: where the signal is weak, magnitudes scatter less than their channels."""

from functools import lru_cache

import numpy as np

from mrspec_prep.spectra.likelihoods import magnitude_variance

ROUNDS = 200
ACCURACY = 1e-9
LARGEST_THETA = 40.0


def channel_variance(squares, power, degrees, n_coils=1):
    """Variance of each real channel from the scatter of magnitudes (fixed point of Koay and Basser 2006, pooled).

    sigma2 = squares / sum_g degrees_g xi(theta_g), theta_g2 = power_g / sigma2 - 2 L: the scatter of
    magnitudes is xi sigma2, xi < 1 where the signal is weak. Iterated upwards from the scatter itself.

    Parameters
    ----------
    squares : (n_voxels,) array
        Sum of squared deviations, over all groups of repeats [signal units squared].
    power : (n_voxels, n_groups) array
        Mean of the squared magnitudes of each group.
    degrees : (n_groups,) or (n_voxels, n_groups) array
        Degrees of freedom of each group's deviations.
    n_coils : int

    Returns
    -------
    (n_voxels,) array

    """
    squares, power = np.asarray(squares, float), np.asarray(power, float)
    degrees = np.broadcast_to(degrees, power.shape)
    variance = squares / degrees.sum(axis=1)
    moving = np.flatnonzero(variance > 0)
    for _ in range(ROUNDS):
        if not len(moving):
            break
        theta = np.sqrt(np.maximum(power[moving] / variance[moving, None] - 2 * n_coils, 0.0))
        new = squares[moving] / (degrees[moving] * _variance_factor(theta, n_coils)).sum(axis=1)
        still = new > variance[moving] * (1 + ACCURACY)
        variance[moving] = new
        moving = moving[still]
    return variance


def _variance_factor(theta, n_coils):
    """``magnitude_variance`` by linear interpolation (error below 1e-5)."""
    nodes, values = _variance_table(n_coils)
    return np.interp(theta, nodes, values)


@lru_cache(maxsize=8)
def _variance_table(n_coils):
    nodes = np.linspace(0, LARGEST_THETA * np.sqrt(n_coils), 8001)
    return nodes, magnitude_variance(nodes, n_coils)
