"""Cramer-Rao bounds of models of few components: the best that any unbiased estimator could do with a protocol."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics import kernel_axes
from mrspec_prep.physics.kernels import signal

LOG_STEP = 1e-4  # of the central differences along log(parameter)
HOPELESS = 1e6  # relative errors beyond this are called infinite


@dataclass(frozen=True, eq=False)
class ComponentBound:
    """Least standard errors of k components.

    Attributes
    ----------
    positions : dict of str to (k,) array
        Axis -> values of the components [um2/ms, ms].
    fractions : (k,) array
    covariance : (k (1 + n_axes), k (1 + n_axes)) array
        Least covariance of the log amplitudes, then of the log positions axis by axis.
    position_errors : dict of str to (k,) array
        Relative standard errors of the positions; infinite where the protocol says nothing.
    fraction_errors : (k,) array
        Standard errors of the fractions (0 for a single component).

    """

    positions: dict[str, np.ndarray]
    fractions: np.ndarray
    covariance: np.ndarray
    position_errors: dict[str, np.ndarray]
    fraction_errors: np.ndarray

    @property
    def n_components(self):
        """Number of components."""
        return len(self.fractions)

    @property
    def worst(self):
        """Largest of the relative errors of positions and fractions."""
        relative = [errors.max() for errors in self.position_errors.values()]
        return float(max([*relative, (self.fraction_errors / self.fractions).max()]))


def component_bound(kernel_name, encodings, positions, snr, fractions=None):
    """Cramer-Rao bound of k components with unknown amplitudes and positions, Gaussian noise.

    The Fisher information is J'J / sigma2, J the derivatives of the signal by log amplitude and log
    position; its inverse bounds the covariance. sigma is the mean signal of the reference volumes over ``snr``.

    Parameters
    ----------
    kernel_name : str
    encodings : Encodings
    positions : dict of str to (k,) array
        One entry per axis of the kernel [um2/ms, ms].
    snr : float
        Of one of the volumes with the most signal (``Encodings.reference``).
    fractions : (k,) array, optional
        Sum 1; equal by default.

    Returns
    -------
    ComponentBound

    """
    axes = kernel_axes(kernel_name)
    positions = {axis: np.atleast_1d(np.asarray(positions[axis], dtype=float)) for axis in axes}
    k = len(positions[axes[0]])
    fractions = np.full(k, 1 / k) if fractions is None else np.asarray(fractions, dtype=float)
    pure = signal(kernel_name, encodings, **positions)
    noise_std = np.abs((pure @ fractions)[encodings.reference()]).mean() / snr
    derivatives = [pure * fractions]
    for axis in axes:
        up, down = (
            signal(kernel_name, encodings, **(positions | {axis: positions[axis] * np.exp(step)}))
            for step in (LOG_STEP, -LOG_STEP)
        )
        derivatives.append((up - down) * fractions / (2 * LOG_STEP))
    jacobian = np.hstack(derivatives) / noise_std
    _, values, rows = np.linalg.svd(jacobian, full_matrices=jacobian.shape[0] < jacobian.shape[1])
    values = np.concatenate([values, np.zeros(len(rows) - len(values))])
    spread = rows / np.maximum(values, 1 / (10 * HOPELESS))[:, None]
    covariance = spread.T @ spread
    errors = np.sqrt(np.diag(covariance))
    errors = np.where(errors > HOPELESS, np.inf, errors)
    position_errors = {axis: errors[k * (i + 1) : k * (i + 2)] for i, axis in enumerate(axes)}
    to_fractions = np.diag(fractions) - np.outer(fractions, fractions)
    variance = np.einsum("ij,jl,il->i", to_fractions, covariance[:k, :k], to_fractions)
    fraction_errors = np.sqrt(np.maximum(variance, 0.0))
    return ComponentBound(positions, fractions, covariance, position_errors, fraction_errors)


def spread_components(ranges, k):
    """Positions of k components per axis, evenly spaced on the logarithm inside each range, all axes rising together.

    Parameters
    ----------
    ranges : dict of str to (low, high)
    k : int

    Returns
    -------
    dict of str to (k,) array

    """
    shares = (np.arange(k) + 0.5) / k
    return {axis: low * (high / low) ** shares for axis, (low, high) in ranges.items()}


def widest_factor(within, limits):
    """Largest factor between two components about the middle of a range that both stay between limits."""
    middle = np.sqrt(within[0] * within[1])
    return float(min(middle / limits[0], limits[1] / middle) ** 2)


def separable_factor(kernel_name, encodings, ranges, axis, snr, limits=None):
    """Smallest factor between two equal components along one axis at which they are told apart.

    The components share the middle of the other ranges and lie around the middle of this one. Told
    apart: the least standard error of the logarithm of their ratio is at most half of it.

    Parameters
    ----------
    kernel_name : str
    encodings : Encodings
    ranges : dict of str to (low, high)
        What the protocol can weigh, per axis [um2/ms, ms].
    axis : str
    snr : float
    limits : (low, high), optional
        Where components may lie along the axis, as the ends of a grid; the range by default.

    Returns
    -------
    float
        Infinite where not even components at the limits are told apart.

    """
    middle = {name: np.full(2, np.sqrt(low * high)) for name, (low, high) in ranges.items()}
    order = kernel_axes(kernel_name).index(axis)
    first = 2 * (order + 1)

    def told_apart(log_factor):
        shift = np.exp(np.array([-0.5, 0.5]) * log_factor)
        bound = component_bound(kernel_name, encodings, middle | {axis: middle[axis] * shift}, snr)
        c = bound.covariance[first : first + 2, first : first + 2]
        return np.sqrt(max(c[0, 0] + c[1, 1] - 2 * c[0, 1], 0.0)) <= 0.5 * log_factor

    widest = np.log(widest_factor(ranges[axis], limits or ranges[axis]))
    tried = np.linspace(0.02, max(widest, 0.1), 60)
    passed = [told_apart(log_factor) for log_factor in tried]
    if not any(passed):
        return float("inf")
    high = tried[passed.index(True)]
    low = 0.0 if passed[0] else tried[passed.index(True) - 1]
    for _ in range(8):
        centre = 0.5 * (low + high)
        low, high = (low, centre) if told_apart(centre) else (centre, high)
    return float(np.exp(high))
