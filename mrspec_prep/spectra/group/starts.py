"""Where EM of a group starts: short runs on some voxels of every member, from seeds far apart."""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_noise import voxel_noise
from mrspec_prep.spectra.clusters.em_problem import Problem
from mrspec_prep.spectra.clusters.short_runs import (
    AGREEING_STARTS,
    FINALIST_STEPS,
    FINALISTS,
    START_STEPS,
    START_TOLERANCE,
    first_state,
)
from mrspec_prep.spectra.clusters.starts import START_COLUMNS, START_VOXELS, partition_stability
from mrspec_prep.spectra.compiled import single_threaded_blas
from mrspec_prep.spectra.compression.levels import coarse_columns
from mrspec_prep.spectra.compression.reduction import ReducedKernel
from mrspec_prep.spectra.group.basis import CommonBasis
from mrspec_prep.spectra.group.passes import Statistics, member_responsibilities, member_statistics
from mrspec_prep.spectra.group.steps import Places
from mrspec_prep.spectra.noise.likelihoods import NoiseModel
from mrspec_prep.spectra.voxelwise.nnls import solve_one

SEED_FLOOR = 1e-6  # of the largest squared singular value: the least alpha of a seed's spectrum
GAIN_ROUNDS = 20


def sample_members(prepared, rng, n_voxels=START_VOXELS):
    """Some voxels of every member, as many of each as there are.

    Parameters
    ----------
    prepared : list of PreparedMember
    rng : numpy.random.Generator
    n_voxels : int
        In all, at least one of each member.

    Returns
    -------
    list of PreparedMember
        In memory, in the units of the whole members.

    """
    sizes = np.array([one.member.n_voxels for one in prepared])
    wanted = _equal_shares(sizes, max(n_voxels, len(sizes)))
    samples = []
    for one, size, count in zip(prepared, sizes, wanted, strict=True):
        chosen = np.arange(size) if count == size else np.sort(rng.choice(size, count, replace=False))
        samples.append(replace(one, member=one.member.take(chosen), constant=0.0))
    return samples


