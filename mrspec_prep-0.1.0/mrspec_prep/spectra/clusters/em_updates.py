"""M-steps of InSpect, and what else is needed of a state besides its E-step."""

import numpy as np

from mrspec_prep.spectra.clusters.climb import TOLERANCE, climb
from mrspec_prep.spectra.clusters.em_problem import State
from mrspec_prep.spectra.clusters.em_steps import expanded_scale
from mrspec_prep.spectra.clusters.em_sums import expect
from mrspec_prep.spectra.voxelwise.nnls import solve_one


class EmSteps:
    """EM of one problem as ``climb`` asks for it."""

    def __init__(self, problem):
        self.problem = problem
        self.n_voxels = len(problem.signals)
        self.accelerated = problem.mode == "exact"

    def expect(self, states):
        """Log-likelihood and sums of each state, in one pass over the voxels."""
        return expect(self.problem, states)

    def maximise(self, state, sums):
        """M-step in place; weights of the clusters."""
        m_step(self.problem, state, *sums)
        return sums[1]

    def log_prior(self, state):
        """Log prior of the parameters."""
        return log_prior(self.problem, state)

    def refresh(self, state):
        """Means of spectra that have changed."""
        _set_means(self.problem, state)


def run_em(problem, state, max_steps, tolerance=TOLERANCE):
    """EM from a state, in place, until a step gains less than the tolerance [nats per voxel].

    In ``exact`` mode every second step tries to leap ahead (SQUAREM); a leap that would lower the
    likelihood is undone.

    Returns
    -------
    trace : (n,) array
        Penalised log-likelihood of the states kept.
    converged : bool

    """
    [done] = climb(EmSteps(problem), [state], max_steps, tolerance)
    return np.array(done.trace), done.converged


def empty_state(problem, n_clusters):
    """Parameters before the first step."""
    n_bins, n_ranks = problem.reduced.columns.shape
    return State(
        np.full(n_clusters, 1.0 / n_clusters),
        np.zeros((n_clusters, n_bins)),
        np.zeros((n_clusters, n_ranks)),
        np.zeros((n_clusters, n_ranks)),
        np.zeros(n_clusters),
    )


def state_from_responsibilities(problem, responsibilities):
    """One M-step from given responsibilities (voxel scales 1)."""
    state = empty_state(problem, responsibilities.shape[1])
    shares = responsibilities / problem.variances[:, None] if problem.mode == "exact" else responsibilities
    counts = responsibilities.sum(axis=0)
    m_step(problem, state, np.stack([counts, counts, counts]), shares.sum(axis=0), shares.T @ problem.signals)
    return state


def cluster_alphas(problem, weights):
    """alpha_m: alpha / sum(w/sigma2) in ``exact`` mode, alpha in ``paper`` mode."""
    if problem.mode == "paper":
        return np.full(len(weights), problem.alpha)
    return problem.alpha / np.maximum(weights, 1e-300)


def m_step(problem, state, moments, weights, sums):
    """Update cluster probabilities (Eq. 13) and spectra (Eqs. 15-16), in place."""
    state.probs = moments[0] + problem.prior_voxels
    state.probs /= state.probs.sum()
    for m, alpha in enumerate(cluster_alphas(problem, weights)):
        if weights[m] > 0:
            target = sums[m] / weights[m]
            solve_one(problem.reduced, target, alpha, state.spectra[m], state.duals[m])
        else:
            state.spectra[m] = 0.0
        if problem.scale_variance > 0 and moments[0, m] > 0:
            penalty = problem.alpha * float((state.spectra[m] ** 2).sum())
            factor = expanded_scale(*moments[:, m], problem.scale_variance, penalty)
            state.spectra[m] *= factor
            state.duals[m] *= factor
    _set_means(problem, state)


def log_prior(problem, state):
    """Log prior of the parameters: -alpha/2 sum ||F_m||2 + prior_voxels sum log p_m."""
    value = -0.5 * problem.alpha * float((state.spectra**2).sum())
    if problem.prior_voxels > 0:
        value += problem.prior_voxels * float(np.log(state.probs).sum())
    return value


def _set_means(problem, state):
    """Fill a_m = B F_m and ||a_m||2 from the spectra."""
    for m, spectrum in enumerate(state.spectra):
        used = np.flatnonzero(spectrum)
        state.means[m] = spectrum[used] @ problem.reduced.columns[used]
        state.norms[m] = state.means[m] @ state.means[m]


def effective_parameters(problem, state, weights):
    """M - 1 + sum_m tr[K_A (K_A'K_A + alpha_m I)^-1 K_A'], A the bins in use of cluster m."""
    total = len(state.probs) - 1.0
    for spectrum, alpha in zip(state.spectra, cluster_alphas(problem, weights), strict=True):
        used = problem.reduced.columns[spectrum > 0]
        if len(used):
            values = np.linalg.svd(used, compute_uv=False) ** 2
            values = values[values > 1e-14 * values[0]]
            total += float((values / (values + alpha)).sum())
    return total
