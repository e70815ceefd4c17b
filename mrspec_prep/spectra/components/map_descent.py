"""Descent of continuous InSpect: weights and component spectra in turn, each exactly, and accelerated.

The objective is 1/2 sum_n ||S_n - a_n K sum_j z_nj F_j||2 / sigma_n^2 + alpha/2 sum_j ||F_j||2 on
compressed signals, up to what no parameter moves. With a free voxel scale u_nj = a_n z_nj and
(sum_j u_nj - 1)^2 / (2 scale_variance) is added: the scale's prior N(1, scale_variance).
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.components.simplex import weights_block
from mrspec_prep.spectra.voxelwise.nnls import solve_one
from mrspec_prep.threads import for_blocks

BLOCK = 4096  # voxels per partial sum
TOLERANCE = 1e-6  # nats per voxel gained by a step below which the descent is about to stop
RESCALINGS = 20  # Newton steps of a change of scale at most
PATIENCE = 3  # such steps in a row
MEMORY = 20  # steps that the acceleration looks back on
KEPT = 2  # steps it remembers after a proposal that did not lower the objective
SMALLEST_NORM = 1e-10  # of the largest: singular values of the history below it are rounding


@compiled
def fit_block(signals, means, precisions, pull, sums_to_one, weights, curvature, targets):
    """Weights of one block of voxels, in place, and the sums that the components need.

    curvature: sum z z'/s2 (M, M); targets: sum z s'/s2 (M, n_ranks). Returns the loss,
    1/2 sum ||s - sum z a||2/s2 + pull/2 sum (sum z - 1)2, and the voxels that did not settle.
    """
    n_voxels, n_ranks = signals.shape
    n = means.shape[0]
    gram, products = means @ means.T, signals @ means.T
    failed = weights_block(gram, products, precisions, pull, sums_to_one, weights)
    residual = np.empty(n_ranks)
    curvature[:] = 0.0
    targets[:] = 0.0
    loss = 0.0
    for v in range(n_voxels):
        residual[:] = signals[v]
        total = 0.0
        for i in range(n):
            z = weights[v, i]
            total += z
            if z != 0.0:
                share = z * precisions[v]
                for k in range(n_ranks):
                    residual[k] -= z * means[i, k]
                    targets[i, k] += share * signals[v, k]
                for j in range(n):
                    curvature[i, j] += share * weights[v, j]
        squared = 0.0
        for k in range(n_ranks):
            squared += residual[k] * residual[k]
        loss += 0.5 * squared * precisions[v] + 0.5 * pull * (total - 1.0) ** 2
    return loss, failed


@dataclass
class MapState:
    """Parameters of a fit under way.

    ``means`` (M, n_ranks) are B F_j, ``weights`` (n_voxels, M) the u_nj; ``curvature`` and
    ``targets`` the sums of ``fit_block`` at these weights.
    """

    spectra: np.ndarray
    duals: np.ndarray
    means: np.ndarray
    weights: np.ndarray
    curvature: np.ndarray
    targets: np.ndarray

    def copy(self):
        """Arrays of its own."""
        return MapState(*(getattr(self, name).copy() for name in self.__dataclass_fields__))


def state_from_means(problem, means):
    """Spectra, and weights, of components whose compressed signals are near ``means`` (M, n_ranks)."""
    n_components, n_ranks = means.shape
    state = MapState(
        np.zeros((n_components, problem.reduced.n_bins)),
        np.zeros((n_components, n_ranks)),
        means.copy(),
        np.zeros((len(problem.signals), n_components)),
        np.zeros((n_components, n_components)),
        np.zeros((n_components, n_ranks)),
    )
    fit_weights(problem, state)
    improve_spectra(problem, state)
    return state


def fit_weights(problem, state):
    """Exact weights for the components as they are, in place; returns the objective.

    Raises
    ------
    RuntimeError
        The active set of a voxel did not settle.

    """
    n_components, n_ranks = state.means.shape
    free = problem.scale_variance > 0
    precisions = 1.0 / problem.variances
    n_blocks = -(-len(problem.signals) // BLOCK)
    curvature, targets = np.empty((n_blocks, n_components, n_components)), np.empty((n_blocks, n_components, n_ranks))

    def work(start, stop):
        return fit_block(
            problem.signals[start:stop], state.means, precisions[start:stop],
            1.0 / problem.scale_variance if free else 0.0, not free, state.weights[start:stop],
            curvature[start // BLOCK], targets[start // BLOCK],
        )  # fmt: skip

    losses, failed = zip(*for_blocks(len(problem.signals), BLOCK, work, problem.n_threads), strict=True)
    if sum(failed):
        raise RuntimeError(f"the weights of {sum(failed)} voxels did not settle")
    state.curvature, state.targets = curvature.sum(axis=0), targets.sum(axis=0)
    return float(np.sum(losses) + 0.5 * problem.alpha * (state.spectra**2).sum())


def rescale(problem, state):
    """Move the scale between components and weights to where prior and penalty want it, in place.

    No residual changes under u_nj <- u_nj d_j, F_j <- F_j / d_j; d minimises
    pull/2 sum_n (sum_j u_nj d_j - 1)^2 + alpha/2 sum_j ||F_j||2 / d_j^2. Alternating steps
    would crawl along d. A step of Newton's that does not lower this is left out.
    """
    penalties = problem.alpha * (state.spectra**2).sum(axis=1)
    d = best_rescaling(
        state.weights.T @ state.weights, state.weights.sum(axis=0), penalties, 1.0 / problem.scale_variance
    )
    state.weights *= d
    state.curvature *= np.outer(d, d)
    state.targets *= d[:, None]
    for values in (state.spectra, state.duals, state.means):
        values /= d[:, None]


def best_rescaling(products, totals, penalties, pull):
    """(M,) factors d of the weights, from sum u u' (M, M), sum u (M,), alpha ||F||2 (M,) and the prior's precision."""

    def value(d):
        return 0.5 * pull * (d @ products @ d - 2 * d @ totals) + 0.5 * (penalties / d**2).sum()

    d = np.ones(len(totals))
    for _ in range(RESCALINGS):
        slope = pull * (products @ d - totals) - penalties / d**3
        bend = pull * products + np.diag(3 * penalties / d**4)
        change = np.linalg.lstsq(bend, -slope, rcond=None)[0]
        trial = np.clip(d + change, 0.5 * d, 2.0 * d)
        if not value(trial) < value(d):
            break
        d = trial
    return d


def improve_spectra(problem, state):
    """Exact step of every component in turn, in place.

    With R_nj the signals less all other components, T_j = sum(z/s2 R) / sum(z2/s2) and
    F_j = argmin_{F>=0} ||K F - T_j||2 + alpha_j ||F||2, alpha_j = alpha / sum(z2/s2).
    """
    for j, weight in enumerate(np.diag(state.curvature)):
        if weight > 0:
            others = state.curvature[j] @ state.means - weight * state.means[j]
            solve_component(problem, state, j, (state.targets[j] - others) / weight)
        else:
            state.spectra[j] = 0.0
            state.means[j] = 0.0


def solve_component(problem, state, j, target):
    """Spectrum of one component whose compressed signal is to be ``target``, in place."""
    solve_one(problem.reduced, target, problem.alpha / state.curvature[j, j], state.spectra[j], state.duals[j])
    used = np.flatnonzero(state.spectra[j])
    state.means[j] = state.spectra[j, used] @ problem.reduced.columns[used]


class MapSteps:
    """What the descent does to a ``MapState``: the exact steps of one problem.

    Another object with these methods, on states with ``means`` and ``copy``, descends as well.
    """

    def __init__(self, problem):
        self.problem = problem
        self.n_voxels = len(problem.signals)

    def fit_weights(self, state):
        """Exact weights, in place; returns the objective."""
        return fit_weights(self.problem, state)

    def improve(self, state):
        """Exact step of scales and spectra, in place."""
        if self.problem.scale_variance > 0:
            rescale(self.problem, state)
        improve_spectra(self.problem, state)

    def place(self, state, means):
        """Spectra whose signals are near ``means`` (M, n_ranks), in place."""
        for j, weight in enumerate(np.diag(state.curvature)):
            if weight > 0:
                solve_component(self.problem, state, j, means[j])


def proposed_means(points, residuals):
    """Means, as one vector, that Anderson's acceleration of earlier steps proposes.

    ``points`` are the means after earlier steps, ``residuals`` how far each step moved them;
    of their combinations it is the one with the least residual.
    """
    moved = np.diff(np.array(residuals), axis=0)
    shares = np.linalg.lstsq(moved.T, residuals[-1], rcond=SMALLEST_NORM)[0]
    return points[-1] - shares @ np.diff(np.array(points), axis=0)


def descend(steps, state, max_steps, tolerance=TOLERANCE):
    """Improve a state until steps gain less than the tolerance [nats per voxel].

    A proposal of the acceleration is taken only where it lowers the objective, so that the
    trace never rises.

    Parameters
    ----------
    steps : MapSteps
        Or another object with its methods.
    state : MapState
        Or another of its kind.
    max_steps : int
    tolerance : float

    Returns
    -------
    state : MapState
    trace : (n_steps + 1,) array
        Objective before each step and at the end.
    converged : bool

    """
    trace, points, residuals, idle = [steps.fit_weights(state)], [], [], 0
    for _ in range(max_steps):
        before = state.means.copy()
        steps.improve(state)
        points = [*points[-MEMORY:], state.means.ravel().copy()]
        residuals = [*residuals[-MEMORY:], (state.means - before).ravel()]
        value = np.inf
        if len(points) > 1:
            proposed = state.copy()
            steps.place(proposed, proposed_means(points, residuals).reshape(state.means.shape))
            value = steps.fit_weights(proposed)
        if value <= trace[-1]:
            state = proposed
        else:
            value = steps.fit_weights(state)
            points, residuals = points[-KEPT:], residuals[-KEPT:]
        trace.append(value)
        idle = idle + 1 if trace[-2] - trace[-1] < tolerance * steps.n_voxels else 0
        if idle == PATIENCE:
            return state, np.array(trace), True
    return state, np.array(trace), False
