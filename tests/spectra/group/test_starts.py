"""Starts of a group: samples, seeds and the clusters that are moved."""

import numpy as np

from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.prepared import prepare_member
from mrspec_prep.spectra.group.sampling import Sample, sample_members
from mrspec_prep.spectra.group.seeds import moved, short_runs
from mrspec_prep.spectra.group.starts import starting_gains
from mrspec_prep.spectra.group.steps import GroupSteps


def steps_of(group, protocols, scale, n_voxels=4000):
    """Steps on a sample of a group."""
    prepared = [prepare_member(one, protocols[one.protocol], scale) for one in group.members]
    sample = Sample(sample_members(prepared, np.random.default_rng(0), n_voxels))
    basis = common_basis([protocol.reduced for protocol in protocols])
    variance = 0.25 if scale == "profiled" else 0.0
    return GroupSteps(basis, sample.places, sample, 0.01, 10.0, variance, True), sample


def test_a_sample_takes_equally_many_voxels_of_each_member(two_sites, protocols):
    prepared = [prepare_member(one, protocols[one.protocol], "profiled") for one in two_sites.members]
    prepared[0] = prepare_member(two_sites.members[0].take(np.arange(20)), protocols[0], "profiled")
    sizes = [one.member.n_voxels for one in sample_members(prepared, np.random.default_rng(0), 200)]
    assert sizes == [20, 60, 60, 60]
    assert [one.member.n_voxels for one in sample_members(prepared, np.random.default_rng(0), 2)] == [1, 1, 1, 1]


def test_members_alike_count_as_one(two_sites, protocols):
    _, sample = steps_of(two_sites, protocols, "profiled")
    assert sorted(sample.places.n_voxels) == [300, 300]


def test_gains_are_nearly_right_before_the_first_step(two_sites, protocols):
    steps, sample = steps_of(two_sites, protocols, "fixed")
    gains = starting_gains(steps, sample)
    assert abs(gains[1] / gains[0] / 1.4 - 1) < 0.22  # participants hold other proportions


def test_a_cluster_is_moved_from_where_it_is_spare_to_where_it_lacks(two_sites, protocols):
    """From a state that cuts one tissue in two and holds two others as one, to that of the truth."""
    steps, sample = steps_of(two_sites, protocols, "profiled")
    labels = [np.concatenate([two_sites.labels[i] for i in (k, k + 2)]) for k in (0, 1)]
    bad = [np.where(one == 1, 0, one) for one in labels]
    for one in bad:
        one[np.flatnonzero(one == 3)[::2]] = 1
    state = steps.empty_state(4)
    steps.maximise(state, sample.statistics([np.eye(4)[one] for one in bad]))
    value = steps.expect([state])[0][0] + steps.log_prior(state)
    better, found = moved(steps, sample, value, state)
    true = steps.empty_state(4)
    steps.maximise(true, sample.statistics([np.eye(4)[one] for one in labels]))
    best = steps.expect([true])[0][0] + steps.log_prior(true)
    assert best > value + 100
    assert better >= best - 5
    assert np.allclose(np.sort(found.probs), np.sort(true.probs), atol=0.02)


def test_short_runs_come_by_falling_likelihood(two_sites, protocols):
    steps, sample = steps_of(two_sites, protocols, "profiled")
    runs = short_runs(steps, sample, np.ones(2), 4, np.random.default_rng(0), 3)
    values = [steps.expect([run])[0][0] + steps.log_prior(run) for run in runs]
    assert len(runs) >= 3 and values[0] >= max(values) - 1e-6
