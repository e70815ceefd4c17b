"""Log-likelihood of predicted signals: Gaussian, or magnitudes (Rician) and means of magnitudes."""

from functools import lru_cache

import numpy as np
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline

from mrspec_prep.compiled import compiled
from mrspec_prep.physics.magnitudes import (
    bessel_ratio,
    bessel_table,
    expected_magnitude,
    knee,
    log_density,
    magnitude_variance,
)

FAR = 40.0  # signal over sigma beyond which a magnitude is as good as Gaussian
INTERVALS = 1600  # of the table of moments
MEAN, VARIANCE, INFORMATION = 0, 4, 8  # first columns of the table


@lru_cache(maxsize=1)
def moment_table():
    """Cubic pieces over t = signal / sigma, from 0 to ``FAR``, of a Rician magnitude over sigma.

    Returns
    -------
    (INTERVALS, 12) array
        Falling powers of the distance to the left end [intervals]: mean, variance, Fisher information of t.

    """
    nodes = np.arange(INTERVALS + 1.0)
    t = nodes * FAR / INTERVALS
    mean, variance = expected_magnitude(t, 1.0), magnitude_variance(t)
    pieces = [CubicSpline(nodes, values).c.T for values in (mean, variance, _information(t))]
    table = np.ascontiguousarray(np.hstack(pieces))
    table.setflags(write=False)
    return table


def _information(t):
    """Fisher information of t in one magnitude: E[(v I1(tv)/I0(tv))2] - t2, between 0 and 1."""
    v = np.maximum(t[:, None] + np.linspace(-9, 9, 1441), 1e-12)
    density = np.exp(log_density(v, t[:, None], 1.0))
    second = trapezoid((v * bessel_ratio(v * t[:, None])) ** 2 * density, v, axis=1)
    return np.clip(second - t**2, 0.0, 1.0)


@compiled
def _piece(table, place, index, first):
    part = place - index
    row = table[index]
    return ((row[first] * part + row[first + 1]) * part + row[first + 2]) * part + row[first + 3]


@compiled
def _slope(table, place, index, first):
    part = place - index
    row = table[index]
    return (3.0 * row[first] * part + 2.0 * row[first + 1]) * part + row[first + 2]


@compiled
def gaussian_block(predicted, signals, noise_std, n_averages, cost, score, weight):
    """Minus log-likelihood, its negative slope and information; see ``evaluate``."""
    for n in range(predicted.shape[0]):
        precision, total = 1.0 / noise_std[n] ** 2, 0.0
        for e in range(predicted.shape[1]):
            rest = signals[n, e] - predicted[n, e]
            w = n_averages[e] * precision
            total += 0.5 * w * rest * rest
            score[n, e] = w * rest
            weight[n, e] = w
        cost[n] = total


@compiled
def rician_block(predicted, signals, noise_std, n_averages, bend, bessel, moments, far, cost, score, weight):
    """Minus log-likelihood, its negative slope and information; see ``evaluate``."""
    n_bessel, n_moments = bessel.shape[0], moments.shape[0]
    per_unit = n_moments / far
    for n in range(predicted.shape[0]):
        sigma, total, product = noise_std[n], 0.0, 1.0
        for e in range(predicted.shape[1]):
            sign = 1.0 if predicted[n, e] >= 0 else -1.0
            t = sign * predicted[n, e] / sigma
            y = max(signals[n, e], 0.0) / sigma
            k = n_averages[e]
            place = min(t, far) * per_unit
            index = min(int(place), n_moments - 1)
            if k == 1.0:
                z = t * y
                u = z / (z + 1.0)
                at = u * n_bessel
                i = min(int(at), n_bessel - 1)
                total += 0.5 * (y - t) ** 2 - _piece(bessel, at, i, 0)
                product *= 1.0 + z / bend
                if product > 1e100:
                    total += 0.5 * np.log(product)
                    product = 1.0
                slope = y * u * _piece(bessel, at, i, 4) - t
                information = _piece(moments, place, index, 8) if t < far else 1.0
            else:
                if t < far:
                    mean, dmean = _piece(moments, place, index, 0), _slope(moments, place, index, 0) * per_unit
                    variance, dvariance = _piece(moments, place, index, 4), _slope(moments, place, index, 4) * per_unit
                else:
                    mean, dmean, variance, dvariance = t + 0.5 / t, 1.0 - 0.5 / t**2, 1.0 - 0.5 / t**2, 1.0 / t**3
                rest = y - mean
                total += 0.5 * k * rest * rest / variance + 0.5 * np.log(variance)
                slope = k * rest * dmean / variance
                slope += 0.5 * dvariance * (k * rest * rest / variance - 1.0) / variance
                information = k * dmean**2 / variance + 0.5 * (dvariance / variance) ** 2
            score[n, e] = sign * slope / sigma
            weight[n, e] = information / sigma**2
        cost[n] = total + 0.5 * np.log(product)


