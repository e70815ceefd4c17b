"""Whether a network answers the same everywhere although the scan does not."""

import warnings

import numpy as np

from mrspec_prep.networks.fitting.least_squares import covariances, standard_errors

LEAST_SPREAD = 0.05  # of the spread beyond noise that least squares finds


def collapsed_parameters(problem, fit, values):
    """Names of tissue parameters whose map is flat where least squares sees differences beyond its errors.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
    values : (n_voxels, n_parameters) array
        Maps to be judged.

    Returns
    -------
    list of str

    """
    names, errors = [], standard_errors(problem, covariances(problem, fit))
    for p, parameter in enumerate(problem.model.parameters[: 1 + len(problem.model.tissue)]):
        noise = np.median(errors[:, p])
        seen = np.sqrt(max(spread_of(fit.values[:, p]) ** 2 - noise**2, 0.0))
        if seen > noise and spread_of(values[:, p]) < LEAST_SPREAD * seen:
            names.append(parameter.name)
    return names


def marked(history, names, method):
    """History with the collapsed parameters, and a warning if there are any."""
    history["collapsed"] = names
    if names:
        message = f"{method} collapsed: {', '.join(names)} the same in nearly all voxels; use another seed or settings"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return history


def spread_of(values):
    """Half the distance from the 16th to the 84th percentile."""
    return float(np.subtract(*np.percentile(values, [84, 16])) / 2)
