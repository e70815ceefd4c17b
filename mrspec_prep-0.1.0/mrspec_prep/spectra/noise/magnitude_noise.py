"""Noise of the channels behind magnitudes.

Where the signal is weak, magnitudes scatter less than their channels. And the error of a voxel's own
noise level must be kept small: the floor of magnitudes is proportional to it, so that a level
estimated too low or too high would pass for signal.
"""

from functools import lru_cache

import numpy as np
from scipy.special import digamma, polygamma

from mrspec_prep.spectra.noise.likelihoods import magnitude_variance

ROUNDS = 200
ACCURACY = 1e-9
LARGEST_THETA = 40.0
DARK = 3.0  # signal of the reference volumes over sigma below which a voxel is dark
LEAST_DARK = 1000  # values of dark voxels needed to tell which volumes are silent


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


def shared_channel_variance(squares, power, degrees, n_coils=1, floor=(0.0, 0.0)):
    """Variance of each real channel, every voxel's own estimate drawn towards what the voxels share.

    The voxels' variances come from one scaled inverse chi-square distribution, fitted to all of
    them (empirical Bayes; Smyth 2004); where their spread is no more than that of the estimates
    all voxels get the same. Signal and variance are iterated as in ``channel_variance``.

    Parameters
    ----------
    squares, power, degrees, n_coils
        As for ``channel_variance``.
    floor : pair of (n_voxels,) arrays
        Sum of squares of volumes without signal, and its degrees of freedom (``floor_power``).

    Returns
    -------
    variance : (n_voxels,) array
    degrees_of_freedom : (n_voxels,) array
        Of a voxel's own estimate and of what it shares; infinite where all voxels get the same.

    """
    squares, power = np.asarray(squares, float), np.asarray(power, float)
    degrees = np.broadcast_to(degrees, power.shape)
    own = degrees.sum(axis=1) + floor[1]
    variance = np.full(len(squares), (squares + floor[0]).sum() / own.sum())
    prior, prior_degrees = variance[0], np.inf
    for _ in range(ROUNDS):
        theta = np.sqrt(np.maximum(power / variance[:, None] - 2 * n_coils, 0.0))
        factor = (degrees * _variance_factor(theta, n_coils)).sum(axis=1) / degrees.sum(axis=1)
        corrected = squares / factor + floor[0]
        prior, prior_degrees = shared_prior(corrected, own)
        if np.isinf(prior_degrees):
            new = np.full(len(squares), prior)
        else:
            new = (prior_degrees * prior + corrected) / (prior_degrees + own)
        done = np.abs(new - variance).max() <= 1e-6 * variance.max()
        variance = new
        if done:
            break
    return variance, own + prior_degrees


def floor_power(signals, group_of, reference, variance, n_coils=1):
    """Noise alone, in dark voxels: the volumes of least power, where the reference itself is near the noise.

    Where the strongest volumes are below 3 sigma the weakest hold no signal to speak of, and the
    scatter of magnitudes alone no longer tells a weak signal from a higher noise level. Volumes
    count whose mean power over the dark voxels is the least one within its error.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Magnitudes.
    group_of : (n_encodings,) int array
        Distinct encoding of each volume.
    reference : (n,) int array
        Volumes with the most signal.
    variance : (n_voxels,) array
        First estimate of each channel's variance.
    n_coils : int

    Returns
    -------
    squares, degrees : (n_voxels,) arrays
        Sum of squares and degrees of freedom of its variance; zero in voxels that are not dark.

    """
    power = np.asarray(signals, float) ** 2
    theta2 = power[:, reference].mean(axis=1) / variance - 2 * n_coils
    dark = theta2 < DARK**2
    squares, degrees = np.zeros(len(signals)), np.zeros(len(signals))
    if dark.sum() * power.shape[1] < LEAST_DARK:
        return squares, degrees
    counts = np.bincount(group_of)
    mean_power = np.bincount(group_of, (power[dark] / variance[dark, None]).mean(axis=0)) / counts
    error = mean_power / np.sqrt(n_coils * counts * dark.sum())
    silent = (mean_power <= (mean_power + 4 * error).min())[group_of]
    squares[dark] = power[np.ix_(dark, silent)].sum(axis=1)
    degrees[dark] = 2 * n_coils * silent.sum()
    return squares, degrees


def shared_prior(squares, degrees):
    """Scaled inverse chi-square distribution of voxels' variances, by the moments of their logarithms (Smyth 2004).

    Parameters
    ----------
    squares : (n_voxels,) array
        Sums of squares: variance times ``degrees`` degrees of freedom.
    degrees : (n_voxels,) array

    Returns
    -------
    variance : float
        s0 squared; the pooled variance where the voxels do not differ.
    degrees_of_freedom : float
        d0, infinite where the estimates spread no more than estimates do.

    """
    seen = squares > 0
    half, logs = degrees[seen] / 2, np.log(squares[seen] / degrees[seen])
    if len(logs) > 1:
        centred = logs - digamma(half) + np.log(half)
        excess = centred.var(ddof=1) - polygamma(1, half).mean()
        if excess > 0:
            half_prior = _inverse_trigamma(excess)
            return float(np.exp(centred.mean() + digamma(half_prior) - np.log(half_prior))), 2 * half_prior
    return float(squares.sum() / degrees.sum()), np.inf


def _inverse_trigamma(value):
    """Argument x with trigamma(x) = value, by Newton's method on 1 / trigamma (convex, monotone)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        now = polygamma(1, x)
        step = now * (1 - now / value) / polygamma(2, x)
        x += step
        if abs(step) < 1e-10 * x:
            break
    return float(x)


def _variance_factor(theta, n_coils):
    """``magnitude_variance`` by linear interpolation (error below 1e-5)."""
    nodes, values = _variance_table(n_coils)
    return np.interp(theta, nodes, values)


@lru_cache(maxsize=8)
def _variance_table(n_coils):
    nodes = np.linspace(0, LARGEST_THETA * np.sqrt(n_coils), 8001)
    return nodes, magnitude_variance(nodes, n_coils)
