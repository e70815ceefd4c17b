"""Weighted linear least squares of logarithms, for models whose logarithm is linear (as dipy fits MSDKI)."""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.fitting.cholesky import backward, factorise
from mrspec_prep.threads import for_blocks

SMALLEST = 1e-12  # of the largest signal: below, its logarithm is that of this
BLOCK = 4096


@compiled
def solve_block(signals, n_averages, design, least, coefficients):
    """Coefficients (n, p) of the logarithms of signals (n, e), each weighted by n_averages S2."""
    n_encodings, p = design.shape
    normal, factor = np.empty((p, p)), np.empty((p, p))
    for n in range(signals.shape[0]):
        x = coefficients[n]
        x[:] = 0.0
        normal[:] = 0.0
        for e in range(n_encodings):
            signal = max(signals[n, e], least)
            weight = n_averages[e] * signal * signal
            log_signal = np.log(signal)
            for a in range(p):
                part = weight * design[e, a]
                x[a] += part * log_signal
                for b in range(a + 1):
                    normal[a, b] += part * design[e, b]
        factorise(normal, factor)
        for a in range(p):
            for c in range(a):
                x[a] -= factor[a, c] * x[c]
            x[a] /= factor[a, a]
        backward(factor, x)


def log_linear(problem):
    """Coefficients of every voxel, without bounds: min over x of sum n_e S_e2 (log S_e - log f_e(x))2.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    (n_voxels, n_coefficients) array
        Of ``model.log_design``; ``model.from_log`` makes parameters of them.

    Raises
    ------
    ValueError
        The logarithm of the model is not linear.

    """
    model = problem.model
    if model.log_design is None:
        raise ValueError(f"the logarithm of model {model.name} is not linear: use fit = nonlinear")
    design = np.ascontiguousarray(model.log_design(problem.encodings))
    coefficients = np.empty((problem.n_voxels, design.shape[1]))
    least = SMALLEST * max(float(problem.signals.max()), 1e-300)

    def block(start, stop):
        solve_block(problem.signals[start:stop], problem.n_averages, design, least, coefficients[start:stop])

    for_blocks(problem.n_voxels, BLOCK, block)
    return coefficients
