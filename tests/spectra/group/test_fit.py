"""EM of a group: the laws it keeps, the one-image fit it must equal, and the truth it must find."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.inspect_em import fit_problem
from mrspec_prep.spectra.clusters.starts import adjusted_rand_index
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.fit import fit_group, responsibilities_of, select_group
from mrspec_prep.spectra.group.members import Member, Protocol
from mrspec_prep.spectra.group.passes import ThreadExecutor
from mrspec_prep.spectra.group.prepared import prepare_member
from mrspec_prep.spectra.group.steps import GroupSteps, Places
from mrspec_prep.spectra.noise.likelihoods import NoiseModel


def rand(group, protocols, fit):
    """Adjusted Rand index of all voxels of the group."""
    found = [
        responsibilities_of(one, protocols[one.protocol], fit, i)[0].argmax(axis=1)
        for i, one in enumerate(group.members)
    ]
    return adjusted_rand_index(np.concatenate(found), np.concatenate(group.labels))


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("freedom", [None, 5.0])
def test_one_member_is_the_fit_of_its_image(world, protocols, scale, freedom):
    signals = world.simulate(
        np.random.default_rng(0).choice(4, 250), scales=np.random.default_rng(1).uniform(0.9, 1.1, 250)
    )
    member = world.member_of(signals, freedom=freedom)
    noise = None if freedom is None else NoiseModel("student-t", degrees_of_freedom=freedom)
    units = prepare_member(member, protocols[0], scale).block(0, 250)[3]
    problem = make_problem(signals, protocols[0].reduced, world.noise_std, scale=scale, noise=noise, units=units)
    image = fit_problem(problem, {4: np.random.default_rng(5)})[4]
    group = fit_group([member], protocols[:1], 4, scale=scale, seed=5)
    assert np.allclose(group.spectra, image.spectra, rtol=0, atol=1e-8 * image.spectra.max())
    assert np.allclose(group.cluster_probs, image.cluster_probs, rtol=0, atol=1e-8)
    for name in ("log_likelihood", "bic", "n_parameters", "stability"):
        assert getattr(group, name) == pytest.approx(getattr(image, name), rel=1e-8)
    shares, scales = responsibilities_of(member, protocols[0], group)
    assert np.allclose(shares, image.responsibilities, rtol=0, atol=1e-8)
    assert np.allclose(scales, image.scale, rtol=1e-8)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("proportions", ["shared", "member"])
def test_two_protocols_and_sites_find_the_truth_and_never_fall(two_sites, protocols, scale, proportions):
    fit = fit_group(two_sites.members, protocols, 4, scale=scale, proportions=proportions)
    assert rand(two_sites, protocols, fit) > 0.98
    # latent scales: the same tissue has other units under another protocol, and a site's gain takes their mean
    assert fit.gains[1] / fit.gains[0] == pytest.approx(1.4, rel=0.02 if scale == "fixed" else 0.04)
    weights = np.array([300, 300])
    assert weights @ np.log(fit.gains) == pytest.approx(0, abs=1e-9)
    assert (np.diff(fit.trace) >= -1e-9 * abs(fit.trace[-1])).all() and len(fit.trace) > 1
    assert np.allclose(fit.proportions.sum(axis=1), 1)
    counts = np.array([np.sort(np.bincount(one, minlength=4)) / len(one) for one in two_sites.labels])
    assert np.abs(np.sort(fit.proportions, axis=1) - counts).max() < 0.02


def test_gains_far_from_one_climb_to_the_truth(two_sites, protocols):
    """Monotone from a bad start too: every M-step, without leaps, from equal gains and random responsibilities."""
    members = two_sites.members
    executor = ThreadExecutor(members, protocols, "profiled", 1)
    places = Places(*(np.array([getattr(m, name) for m in members]) for name in ("protocol", "site", "n_voxels")))
    basis = common_basis([protocol.reduced for protocol in protocols])
    steps = GroupSteps(basis, places, executor, 0.01, 10.0, 0.25, True, 20.0)
    state, rng = steps.empty_state(3), np.random.default_rng(0)
    state.spectra = rng.uniform(0, 1, state.spectra.shape) / 50
    steps.refresh(state)
    values = []
    for _ in range(60):
        [(log_likelihood, sums)] = steps.expect([state])
        values.append(log_likelihood + steps.log_prior(state))
        steps.maximise(state, sums)
    assert (np.diff(values) >= -1e-9 * abs(values[-1])).all()
    assert values[-1] > values[0] + 1000


def test_the_result_does_not_depend_on_threads_or_on_the_kind_of_array(one_protocol, protocols, tmp_path):
    members = [replace(m, signals=m.signals.astype(np.float32)) for m in one_protocol.members]
    mapped = []
    for i, member in enumerate(members):
        np.save(tmp_path / f"{i}.npy", member.signals)
        mapped.append(replace(member, signals=np.load(tmp_path / f"{i}.npy", mmap_mode="r")))
    one = fit_group(members, protocols[:1], 4, executor=ThreadExecutor(members, protocols, n_threads=1))
    four = fit_group(mapped, protocols[:1], 4, executor=ThreadExecutor(mapped, protocols, n_threads=4))
    assert one.spectra.tobytes() == four.spectra.tobytes()
    assert one.proportions.tobytes() == four.proportions.tobytes()


@pytest.mark.long
def test_a_fit_resumed_after_any_pass_ends_in_the_same_bytes(two_sites, protocols):
    written = []

    def note(climbs):
        written.append([{name: np.array(array) for name, array in values.items()} for values in climbs])

    whole = fit_group(two_sites.members, protocols, 5, proportions="member", max_steps=8, on_step=note)
    assert len(written) > 2
    for climbs in written[1 :: max(1, len(written) // 2)]:
        resumed = fit_group(two_sites.members, protocols, 5, proportions="member", max_steps=8, resume=climbs)
        assert resumed.spectra.tobytes() == whole.spectra.tobytes()
        assert resumed.trace.tobytes() == whole.trace.tobytes()
        assert resumed.stability == whole.stability


def test_proportions_of_a_member_without_a_tissue(one_protocol, protocols):
    fit = fit_group(one_protocol.members, protocols[:1], 4, proportions="member")
    truth = np.array([np.bincount(one, minlength=4) / len(one) for one in one_protocol.labels])
    order = [int(np.abs(truth - fit.proportions[:, [m]]).sum(axis=0).argmin()) for m in range(4)]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.abs(fit.proportions - truth[:, order]).max() < 0.02
    assert np.abs(fit.member_probs - truth[:, order]).max() < 0.1
    sizes = np.array([member.n_voxels for member in one_protocol.members])
    assert np.allclose(fit.cluster_probs, sizes @ fit.proportions / sizes.sum())
    assert (np.diff(fit.cluster_probs) <= 0).all()


def test_the_number_of_clusters_is_chosen(one_protocol, protocols):
    found = select_group(one_protocol.members, protocols[:1], range(2, 6))
    assert found.best == 4
    alone = fit_group(one_protocol.members, protocols[:1], 4, seed=[0, 4])
    assert np.allclose(found.fits[4].spectra, alone.spectra, rtol=0, atol=1e-10)


def test_a_tissue_is_one_cluster_where_groups_hold_different_shares_of_the_others(world, protocols):
    """Units of a tissue must not depend on what else a participant is made of."""
    rng = np.random.default_rng(8)
    labels = [rng.choice(2, 600, p=[share, 1 - share]) for share in (0.6, 0.6, 0.4, 0.4)]
    members = [world.member_of(world.simulate(one, seed=i)) for i, one in enumerate(labels)]
    found = select_group(members, protocols[:1], (2, 3), n_starts=4)
    assert found.best == 2
    assert rand(SimpleNamespace(members=members, labels=labels), protocols, found.fits[2]) > 0.99


def test_wrong_input_is_refused_in_words(world, one_protocol, protocols):
    good = one_protocol.members[0]
    cases = [
        ([good], protocols[:1], {"n_clusters": 151}, "between 1 and the number of voxels, 150"),
        ([good], protocols[:1], {"scale": "free"}, "scale must be one of"),
        ([good], protocols[:1], {"proportions": "own"}, "proportions must be one of"),
        ([good], protocols[:1], {"alpha": -1}, "alpha must be"),
        ([], protocols[:1], {}, "at least one member"),
        ([good], protocols, {}, r"protocols \[1\] have no member"),
        ([replace(good, protocol=3)], protocols, {}, "refers to protocol 3"),
        ([replace(good, site=2)], protocols[:1], {}, "without a gap"),
        ([replace(good, signals=good.signals[:, :3])], protocols[:1], {}, "3 compressed signals per voxel"),
        ([replace(good, signals=good.signals * np.nan)], protocols[:1], {}, "member 0: 150 voxels hold NaN"),
        ([replace(good, noise_std=0 * good.noise_std)], protocols[:1], {}, "noise_std must be > 0 everywhere"),
        ([replace(good, noise_std=1e-30 * good.noise_std)], protocols[:1], {}, "more than single precision"),
        ([replace(good, signals=0 * good.signals, outside=0 * good.outside)], protocols[:1], {}, "zero everywhere"),
    ]
    for members, scans, settings, words in cases:
        with pytest.raises(ValueError, match=words):
            fit_group(members, scans, **{"n_clusters": 2, **settings})
    for change, words in (({"outside": good.outside[:-1]}, "outside of a member"), ({"degrees_of_freedom": 0}, "> 0")):
        with pytest.raises(ValueError, match=words):
            replace(good, **change)
    with pytest.raises(ValueError, match="ReducedKernel"):
        Protocol(world.kernel(0))
    with pytest.raises(ValueError, match="n_voxels, n_ranks"):
        Member(np.zeros(3), np.ones(3), np.zeros(3))
