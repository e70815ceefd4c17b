"""Noise levels drawn together: nearer to the truth than each voxel's own, whether or not the voxels differ."""

import numpy as np
import pytest

from mrspec_prep.spectra.noise.shared import share_noise

N, DEGREES = 5000, 5


def estimates(true, seed=0):
    return true * np.sqrt(np.random.default_rng(seed).chisquare(DEGREES, N) / DEGREES)


def error(found, true):
    return np.sqrt(np.mean(np.log(found / true) ** 2))


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.6])
def test_nearer_to_the_truth_than_the_voxels_own(spread):
    true = 2.0 * np.exp(spread * np.random.default_rng(1).standard_normal(N))
    own = estimates(true)
    shared = share_noise(own, DEGREES)
    assert error(shared.noise_std, true) < error(own, true) * (0.25 if spread == 0 else 0.95)
    assert shared.common_degrees > 100 if spread == 0 else shared.common_degrees < 30


def test_many_repeats_leave_a_voxel_its_own():
    true = 2.0 * np.exp(0.5 * np.random.default_rng(1).standard_normal(N))
    np.testing.assert_allclose(share_noise(true, 1e5).noise_std, true, rtol=1e-3)


def test_unknown_degrees_are_refused():
    with pytest.raises(ValueError, match="degrees of freedom"):
        share_noise(np.ones(3), np.inf)
