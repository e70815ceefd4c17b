"""Nonlinear least squares of models whose logarithm is linear in some coefficients: Gauss-Newton, voxel by voxel.

The signal is exp(X c) with the design X of the model, so that the coefficients c have no bounds, their
derivatives cost nothing, and the weighted linear fit of the logarithms (``log_linear``) is a start a few steps
from the optimum. Voxels whose optimum lies beyond a bound of the model are left to ``marquardt``.
"""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.fitting.cholesky import backward, factorise
from mrspec_prep.networks.fitting.marquardt import bounds_of

MAX_STEPS = 60
SHORT = 1e-9  # squared length of the last step, of the sum of squared residuals ...
EXACT = 1e-10  # ... and this share of the squared signals
LARGEST_LOG = 600.0  # of a signal: beyond, a step has gone astray


@compiled
def descend(signals, n_averages, columns, products, coefficients, converged):
    """Improve coefficients (n, p) in place until no step helps; ``converged`` (n,) tells which did.

    columns (p, e): of the design; products (p, p, e): of pairs of columns.
    """
    p, n_encodings = columns.shape
    hessian, factor = np.empty((p, p)), np.empty((p, p))
    step, trial = np.empty(p), np.empty(p)
    predicted, pull, weight = np.empty(n_encodings), np.empty(n_encodings), np.empty(n_encodings)
    for n in range(signals.shape[0]):
        best, converged[n], length, least = np.inf, False, 1.0, 0.0
        for e in range(n_encodings):
            least += EXACT * n_averages[e] * signals[n, e] ** 2
        for a in range(p):
            trial[a] = coefficients[n, a]
        for _ in range(MAX_STEPS):
            cost = 0.0
            for e in range(n_encodings):
                log_signal = 0.0
                for a in range(p):
                    log_signal += columns[a, e] * trial[a]
                predicted[e] = np.exp(min(log_signal, LARGEST_LOG))
            for e in range(n_encodings):
                rest = signals[n, e] - predicted[e]
                weight[e] = n_averages[e] * predicted[e]
                pull[e] = weight[e] * rest
                weight[e] *= predicted[e]
                cost += n_averages[e] * rest * rest
            if not cost <= best:  # too far: half the step
                length *= 0.5
                for a in range(p):
                    trial[a] = coefficients[n, a] + length * step[a]
                continue
            best, length = cost, 1.0
            for a in range(p):
                coefficients[n, a] = trial[a]
                step[a] = 0.0
                for e in range(n_encodings):
                    step[a] += columns[a, e] * pull[e]
                for b in range(a + 1):
                    total = 0.0
                    for e in range(n_encodings):
                        total += products[a, b, e] * weight[e]
                    hessian[a, b] = total
            factorise(hessian, factor)
            shortness = 0.0
            for a in range(p):
                for c in range(a):
                    step[a] -= factor[a, c] * step[c]
                step[a] /= factor[a, a]
                shortness += step[a] * step[a]
            if shortness <= SHORT * (best + least):
                converged[n] = True
                break
            backward(factor, step)
            for a in range(p):
                trial[a] = coefficients[n, a] + step[a]


def gauss_newton(problem, rows, coefficients):
    """Most likely parameters of a block of voxels where no bound is in the way.

    Parameters
    ----------
    problem : Problem
        Gaussian, of a model with ``log_design``.
    rows : slice
        Its voxels.
    coefficients : (n, p) array
        To start from; replaced by the optimum.

    Returns
    -------
    values : (n, n_parameters) array
    found : (n,) bool array
        Where the optimum was reached and lies within the bounds.

    """
    columns = np.ascontiguousarray(problem.model.log_design(problem.encodings).T)
    products, found = columns[:, None] * columns[None], np.empty(len(coefficients), bool)
    descend(problem.signals[rows], problem.n_averages, columns, products, coefficients, found)
    values = problem.model.from_log(coefficients)
    low, high = bounds_of(problem.model)
    return values, found & ((values >= low) & (values <= high)).all(axis=1)
