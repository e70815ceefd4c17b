"""Least squares (or maximum likelihood) of every voxel on its own, with standard errors."""

from dataclasses import dataclass

import numpy as np
import scipy

from mrspec_prep.networks.fitting.cholesky import invert_block
from mrspec_prep.networks.fitting.exponentials import gauss_newton
from mrspec_prep.networks.fitting.intervals import cones, intervals
from mrspec_prep.networks.fitting.log_linear import log_linear
from mrspec_prep.networks.fitting.marquardt import bounds_of, climb, linearise
from mrspec_prep.networks.fitting.starts import Starts
from mrspec_prep.networks.problem import Problem, settings_of
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.threads import for_blocks, single_threaded_blas

FITS = ("nonlinear", "log-linear")
BLOCK = 4096  # voxels: their arrays stay in the processor's cache
HELD = 1e3  # of the largest information about a direction: that about its length
FLAT = 1e-9  # of the largest information: directions of parameters with less are not determined


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """Fit of every voxel.

    Attributes
    ----------
    values : (n_voxels, n_parameters) array
        In the order of the model's names.
    information : (n_voxels, n_parameters, n_parameters) array
        Fisher information at the optimum, the inverse of the errors' covariance.
    slope : (n_voxels, n_parameters) array
        Slope of the log-likelihood there: zero, except where a bound holds a parameter.
    cost : (n_voxels,) array
        Minus log-likelihood [nats].
    converged : (n_voxels,) bool array

    """

    values: np.ndarray
    information: np.ndarray
    slope: np.ndarray
    cost: np.ndarray
    converged: np.ndarray


def least_squares(problem: Problem, on_step=None) -> LeastSquares:
    """Most likely parameters of every voxel within the model's bounds.

    Gaussian noise: weighted nonlinear least squares, min over x of
    sum_e n_e (S_e - f_e(x))2 / (2 sigma2). Rician: the exact likelihood, by Fisher scoring.

    Parameters
    ----------
    problem : Problem
    on_step : callable, optional
        ``on_step(voxels done, n_voxels)``.

    Returns
    -------
    LeastSquares

    """
    n, p = problem.n_voxels, len(problem.model.names)
    fit = LeastSquares(np.empty((n, p)), np.empty((n, p, p)), np.empty((n, p)), np.empty(n), np.zeros(n, dtype=bool))
    left = np.arange(n)
    with single_threaded_blas():
        if problem.model.log_design is not None and problem.distribution == "gaussian":
            left = _without_bounds(problem, fit)
        _within_bounds(problem, fit, left, on_step)
    return fit


def _without_bounds(problem, fit):
    """Fit the voxels whose optimum no bound holds, by ``gauss_newton``; the others' numbers."""
    coefficients = log_linear(problem)

    def block(start, stop):
        values, found = gauss_newton(problem, slice(start, stop), coefficients[start:stop])
        rows = start + np.flatnonzero(found)
        fit.values[rows], fit.converged[rows] = values[found], True
        fit.cost[rows], fit.information[rows], fit.slope[rows] = linearise(problem, values[found], rows)

    for_blocks(len(coefficients), BLOCK, block)
    return np.flatnonzero(~fit.converged)


def _within_bounds(problem, fit, voxels, on_step):
    """Fit some voxels by ``climb`` from the best of a grid of starts."""
    starts, done = Starts(problem), [problem.n_voxels - len(voxels)]

    def block(start, stop):
        rows = voxels[start:stop]
        best = climb(problem, starts.match(problem.signals[rows]), rows)
        fit.values[rows], fit.converged[rows] = best.values, best.converged
        fit.cost[rows], fit.information[rows], fit.slope[rows] = best.cost, best.information, best.slope
        done[0] += len(rows)
        if on_step is not None:
            on_step(done[0], problem.n_voxels)

    for_blocks(len(voxels), BLOCK, block)


