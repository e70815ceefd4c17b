"""InSpect: canonical spectra and the voxels that share them, by expectation-maximisation (paper 1)."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.spectra.clusters.em_noise import noise_e_step, noise_responsibilities
from mrspec_prep.spectra.clusters.em_problem import State, make_problem
from mrspec_prep.spectra.clusters.em_steps import e_step_block, expanded_scale, responsibilities_block
from mrspec_prep.spectra.clusters.potts_em import SMOOTHINGS, PottsFit, fit_potts, scales_of, smoothed
from mrspec_prep.spectra.clusters.squarem import Extrapolation
from mrspec_prep.spectra.clusters.starts import partition_stability, spread_seeds, start_problem
from mrspec_prep.spectra.compiled import for_blocks, single_threaded_blas
from mrspec_prep.spectra.voxelwise.nnls import solve_one

BLOCK = 1024  # voxels per partial sum
START_STEPS = 8
START_TOLERANCE = 1e-4  # nats per voxel: short runs end, and count as equal
AGREEING_STARTS = 5
FINALISTS, FINALIST_STEPS = 3, 50
TOLERANCE = 1e-7  # nats per voxel gained by a step at which EM stops
SMALLEST_PROB = 1e-300


@dataclass(frozen=True, eq=False)
class InspectResult:
    """Clusters of voxels, heaviest first, and their spectra.

    Attributes
    ----------
    responsibilities : (n_voxels, n_clusters) array
        w_nm (Eq. 11); rows sum to one.
    cluster_probs : (n_clusters,) array
        p_m (Eq. 13).
    spectra : (n_clusters, n_bins) array
        F_m (Eq. 16). With ``scale="profiled"`` each sums to one, else in signal units.
    scale : (n_voxels,) array
        With ``scale="profiled"`` the voxel's S0 [signal units], else ones.
    log_likelihood : float
        Unpenalised, in nats, of the signals in their own units.
    n_parameters : float
        M - 1 + sum of the spectra's effective degrees of freedom.
    bic, aic : float
        Smaller is better.
    n_steps : int
    converged : bool
    trace : (n,) array
        Penalised log-likelihood of the states kept, from the start to the end.
    mode : str
    stability : float
        Mean adjusted Rand index between the partition of the best short run and those of the others:
        1 where every start leads to the same clusters, near 0 where each leads elsewhere.
    spatial : PottsFit or None
        With ``neighbours``: their weight, and the free energy gained in each step, whose sum then
        stands in ``trace``. The log-likelihood is that of every voxel given its neighbours' responsibilities.

    """

    responsibilities: np.ndarray
    cluster_probs: np.ndarray
    spectra: np.ndarray
    scale: np.ndarray
    log_likelihood: float
    n_parameters: float
    bic: float
    aic: float
    n_steps: int
    converged: bool
    trace: np.ndarray
    mode: str
    spatial: PottsFit | None = None
    stability: float = float("nan")

    @property
    def labels(self):
        """(n_voxels,) int array: 1..n_clusters, the cluster with the largest responsibility."""
        return self.responsibilities.argmax(axis=1) + 1


def fit_inspect(
    signals, kernel, noise_std, n_clusters, alpha=0.01, mode="exact", seed=0, scale="fixed", n_starts=20, max_steps=500,
    n_threads=None, noise=None, neighbours=None, spatial_weight=None, prior_voxels=None,
):  # fmt: skip
    """Clusters of voxels with a spectrum each, by expectation-maximisation (paper 1, Eqs. 5-16).

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        With ``scale="fixed"`` normalised such that S0 is about 1 in every voxel.
    kernel : (n_encodings, n_bins) array or ReducedKernel
    noise_std : float or (n_voxels,) array
        sigma_n [signal units].
    n_clusters : int
        M.
    alpha : float
        Weight of the spectra's 2-norm (paper 1, Eq. 16).
    mode : str
        ``exact``: means weighted by w/sigma2 and alpha_m = alpha / sum(w/sigma2), so that the
        penalised log-likelihood, l - alpha/2 sum ||F_m||2 + prior_voxels sum log p_m, never falls;
        ``paper``: Eqs. 13, 15 and 16 as printed.
    seed : int or numpy.random.Generator
        For the starts.
    scale : str
        ``fixed``: none; ``profiled``: every voxel has its own S0, with a normal prior around
        the image's, integrated out. Never divide by a noisy b=0 volume instead.
    n_starts : int
        Short runs on at most 4000 voxels, of which the best continues.
    max_steps : int
    n_threads : int, optional
        Default: the cores available, or OMP_NUM_THREADS. The result does not depend on it.
    noise : NoiseModel, optional
        Distribution of the noise, Gaussian by default. For Rician and nc-chi noise the signals are
        magnitudes; a sign they bear (``restore_polarity``) serves the start only.
    neighbours : Neighbours, optional
        Of these voxels (``neighbours_of``): adds a Potts prior, by mean field.
    spatial_weight : float, optional
        beta of the Potts prior [nats per nearest neighbour]; by default estimated. 0 is plain EM.
    prior_voxels : float, optional
        Voxels that each cluster is given beforehand (a Dirichlet prior of p), by default 10, and 0 in
        ``paper`` mode. Where clusters hardly differ the likelihood is flat, and its maximum a cluster
        of a few stray voxels; images of thousands of voxels hardly feel the prior.

    Returns
    -------
    InspectResult

    Raises
    ------
    ValueError
        Wrong shapes, values not finite, noise not positive, more clusters than voxels.

    """
    problem = make_problem(
        signals, kernel, noise_std, alpha, mode, scale, n_threads, noise, neighbours, spatial_weight, prior_voxels
    )
    return fit_problem(problem, n_clusters, np.random.default_rng(seed), n_starts, max_steps)


def fit_problem(problem, n_clusters, rng, n_starts=20, max_steps=500):
    """``fit_inspect`` on a problem compressed already."""
    n_voxels = len(problem.signals)
    if not 1 <= n_clusters <= n_voxels:
        raise ValueError(f"n_clusters must be between 1 and the number of voxels, {n_voxels}; got {n_clusters}")
    with single_threaded_blas():
        sample, small, runs = short_runs(for_starts(problem), n_clusters, rng, n_starts)
        state = _on_whole_kernel(sample, small, runs[0])
        stability = partition_stability([_responsibilities(small, s, s.means[:, 0])[0].argmax(axis=1) for s in runs])
        trace, converged = run_em(problem, state, max_steps)
        if problem.neighbours is not None and n_clusters > 1:
            fit = _with_neighbours(problem, state, rng, n_starts, max_steps)
        else:
            fit = _finish(problem, state, trace, converged)
        return replace(fit, stability=stability)


def _with_neighbours(problem, state, rng, n_starts, max_steps):
    """Potts prior added to a fit of independent voxels, or to one of signals averaged over neighbours."""
    states = [state]
    if problem.spatial_weight != 0:
        for n_passes in SMOOTHINGS:
            averaged = smoothed(problem, n_passes)
            states.append(best_start(averaged, len(state.probs), rng, n_starts))
            run_em(averaged, states[-1], max_steps)
    potts, fit, converged = fit_potts(problem, states, m_step, max_steps)
    return _finish(problem, potts.state, np.append(0.0, np.cumsum(fit.rises)), converged, potts, fit)


def for_starts(problem):
    """Problem that short runs see: magnitudes count as Gaussian, which costs far less."""
    magnitudes = problem.noise is not None and problem.noise.model.is_magnitude
    return replace(problem, noise=None) if magnitudes else problem


def best_start(problem, n_clusters, rng, n_starts):
    """Small EM: the state that the best of several short runs leads to."""
    sample, small, runs = short_runs(problem, n_clusters, rng, n_starts)
    return _on_whole_kernel(sample, small, runs[0])


def short_runs(problem, n_clusters, rng, n_starts):
    """Short runs on some voxels from spread-out seeds; the best few go on.

    "Best" is by penalised likelihood. Ends early where several starts have come to the same one.

    Returns
    -------
    sample, small : Problem
        Of ``start_problem``.
    states : list of State
        Of the small problem, best first.

    """
    sample, small = start_problem(problem, rng)
    runs, close = [], START_TOLERANCE * len(small.signals)
    for _ in range(n_starts):
        state = seeded_state(small, n_clusters, rng)
        runs.append((run_em(small, state, START_STEPS, START_TOLERANCE)[0][-1], state))
        top = max(value for value, _ in runs)
        if sum(value > top - close for value, _ in runs) >= AGREEING_STARTS:
            break
    else:
        runs = sorted(runs, key=lambda run: -run[0])
        for i, (_, state) in enumerate(runs[:FINALISTS]):
            runs[i] = (run_em(small, state, FINALIST_STEPS, START_TOLERANCE / 10)[0][-1], state)
    return sample, small, [state for _, state in sorted(runs, key=lambda run: -run[0])]


def _on_whole_kernel(sample, small, best):
    """State of the whole kernel with the responsibilities of a state of the small problem."""
    if sample is small:
        return best
    return state_from_responsibilities(sample, _responsibilities(small, best, best.spectra.sum(axis=1))[0])


def seeded_state(problem, n_clusters, rng):
    """Parameters from seeds far apart and the voxels nearest to each."""
    owner = spread_seeds(problem.signals, problem.variances, n_clusters, rng)
    return state_from_responsibilities(problem, np.eye(n_clusters)[owner])


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
    n_voxels, n_ranks = problem.signals.shape
    n_clusters = len(state.probs)
    log_probs = np.log(np.maximum(state.probs, SMALLEST_PROB))
    if problem.noise is not None:
        return noise_e_step(problem, state, log_probs)
    n_blocks = -(-n_voxels // BLOCK)
    moments, weights = np.empty((n_blocks, 3, n_clusters)), np.empty((n_blocks, n_clusters))
    sums = np.empty((n_blocks, n_clusters, n_ranks))
    means = np.ascontiguousarray(state.means.T)

    def work(start, stop):
        block = start // BLOCK
        signals = problem.signals[start:stop]
        return e_step_block(
            signals, signals @ means, problem.variances[start:stop], log_probs, state.norms, problem.scale_variance,
            problem.mode == "exact", moments[block], weights[block], sums[block],
        )  # fmt: skip

    gains = for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    return float(np.sum(gains) + problem.constant.sum()), moments.sum(axis=0), weights.sum(axis=0), sums.sum(axis=0)


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
    trace, recent, leaps = [], [], Extrapolation()
    kept = None  # the state to fall back to while a leap is on trial
    for step in range(max_steps + 1):
        log_likelihood, moments, weights, sums = e_step(problem, state)
        value = log_likelihood + log_prior(problem, state)
        if kept is not None:
            leaps.judge(value >= trace[-1])
            if not value >= trace[-1]:
                _restore(state, kept)
                kept = None
                continue
        trace.append(value)
        if kept is None and len(trace) > 1 and abs(trace[-1] - trace[-2]) < tolerance * len(problem.signals):
            return np.array(trace), True
        if step == max_steps:
            break
        recent = [] if kept is not None else recent
        kept = None
        recent.append((state.probs, state.spectra.copy(), state.means.copy()))
        m_step(problem, state, moments, weights, sums)
        if problem.mode == "exact" and len(recent) == 2:
            leap = leaps.leap(*recent, (state.probs, state.spectra, state.means), weights)
            recent = []
            if leap is not None:
                kept = State(*(values.copy() for values in vars(state).values()))
                state.probs, state.spectra[:] = leap
                _set_means(problem, state)
    return np.array(trace), False


def log_prior(problem, state):
    """Log prior of the parameters: -alpha/2 sum ||F_m||2 + prior_voxels sum log p_m."""
    value = -0.5 * problem.alpha * float((state.spectra**2).sum())
    if problem.prior_voxels > 0:
        value += problem.prior_voxels * float(np.log(state.probs).sum())
    return value


def _restore(state, kept):
    """Give a state the values of another."""
    for name, values in vars(kept).items():
        setattr(state, name, values)


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


def _finish(problem, state, trace, converged, potts=None, spatial=None):
    """Responsibilities, criteria, units and order of the clusters."""
    n_voxels = len(problem.signals)
    free_scale = problem.scale_variance > 0
    totals = state.spectra.sum(axis=1)
    if potts is None:
        log_likelihood, _, weights, _ = e_step(problem, state)
        responsibilities, scales = _responsibilities(problem, state, totals)
    else:
        log_likelihood, weights, responsibilities = potts.log_likelihood, potts.weights, potts.responsibilities
        scales = scales_of(problem, potts, totals)
    n_parameters = effective_parameters(problem, state, weights) + (spatial is not None and spatial.estimated)
    n_data = n_voxels * problem.n_encodings
    spectra = state.spectra / np.where(totals > 0, totals, 1.0)[:, None] if free_scale else state.spectra.copy()
    order = np.lexsort((-totals, -state.probs))
    return InspectResult(
        responsibilities=responsibilities[:, order],
        cluster_probs=state.probs[order],
        spectra=spectra[order],
        scale=scales * problem.units if free_scale else np.ones(n_voxels),
        log_likelihood=log_likelihood,
        n_parameters=n_parameters,
        bic=n_parameters * np.log(n_data) - 2 * log_likelihood,
        aic=2 * n_parameters - 2 * log_likelihood,
        n_steps=len(trace) - 1,
        converged=converged,
        trace=trace,
        mode=problem.mode,
        spatial=None if spatial is None else replace(spatial, field=spatial.field[order]),
    )


def _responsibilities(problem, state, totals):
    """Responsibilities (n_voxels, n_clusters) and expected scale times the clusters' totals (n_voxels,)."""
    n_voxels, n_clusters = len(problem.signals), len(state.probs)
    log_probs = np.log(np.maximum(state.probs, SMALLEST_PROB))
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
