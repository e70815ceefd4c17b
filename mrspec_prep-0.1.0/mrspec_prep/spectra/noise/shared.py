"""Noise levels of single voxels drawn towards what all voxels share (empirical Bayes; Smyth 2004)."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.noise.magnitude_noise import shared_prior


@dataclass(frozen=True, eq=False)
class SharedNoise:
    """Noise levels, and the distribution they were drawn towards.

    Attributes
    ----------
    noise_std : (n_voxels,) array
        [signal units].
    common_std : float
        Scale of the distribution of all voxels [signal units].
    common_degrees : float
        Its degrees of freedom: how many repeats the other voxels stand for; infinite where the estimates spread no
        more than estimates do, so that all voxels get the same level.

    """

    noise_std: np.ndarray
    common_std: float
    common_degrees: float


def share_noise(noise_std, degrees):
    """Posterior noise levels: sigma2 = (d0 s0^2 + d s^2) / (d0 + d).

    The variances of the voxels come from one scaled inverse chi-square distribution (d0, s0), fitted to all of them.
    A level from few repeats is off by a factor of up to two: in posteriors of single voxels that widens the error of
    maps and takes points off the coverage of their intervals.

    Parameters
    ----------
    noise_std : (n_voxels,) array
        Estimate of each voxel [signal units].
    degrees : float
        Degrees of freedom of each variance.

    Returns
    -------
    SharedNoise

    Raises
    ------
    ValueError
        Degrees of freedom that are not positive and finite.

    """
    if not 0 < degrees < np.inf:
        raise ValueError(f"degrees of freedom must be finite and > 0, got {degrees}")
    squares = degrees * np.asarray(noise_std, float) ** 2
    variance, prior_degrees = shared_prior(squares, np.full(len(squares), float(degrees)))
    if np.isinf(prior_degrees):
        return SharedNoise(np.full(len(squares), np.sqrt(variance)), float(np.sqrt(variance)), np.inf)
    drawn = (prior_degrees * variance + squares) / (prior_degrees + degrees)
    return SharedNoise(np.sqrt(drawn), float(np.sqrt(variance)), float(prior_degrees))
