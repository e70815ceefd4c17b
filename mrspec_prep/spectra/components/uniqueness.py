"""Are the components of continuous InSpect unique? Other solutions that fit the signals as well.

Without nearly pure voxels, mixtures of the components, with other weights, explain the same
signals. Two searches find such solutions: the starts of the fit, which come from the inside
and from the outside of the voxels' simplex, and mixing tests around the best fit.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment

from mrspec_prep.spectra.components.map_descent import fit_weights, solve_component

CONFIDENCE = 0.95  # of the likelihood ratio below which two solutions count as equal
AMBIGUOUS = 0.02  # RMS difference of weights between equal solutions from which the components count as not unique
RESIDUAL_HIGH = 1.15  # over its expectation: from here the number of components is in doubt
LARGEST_MIXING = 0.5
HALVINGS = 10


@dataclass(frozen=True, eq=False)
class Uniqueness:
    """Solutions that fit as well as the best one, against it; components in its order.

    Attributes
    ----------
    objective : (n_starts,) array
        Of every start [nats].
    equivalent : (n_starts,) bool array
        Starts that fit as well as the best: 2 x difference below the 95 % point of chi2 with
        M (M - 1) degrees of freedom, the ways to mix M components among themselves; times the
        residual's square over its expectation where the mixture leaves more than the noise.
    weight_difference : (n_starts,) array
        RMS difference of the weights to those of the best start.
    weight_spread, signal_spread : (n_components,) array
        Largest RMS difference of a component's weights, and largest relative difference of its
        signal K F_j, over equivalent starts.
    mixing_spread : (n_components,) array
        Largest RMS difference of a component's weights when components are mixed with each
        other, or moved apart, as far as the likelihood ratio allows.
    spectra : (n_solutions, n_components, n_bins) array
        Of all these solutions, scaled like the best; the best itself is among them.

    """

    objective: np.ndarray
    equivalent: np.ndarray
    weight_difference: np.ndarray
    weight_spread: np.ndarray
    signal_spread: np.ndarray
    mixing_spread: np.ndarray
    spectra: np.ndarray


def to_shares(problem, state):
    """Weights that sum to one, the voxels' scales, and what the spectra are to be divided by.

    Returns
    -------
    weights : (n_voxels, n_components) array
    scales : (n_voxels,) array
        1 when fixed, else the signal of the strongest volume in units of the problem.
    sizes : (n_components,) array
        1 when fixed, else the strongest volume of K F_j.

    """
    if problem.scale_variance == 0:
        return state.weights, np.ones(len(state.weights)), np.ones(len(state.means))
    sizes = np.abs(state.means @ problem.reduced.projection.T).max(axis=1)
    sizes = np.where(sizes > 0, sizes, 1.0)
    parts = state.weights * sizes
    scales = parts.sum(axis=1)
    weights = np.full_like(parts, 1.0 / parts.shape[1])
    lit = scales > 0
    weights[lit] = parts[lit] / scales[lit, None]
    return weights, scales, sizes


def mixture_residual(problem, state):
    """(n_voxels,) root mean square of what is left in the kernel's range, over its expectation from the noise."""
    left_over = ((problem.signals - state.weights @ state.means) ** 2).sum(axis=1)
    freedom = problem.reduced.n_ranks - len(state.means) + (problem.scale_variance == 0)
    return np.sqrt(left_over / problem.variances / max(freedom, 1))


