"""Where maps disagree with least squares by more than the noise explains."""

import numpy as np

from mrspec_prep.networks.fitting.likelihood import evaluate
from mrspec_prep.threads import for_blocks

BLOCK = 4096


def risk_of(problem, fit, values):
    """Distance of parameters from the most likely ones, in units of what noise explains.

    sqrt(2 (l_max - l(x)) / p), l the log-likelihood and p the number of free parameters: about one if x is the
    truth (the square is then chi2_p / p), below one for estimates between it and the most likely
    parameters; above three, noise is no explanation.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
        Of the same problem.
    values : (n_voxels, n_parameters) array
        In the order of the model's names.

    Returns
    -------
    (n_voxels,) array

    """
    model, risk = problem.model, np.empty(problem.n_voxels)
    free = len(model.names) - (1 if model.oriented else 0)

    def block(start, stop):
        rows = slice(start, stop)
        named = {name: values[rows, p] for p, name in enumerate(model.names)}
        predicted = model.signal(problem.encodings, named)
        cost = evaluate(problem, predicted, np.arange(start, stop))[0]
        risk[rows] = np.sqrt(2 * np.maximum(cost - fit.cost[rows], 0) / free)

    for_blocks(problem.n_voxels, BLOCK, block)
    return risk
