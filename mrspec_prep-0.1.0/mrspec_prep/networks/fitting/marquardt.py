"""Levenberg-Marquardt within bounds, many voxels at once (Marquardt 1963; Fisher scoring for magnitudes)."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.fitting.likelihood import evaluate

MAX_STEPS = 100
TOLERANCE = 1e-5  # of a step, relative to the parameter or to a thousandth of its bounds' distance
SLIGHT = 1e-10  # gain of a full step, of the cost: no further one is worth its while
FULL = 1e-2  # damping below which a step is a full one
LEAST, LARGEST = 1e-10, 1e12  # damping


@dataclass(frozen=True, eq=False)
class Optimum:
    """Best parameters of a block of voxels.

    Attributes
    ----------
    values : (n, n_parameters) array
    cost : (n,) array
        Minus log-likelihood [nats].
    information : (n, n_parameters, n_parameters) array
        Fisher information there.
    slope : (n, n_parameters) array
        Slope of the log-likelihood there.
    converged : (n,) bool array

    """

    values: np.ndarray
    cost: np.ndarray
    information: np.ndarray
    slope: np.ndarray
    converged: np.ndarray


@compiled
def normal_equations(derivatives, score, weight, hessians, gradients):
    """Fisher information and slope of the log-likelihood after the parameters.

    derivatives (p, n, e), score and weight (n, e) -> hessians (n, p, p), gradients (n, p).
    """
    n_parameters, n_voxels, n_encodings = derivatives.shape
    for n in range(n_voxels):
        for a in range(n_parameters):
            slope = 0.0
            for e in range(n_encodings):
                slope += derivatives[a, n, e] * score[n, e]
            gradients[n, a] = slope
            for b in range(a + 1):
                total = 0.0
                for e in range(n_encodings):
                    total += derivatives[a, n, e] * weight[n, e] * derivatives[b, n, e]
                hessians[n, a, b] = total
                hessians[n, b, a] = total


@compiled
def damped_steps(hessians, gradients, values, low, high, damping, stepped):
    """Parameters after one damped step; those that a bound holds back stay there."""
    n_voxels, p = gradients.shape
    factor, step, free = np.empty((p, p)), np.empty(p), np.empty(p, np.bool_)
    for n in range(n_voxels):
        for a in range(p):
            held_low = values[n, a] <= low[a] and gradients[n, a] < 0
            held_high = values[n, a] >= high[a] and gradients[n, a] > 0
            free[a] = not (held_low or held_high)
        for a in range(p):  # Cholesky, held parameters as unit rows
            step[a] = gradients[n, a] if free[a] else 0.0
            for b in range(a + 1):
                total = hessians[n, a, b] if free[a] and free[b] else 0.0
                if a == b:
                    total = total * (1.0 + damping[n]) + 1e-300 if free[a] else 1.0
                for c in range(b):
                    total -= factor[a, c] * factor[b, c]
                if a == b:
                    factor[a, a] = np.sqrt(max(total, 1e-14 * abs(hessians[n, a, a]) + 1e-290))
                else:
                    factor[a, b] = total / factor[b, b]
        for a in range(p):
            for c in range(a):
                step[a] -= factor[a, c] * step[c]
            step[a] /= factor[a, a]
        for a in range(p - 1, -1, -1):
            for c in range(a + 1, p):
                step[a] -= factor[c, a] * step[c]
            step[a] /= factor[a, a]
        for a in range(p):
            stepped[n, a] = min(max(values[n, a] + step[a], low[a]), high[a]) if free[a] else values[n, a]


def bounds_of(model):
    """Lower and upper bounds, each (n_parameters,)."""
    return np.array([p.low for p in model.parameters]), np.array([p.high for p in model.parameters])


def unit_directions(model, values):
    """Scale the direction of each row to length one, in place; nothing for models without."""
    if model.oriented:
        values[:, -3:] /= np.linalg.norm(values[:, -3:], axis=1, keepdims=True)
    return values


def linearise(problem, values, voxels):
    """Cost, Fisher information (n, p, p) and slope (n, p) of the log-likelihood at given parameters."""
    predicted, derivatives = problem.model.jacobian(problem.encodings, values)
    cost, score, weight = evaluate(problem, predicted, voxels)
    n, p = values.shape
    hessians, gradients = np.empty((n, p, p)), np.empty((n, p))
    normal_equations(derivatives, score, weight, hessians, gradients)
    return cost, hessians, gradients


def climb(problem, starts, voxels) -> Optimum:
    """Most likely parameters within bounds, from given starts.

    Parameters
    ----------
    problem : Problem
    starts : (n, n_parameters) array
    voxels : (n,) int array
        Voxel of each row.

    Returns
    -------
    Optimum

    """
    model = problem.model
    low, high = bounds_of(model)
    span = np.where(np.isfinite(high), high - low, 0.0)
    values = unit_directions(model, np.clip(starts, low, high))
    cost, hessians, gradients = linearise(problem, values, voxels)
    damping, converged = np.full(len(values), 1e-3), np.zeros(len(values), bool)
    rows = np.arange(len(values))
    for _ in range(MAX_STEPS):
        trial = np.empty((len(rows), values.shape[1]))
        damped_steps(hessians[rows], gradients[rows], values[rows], low, high, damping[rows], trial)
        unit_directions(model, trial)
        small = np.abs(trial - values[rows]) <= TOLERANCE * np.maximum(np.abs(values[rows]), 1e-3 * span)
        slight = np.einsum("np,np->n", gradients[rows], trial - values[rows]) <= SLIGHT * np.abs(cost[rows])
        slight &= damping[rows] <= FULL
        trial_cost, trial_hessians, trial_gradients = linearise(problem, trial, voxels[rows])
        better = trial_cost <= cost[rows]
        kept = rows[better]
        values[kept], cost[kept] = trial[better], trial_cost[better]
        hessians[kept], gradients[kept] = trial_hessians[better], trial_gradients[better]
        damping[rows] = np.clip(damping[rows] * np.where(better, 0.1, 10.0), LEAST, LARGEST)
        converged[rows] = small.all(axis=1) | (slight & better)
        rows = rows[~converged[rows] & (damping[rows] < LARGEST)]
        if not len(rows):
            break
    return Optimum(values, cost, hessians, gradients, converged | (damping >= LARGEST))
