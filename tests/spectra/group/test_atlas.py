"""A frozen atlas on new participants."""

import numpy as np
import pytest

from mrspec_prep.spectra.group.atlas import apply_atlas
from mrspec_prep.spectra.group.fit import fit_group


@pytest.fixture(scope="module")
def atlases(one_protocol, protocols):
    """Group fits by scale."""
    return {scale: fit_group(one_protocol.members, protocols[:1], 4, scale=scale) for scale in ("fixed", "profiled")}


def newcomer(world, scan, gain, shares=(0.1, 0.2, 0.3, 0.4), n_voxels=600, freedom=None):
    """A participant of another protocol and gain."""
    labels = np.random.default_rng(8).choice(4, n_voxels, p=shares)
    signals = world.simulate(labels, scan, gain, seed=9)
    return world.member_of(signals, scan, 0, gain * world.noise_std, np.float32, freedom), labels, signals


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize("freedom", [None, 5.0])
def test_proportions_and_gain_of_a_participant_with_another_protocol(world, protocols, atlases, scale, freedom):
    member, labels, _ = newcomer(world, 1, 1.4, freedom=freedom)
    found = apply_atlas(member, protocols[1], atlases[scale].spectra, scale=scale)
    clean = atlases[scale].spectra @ protocols[0].reduced.columns @ protocols[0].reduced.projection.T
    truth = world.tissues(0) / np.linalg.norm(world.tissues(0), axis=1, keepdims=True)
    order = (clean / np.linalg.norm(clean, axis=1, keepdims=True) @ truth.T).argmax(axis=1)
    counts = np.bincount(labels, minlength=4) / len(labels)
    assert sorted(order) == [0, 1, 2, 3]
    assert np.abs(found.proportions - counts[order]).max() < 0.02
    assert (order[found.responsibilities.argmax(axis=1)] == labels).mean() > 0.98
    # S0 is the spectra's sum, at TE = 0, which no volume saw: less exact than a gain
    expected, accuracy = (1.4, 0.02) if scale == "fixed" else (1.4 * 2.5, 0.2)
    assert found.gain == pytest.approx(expected, rel=accuracy)
    assert (np.diff(found.trace) >= -1e-9 * abs(found.trace[-1])).all() and found.converged
    assert found.unexplained.mean() < 0.02
    assert np.median(found.residual) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_voxels_that_no_cluster_explains_are_flagged(world, protocols, atlases, scale):
    member, labels, signals = newcomer(world, 0, 1.0)
    rng = np.random.default_rng(1)
    strange = np.exp(-np.arange(signals.shape[1]) / 3.0) * 2.5  # no tissue looks like this
    signals[:40] = strange + rng.normal(0, world.noise_std, (40, signals.shape[1]))
    found = apply_atlas(world.member_of(signals), protocols[0], atlases[scale].spectra, scale=scale)
    assert found.unexplained[:40].all()
    assert found.unexplained[40:].mean() < 0.02


def test_a_gain_that_is_given_stays(world, protocols, atlases):
    member, *_ = newcomer(world, 0, 1.4)
    found = apply_atlas(member, protocols[0], atlases["fixed"].spectra, scale="fixed", gain=1.4)
    assert found.gain == 1.4


def test_an_atlas_that_does_not_fit_is_refused(world, protocols, atlases):
    member, *_ = newcomer(world, 0, 1.0)
    spectra = atlases["profiled"].spectra
    for wrong, settings, words in [
        (spectra[:, 1:], {}, "on one grid"),
        (-spectra, {}, ">= 0"),
        (0 * spectra, {}, "not zero everywhere"),
        (spectra, {"gain": 1.2}, "scale fixed only"),
        (spectra, {"gain": -1.0, "scale": "fixed"}, "gain must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            apply_atlas(member, protocols[0], wrong, **settings)
