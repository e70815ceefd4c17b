"""InSpect of a whole group: common spectra, proportions of each participant, gains of the sites."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import PRIOR_VOXELS, SCALE_VARIANCE
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.members import check_group
from mrspec_prep.spectra.group.passes import Sent, ThreadExecutor, member_responsibilities
from mrspec_prep.spectra.group.prepared import PreparedMember, prepare_member
from mrspec_prep.spectra.group.starts import first_group_state
from mrspec_prep.spectra.group.steps import SMALLEST_PROB, GroupSteps, Places

PROPORTIONS = ("shared", "member")
CONCENTRATION = 20.0  # voxels of the Dirichlet prior that draws members' proportions to the shared ones
CRITERIA = ("bic", "aic")


@dataclass(frozen=True, eq=False)
class GroupResult:
    """Clusters of a group, heaviest first, and their spectra; responsibilities are made when asked for.

    Attributes
    ----------
    spectra : (n_clusters, n_bins) array
        F_m. With ``scale="profiled"`` each sums to one, else in signal units at gain 1.
    cluster_probs : (n_clusters,) array
        p_m: shared by all members, or with ``proportions="member"`` the clusters' share of all voxels.
    member_probs : (n_members, n_clusters) array or None
        Each member's own, with ``proportions="member"`` and several members.
    proportions : (n_members, n_clusters) array
        Mean responsibilities over a member's voxels; rows sum to one.
    gains : (n_sites,) array
        Signal of a site relative to the others: the mean over all voxels of log g is 0. With ``scale="profiled"``
        the geometric mean of its voxels' S0, which holds how much S0 its tissues have.
    scale : str
    log_likelihood : float
        Unpenalised [nats of the signals in their own units].
    n_parameters : float
        M - 1, the spectra's effective degrees of freedom, gains and members' own proportions.
    bic, aic : float
        Smaller is better.
    trace : (n,) array
        Penalised log-likelihood of the states kept.
    n_steps : int
    converged : bool
    stability : float
        Mean adjusted Rand index between the partitions of the best short run and the others.
    sizes : (n_clusters,) array
        What the spectra were divided by.
    unit_gains : (n_sites,) array
        Gains of the members' units, in which ``sizes`` x ``spectra`` predict signals.

    """

    spectra: np.ndarray
    cluster_probs: np.ndarray
    member_probs: np.ndarray | None
    proportions: np.ndarray
    gains: np.ndarray
    scale: str
    log_likelihood: float
    n_parameters: float
    bic: float
    aic: float
    trace: np.ndarray
    n_steps: int
    converged: bool
    stability: float
    sizes: np.ndarray
    unit_gains: np.ndarray


@dataclass(frozen=True, eq=False)
class GroupSelection:
    """Fits of a group over a range of cluster numbers; ``table`` holds equally long arrays."""

    table: dict[str, np.ndarray]
    best: int
    criterion: str
    fits: dict[int, GroupResult]


def fit_group(
    members, protocols, n_clusters, alpha=0.01, *, scale="profiled", site_gains=True, proportions="member", seed=0,
    n_starts=20, max_steps=500, concentration=CONCENTRATION, prior_voxels=PRIOR_VOXELS, executor=None, on_step=None,
    resume=None,
):  # fmt: skip
    """Common spectra of a group, by expectation-maximisation over all participants at once.

    Parameters
    ----------
    members : list of Member
    protocols : list of Protocol
        On one grid.
    n_clusters : int
        M.
    alpha : float
        Weight of the spectra's 2-norm (paper 1, Eq. 16).
    scale : str
        ``profiled``: every voxel has its own S0, with a normal prior around its site's, integrated out;
        ``fixed``: signals have S0 about 1 up to the site's gain.
    site_gains : bool
        A gain for each site, where there are several.
    proportions : str
        ``member``: each member has its own p, with a Dirichlet prior around a shared one (measured, docs/
        group_method.md: a tissue that few participants have is found better); ``shared``: one p for all voxels, as
        in the paper. One member has the shared ones.
    seed : int or numpy.random.Generator
        For the starts.
    n_starts : int
        Short runs on about 16,000 voxels, equally many of each member.
    max_steps : int
    concentration : float
        Voxels that the Dirichlet prior of ``proportions="member"`` counts.
    prior_voxels : float
        That each cluster is given beforehand.
    executor : object, optional
        With ``levels()`` and ``expect(sent)`` as ``ThreadExecutor``, over the same members in the same order; by
        default threads of this process. The result does not depend on it.
    on_step : callable, optional
        Called after every pass with a list of dicts of arrays, from which ``resume`` goes on.
    resume : list of dict of arrays, optional

    Returns
    -------
    GroupResult

    Raises
    ------
    ValueError
        Members and protocols that do not belong together, values no fit can use, settings out of range, more
        clusters than voxels, a ``resume`` of another fit.

    """
    seeds = {n_clusters: np.random.default_rng(seed)}
    settings = (alpha, scale, site_gains, proportions, n_starts, max_steps, concentration, prior_voxels)
    return _fit(members, protocols, seeds, settings, executor, on_step, resume)[n_clusters]


def select_group(
    members, protocols, candidates=range(2, 11), alpha=0.01, *, criterion="bic", scale="profiled", site_gains=True,
    proportions="member", seed=0, n_starts=20, max_steps=500, concentration=CONCENTRATION, prior_voxels=PRIOR_VOXELS,
    executor=None, on_step=None, resume=None,
):  # fmt: skip
    """``fit_group`` for several numbers of clusters in the same passes, and the best by BIC or AIC.

    BIC = k ln n - 2 l with n the number of volumes of all voxels. A fit does not depend on which others are tried.

    Returns
    -------
    GroupSelection

    Raises
    ------
    ValueError
        No candidate, an unknown criterion, or what ``fit_group`` raises.

    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
    numbers = sorted({int(m) for m in candidates})
    if not numbers:
        raise ValueError("candidates hold no number of clusters")
    seeds = {m: np.random.default_rng([seed, m]) for m in numbers}
    settings = (alpha, scale, site_gains, proportions, n_starts, max_steps, concentration, prior_voxels)
    fits = _fit(members, protocols, seeds, settings, executor, on_step, resume)
    names = ("log_likelihood", "n_parameters", "bic", "aic", "n_steps", "converged", "stability")
    table = {"n_clusters": np.array(numbers)}
    table.update({name: np.array([getattr(fits[m], name) for m in numbers]) for name in names})
    return GroupSelection(table, numbers[int(np.argmin(table[criterion]))], criterion, fits)


