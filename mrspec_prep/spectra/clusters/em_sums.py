"""E-steps of InSpect: what one pass over the voxels gives to the M-steps of all states under way."""

import numpy as np

from mrspec_prep.spectra.clusters.block_sums import sum_blocks
from mrspec_prep.spectra.clusters.em_blocks import TILE, e_step_block
from mrspec_prep.spectra.clusters.em_noise import noise_expect, noise_responsibilities
from mrspec_prep.spectra.clusters.em_steps import responsibilities_block
from mrspec_prep.threads import for_blocks

BLOCK = 4 * TILE  # voxels per partial sum
SMALLEST_PROB = 1e-300


def expect(problem, states):
    """E-step of several states: each block of voxels is read once for all of them.

    Parameters
    ----------
    problem : Problem
    states : list of State
        Of any numbers of clusters. The sums of one do not depend on the others.

    Returns
    -------
    list of (log_likelihood, (moments, weights, sums))
        For each state what ``e_step`` returns.

    """
    if problem.noise is not None:
        return noise_expect(problem, states, [log_probs_of(state) for state in states])
    return _gaussian_expect(problem, states)


def e_step(problem, state):
    """Log-likelihood (Eq. 8) and the sums that the M-step needs (Eqs. 11, 13, 15).

    Returns
    -------
    log_likelihood : float
    moments : (3, n_clusters) array
        sum w, sum w a, sum w a2, with a the voxel scale (1 when fixed).
    weights : (n_clusters,) array
        sum w a2 / sigma2 (``paper``: without sigma).
    sums : (n_clusters, n_ranks) array
        sum w a s / sigma2 (``paper``: without sigma).

    """
    [(log_likelihood, sums)] = expect(problem, [state])
    return log_likelihood, *sums


def log_probs_of(state):
    """Log p_m, finite."""
    return np.log(np.maximum(state.probs, SMALLEST_PROB))


def _gaussian_expect(problem, states):
    """``expect`` by one compiled call for each block of voxels."""
    ends = np.cumsum([0] + [len(state.probs) for state in states])
    means, norms = np.concatenate([s.means for s in states]), np.concatenate([s.norms for s in states])
    log_probs = np.concatenate([log_probs_of(state) for state in states])
    leading, rest, n_leading = problem.leading
    rest_norms = np.sqrt((means[:, n_leading:] ** 2).sum(axis=1))
    some = np.zeros((len(means), leading.shape[1]))
    some[:, :n_leading] = means[:, :n_leading]

    def run(part, sums, gains):
        e_step_block(
            problem.signals[part], problem.variances[part], leading[part.start // TILE :], rest[part], ends, log_probs,
            means, some, rest_norms, norms, problem.scale_variance, problem.mode == "exact", *sums, gains,
        )  # fmt: skip

    return sum_blocks(problem, ends, run, BLOCK)


def responsibilities_of(problem, state, totals):
    """Responsibilities (n_voxels, n_clusters) and expected scale times the clusters' totals (n_voxels,)."""
    n_voxels, n_clusters = len(problem.signals), len(state.probs)
    log_probs = log_probs_of(state)
    if problem.noise is not None:
        return noise_responsibilities(problem, state, log_probs, totals)
    responsibilities, scales = np.empty((n_voxels, n_clusters)), np.empty(n_voxels)
    means = np.ascontiguousarray(state.means.T)

    def work(start, stop):
        responsibilities_block(
            problem.signals[start:stop] @ means, problem.variances[start:stop], log_probs, state.norms,
            problem.scale_variance, totals, responsibilities[start:stop], scales[start:stop],
        )  # fmt: skip

    for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    return responsibilities, scales
