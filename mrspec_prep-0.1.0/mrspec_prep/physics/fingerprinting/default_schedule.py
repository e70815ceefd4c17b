"""A schedule to simulate and test with, in the manner of FISP fingerprinting."""

import numpy as np

from mrspec_prep.physics.fingerprinting.schedule import Schedule

LOBE = 200  # frames of one lobe of flip angles
PEAKS = (70.0, 35.0, 55.0, 25.0, 45.0)  # degrees, of the lobes in turn
LOWEST_FLIP = 5.0  # degrees, between lobes
REPETITION_TIMES = (12.0, 15.0)  # ms
ECHO_TIME = 3.0  # ms
INVERSION_TIME = 20.0  # ms
KNOT = 12  # frames from one drawn repetition time to the next


def fisp_schedule(n_frames=600, seed=0, *, inversion_time=INVERSION_TIME, echo_time=ECHO_TIME):
    """Half sine waves of flip angle after an inversion, repetition times that wander: after Jiang et al. 2015.

    Flip angles rise and fall in lobes of 200 frames between 5 degrees and peaks of 70, 35, 55, 25, 45; repetition times
    follow a smooth random curve between 12 and 15 ms. The manner of doi:10.1002/mrm.25559, not its table.

    Parameters
    ----------
    n_frames : int
    seed : int
        Of the repetition times.
    inversion_time : float or None
        [ms].
    echo_time : float
        [ms].

    Returns
    -------
    Schedule

    """
    if n_frames < 1:
        raise ValueError(f"n_frames must be >= 1, got {n_frames}")
    lobe, within = np.divmod(np.arange(n_frames), LOBE)
    peaks = np.take(PEAKS, lobe, mode="wrap")
    flips = LOWEST_FLIP + (peaks - LOWEST_FLIP) * np.sin(np.pi * (within + 0.5) / LOBE)
    knots = np.random.default_rng(seed).uniform(*REPETITION_TIMES, size=n_frames // KNOT + 2)
    place, between = np.divmod(np.arange(n_frames) / KNOT, 1.0)
    ease = between**2 * (3 - 2 * between)
    left, right = knots[place.astype(int)], knots[place.astype(int) + 1]
    return Schedule(flips, left + (right - left) * ease, echo_time, inversion_time)
