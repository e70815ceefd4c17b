"""Scale on which a parameter's errors are Gaussian: the parameter itself, its logarithm, or the logit of its place."""

import numpy as np

INSIDE = 0.01  # of the distance between bounds: a logit is linearised no closer to a bound


def value_of(parameter, u):
    """Parameter within its bounds at coordinate u, an array of any shape; rises with u."""
    if parameter.link == "linear":
        return np.clip(u, parameter.low, parameter.high)
    if parameter.link == "log":
        return np.exp(np.clip(u, _log(parameter.low), _log(parameter.high)))
    return parameter.low + (parameter.high - parameter.low) / (1 + np.exp(-u))


def coordinate_of(parameter, x, least=0.0):
    """Coordinate u and slope dx/du of a parameter.

    Parameters
    ----------
    parameter : Parameter
    x : array
        Within bounds.
    least : float
        Smaller values of a logarithmic parameter count as this.

    Returns
    -------
    u, slope : arrays like ``x``

    """
    if parameter.link == "linear":
        return x.copy(), np.ones_like(x)
    if parameter.link == "log":
        slope = np.maximum(x, max(parameter.low, least))
        return np.log(slope), slope
    span = parameter.high - parameter.low
    place = np.clip((x - parameter.low) / span, INSIDE, 1 - INSIDE)
    return np.log(place / (1 - place)), span * place * (1 - place)


def coordinate_bounds(parameter):
    """Lower and upper bound of coordinate u, infinite where there is none."""
    if parameter.link == "linear":
        return parameter.low, parameter.high
    if parameter.link == "log":
        return _log(parameter.low), _log(parameter.high)
    return -np.inf, np.inf


def _log(bound):
    return -np.inf if bound <= 0 else np.log(bound)
