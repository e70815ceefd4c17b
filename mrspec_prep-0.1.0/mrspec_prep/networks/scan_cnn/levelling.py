"""What a network leaves of the signals around a voxel put back: maps level with least squares of the region.

A network that has learned little is biased, by what it learned before or because the tissue is no single exponential.
Let S be the decays of its maps and J their derivatives by (log rate, log amplitude). The common step of all voxels
around one, (sum w J'J)^-1 sum w J'(y - S) with Gaussian weights w, is a Gauss-Newton step of least squares with one
offset per neighbourhood: its noise is that of a hundred voxels, its bias that of the voxelwise fit.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from mrspec_prep.networks.scan_cnn.decays import LOG_RATES
from mrspec_prep.physics.magnitudes import expected_magnitude

ROUNDS = 2
LARGEST = 0.3  # of a step, in logarithms
RIDGE = 1e-3  # of the diagonal: where echoes hardly tell the two apart
NUDGE = 1e-3  # of the signal, to differentiate expected magnitudes


def levelled(scan, found, width):
    """Maps after the steps.

    Parameters
    ----------
    scan : Scan
    found : (2, x, y, z) array
        Log rate (mean echo time over T2) and amplitude at the mean echo time [signal units], positive.
    width : float
        Standard deviation of the weights in the plane [voxels].

    Returns
    -------
    (2, x, y, z) array

    """
    away = scan.echo_times / np.mean(scan.echo_times) - 1
    log_rate, log_amplitude = np.clip(found[0], *LOG_RATES), np.log(found[1])
    for _ in range(ROUNDS):
        rate = np.exp(log_rate)[..., None]
        signals = np.exp(log_amplitude)[..., None] * np.exp(-rate * away)
        mean, slope = signals, 1.0
        if scan.distribution == "rician":
            mean = expected_magnitude(signals, scan.noise_std)
            nudged = expected_magnitude(signals * (1 + NUDGE), scan.noise_std)
            slope = (nudged - mean) / (NUDGE * signals)
        left, by_amplitude = scan.images - mean, slope * signals
        by_rate = -rate * away * by_amplitude

        def around(first, second):
            total = (first * second).sum(axis=-1) * scan.mask
            return gaussian_filter(total, (width, width, 0), mode="constant")

        rr, ra, aa = around(by_rate, by_rate), around(by_rate, by_amplitude), around(by_amplitude, by_amplitude)
        r, a = around(by_rate, left), around(by_amplitude, left)
        rr, aa = (1 + RIDGE) * rr, (1 + RIDGE) * aa
        determinant = np.maximum(rr * aa - ra**2, np.finfo(float).tiny)
        log_rate = np.clip(log_rate + np.clip((aa * r - ra * a) / determinant, -LARGEST, LARGEST), *LOG_RATES)
        log_amplitude = log_amplitude + np.clip((rr * a - ra * r) / determinant, -LARGEST, LARGEST)
    return np.stack([log_rate, np.exp(log_amplitude)])
