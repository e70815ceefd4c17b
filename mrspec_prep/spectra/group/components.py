"""Continuous InSpect of a whole group: common component spectra, weights of every participant when asked for."""

from dataclasses import dataclass, replace

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment

from mrspec_prep.spectra.clusters.em_problem import SCALE_VARIANCE, Problem
from mrspec_prep.spectra.components.inspect_map import START_TOLERANCE, starting_means
from mrspec_prep.spectra.components.map_descent import descend
from mrspec_prep.spectra.components.uniqueness import CONFIDENCE
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.members import check_group
from mrspec_prep.spectra.group.mixtures import MixtureSteps, mixture_block
from mrspec_prep.spectra.group.passes import ThreadExecutor
from mrspec_prep.spectra.group.prepared import BLOCK, prepare_member
from mrspec_prep.spectra.group.sampling import Sample, sample_members
from mrspec_prep.spectra.group.starts import starting_gains
from mrspec_prep.spectra.group.steps import GroupSteps, Places
from mrspec_prep.spectra.voxelwise.nnls import solve_one
from mrspec_prep.threads import single_threaded_blas


@dataclass(frozen=True, eq=False)
class GroupMapResult:
    """Components of a group, heaviest first; weights are made when asked for (``weights_of``).

    Attributes
    ----------
    spectra : (n_components, n_bins) array
        F_j. With ``scale="profiled"`` the strongest volume of K F_j in any protocol is 1, else in signal units at
        gain 1.
    proportions : (n_members, n_components) array
        Mean weight over each member's voxels; rows sum to one.
    gains : (n_sites,) array
        With ``scale="fixed"``, mean log over voxels 0; else ones (the voxels' scales hold them).
    scale : str
    objective : float
        1/2 sum ||residual||2/sigma2 + alpha/2 sum ||F||2 (+ the prior of latent scales) [nats].
    residual : (n_members,) array
        Root mean square of what mixtures leave in the kernel's range, over its expectation from the noise.
    trace : (n_steps + 1,) array
        Objective; never rises.
    n_steps : int
    converged : bool
    start_objectives : (n_starts,) array
        On the sample.
    signal_spread : (n_components,) array
        Largest relative difference of a component's signals among starts that fit the sample as well as the best
        (by the likelihood ratio): large where components are not unique.
    sizes : (n_components,) array
        What the spectra were divided by.

    """

    spectra: np.ndarray
    proportions: np.ndarray
    gains: np.ndarray
    scale: str
    objective: float
    residual: np.ndarray
    trace: np.ndarray
    n_steps: int
    converged: bool
    start_objectives: np.ndarray
    signal_spread: np.ndarray
    sizes: np.ndarray


