"""Short runs of a group's EM from seeds far apart, and clusters moved from where they are spare to where they lack."""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.short_runs import (
    AGREEING_STARTS,
    FINALIST_STEPS,
    FINALISTS,
    START_STEPS,
    START_TOLERANCE,
)
from mrspec_prep.spectra.voxelwise.nnls import solve_one

SEED_FLOOR = 1e-6  # of the largest squared singular value: the least alpha of a seed's spectrum
SPARE = 3  # clusters, of those that would be missed least, that are tried elsewhere
OFF = -1e300  # log probability of a cluster that is left out


def short_runs(steps, sample, gains, n_clusters, rng, n_starts):
    """States that short runs lead to, by falling penalised likelihood; ends early where several agree.

    Parameters
    ----------
    steps : GroupSteps
        Of the sample.
    sample : Sample
    gains : (n_sites,) array
    n_clusters : int
    rng : numpy.random.Generator
    n_starts : int

    Returns
    -------
    list of GroupState

    """
    runs = []
    while len(runs) < n_starts:
        states = []
        for _ in range(min(AGREEING_STARTS, n_starts - len(runs))):
            owners = spread_owners(steps, sample, gains, n_clusters, rng)
            shares = [np.eye(n_clusters)[owner] for owner in owners]
            states.append(_state_of(steps, sample, shares, gains))
        runs += [(one.trace[-1], one.state) for one in climb(steps, states, START_STEPS, START_TOLERANCE)]
        values = np.array([value for value, _ in runs])
        if (values > values.max() - START_TOLERANCE * steps.n_voxels).sum() >= AGREEING_STARTS:
            break
    runs.sort(key=lambda run: -run[0])
    finalists = climb(steps, [state for _, state in runs[:FINALISTS]], FINALIST_STEPS, START_TOLERANCE / 10)
    runs[:FINALISTS] = [(one.trace[-1], one.state) for one in finalists]
    runs.sort(key=lambda run: -run[0])
    runs[0] = moved(steps, sample, *runs[0])
    return [state for _, state in runs]


def _state_of(steps, sample, shares, gains):
    """State of given responsibilities."""
    state = steps.empty_state(shares[0].shape[1], gains)
    steps.maximise(state, sample.statistics(shares))
    return state


def moved(steps, sample, value, state):
    """Take a cluster away and split another (Ueda et al. 2000), as long as a short run from there is better.

    Returns
    -------
    value : float
        Penalised log-likelihood.
    state : GroupState

    """
    n_clusters = len(state.probs)
    for _ in range(n_clusters if n_clusters > 1 else 0):
        trials = []
        for shares, spare in _without_one(steps, sample, state):
            for m in range(n_clusters):
                if m != spare:
                    trials.append(_state_of(steps, sample, split(steps, sample, state, shares, m, spare), state.gains))
        runs = climb(steps, trials, START_STEPS, START_TOLERANCE)
        best = max(runs, key=lambda run: run.trace[-1])
        [best] = climb(steps, [best.state], FINALIST_STEPS, START_TOLERANCE / 10)
        if not best.trace[-1] > value + START_TOLERANCE * steps.n_voxels:
            break
        value, state = best.trace[-1], best.state
    return value, state


def _without_one(steps, sample, state):
    """Responsibilities without each of the clusters that would be missed least, and which one it is."""
    sent = steps.sent(state)
    others = []
    for m in range(len(state.probs)):
        log_probs = sent.log_probs.copy()
        log_probs[:, m] = OFF
        others.append(replace(sent, log_probs=log_probs))
    found = zip(*sample.expect(others), strict=True)
    left = np.array([sum(one.log_likelihood for one in members) for members in found])
    for m in np.argsort(-left, kind="stable")[:SPARE]:
        yield sample.responsibilities(others[m]), int(m)