def _fit(members, protocols, seeds, settings, executor, on_step, resume):
    """Fits for several numbers of clusters, each with its random stream."""
    alpha, scale, site_gains, proportions, n_starts, max_steps, concentration, prior_voxels = settings
    check_group(members, protocols, scale)
    _check_settings(seeds, members, alpha, proportions, concentration, prior_voxels, n_starts, max_steps)
    executor = executor or ThreadExecutor(members, protocols, scale)
    levels = executor.levels()
    places = Places(*(np.array([getattr(one, name) for one in members]) for name in ("protocol", "site", "n_voxels")))
    used = sorted(set(places.protocol.tolist()))
    if len(used) < len(protocols):
        raise ValueError(f"protocols {sorted(set(range(len(protocols))) - set(used))} have no member")
    basis = common_basis([protocol.reduced for protocol in protocols], np.bincount(places.protocol, places.n_voxels))
    variance = SCALE_VARIANCE if scale == "profiled" else 0.0
    own = concentration if proportions == "member" and len(members) > 1 else 0.0
    steps = GroupSteps(basis, places, executor, float(alpha), float(prior_voxels), variance, site_gains, own)
    stability, states = {}, []
    if resume is None:
        prepared = [
            PreparedMember(member, protocols[member.protocol].n_encodings, variance, level.typical, level.norm_of_one)
            for member, level in zip(members, levels, strict=True)
        ]
        for m, rng in seeds.items():
            state, stability[m] = first_group_state(steps, prepared, m, rng, n_starts)
            states.append(state)
    else:
        resume = list(resume)
        states = [steps.empty_state(m) for m in seeds]
        stability = {m: float(values["stability"]) for m, values in zip(seeds, resume, strict=True)}
        resume = [{name: array for name, array in values.items() if name != "stability"} for values in resume]

    def noted(climbs):
        on_step([{**values, "stability": np.array(stability[m])} for m, values in zip(seeds, climbs, strict=True)])

    climbs = climb(steps, states, max_steps, on_step=None if on_step is None else noted, resume=resume)
    found = steps.expect([one.state for one in climbs])
    n_data = sum(member.n_voxels * protocols[member.protocol].n_encodings for member in members)
    fits = {}
    for m, one, expected in zip(seeds, climbs, found, strict=True):
        fits[m] = replace(_result(steps, one, expected, levels, n_data, scale), stability=stability[m])
    return fits


def _check_settings(seeds, members, alpha, proportions, concentration, prior_voxels, n_starts, max_steps):
    """Refuse settings out of range, in words."""
    if not (np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha}")
    if proportions not in PROPORTIONS:
        raise ValueError(f"proportions must be one of {', '.join(PROPORTIONS)}, got {proportions!r}")
    if not (np.isfinite(concentration) and concentration > 0):
        raise ValueError(f"concentration must be a finite number > 0, got {concentration}")
    if not (np.isfinite(prior_voxels) and prior_voxels >= 0):
        raise ValueError(f"prior_voxels must be a finite number >= 0, got {prior_voxels}")
    if n_starts < 1 or max_steps < 1:
        raise ValueError(f"n_starts and max_steps must be >= 1, got {n_starts} and {max_steps}")
    n_voxels = sum(member.n_voxels for member in members)
    for m in seeds:
        if not 1 <= m <= n_voxels:
            raise ValueError(f"n_clusters must be between 1 and the number of voxels, {n_voxels}; got {m}")