def fit_group_map(
    members, protocols, n_components, alpha=0.01, *, scale="profiled", site_gains=True, seed=0, n_starts=6,
    max_steps=1000, n_threads=None,
):  # fmt: skip
    """Common component spectra of a group; every voxel mixes them with weights of its own.

    Maximises the penalised likelihood of S_n ~ N(g_h a_n K_p sum_j z_nj F_j, sigma_n^2), z >= 0, sum z = 1.
    Student-t noise counts as Gaussian here.

    Parameters
    ----------
    members : list of Member
    protocols : list of Protocol
        On one grid.
    n_components : int
    alpha : float
        Weight of the spectra's 2-norm.
    scale : str
        ``profiled``: every voxel has its own S0; ``fixed``: S0 is about 1 up to the site's gain.
    site_gains : bool
        With ``fixed``: a gain for each site, where there are several.
    seed : int or numpy.random.Generator
    n_starts : int
        Descents on about 4000 voxels from anchor voxels, of one protocol after the other.
    max_steps : int
    n_threads : int, optional
        The result does not depend on it.

    Returns
    -------
    GroupMapResult

    Raises
    ------
    ValueError
        What ``fit_group`` refuses, no start, more components than voxels.

    """
    check_group(members, protocols, scale)
    n_voxels = sum(member.n_voxels for member in members)
    if not 1 <= n_components <= n_voxels:
        raise ValueError(f"n_components must be between 1 and the number of voxels, {n_voxels}; got {n_components}")
    if n_starts < 1 or max_steps < 1:
        raise ValueError(f"n_starts and max_steps must be >= 1, got {n_starts} and {max_steps}")
    if not (np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha}")
    prepared = ThreadExecutor(members, protocols, scale, n_threads).prepared
    places = Places(*(np.array([getattr(one, name) for one in members]) for name in ("protocol", "site", "n_voxels")))
    basis = common_basis([protocol.reduced for protocol in protocols], np.bincount(places.protocol, places.n_voxels))
    variance = SCALE_VARIANCE if scale == "profiled" else 0.0
    steps = MixtureSteps(basis, places, prepared, float(alpha), variance, site_gains, n_threads)
    rng = np.random.default_rng(seed)
    with single_threaded_blas():
        sample = Sample(sample_members(prepared, rng))
        small = replace(steps, prepared=sample.prepared, places=sample.places)
        plain = GroupSteps(basis, sample.places, sample, float(alpha), 0.0, variance, site_gains and variance == 0)
        gains = starting_gains(plain, sample)
        runs = [
            descend(small, small.state_from_spectra(spectra, gains), max_steps, START_TOLERANCE)
            for spectra in _starting_spectra(plain, sample, gains, n_components, n_starts, rng)
        ]
        objectives = np.array([trace[-1] for _, trace, _ in runs])
        best = int(objectives.argmin())
        first = runs[best][0]
        state, trace, converged = descend(steps, steps.state_from_spectra(first.spectra, first.gains), max_steps)
    spread = _signal_spread([run[0] for run in runs], objectives, best)
    return _finish(steps, protocols, state, trace, converged, objectives, spread, scale)