def split(steps, sample, state, shares, m, free):
    """Responsibilities where cluster ``m`` is cut across its widest direction, half of it given to cluster ``free``.

    The widest direction of the residuals is that of each protocol's voxels; their signs are made to agree through
    the common basis.
    """
    predicted, reference, cut = steps.basis.predicted(state.means), None, [share.copy() for share in shares]
    for protocol, mean in enumerate(predicted):
        chosen = [i for i, one in enumerate(sample.members) if one.protocol == protocol]
        residuals, covariance = [], 0.0
        for i in chosen:
            one, gain = sample.prepared[i], state.gains[sample.members[i].site]
            residual = _residuals(one.member.signals, gain * mean[m], steps.scale_variance > 0)
            residuals.append(residual)
            weights = shares[i][:, m] / one.variances
            covariance = covariance + (residual * weights[:, None]).T @ residual
        if not chosen:
            continue
        direction = np.linalg.eigh(covariance)[1][:, -1]
        common = steps.basis.maps[protocol].T @ direction
        reference = common if reference is None else reference
        sign = 1.0 if common @ reference >= 0 else -1.0
        for i, residual in zip(chosen, residuals, strict=True):
            up = sign * (residual @ direction) > 0
            cut[i][:, free] = np.where(up, shares[i][:, m], 0.0)
            cut[i][:, m] = np.where(up, 0.0, shares[i][:, m])
    return cut


def _residuals(signals, mean, free):
    """What a cluster's signal leaves of every voxel's, at the voxel's best scale where that is free."""
    norm = float(mean @ mean)
    if free and norm > 0:
        return signals - np.outer(signals @ mean / norm, mean)
    return signals - mean


def spread_owners(steps, sample, gains, n_clusters, rng):
    """For each group of members the nearest of seeds drawn far apart, by squared-distance sampling over all voxels.

    A seed is a voxel's own spectrum, which tells its signals under every protocol; of a few candidates for each the
    one that leaves the voxels nearest is taken (Arthur and Vassilvitskii 2007).
    """
    sizes = sample.places.n_voxels
    starts, n_candidates = np.cumsum(sizes) - sizes, 2 + int(np.log(n_clusters))

    def distances(voxel):
        i = int(np.searchsorted(starts, voxel, side="right")) - 1
        mean = _seed_mean(steps, sample, i, voxel - starts[i], gains)
        predicted, found = steps.basis.predicted(mean[None]), []
        for one in sample.prepared:
            signal = gains[one.member.site] * predicted[one.member.protocol][0]
            found.append(_squared_distances(one, signal, steps.scale_variance > 0))
        return np.concatenate(found)

    n_voxels = int(sizes.sum())
    owner, nearest = np.zeros(n_voxels, int), distances(int(rng.integers(n_voxels)))
    for m in range(1, n_clusters):
        total = nearest.sum()
        chances = nearest / total if total > 0 else None
        tried = [distances(int(voxel)) for voxel in rng.choice(n_voxels, n_candidates, p=chances)]
        best = min(tried, key=lambda found: float(np.minimum(found, nearest).sum()))
        owner, nearest = np.where(best < nearest, m, owner), np.minimum(nearest, best)
    return np.split(owner, starts[1:])


def _seed_mean(steps, sample, i, voxel, gains):
    """Signals in the common basis of one voxel's regularised spectrum."""
    one = sample.prepared[i]
    weights, targets = np.zeros(len(steps.basis.maps)), [np.zeros(len(part)) for part in steps.basis.maps]
    weights[one.member.protocol] = 1.0
    targets[one.member.protocol] = one.member.signals[voxel] / gains[one.member.site]
    reduced, target = steps.basis.problem(weights, targets)
    spectrum = np.zeros(reduced.n_bins)
    alpha = max(steps.alpha * float(one.variances[voxel]), SEED_FLOOR * reduced.singular_values[0] ** 2)
    solve_one(reduced, target, alpha, spectrum, target.copy())
    return steps.signals_of(spectrum[None])[0]


def _squared_distances(one, mean, free):
    """Squared distance of every voxel to a signal, at its best scale where that is free, in units of the noise."""
    signals = one.member.signals
    norm, products = float(mean @ mean), signals @ mean
    energies = np.einsum("nk,nk->n", signals, signals)
    if free:
        fitted = np.maximum(products, 0.0) ** 2 / norm if norm > 0 else np.zeros(len(signals))
    else:
        fitted = 2 * products - norm
    return np.maximum(energies - fitted, 0.0) / one.variances