def residual_noise(problem: Problem):
    """Sigma of one volume from the residuals of least squares, one number for all voxels.

    The median over voxels of the weighted residual sum of squares, over the median of chi2 with as
    many degrees of freedom as encodings exceed parameters: voxels that the model fails do not count.

    Parameters
    ----------
    problem : Problem
        With ``noise_std`` 1.

    Returns
    -------
    float
        [signal units].

    Raises
    ------
    ValueError
        No more encodings than parameters, or no residuals at all.

    """
    free = len(problem.model.names) - (1 if problem.model.oriented else 0)
    excess = len(problem.encodings) - free
    if excess < 1:
        raise ValueError(f"{free} parameters leave no residuals of {len(problem.encodings)} encodings: give noise_std")
    squares = 2 * least_squares(problem).cost
    sigma = float(np.sqrt(np.median(squares) / scipy.stats.chi2.median(excess)))
    if not sigma > 0:
        raise ValueError("the residuals of least squares are zero: give noise_std")
    return sigma


def covariances(problem, fit):
    """Covariance of every voxel's errors, the length of a direction held.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares

    Returns
    -------
    (n_voxels, n_parameters, n_parameters) array

    """
    model, information = problem.model, fit.information
    if model.oriented:  # the length of the direction is not a parameter: hold it
        size = np.einsum("npp->np", information[:, -3:, -3:]).max(axis=1)
        along = fit.values[:, -3:, None] * fit.values[:, None, -3:]
        information = information.copy()
        information[:, -3:, -3:] += HELD * np.maximum(size, 1e-100)[:, None, None] * along
    covariance = np.empty_like(information)
    invert_block(information, FLAT, covariance)
    return covariance


def standard_errors(problem, covariance):
    """Standard error of every parameter, at most that of a uniform value between its bounds.

    Parameters
    ----------
    problem : Problem
    covariance : (n_voxels, n_parameters, n_parameters) array

    Returns
    -------
    (n_voxels, n_parameters) array

    """
    std = np.sqrt(np.maximum(np.einsum("npp->np", covariance), 0.0))
    low, high = bounds_of(problem.model)
    return np.where(np.isfinite(high), np.minimum(std, (high - low) / np.sqrt(12)), std)


def valid_voxels(problem, values):
    """(n_voxels,) bool: where the model describes the whole protocol at these parameters."""
    model = problem.model
    if model.valid is None:
        return np.ones(len(values), bool)
    named = {name: values[:, p] for p, name in enumerate(model.names) if name != "s0"}
    return model.valid(problem.encodings, **named)


@dataclass(frozen=True)
class LeastSquaresSettings:
    """Settings of least squares.

    Attributes
    ----------
    fit : str
        ``nonlinear``; or ``log-linear``, weighted least squares of logarithms without bounds, for models
        whose logarithm is linear (MSDKI, the fit of dipy): faster, not Rician, worse near the noise.

    """

    fit: str = "nonlinear"

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")


def fit_least_squares(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``lsq``: maps and standard errors of least squares (``fit_maps``)."""
    settings = settings_of(LeastSquaresSettings, settings)
    fit = least_squares(problem, on_step) if settings.fit == "nonlinear" else log_least_squares(problem)
    covariance = covariances(problem, fit)
    valid = valid_voxels(problem, fit.values)
    return MapsResult(
        problem.named(fit.values),
        problem.named(standard_errors(problem, covariance)),
        fit.converged,
        valid,
        problem.noise_std,
        intervals=intervals(problem.model, np.clip(fit.values, *bounds_of(problem.model)), covariance, fit.slope),
        cones=cones(problem.model, fit.values, covariance),
        seed=seed,
        settings=dict(vars(settings)),
    )


def log_least_squares(problem) -> LeastSquares:
    """Weighted least squares of logarithms, its errors those of the likelihood at the nearest values within bounds."""
    if problem.distribution != "gaussian":
        raise ValueError("fit = log-linear is least squares: use distribution = gaussian, or fit = nonlinear")
    values = problem.model.from_log(log_linear(problem))
    inside = np.clip(values, *bounds_of(problem.model))
    n, p = values.shape
    cost, information, slope = np.empty(n), np.empty((n, p, p)), np.empty((n, p))

    def block(start, stop):
        rows = slice(start, stop)
        cost[rows], information[rows], slope[rows] = linearise(problem, inside[rows], np.arange(start, stop))

    for_blocks(n, BLOCK, block)
    return LeastSquares(values, information, slope, cost, np.isfinite(values).all(axis=1))
