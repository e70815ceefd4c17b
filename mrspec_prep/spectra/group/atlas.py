"""Frozen mode: the spectra of a published group atlas applied to a new participant."""

from dataclasses import dataclass, replace

import numpy as np
import scipy

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import SCALE_VARIANCE
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.members import check_group
from mrspec_prep.spectra.group.passes import ThreadExecutor, member_responsibilities
from mrspec_prep.spectra.group.prepared import BLOCK
from mrspec_prep.spectra.group.steps import GroupSteps, Places
from mrspec_prep.threads import single_threaded_blas

PRIOR_VOXELS = 1.0  # that each cluster is given beforehand
LEVEL = 1e-3  # probability, under noise alone, of a residual from which a voxel counts as unexplained


@dataclass(frozen=True, eq=False)
class AtlasResult:
    """What an atlas says of a participant; clusters in the atlas's order.

    Attributes
    ----------
    responsibilities : (n_voxels, n_clusters) array
        Rows sum to one, also in voxels that no cluster explains.
    cluster_probs : (n_clusters,) array
        Fitted to this participant.
    proportions : (n_clusters,) array
        Mean responsibilities.
    scale : (n_voxels,) array
        With ``scale="profiled"`` the voxel's S0 [signal units], else ones.
    gain : float
        Of the participant: fitted or given (``scale="fixed"``); with ``profiled`` the geometric mean of S0.
    residual : (n_voxels,) array
        Root mean square of what the nearest cluster leaves in the kernel's range, over its expectation from the
        noise: 1 where a cluster explains the signal.
    unexplained : (n_voxels,) bool array
        Residual beyond what noise leaves with a probability of ``level``.
    log_likelihood : float
        [nats].
    trace : (n,) array
    n_steps : int
    converged : bool

    """

    responsibilities: np.ndarray
    cluster_probs: np.ndarray
    proportions: np.ndarray
    scale: np.ndarray
    gain: float
    residual: np.ndarray
    unexplained: np.ndarray
    log_likelihood: float
    trace: np.ndarray
    n_steps: int
    converged: bool


def apply_atlas(
    member, protocol, spectra, *, scale="profiled", gain=None, prior_voxels=PRIOR_VOXELS, level=LEVEL, max_steps=500,
    n_threads=None,
):  # fmt: skip
    """Proportions and gain of one participant by EM with the spectra as they are.

    Parameters
    ----------
    member : Member
    protocol : Protocol
        Of the member, on the atlas's grid; it need not be one the atlas was made with.
    spectra : (n_clusters, n_bins) array
        Of the atlas: sums of one with ``scale="profiled"``, signal units at gain 1 with ``fixed``.
    scale : str
        As the atlas was made.
    gain : float, optional
        With ``scale="fixed"`` that of the participant's site; by default it is fitted to the participant.
    prior_voxels : float
        That each cluster is given beforehand.
    level : float
        Probability from which a voxel's residual counts as unexplained.
    max_steps : int
    n_threads : int, optional

    Returns
    -------
    AtlasResult

    Raises
    ------
    ValueError
        Spectra of another grid, negative, zero or not finite; a gain that is not positive or given with profiled
        scales; a member the protocol does not fit.

    """
    spectra = _checked(spectra, protocol, scale, gain)
    alone = replace(member, protocol=0, site=0)
    check_group([alone], [protocol], scale)
    executor = ThreadExecutor([alone], [protocol], scale, n_threads)
    prepared, variance = executor.prepared[0], SCALE_VARIANCE if scale == "profiled" else 0.0
    places = Places(np.zeros(1, int), np.zeros(1, int), np.array([alone.n_voxels]))
    steps = GroupSteps(
        common_basis([protocol.reduced]), places, executor, 0.0, float(prior_voxels), variance,
        site_gains=scale == "fixed" and gain is None, fixed_spectra=True,
    )  # fmt: skip
    state = steps.empty_state(len(spectra), [1.0 if gain is None else gain])
    state.spectra = spectra.copy()
    steps.refresh(state)
    if variance:
        sizes = prepared.norm_of_one / np.linalg.norm(state.means, axis=1)
        state.spectra *= sizes[:, None]
    elif gain is None:
        state.gains[:] = prepared.typical / float(np.median(np.linalg.norm(state.means, axis=1)))
    steps.refresh(state)
    [done] = climb(steps, [state], max_steps)
    [(log_likelihood, _)] = steps.expect([state])
    shares, scales = member_responsibilities(prepared, 0, steps.sent(state), state.spectra.sum(axis=1))
    residual, freedom = atlas_residual(prepared, state.means * state.gains[0])
    return AtlasResult(
        responsibilities=shares,
        cluster_probs=state.probs,
        proportions=shares.mean(axis=0),
        scale=scales if variance else np.ones(alone.n_voxels),
        gain=float(np.exp(np.log(scales).mean())) if variance else float(state.gains[0]),
        residual=residual,
        unexplained=residual**2 * freedom > _limit(level, freedom, alone.degrees_of_freedom),
        log_likelihood=log_likelihood,
        trace=np.array(done.trace),
        n_steps=len(done.trace) - 1,
        converged=done.converged,
    )


def _checked(spectra, protocol, scale, gain):
    """Spectra as floats; refuses those that are none."""
    spectra = np.array(spectra, dtype=float)
    if spectra.ndim != 2 or spectra.shape[1] != protocol.reduced.n_bins or len(spectra) == 0:
        raise ValueError(
            f"the atlas holds spectra of shape {spectra.shape}, the protocol's kernel has {protocol.reduced.n_bins} "
            "bins: both must be on one grid"
        )
    if not (np.isfinite(spectra).all() and (spectra >= 0).all() and (spectra.sum(axis=1) > 0).all()):
        raise ValueError("the atlas's spectra must be finite, >= 0 and not zero everywhere")
    if gain is not None and scale != "fixed":
        raise ValueError("a gain is given for scale fixed only: with profiled scales every voxel has its own")
    if gain is not None and not (np.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be a finite number > 0, got {gain}")
    return spectra


def _limit(level, freedom, sigma_freedom):
    """Squared residual over sigma2 that noise exceeds with this probability."""
    if sigma_freedom is None:
        return float(scipy.stats.chi2.isf(level, freedom))
    return freedom * float(scipy.stats.f.isf(level, freedom, sigma_freedom))


def atlas_residual(prepared, means):
    """Residual of the nearest cluster in every voxel and the degrees of freedom behind it.

    Parameters
    ----------
    prepared : PreparedMember
    means : (n_clusters, n_ranks) array
        Signals of the clusters, gain included; with latent scales each voxel takes its best scale.

    Returns
    -------
    residual : (n_voxels,) array
        Root mean square over its expectation.
    freedom : int

    """
    free, n_voxels = prepared.scale_variance > 0, prepared.member.n_voxels
    freedom = max(1, means.shape[1] - free)
    squared, norms = np.empty(n_voxels), (means**2).sum(axis=1)
    with single_threaded_blas():
        for start in range(0, n_voxels, BLOCK):
            part = slice(start, min(start + BLOCK, n_voxels))
            signals, variances, _, _ = prepared.block(part.start, part.stop)
            products = signals @ means.T
            fitted = np.maximum(products, 0) ** 2 / norms if free else 2 * products - norms
            left = np.einsum("nk,nk->n", signals, signals) - fitted.max(axis=1)
            squared[part] = np.maximum(left, 0) / variances
    return np.sqrt(squared / freedom), freedom