def _equal_shares(sizes, total):
    """As equal numbers as the sizes allow, with this sum at most."""
    wanted = np.zeros(len(sizes), int)
    while (rest := total - wanted.sum()) > 0 and (open_ := np.flatnonzero(wanted < sizes)).size:
        share = max(1, rest // len(open_))
        wanted[open_[:rest]] = np.minimum(wanted + share, sizes)[open_[:rest]]
    return wanted


class Sample:
    """Sampled members as an executor: everything in memory, one thread."""

    def __init__(self, prepared):
        self.prepared = prepared
        self.blocks = [one.block(0, one.member.n_voxels) for one in prepared]
        members = [one.member for one in prepared]
        self.places = Places(
            np.array([one.protocol for one in members]), np.array([one.site for one in members]),
            np.array([one.n_voxels for one in members]),
        )  # fmt: skip

    def expect(self, sent):
        """For each member a list over the states of ``Statistics``."""
        return [member_statistics(one, i, sent) for i, one in enumerate(self.prepared)]

    def statistics(self, responsibilities):
        """``Statistics`` of each member from given responsibilities (voxel scales 1)."""
        found = []
        for (signals, variances, _, _), shares in zip(self.blocks, responsibilities, strict=True):
            counts, weighted = shares.sum(axis=0), shares / variances[:, None]
            found.append(Statistics(0.0, np.stack([counts] * 3), weighted.sum(axis=0), weighted.T @ signals))
        return found


def starting_gains(steps, sample):
    """Gains of the sites if all had the same mean spectrum, by turns of spectrum and gains."""
    gains, one = np.ones(steps.n_sites), [np.ones((n, 1)) for n in sample.places.n_voxels]
    if not steps.site_gains or steps.n_sites == 1:
        return gains
    plain = replace(steps, scale_variance=0.0, concentration=0.0, places=sample.places)
    state, sums = plain.empty_state(1), sample.statistics(one)
    for _ in range(GAIN_ROUNDS):
        plain.maximise(state, sums)
    return state.gains


def first_group_state(steps, prepared, n_clusters, rng, n_starts):
    """State that the EM of a group climbs from.

    Parameters
    ----------
    steps : GroupSteps
        Of all voxels.
    prepared : list of PreparedMember
    n_clusters : int
    rng : numpy.random.Generator
    n_starts : int

    Returns
    -------
    state : GroupState
    stability : float
        Mean adjusted Rand index between the partition of the best short run and those of the others.

    """
    with single_threaded_blas():
        sample = Sample(sample_members(prepared, rng))
        gains = starting_gains(steps, sample)
        state = steps.empty_state(n_clusters, gains)
        if len(steps.basis.maps) == 1:
            found, stability = first_state(_one_problem(steps, sample, gains), n_clusters, rng, n_starts)
            state.probs, state.spectra, state.duals = found.probs, found.spectra, found.duals
            state.proportions[:] = found.probs
        else:
            stability = _mixed_protocols(steps, sample, state, rng, n_starts)
        steps.refresh(state)
    return state, stability


def _one_problem(steps, sample, gains):
    """Sampled voxels of members with one protocol as the problem of one image, gains taken out."""
    signals, variances, energies = (np.concatenate([block[k] for block in sample.blocks]) for k in range(3))
    factor = np.repeat(gains[sample.places.site], sample.places.n_voxels)
    signals, variances, energies = signals / factor[:, None], variances / factor**2, energies / factor**2
    freedoms = {one.member.degrees_of_freedom for one in sample.prepared}
    units, noise = np.ones(len(signals)), None
    if len(freedoms) == 1 and None not in freedoms:
        model = NoiseModel("student-t", degrees_of_freedom=freedoms.pop())
        noise = voxel_noise(model, signals, units, energies)
    n_encodings = sample.prepared[0].n_encodings
    return Problem(
        steps.basis.pooled, signals, variances, units, np.zeros(len(signals)), n_encodings, steps.alpha, "exact",
        steps.scale_variance, 1, noise, prior_voxels=steps.prior_voxels,
    )  # fmt: skip


def _mixed_protocols(steps, sample, state, rng, n_starts):
    """Short runs on the sample and merged columns; fills the state and returns the stability."""
    n_clusters = len(state.probs)
    on_sample = replace(steps, places=sample.places, executor=sample)
    small = replace(on_sample, basis=_merged(steps.basis, steps.alpha, sample))
    runs = _short_runs(small, sample, state.gains, n_clusters, rng, n_starts)
    found = []
    for run in runs:
        sent, ones = small.sent(run), np.ones(n_clusters)
        found.append([member_responsibilities(one, i, sent, ones)[0] for i, one in enumerate(sample.prepared)])
    state.gains = runs[0].gains
    on_sample.maximise(state, sample.statistics(found[0]))
    return partition_stability([np.concatenate(shares).argmax(axis=1) for shares in found])


def _short_runs(steps, sample, gains, n_clusters, rng, n_starts):
    """States that short runs from spread-out seeds lead to, best first; ends early where several agree."""
    runs = []
    while len(runs) < n_starts:
        states = []
        for _ in range(min(AGREEING_STARTS, n_starts - len(runs))):
            owners = _spread_owners(steps, sample, gains, n_clusters, rng)
            states.append(steps.empty_state(n_clusters, gains))
            steps.maximise(states[-1], sample.statistics([np.eye(n_clusters)[owner] for owner in owners]))
        runs += [(one.trace[-1], one.state) for one in climb(steps, states, START_STEPS, START_TOLERANCE)]
        values = np.array([value for value, _ in runs])
        if (values > values.max() - START_TOLERANCE * steps.n_voxels).sum() >= AGREEING_STARTS:
            break
    else:
        runs.sort(key=lambda run: -run[0])
        finalists = climb(steps, [state for _, state in runs[:FINALISTS]], FINALIST_STEPS, START_TOLERANCE / 10)
        runs[:FINALISTS] = [(one.trace[-1], one.state) for one in finalists]
    return [state for _, state in sorted(runs, key=lambda run: -run[0])]


def _merged(basis, alpha, sample):
    """The common basis on merged columns."""
    pooled = basis.pooled
    if pooled.n_bins <= START_COLUMNS:
        return basis
    precision = np.mean([np.median(1 / block[1]) for block in sample.blocks])
    columns, kept = coarse_columns(pooled, alpha / precision, START_COLUMNS, 1.0)
    small = ReducedKernel(
        np.ascontiguousarray(columns.T), pooled.projection[:, :kept], pooled.singular_values[:kept], columns
    )
    return CommonBasis(small, [one[:, :kept] for one in basis.maps])


def _spread_owners(steps, sample, gains, n_clusters, rng):
    """For each member the nearest of seeds drawn far apart, by squared-distance sampling over all voxels.

    A seed is a voxel's own spectrum, which tells its signals under every protocol (Arthur and Vassilvitskii 2007).
    """
    sizes = sample.places.n_voxels
    starts, n_candidates = np.cumsum(sizes) - sizes, 2 + int(np.log(n_clusters))

    def distances(voxel):
        i = int(np.searchsorted(starts, voxel, side="right")) - 1
        mean = _seed_mean(steps, sample, i, voxel - starts[i], gains)
        predicted, found = steps.basis.predicted(mean[None]), []
        for k, block in enumerate(sample.blocks):
            site, protocol = sample.places.site[k], sample.places.protocol[k]
            found.append(_squared_distances(block, gains[site] * predicted[protocol][0], steps.scale_variance > 0))
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
    signals, variances, _, _ = sample.blocks[i]
    protocol = int(sample.places.protocol[i])
    weights, targets = np.zeros(len(steps.basis.maps)), [np.zeros(len(one)) for one in steps.basis.maps]
    weights[protocol] = 1.0
    targets[protocol] = signals[voxel] / gains[sample.places.site[i]]
    reduced, target = steps.basis.problem(weights, targets)
    spectrum = np.zeros(reduced.n_bins)
    alpha = max(steps.alpha * float(variances[voxel]), SEED_FLOOR * reduced.singular_values[0] ** 2)
    solve_one(reduced, target, alpha, spectrum, target.copy())
    return steps.signals_of(spectrum[None])[0]


def _squared_distances(block, mean, free):
    """Squared distance of every voxel to a signal, at its best scale where that is free, in units of the noise."""
    signals, variances, _, _ = block
    norm, products = float(mean @ mean), signals @ mean
    energies = np.einsum("nk,nk->n", signals, signals)
    if free:
        fitted = np.maximum(products, 0.0) ** 2 / norm if norm > 0 else np.zeros(len(signals))
    else:
        fitted = 2 * products - norm
    return np.maximum(energies - fitted, 0.0) / variances
