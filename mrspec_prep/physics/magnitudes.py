"""Magnitudes of complex noise: Rician and non-central chi densities, moments, Bessel functions."""

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, hyp1f1, ive

from mrspec_prep.compiled import compiled, compiled_within

INTERVALS = 1024  # of the table of Bessel functions
FAR = 35.0  # signal over sigma beyond which series are used, times the root of the number of coils
LARGEST = 1e100  # arguments beyond are as good as infinite


def bessel_ratio(z, n_coils=1):
    """I_L(z) / I_{L-1}(z) of z >= 0, from 0 (z = 0) to 1 (z infinite); absolute error below 1e-11."""
    table = bessel_table(n_coils)
    u = _unit(z, n_coils)
    return _interpolate(table, u, 4) * u


def log_bessel(z, n_coils=1):
    """Logarithm of 2^{L-1} Gamma(L) z^{1-L} I_{L-1}(z), zero at z = 0; absolute error below 1e-9 up to 32 coils."""
    z = np.minimum(np.asarray(z, dtype=float), LARGEST)
    return z - (n_coils - 0.5) * np.log1p(z / knee(n_coils)) + _interpolate(bessel_table(n_coils), _unit(z, n_coils), 0)


def log_density(magnitudes, signals, noise_std, n_coils=1):
    """Return log p(v | x, sigma) of root-sum-of-squares magnitudes (non-central chi; Rician for one coil).

    p = x/s2 (v/x)^L exp(-(v2 + x2)/(2 s2)) I_{L-1}(x v/s2), s = sigma.

    Parameters
    ----------
    magnitudes, signals, noise_std : arrays that broadcast
        v > 0; x of any sign; sigma of each real channel [signal units].
    n_coils : int

    Returns
    -------
    array
        [nats].

    """
    v, x, variance = np.asarray(magnitudes, float), np.abs(signals), np.asarray(noise_std, float) ** 2
    constant = (2 * n_coils - 1) * np.log(v) - n_coils * np.log(variance) - (n_coils - 1) * np.log(2) - gammaln(n_coils)
    return constant - (v**2 + x**2) / (2 * variance) + log_bessel(x * v / variance, n_coils)


def expected_magnitude(signals, noise_std, n_coils=1):
    """Mean magnitude E[v | x, sigma], never below sqrt(pi/2) sigma.

    Parameters
    ----------
    signals, noise_std : arrays that broadcast
        x of any sign; sigma [signal units].
    n_coils : int

    Returns
    -------
    array
        [signal units].

    """
    x = np.abs(signals)
    theta = x / noise_std
    switch = FAR * np.sqrt(n_coils)
    near, far = np.minimum(theta, switch), np.maximum(theta, switch)
    factor = np.exp(gammaln(n_coils + 0.5) - gammaln(n_coils)) * np.sqrt(2)
    exact = noise_std * factor * hyp1f1(-0.5, n_coils, -0.5 * near**2)
    order = 2 * n_coils - 1
    series = noise_std * (far + order / (2 * far) - order * (order - 2) / (8 * far**3))
    return np.where(theta < switch, exact, series)


def magnitude_variance(theta, n_coils=1):
    """Variance of a magnitude over sigma2, between 2L - E[v]2/sigma2 (no signal) and 1 (Koay and Basser 2006).

    Parameters
    ----------
    theta : array
        x / sigma.
    n_coils : int

    Returns
    -------
    array

    """
    theta = np.asarray(theta, dtype=float)
    switch = FAR * np.sqrt(n_coils)
    near, far = np.minimum(theta, switch), np.maximum(theta, switch)
    exact = 2 * n_coils + near**2 - expected_magnitude(near, 1.0, n_coils) ** 2
    return np.where(theta < switch, exact, 1 - (2 * n_coils - 1) / (2 * far**2))


def knee(n_coils):
    """Argument about which 2^{L-1} Gamma(L) z^{1-L} I_{L-1}(z) exp(-z) bends to its power law."""
    return float(np.exp(((n_coils - 1) * np.log(2) + gammaln(n_coils) - 0.5 * np.log(2 * np.pi)) / (n_coils - 0.5)))


@lru_cache(maxsize=8)
def bessel_table(n_coils):
    """Cubic pieces over u = z / (z + L) of two smooth functions.

    Returns
    -------
    (INTERVALS, 8) array
        Columns 0-3: what ``log_bessel`` adds to its leading terms; 4-7: the ratio over u.
        Falling powers of the distance to the left end, in intervals.

    """
    u = np.arange(INTERVALS) / INTERVALS
    z = n_coils * u / (1 - u)
    log_function = np.log(ive(0, z))
    for order in range(n_coils - 1):
        log_function += np.log(_normed_ratio(order, z))
    rest = log_function + (n_coils - 0.5) * np.log1p(z / knee(n_coils))
    ratio = _normed_ratio(n_coils - 1, z) * 0.5 / (1 - u)
    nodes = np.arange(INTERVALS + 1.0)
    pieces = [CubicSpline(nodes, np.append(values, last)).c.T for values, last in ((rest, 0.0), (ratio, 1.0))]
    table = np.ascontiguousarray(np.hstack(pieces))
    table.setflags(write=False)
    return table


def _normed_ratio(order, z):
    """I_{order+1}(z) / I_order(z) times 2 (order + 1) / z: one at z = 0."""
    upper, lower = ive(order + 1, z), ive(order, z)
    seen = upper > 1e-280  # below, the series' first term is exact
    return np.where(seen, upper * 2 * (order + 1) / np.where(seen, lower * z, 1.0), 1.0)


def _unit(z, n_coils):
    z = np.minimum(np.asarray(z, dtype=float), LARGEST)
    return z / (z + n_coils)


def _interpolate(table, u, first):
    place = u * INTERVALS
    index = np.minimum(place.astype(int), INTERVALS - 1)
    part, piece = place - index, table[index, first : first + 4]
    return ((piece[..., 0] * part + piece[..., 1]) * part + piece[..., 2]) * part + piece[..., 3]


@compiled_within
def sum_log_bessel(arguments, factor, n_coils, bend, table, ratios):
    """Sum over e of ``log_bessel(factor * arguments[e])``, with every ``bessel_ratio``.

    arguments, factor >= 0; bend: ``knee(n_coils)``; ratios is filled.
    """
    total, product, logs, steep = 0.0, 1.0, 0.0, 1.0 / bend
    n_intervals = table.shape[0]
    for e in range(arguments.shape[0]):
        z = min(factor * arguments[e], 1e100)
        u = z / (z + n_coils)
        index = min(int(u * n_intervals), n_intervals - 1)
        part = u * n_intervals - index
        row = table[index]
        total += z + ((row[0] * part + row[1]) * part + row[2]) * part + row[3]
        ratios[e] = u * (((row[4] * part + row[5]) * part + row[6]) * part + row[7])
        product *= 1.0 + z * steep
        if product > 1e100:
            logs += np.log(product)
            product = 1.0
    return total - (n_coils - 0.5) * (logs + np.log(product))


@compiled
def ratio(z, n_coils, table):
    """``bessel_ratio`` of one argument."""
    z = min(z, 1e100)
    n_intervals = table.shape[0]
    u = z / (z + n_coils)
    place = u * n_intervals
    index = min(int(place), n_intervals - 1)
    part = place - index
    return u * (((table[index, 4] * part + table[index, 5]) * part + table[index, 6]) * part + table[index, 7])