def _result(steps, one, expected, levels, n_data, scale):
    """Criteria, units and order of the clusters."""
    state, (log_likelihood, members) = one.state, expected
    site_totals = steps.totals(members)
    weights, _ = steps.cluster_sums(state.gains, site_totals)
    counts = np.array([sums.moments[0] for sums in members])
    totals = state.spectra.sum(axis=1)
    probs = counts.sum(axis=0) / counts.sum() if len(state.proportions) else state.probs
    order = np.lexsort((-totals, -probs))
    sizes = np.where(totals > 0, totals, 1.0) if scale == "profiled" else np.ones(len(totals))
    n_gains = steps.n_sites - 1 if steps.site_gains else 0
    n_parameters = len(totals) - 1.0 + _freedom(steps, state, weights) + n_gains
    n_parameters += len(state.proportions) * (len(totals) - 1.0)
    return GroupResult(
        spectra=(state.spectra / sizes[:, None])[order],
        cluster_probs=probs[order],
        member_probs=state.proportions[:, order] if len(state.proportions) else None,
        proportions=(counts / counts.sum(axis=1, keepdims=True))[:, order],
        gains=_signal_gains(steps, state, site_totals, levels),
        scale=scale,
        log_likelihood=log_likelihood,
        n_parameters=n_parameters,
        bic=n_parameters * np.log(n_data) - 2 * log_likelihood,
        aic=2 * n_parameters - 2 * log_likelihood,
        trace=np.array(one.trace),
        n_steps=len(one.trace) - 1,
        converged=one.converged,
        stability=float("nan"),
        sizes=sizes[order],
        unit_gains=state.gains,
    )


def _freedom(steps, state, weights):
    """sum_m tr[K_A (K_A'K_A + alpha_m I)^-1 K_A'], A the bins in use, K the stacked kernel of the cluster."""
    total = 0.0
    nothing = [np.zeros(len(one)) for one in steps.basis.maps]
    for spectrum, shares in zip(state.spectra, weights.T, strict=True):
        used = spectrum > 0
        if used.any() and shares.sum() > 0:
            reduced, _ = steps.basis.problem(shares, nothing)
            values = np.linalg.svd(reduced.columns[used], compute_uv=False) ** 2
            values = values[values > 1e-14 * values[0]]
            total += float((values / (values + steps.alpha / shares.sum())).sum())
    return total


def _signal_gains(steps, state, totals, levels):
    """Gains of the sites in signal units, mean logarithm over all voxels 0.

    Latent scales: the mean log S0 of a site, with log of the mean scale of each cluster there.
    """
    places = steps.places
    n_voxels = np.bincount(places.site, places.n_voxels)
    logs = np.log(state.gains)
    if steps.scale_variance > 0:
        sizes = np.log(np.maximum(state.spectra.sum(axis=1), SMALLEST_PROB))
        log_levels = np.array([one.log_level for one in levels])
        logs = logs + np.bincount(places.site, places.n_voxels * log_levels) / n_voxels
        for (site, _), (moments, _, _) in totals.items():
            used = moments[1] > 0
            mean = np.log(moments[1][used] / moments[0][used]) + sizes[used]
            logs[site] += moments[0][used] @ mean / n_voxels[site]
    return np.exp(logs - (n_voxels @ logs) / n_voxels.sum())


def responsibilities_of(member, protocol, result, index=None):
    """Responsibilities of every voxel of a member, and its scale.

    Parameters
    ----------
    member : Member
        With its site's index.
    protocol : Protocol
        Of this member.
    result : GroupResult
    index : int, optional
        Of the member in the group; needed where members have proportions of their own.

    Returns
    -------
    responsibilities : (n_voxels, n_clusters) array
        w_nm; rows sum to one.
    scale : (n_voxels,) array
        With ``scale="profiled"`` the voxel's S0 over its site's gain [signal units], else ones.

    Raises
    ------
    ValueError
        Members with own proportions and no index, or a member that the protocol or the result does not fit.

    """
    if result.member_probs is not None and index is None:
        raise ValueError("members have proportions of their own: give the index of the member in the group")
    if member.site >= len(result.gains):
        raise ValueError(f"the member is of site {member.site}, the result has {len(result.gains)} sites")
    alone = replace(member, protocol=0, site=0)
    check_group([alone], [protocol], result.scale)
    probs = result.cluster_probs if result.member_probs is None else result.member_probs[index]
    means = (result.sizes[:, None] * result.spectra) @ protocol.reduced.columns
    sent = Sent(np.log(np.maximum(probs, SMALLEST_PROB))[None], [means], result.unit_gains[[member.site]])
    prepared = prepare_member(alone, protocol, result.scale)
    shares, scale = member_responsibilities(prepared, 0, sent, result.sizes)
    if result.scale == "fixed":
        return shares, np.ones(member.n_voxels)
    return shares, scale * result.unit_gains[member.site] / result.gains[member.site]