def explore(problem, states, objectives, best):
    """Compare all starts with the best one and mix its components.

    Parameters
    ----------
    problem : Problem
    states : list of MapState
        At the end of every start.
    objectives : (n_starts,) sequence
    best : int

    Returns
    -------
    Uniqueness

    """
    objectives = np.asarray(objectives, dtype=float)
    n_components = len(states[best].means)
    misfit = float((mixture_residual(problem, states[best]) ** 2).mean())
    allowed = (
        0.5 * max(misfit, 1.0) * float(scipy.stats.chi2.ppf(CONFIDENCE, max(1, n_components * (n_components - 1))))
    )
    equivalent = objectives <= objectives[best] + allowed
    weights, _, sizes = to_shares(problem, states[best])
    reference = states[best].means / sizes[:, None]
    norms = np.linalg.norm(reference, axis=1)
    differences, spectra = [], []
    weight_spread, signal_spread = np.zeros(n_components), np.zeros(n_components)
    for state, counts in zip(states, equivalent, strict=True):
        other, _, other_sizes = to_shares(problem, state)
        cost = ((weights[:, :, None] - other[:, None, :]) ** 2).mean(axis=0)
        _, order = linear_sum_assignment(cost)
        by_component = np.sqrt(cost[np.arange(n_components), order])
        differences.append(np.sqrt((by_component**2).mean()))
        if counts:
            moved = state.means[order] / other_sizes[order, None] - reference
            weight_spread = np.maximum(weight_spread, by_component)
            signal_spread = np.maximum(signal_spread, np.linalg.norm(moved, axis=1) / np.where(norms > 0, norms, 1.0))
            spectra.append(state.spectra[order] / other_sizes[order, None])
    mixing_spread, mixed = mixing_tests(problem, states[best], objectives[best] + allowed, weights)
    return Uniqueness(
        objectives, equivalent, np.array(differences), weight_spread, signal_spread, mixing_spread,
        np.array([*spectra, *mixed], dtype=np.float32),
    )  # fmt: skip


def mixing_tests(problem, state, ceiling, weights):
    """Move every component towards and away from every other one until the objective reaches a ceiling.

    Only the weights are fitted again, so that the ranges found are lower bounds.

    Returns
    -------
    spread : (n_components,) array
        Largest RMS difference of the weights.
    spectra : list of (n_components, n_bins) arrays
        At the ends of the ranges.

    """
    n_components = len(state.means)
    spread, spectra = np.zeros(n_components), []
    pairs = [(j, i) for j in range(n_components) for i in range(n_components) if i != j]
    for j, i in pairs:
        for sign in (1.0, -1.0):
            low, high, reached = 0.0, LARGEST_MIXING, None
            for _ in range(HALVINGS):
                share = 0.5 * (low + high)
                trial = state.copy()
                target = state.means[j] + sign * share * (state.means[i] - state.means[j])
                solve_component(problem, trial, j, target)
                if fit_weights(problem, trial) <= ceiling:
                    low, reached = share, trial
                else:
                    high = share
            if reached is not None:
                other, _, sizes = to_shares(problem, reached)
                spread = np.maximum(spread, np.sqrt(((other - weights) ** 2).mean(axis=0)))
                spectra.append(reached.spectra / sizes[:, None])
    return spread, spectra


def in_words(uniqueness, residual, converged):
    """Plain sentences for the report; components in the order they are given.

    Parameters
    ----------
    uniqueness : Uniqueness
    residual : float
        Median over the voxels, relative to the noise.
    converged : bool

    Returns
    -------
    tuple of str

    """
    n_starts, n_equal = len(uniqueness.equivalent), int(uniqueness.equivalent.sum())
    spread = np.maximum(uniqueness.weight_spread, uniqueness.mixing_spread)
    worst = int(spread.argmax())
    said = []
    if len(spread) == 1:
        said.append("One component: its weight is 1 everywhere.")
    elif spread[worst] >= AMBIGUOUS:
        said.append(
            f"The components are not unique. Solutions whose weights differ by up to {spread[worst]:.2f} (root mean "
            f"square, component {worst + 1}) fit the signals as well as the one shown: too few voxels are nearly pure, "
            "for this noise, to tell components from their mixtures. Read the weights as an order of voxels, not as "
            "fractions to that precision."
        )
    else:
        said.append(
            f"The components are unique within the noise: solutions that fit as well differ by at most "
            f"{spread[worst]:.3f} in the weights (root mean square, component {worst + 1})."
        )
    if len(spread) > 1:
        said.append(f"{n_equal} of {n_starts} starts reached the best fit.")
        if n_equal == 1 and n_starts > 1:
            said.append("A better one may exist: raise inspect_map.n_starts.")
    if residual > RESIDUAL_HIGH:
        said.append(
            f"The mixture leaves a residual of {residual:.2f} times the noise (median): the voxels hold more than "
            f"{len(spread)} component{'s' if len(spread) > 1 else ''}, artefacts, or the noise level is set too low."
        )
    else:
        said.append(f"The mixture leaves a residual of {residual:.2f} times the noise (median).")
    if not converged:
        said.append("The descent had not settled after the steps allowed: raise inspect_map.max_steps.")
    return tuple(said)