def _starting_spectra(steps, sample, gains, n_components, n_starts, rng):
    """Spectra of anchor voxels at every start; two starts with one protocol, two with the next, and so on."""
    drawn, basis = {}, steps.basis
    used = sorted(set(sample.places.protocol.tolist()))
    for start in range(n_starts):
        protocol = used[(start // 2) % len(used)]
        if protocol not in drawn:
            chosen = [one for one in sample.prepared if one.member.protocol == protocol]
            signals = np.concatenate([one.member.signals / gains[one.member.site] for one in chosen])
            variances = np.concatenate([one.variances / gains[one.member.site] ** 2 for one in chosen])
            weights, nothing = np.eye(len(basis.maps))[protocol], [np.zeros(len(one)) for one in basis.maps]
            reduced, _ = basis.problem(weights, nothing)
            ones = np.ones(len(signals))
            problem = Problem(reduced, signals, variances, ones, ones, 0, steps.alpha, "exact", steps.scale_variance, 1)
            means = starting_means(problem, min(n_components, len(signals)), n_starts, rng)
            drawn[protocol] = weights, nothing, float(np.median(1 / variances)) * len(signals), means
        weights, targets, precision, means = drawn[protocol]
        spectra = np.zeros((n_components, basis.pooled.n_bins))
        for j, mean in enumerate(means[start]):
            reduced, target = basis.problem(weights, [mean if w else t for w, t in zip(weights, targets, strict=True)])
            solve_one(reduced, target, steps.alpha / precision, spectra[j], target.copy())
        yield spectra


def _signal_spread(states, objectives, best):
    """Largest relative difference of the components' signals among starts that fit as well as the best."""
    n = len(states[best].means)
    allowed = 0.5 * float(scipy.stats.chi2.ppf(CONFIDENCE, max(1, n * (n - 1))))
    reference = states[best].means / np.linalg.norm(states[best].means, axis=1, keepdims=True)
    spread = np.zeros(n)
    for state, objective in zip(states, objectives, strict=True):
        if objective <= objectives[best] + allowed:
            other = state.means / np.maximum(np.linalg.norm(state.means, axis=1, keepdims=True), 1e-300)
            rows, columns = linear_sum_assignment(-reference @ other.T)
            spread[rows] = np.maximum(spread[rows], np.linalg.norm(reference[rows] - other[columns], axis=1))
    return spread


def _finish(steps, protocols, state, trace, converged, objectives, spread, scale):
    """Order of the components, units and means over members."""
    sizes = np.ones(len(state.spectra))
    if scale == "profiled":
        found = [
            np.abs(means @ protocol.reduced.projection.T).max(axis=1)
            for means, protocol in zip(steps.basis.predicted(state.means), protocols, strict=True)
        ]
        sizes = np.max(found, axis=0)
        sizes = np.where(sizes > 0, sizes, 1.0)
    looks = [_weights(one, state.means, steps.basis, state.gains, sizes) for one in steps.prepared]
    proportions = np.array([weights.mean(axis=0) for weights, _, _ in looks])
    order = np.argsort(-np.average(proportions, axis=0, weights=steps.places.n_voxels), kind="stable")
    return GroupMapResult(
        spectra=(state.spectra / sizes[:, None])[order],
        proportions=proportions[:, order],
        gains=state.gains,
        scale=scale,
        objective=float(trace[-1]),
        residual=np.array([float(np.sqrt((residual**2).mean())) for _, _, residual in looks]),
        trace=trace,
        n_steps=len(trace) - 1,
        converged=converged,
        start_objectives=objectives,
        signal_spread=spread[order],
        sizes=sizes[order],
    )


def _weights(prepared, means, basis, gains, sizes):
    """Weights, scales [signal units] and residuals of every voxel of a member."""
    member = prepared.member
    predicted = np.ascontiguousarray(gains[member.site] * basis.predicted(means)[member.protocol])
    shares, scales = np.empty((member.n_voxels, len(sizes))), np.empty(member.n_voxels)
    residual = np.empty(member.n_voxels)
    freedom = max(1, predicted.shape[1] - len(sizes) + (prepared.scale_variance == 0))
    for start in range(0, member.n_voxels, BLOCK):
        part = slice(start, min(start + BLOCK, member.n_voxels))
        weights = np.zeros((part.stop - start, len(sizes)))
        mixture_block(prepared, start, part.stop, predicted, weights)
        signals, variances, _, units = prepared.block(start, part.stop)
        residual[part] = np.sqrt(((signals - weights @ predicted) ** 2).sum(axis=1) / variances / freedom)
        weights *= sizes
        totals = weights.sum(axis=1)
        scales[part] = totals * units
        shares[part] = np.where(totals[:, None] > 0, weights / np.where(totals > 0, totals, 1)[:, None], 1 / len(sizes))
    return shares, scales if prepared.scale_variance > 0 else np.ones(member.n_voxels), residual


def weights_of(member, protocol, result):
    """Weights of the components in every voxel of a member.

    Parameters
    ----------
    member : Member
    protocol : Protocol
        Of this member.
    result : GroupMapResult

    Returns
    -------
    weights : (n_voxels, n_components) array
        z_nj; rows sum to one.
    scale : (n_voxels,) array
        With ``scale="profiled"`` the signal of the strongest volume [signal units], else ones.
    residual : (n_voxels,) array
        What the mixture leaves in the kernel's range, over its expectation from the noise.

    Raises
    ------
    ValueError
        A member that the protocol or the result does not fit.

    """
    if member.site >= len(result.gains):
        raise ValueError(f"the member is of site {member.site}, the result has {len(result.gains)} sites")
    alone = replace(member, protocol=0, site=0)
    check_group([alone], [protocol], result.scale)
    means = (result.sizes[:, None] * result.spectra) @ protocol.reduced.columns
    with single_threaded_blas():
        prepared = prepare_member(alone, protocol, result.scale)
        return _weights(prepared, means, common_basis([protocol.reduced]), result.gains[[member.site]], result.sizes)
