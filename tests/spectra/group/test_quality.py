"""Quality of a participant: known noise gives residual 1, wrong spectra and hidden misfit raise it."""

from dataclasses import replace

import numpy as np
import pytest

from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.group.members import Protocol
from mrspec_prep.spectra.group.quality import member_quality
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls


@pytest.fixture(scope="module")
def scene(world):
    """A member whose tissues are known, their spectra, and its protocol."""
    kernel, labels = world.kernel(0), np.repeat(np.arange(4), 150)
    spectra = fit_nnls(2.5 * world.tissues(0), kernel, alpha=1e-6).spectra
    member = world.member_of(world.simulate(labels), dtype=np.float32)
    return member, Protocol(reduce_kernel(kernel)), spectra, np.eye(4)[labels], world


@pytest.mark.parametrize("scale", ["profiled", "fixed"])
def test_right_spectra_leave_the_noise(scene, scale):
    member, protocol, spectra, responsibilities, world = scene
    found = member_quality(member, protocol, spectra, 0.9 * responsibilities + 0.025, scale=scale)
    assert found.residual == pytest.approx(1, abs=0.02) and found.certainty == pytest.approx(0.925)
    clean = 2.5 * world.tissues(0)
    expected = np.median(np.repeat(np.sqrt((clean**2).mean(axis=1)) / world.noise_std, 150))
    assert found.snr == pytest.approx(expected, rel=0.05)


def test_gain_belongs_to_fixed_scales(scene):
    member, protocol, spectra, responsibilities, _ = scene
    wrong = member_quality(member, protocol, spectra, responsibilities, scale="fixed", gain=1.3).residual
    free = member_quality(member, protocol, spectra, responsibilities, gain=1.3).residual
    assert wrong > 1.5 and free == pytest.approx(1, abs=0.02)


def test_misfit_is_seen_inside_and_outside_the_kernels_range(scene):
    member, protocol, spectra, responsibilities, world = scene
    others = member_quality(member, protocol, spectra[::-1], responsibilities)
    assert others.residual > 1.3
    motion = replace(member, outside=member.outside + (20 * world.noise_std) ** 2)
    assert member_quality(motion, protocol, spectra, responsibilities).residual > 1.3


def test_responsibilities_of_other_voxels_are_refused(scene):
    member, protocol, spectra, responsibilities, _ = scene
    with pytest.raises(ValueError, match="responsibilities must be"):
        member_quality(member, protocol, spectra, responsibilities[:10])
