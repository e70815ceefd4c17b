"""Where EM of a group starts: short runs on some voxels of every member."""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.clusters.em_noise import VoxelNoise
from mrspec_prep.spectra.clusters.em_problem import Problem
from mrspec_prep.spectra.clusters.short_runs import first_state
from mrspec_prep.spectra.clusters.starts import START_COLUMNS, START_VOXELS, VISIBLE_SHARE, partition_stability
from mrspec_prep.spectra.compression.levels import coarse_columns
from mrspec_prep.spectra.compression.reduction import ReducedKernel
from mrspec_prep.spectra.group.basis import CommonBasis
from mrspec_prep.spectra.group.sampling import Sample, sample_members
from mrspec_prep.spectra.group.seeds import short_runs
from mrspec_prep.spectra.noise.likelihoods import NoiseModel
from mrspec_prep.threads import single_threaded_blas

GROUP_START_VOXELS = 16_000  # measured: with 4000, a tissue that 0.4 % of the voxels hold was missed in a study of 13
GAIN_ROUNDS = 20


def starting_gains(steps, sample):
    """Gains of the sites if all had the same mean spectrum, by turns of spectrum and gains."""
    if not steps.site_gains or steps.n_sites == 1:
        return np.ones(steps.n_sites)
    plain = replace(steps, scale_variance=0.0, concentration=0.0, places=sample.places)
    state, sums = plain.empty_state(1), sample.statistics([np.ones((n, 1)) for n in sample.places.n_voxels])
    for _ in range(GAIN_ROUNDS):
        plain.maximise(state, sums)
    return state.gains


def first_group_state(steps, prepared, n_clusters, rng, n_starts):
    """State that the EM of a group climbs from; for one member that of ``fit_inspect``.

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
        n_voxels = GROUP_START_VOXELS if len(prepared) > 1 else START_VOXELS
        sample = Sample(sample_members(prepared, rng, n_voxels))
        state = steps.empty_state(n_clusters, starting_gains(steps, sample))
        if len(prepared) == 1:
            found, stability = first_state(_one_problem(steps, sample), n_clusters, rng, n_starts)
        else:
            found, stability = _first_of_many(steps, sample, state.gains, n_clusters, rng, n_starts)
            state.gains = found.gains
        state.probs, state.spectra, state.duals = found.probs, found.spectra, found.duals
        state.proportions[:] = found.probs
        steps.refresh(state)
    return state, stability


def _one_problem(steps, sample):
    """Sampled voxels of one member as the problem of its image."""
    one = sample.prepared[0]
    noise, n_voxels = None, one.member.n_voxels
    if one.member.degrees_of_freedom is not None:
        model = NoiseModel("student-t", degrees_of_freedom=one.member.degrees_of_freedom)
        noise = VoxelNoise(model, None, one.energies)
    return Problem(
        steps.basis.pooled, one.member.signals, one.variances, np.ones(n_voxels), np.zeros(n_voxels), one.n_encodings,
        steps.alpha, "exact", steps.scale_variance, 1, noise, prior_voxels=steps.prior_voxels,
    )  # fmt: skip


def _first_of_many(steps, sample, gains, n_clusters, rng, n_starts):
    """Short runs on merged columns; the best one's voxels give the spectra on the whole grid."""
    on_sample = replace(steps, places=sample.places, executor=sample, concentration=0.0)
    small = replace(on_sample, basis=_merged(steps.basis, sample))
    runs = short_runs(small, sample, gains, n_clusters, rng, n_starts)
    found = [sample.responsibilities(small.sent(run)) for run in runs]
    state = on_sample.empty_state(n_clusters, runs[0].gains)
    on_sample.maximise(state, sample.statistics(found[0]))
    return state, partition_stability([np.concatenate(shares).argmax(axis=1) for shares in found])


def _merged(basis, sample):
    """The common basis on merged columns and the ranks that show above the noise."""
    pooled = basis.pooled
    if pooled.n_bins <= START_COLUMNS:
        return basis
    noise = np.median(np.concatenate([np.sqrt(one.variances) for one in sample.prepared]))
    level = np.median(np.concatenate([np.sqrt(one.energies / one.n_encodings) for one in sample.prepared]))
    columns, kept = coarse_columns(pooled, (VISIBLE_SHARE * float(noise / level)) ** 2, START_COLUMNS, 1.0)
    small = ReducedKernel(
        np.ascontiguousarray(columns.T), pooled.projection[:, :kept], pooled.singular_values[:kept], columns
    )
    return CommonBasis(small, [one[:, :kept] for one in basis.maps])
