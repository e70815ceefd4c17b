"""Intervals of least squares: Gaussian errors on the scale of each parameter, cut off at its bounds."""

import numpy as np
from scipy.special import ndtr, ndtri

from mrspec_prep.networks.fitting.links import coordinate_bounds, coordinate_of, value_of
from mrspec_prep.networks.result import CONES, LEVELS

LEAST, WIDEST = 1e-12, 3.0  # standard errors on the scale of a parameter; of a logarithm, 3 tell nothing any more
UNFELT = 9.0  # standard errors: a bound this far from the optimum cuts nothing off
FARTHEST = 30.0  # standard errors: a bound farther from the optimum than this counts as this far


def cut_normal(levels, low, high):
    """Quantiles of standard normal distributions between bounds.

    Parameters
    ----------
    levels : (q,) array
        Probabilities.
    low, high : (n,) arrays
        low < high.

    Returns
    -------
    (n, q) array

    """
    found = np.tile(ndtri(np.asarray(levels)), (len(low), 1))
    near = np.flatnonzero((low > -UNFELT) | (high < UNFELT))
    found[near] = _cut(np.asarray(levels), low[near], high[near])
    return found


def _cut(levels, low, high):
    turned = (low > 0)[:, None]  # upper tails are exact where the lower ones have run out of digits
    low, high = np.clip(low, -FARTHEST, FARTHEST)[:, None], np.clip(high, -FARTHEST, FARTHEST)[:, None]
    start, end = ndtr(np.where(turned, -high, low)), ndtr(np.where(turned, -low, high))
    mass = start + np.where(turned, 1 - levels, levels) * (end - start)
    found = np.where(turned, -1.0, 1.0) * ndtri(mass)
    return np.clip(found, low, high)


def intervals(model, values, covariance, slope):
    """Quantiles of each parameter, its likelihood Gaussian and cut off at its bounds.

    Parameters
    ----------
    model : Model
    values : (n_voxels, n_parameters) array
        Most likely parameters within bounds.
    covariance : (n_voxels, n_parameters, n_parameters) array
        Of their errors.
    slope : (n_voxels, n_parameters) array
        Slope of the log-likelihood there; where a bound holds a parameter, it says how far beyond the
        bound the likelihood would have its maximum.

    Returns
    -------
    dict of str to (n_voxels, 4) array
        At ``result.LEVELS``; not of the components of a direction.

    """
    beyond = np.einsum("nij,nj->ni", covariance, slope)
    found = {}
    for p, parameter in enumerate(model.parameters):
        if parameter.name.startswith("direction_"):
            continue
        u, scale = coordinate_of(parameter, values[:, p], 1e-300)
        width = np.maximum(np.sqrt(np.maximum(covariance[:, p, p], 0.0)) / scale, LEAST * (1 + np.abs(u)))
        if parameter.link == "log":
            width = np.minimum(width, WIDEST)
        centre = u + beyond[:, p] / scale
        low, high = ((bound - centre) / width for bound in coordinate_bounds(parameter))
        found[parameter.name] = value_of(parameter, centre[:, None] + width[:, None] * cut_normal(LEVELS, low, high))
    return found


def cones(model, values, covariance):
    """Cones about the directions of a fit, their errors Gaussian and alike across the direction.

    Parameters
    ----------
    model : Model
    values : (n_voxels, n_parameters) array
        Directions last, of length one.
    covariance : (n_voxels, n_parameters, n_parameters) array

    Returns
    -------
    (n_voxels, 2) array or None
        Half angles [rad] at ``result.CONES``, none larger than for axes spread evenly; None for models
        without direction.

    """
    if not model.oriented:
        return None
    direction, errors = values[:, -3:], covariance[:, -3:, -3:]
    along = np.einsum("na,nab,nb->n", direction, errors, direction)
    variance = np.maximum(np.trace(errors, axis1=1, axis2=2) - along, 0.0) / 2
    outside = 1 - np.array(CONES)
    return np.minimum(np.sqrt(-2 * variance[:, None] * np.log(outside)), np.arccos(outside))
