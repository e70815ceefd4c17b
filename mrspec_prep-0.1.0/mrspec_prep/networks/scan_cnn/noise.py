"""Sigma of images over echo time, from what a decay leaves of them and from differences between neighbours."""

import numpy as np

from mrspec_prep.networks.fitting.least_squares import residual_noise
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.physics import Encodings

NORMAL = 0.6744897501960817  # median of |x|, x standard normal
FEWEST = 50  # 2 x 2 blocks below which a median tells little


def noise_between_neighbours(images, mask):
    """Noise standard deviation from the finest diagonal differences (Donoho and Johnstone 1994, Biometrika 81:425).

    d = (a - b - c + d) / 2 of each 2 x 2 block inside the mask has the standard deviation of one voxel and little
    anatomy; sigma = median |d| / .6745, the least over the echoes (anatomy and artefacts only add).

    Parameters
    ----------
    images : (x, y, z, n_echoes) array
    mask : (x, y, z) bool array

    Returns
    -------
    float
        [signal units].

    Raises
    ------
    ValueError
        Too few blocks inside the mask.

    """
    blocks = _blocks(mask)
    if blocks.sum() < FEWEST:
        raise ValueError(
            f"{int(blocks.sum())} blocks of 2 x 2 voxels are too few to estimate the noise from (at least {FEWEST}): "
            "give noise_std"
        )
    details = (images[:-1, :-1] - images[1:, :-1] - images[:-1, 1:] + images[1:, 1:])[blocks] / 2
    return float(np.median(np.abs(details), axis=0).min() / NORMAL)


def noise_of(images, echo_times, mask, kind):
    """Noise standard deviation: the lower of residuals' (three echoes or more) and neighbours' (``FEWEST`` blocks).

    A decay of several components raises the first, anatomy the second.

    Parameters
    ----------
    images : (x, y, z, n_echoes) array
    echo_times : (n_echoes,) array
        [ms].
    mask : (x, y, z) bool array
    kind : str
        ``t2`` or ``t2star``.

    Returns
    -------
    float
        [signal units].

    Raises
    ------
    ValueError
        Two echoes of too few voxels, or images without any noise.

    """
    found = []
    if len(echo_times) > 2:
        encodings = Encodings(echo_time=echo_times)
        found.append(residual_noise(make_problem(images[mask], encodings, kind, noise_std=1.0)[0]))
    if len(echo_times) == 2 or _blocks(mask).sum() >= FEWEST:
        found.append(noise_between_neighbours(images, mask))
    return min(found)


def _blocks(mask):
    """Where 2 x 2 voxels of a slice lie inside the mask."""
    return mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