@compiled
def gaussian_costs(predicted, signals, noise_std, n_averages, cost):
    """Minus log-likelihood of many predictions (n, s, e) of each voxel; see ``costs``."""
    for n in range(predicted.shape[0]):
        for s in range(predicted.shape[1]):
            total = 0.0
            for e in range(predicted.shape[2]):
                total += n_averages[e] * (signals[n, e] - predicted[n, s, e]) ** 2
            cost[n, s] = 0.5 * total / noise_std[n] ** 2


@compiled
def rician_costs(predicted, signals, noise_std, n_averages, bend, bessel, moments, far, cost):
    """Minus log-likelihood of many predictions (n, s, e) of each voxel; see ``costs``."""
    n_bessel, n_moments = bessel.shape[0], moments.shape[0]
    per_unit = n_moments / far
    for n in range(predicted.shape[0]):
        scale = 1.0 / noise_std[n]
        for s in range(predicted.shape[1]):
            total, product = 0.0, 1.0
            for e in range(predicted.shape[2]):
                t = min(abs(predicted[n, s, e]) * scale, 1e8)
                y = max(signals[n, e], 0.0) * scale
                k = n_averages[e]
                if k == 1.0:
                    z = t * y
                    at = z / (z + 1.0) * n_bessel
                    total += 0.5 * (y - t) ** 2 - _piece(bessel, at, min(int(at), n_bessel - 1), 0)
                    product *= 1.0 + z / bend
                else:
                    if t < far:
                        place = t * per_unit
                        index = min(int(place), n_moments - 1)
                        mean, variance = _piece(moments, place, index, 0), _piece(moments, place, index, 4)
                    else:
                        mean, variance = t + 0.5 / t, 1.0 - 0.5 / t**2
                    total += 0.5 * k * (y - mean) ** 2 / variance
                    product *= variance
                if product > 1e100 or product < 1e-100:
                    total += 0.5 * np.log(product)
                    product = 1.0
            cost[n, s] = total + 0.5 * np.log(product)


def costs(problem, predicted, rows):
    """Minus log-likelihood of several predictions of each voxel, up to a constant of the voxel.

    Parameters
    ----------
    problem : Problem
    predicted : (n, n_samples, n_encodings) array
        [signal units].
    rows : slice
        The n voxels.

    Returns
    -------
    (n, n_samples) array
        [nats].

    """
    cost = np.empty(predicted.shape[:2])
    given = np.ascontiguousarray(predicted), problem.signals[rows], problem.noise_std[rows], problem.n_averages
    if problem.distribution == "gaussian":
        gaussian_costs(*given, cost)
    else:
        rician_costs(*given, knee(1), bessel_table(1), moment_table(), FAR, cost)
    return cost


def evaluate(problem, predicted, voxels=None):
    """Minus log-likelihood of predicted signals, up to a constant of the voxel.

    Means over several volumes count as Gaussian with the mean and variance that magnitudes have.

    Parameters
    ----------
    problem : Problem
    predicted : (n, n_encodings) array
        [signal units].
    voxels : (n,) int array, optional
        Voxel each row belongs to; default: all, in order.

    Returns
    -------
    cost : (n,) array
        [nats].
    score : (n, n_encodings) array
        Slope of the log-likelihood over the predicted signal.
    weight : (n, n_encodings) array
        Fisher information of the predicted signal, >= 0.

    """
    signals, noise_std = problem.signals, problem.noise_std
    if voxels is not None:
        signals, noise_std = signals[voxels], noise_std[voxels]
    predicted = np.ascontiguousarray(predicted)
    cost, score, weight = np.empty(len(predicted)), np.empty(predicted.shape), np.empty(predicted.shape)
    if problem.distribution == "gaussian":
        gaussian_block(predicted, signals, noise_std, problem.n_averages, cost, score, weight)
    else:
        tables = (knee(1), bessel_table(1), moment_table(), FAR)
        rician_block(predicted, signals, noise_std, problem.n_averages, *tables, cost, score, weight)
    return cost, score, weight
