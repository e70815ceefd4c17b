"""InSpect: canonical spectra and the voxels that share them, by expectation-maximisation (paper 1)."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.physics.checks import random_seed, whole_number
from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import expect, responsibilities_of
from mrspec_prep.spectra.clusters.em_updates import EmSteps, effective_parameters, m_step, run_em
from mrspec_prep.spectra.clusters.potts_em import SMOOTHINGS, PottsFit, fit_potts, scales_of, smoothed
from mrspec_prep.spectra.clusters.short_runs import best_start, first_state
from mrspec_prep.threads import single_threaded_blas


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
        Wrong shapes, values complex, masked or not finite, noise not positive, numbers that are not whole, more
        clusters than voxels.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import fit_inspect
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> signals = simulate_signals("t2", encodings, {"t2": np.repeat([50.0, 90.0], 40)})
    >>> signals = add_noise(signals, 0.02, np.random.default_rng(0))
    >>> found = fit_inspect(signals, kernel, noise_std=0.02, n_clusters=2, n_starts=5)
    >>> sorted(np.bincount(found.labels)[1:].tolist()), bool(found.converged)
    ([40, 40], True)

    """
    n_clusters = whole_number(n_clusters, "n_clusters", 1)
    problem = make_problem(
        signals, kernel, noise_std, alpha, mode, scale, n_threads, noise, neighbours, spatial_weight, prior_voxels
    )
    return fit_problem(problem, {n_clusters: np.random.default_rng(random_seed(seed))}, n_starts, max_steps)[n_clusters]


def fit_problem(problem, seeds, n_starts=20, max_steps=500, on_step=None):
    """``fit_inspect`` on a problem compressed already, for several numbers of clusters in the same passes.

    Parameters
    ----------
    problem : Problem
    seeds : dict of int to numpy.random.Generator
        For each number of clusters its own, so that a fit does not depend on which others are made.
    n_starts, max_steps : int
    on_step : callable, optional
        Called now and then with what is under way, in words.

    Returns
    -------
    dict of int to InspectResult

    """
    n_voxels = len(problem.signals)
    whole_number(n_starts, "n_starts", 1)
    whole_number(max_steps, "max_steps", 0)
    for m in seeds:
        if not 1 <= m <= n_voxels:
            raise ValueError(f"n_clusters must be between 1 and the number of voxels, {n_voxels}; got {m}")
    said = on_step or (lambda words: None)
    most = max(seeds, default=0)
    with single_threaded_blas():
        starts = []
        for m, rng in seeds.items():
            said(f"starts of {_clusters(m)}, of {most} at most")
            starts.append(first_state(problem, m, rng, n_starts))
        states = [state for state, _ in starts]
        climbs = climb(EmSteps(problem), states, max_steps, on_step=lambda under_way: said(_climbing(seeds, under_way)))
        fits = {}
        for (m, rng), one, expected in zip(seeds.items(), climbs, expect(problem, states), strict=True):
            if problem.neighbours is not None and m > 1:
                said(f"neighbours of {_clusters(m)}, of {most} at most")
                fits[m] = _with_neighbours(problem, one.state, rng, n_starts, max_steps)
            else:
                fits[m] = _without_neighbours(problem, one, expected)
        return {m: replace(fits[m], stability=start[1]) for m, start in zip(seeds, starts, strict=True)}


def _clusters(m):
    return f"{m} cluster{'s' * (m > 1)}"


def _climbing(numbers, climbs):
    """Step of climbs, and of which numbers of clusters they have not ended."""
    left = [str(m) for m, one in zip(numbers, climbs, strict=True) if not one["finished"]]
    step = max(int(one["n_passes"]) for one in climbs)
    return f"step {step} with {', '.join(left)} clusters" if left else f"last step, {step}"


def _with_neighbours(problem, state, rng, n_starts, max_steps):
    """Potts prior added to a fit of independent voxels, or to one of signals averaged over neighbours."""
    states = [state]
    if problem.spatial_weight != 0:
        for n_passes in SMOOTHINGS:
            averaged = smoothed(problem, n_passes)
            states.append(best_start(averaged, len(state.probs), rng, n_starts))
            run_em(averaged, states[-1], max_steps)
    potts, fit, converged = fit_potts(problem, states, m_step, max_steps)
    scales = scales_of(problem, potts, potts.state.spectra.sum(axis=1))
    return _finish(
        problem, potts.state, potts.log_likelihood, potts.weights, potts.responsibilities, scales,
        np.append(0.0, np.cumsum(fit.rises)), converged, fit,
    )  # fmt: skip


def _without_neighbours(problem, one, expected):
    """Result of a climb, given the E-step of its last state."""
    log_likelihood, (_, weights, _) = expected
    found = responsibilities_of(problem, one.state, one.state.spectra.sum(axis=1))
    return _finish(problem, one.state, log_likelihood, weights, *found, np.array(one.trace), one.converged)


def _finish(
    problem, state, log_likelihood, weights, responsibilities, scales, trace, converged, spatial=None
):  # fmt: skip
    """Criteria, units and order of the clusters."""
    n_voxels = len(problem.signals)
    free_scale = problem.scale_variance > 0
    totals = state.spectra.sum(axis=1)
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
