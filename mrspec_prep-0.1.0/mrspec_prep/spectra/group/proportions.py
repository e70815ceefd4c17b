"""Cluster proportions of members around shared ones."""

import numpy as np
from scipy.special import digamma, gammaln, polygamma

SMALLEST = 1e-12
LARGEST_FALL = 0.9  # of a probability in one step
MAX_STEPS = 100
ACCURACY = 1e-14


def dirichlet_mode(proportions, concentration, prior_voxels, start):
    """Shared probabilities p given the members' p_i ~ Dirichlet(1 + c p).

    Maximises sum_m [c p_m L_m - I log Gamma(c p_m + 1) + b log p_m] on the simplex, with L_m the sum over the I
    members of log p_im and b the voxels given beforehand: concave, by Newton's method with steps that never lower it.

    Parameters
    ----------
    proportions : (n_members, n_clusters) array
        > 0.
    concentration : float
        c > 0.
    prior_voxels : float
        b >= 0.
    start : (n_clusters,) array
        On the simplex.

    Returns
    -------
    (n_clusters,) array
        Sums to one.

    """
    n_members = len(proportions)
    logs = concentration * np.log(proportions).sum(axis=0)

    def value(p):
        return float((logs * p - n_members * gammaln(concentration * p + 1) + prior_voxels * np.log(p)).sum())

    p = np.maximum(start, SMALLEST)
    p = p / p.sum()
    for _ in range(MAX_STEPS):
        slope = logs - n_members * concentration * digamma(concentration * p + 1) + prior_voxels / p
        bend = -n_members * concentration**2 * polygamma(1, concentration * p + 1) - prior_voxels / p**2
        change = ((slope / bend).sum() / (1 / bend).sum() - slope) / bend
        falling = change < 0
        length = min(1.0, LARGEST_FALL * np.min(p[falling] / -change[falling], initial=np.inf))
        before = value(p)
        while length > ACCURACY:
            trial = np.maximum(p + length * change, SMALLEST)
            trial /= trial.sum()
            if value(trial) >= before:
                break
            length *= 0.5
        else:
            break
        moved, p = np.abs(trial - p).max(), trial
        if moved <= ACCURACY:
            break
    return p
