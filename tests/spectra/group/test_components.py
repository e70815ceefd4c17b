"""Continuous InSpect of a group."""

from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.physics import add_noise
from mrspec_prep.spectra import fit_inspect_map
from mrspec_prep.spectra.group.components import fit_group_map, weights_of


def mixtures(world, scan, n_voxels, seed, gain=1.0):
    """Voxels that mix three tissues, many of them nearly pure."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([0.3, 0.3, 0.3], n_voxels)
    sizes = world.tissues(0)[[0, 1, 3]].max(axis=1, keepdims=True)  # of one protocol: S0 is the tissue's
    clean = world.tissues(scan)[[0, 1, 3]] / sizes
    return truth, add_noise(gain * truth @ clean, gain * 0.01, rng)


@pytest.fixture(scope="module")
def two_scans(world):
    parts = [mixtures(world, i % 2, 200, i, 1.3 if i % 2 else 1.0) for i in range(4)]
    members = [world.member_of(signals, i % 2, i % 2, 0.013 if i % 2 else 0.01) for i, (_, signals) in enumerate(parts)]
    return SimpleNamespace(members=members, truth=[truth for truth, _ in parts])


def matched(weights, truth):
    """Weights in the order of the true components."""
    order = [int(np.abs(weights - truth[:, [j]]).mean(axis=0).argmin()) for j in range(truth.shape[1])]
    assert sorted(order) == list(range(truth.shape[1]))
    return weights[:, order]


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_one_member_fits_as_well_as_its_image(world, protocols, scale):
    truth, signals = mixtures(world, 0, 300, 1)
    group = fit_group_map([world.member_of(signals, noise_std=0.01)], protocols[:1], 3, scale=scale)
    image = fit_inspect_map(signals, protocols[0].reduced, 0.01, 3, scale=scale)
    # units of a free scale differ a little: by the noise outside the kernel's range
    assert group.objective == pytest.approx(image.objective, rel=1e-3)
    weights, _, residual = weights_of(world.member_of(signals, noise_std=0.01), protocols[0], group)
    found = matched(weights, truth)
    assert np.sqrt(((found - truth) ** 2).mean()) < 1.1 * np.sqrt(((matched(image.weights, truth) - truth) ** 2).mean())
    assert np.median(residual) == pytest.approx(np.median(image.residual), rel=0.01)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_two_protocols_share_components_and_never_rise(two_scans, protocols, scale):
    fit = fit_group_map(two_scans.members, protocols, 3, scale=scale, max_steps=300)
    assert (np.diff(fit.trace) <= 1e-9 * abs(fit.trace[-1])).all() and fit.converged
    assert np.allclose(fit.proportions.sum(axis=1), 1)
    if scale == "fixed":
        assert fit.gains[1] / fit.gains[0] == pytest.approx(1.3, rel=0.03)
        for member, truth in zip(two_scans.members, two_scans.truth, strict=True):
            weights, _, _ = weights_of(member, protocols[member.protocol], fit)
            assert np.sqrt(((matched(weights, truth) - truth) ** 2).mean()) < 0.05


def test_threads_change_nothing(two_scans, protocols):
    one, two = (fit_group_map(two_scans.members, protocols, 2, n_starts=1, max_steps=5, n_threads=n) for n in (1, 3))
    assert one.spectra.tobytes() == two.spectra.tobytes()
    assert one.proportions.tobytes() == two.proportions.tobytes()


def test_wrong_numbers_are_refused(two_scans, protocols):
    for settings, words in [
        ({"n_components": 0}, "between 1"),
        ({"n_starts": 0}, "n_starts"),
        ({"alpha": -1}, "alpha"),
    ]:
        with pytest.raises(ValueError, match=words):
            fit_group_map(two_scans.members, protocols, **{"n_components": 2, **settings})
