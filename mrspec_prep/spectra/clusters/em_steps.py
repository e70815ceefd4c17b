"""Compiled steps of InSpect's EM on compressed signals (paper 1, section 2.3).

With a_m = B F_m the log-density of a voxel needs only s'a_m and ||a_m||2. The voxel scale
a_n is either 1 or a latent variable with prior N(1, scale_variance); it is integrated out,
so that the likelihood stays proper and its EM never falls.
"""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within

NEGLIGIBLE = 60.0  # nats below the best cluster at which a responsibility is lost to rounding


@compiled_within
def scaled_fit(product, norm, variance, scale_variance):
    """Log-density gain of one cluster over a zero signal, and the scale's first two moments.

    product = s'a_m, norm = ||a_m||2. Without a free scale (scale_variance = 0) the moments are 1.
    """
    if scale_variance == 0.0:
        return (2.0 * product - norm) / (2.0 * variance), 1.0, 1.0
    precision = norm / variance + 1.0 / scale_variance
    mean = (product / variance + 1.0 / scale_variance) / precision
    gain = 0.5 * precision * mean * mean - 0.5 / scale_variance - 0.5 * np.log(scale_variance * precision)
    return gain, mean, mean * mean + 1.0 / precision


@compiled_within
def voxel_responsibilities(products, variance, log_probs, norms, scale_variance, w, first, second):
    """Fill responsibilities (Eq. 11) and scale moments of one voxel from s'a_m; returns its log mixture gain."""
    n_clusters = norms.shape[0]
    top = -np.inf
    for m in range(n_clusters):
        gain, first[m], second[m] = scaled_fit(products[m], norms[m], variance, scale_variance)
        w[m] = log_probs[m] + gain
        top = max(top, w[m])
    total = 0.0
    for m in range(n_clusters):
        w[m] = np.exp(w[m] - top) if w[m] > top - NEGLIGIBLE else 0.0
        total += w[m]
    for m in range(n_clusters):
        w[m] /= total
    return top + np.log(total)


@compiled
def responsibilities_block(products, variances, log_probs, norms, scale_variance, totals, responsibilities, scales):
    """Responsibilities of one block, products s'a_m given, and the expected scale times the clusters' totals."""
    n_clusters = norms.shape[0]
    first, second = np.empty(n_clusters), np.empty(n_clusters)
    for n in range(products.shape[0]):
        w = responsibilities[n]
        voxel_responsibilities(products[n], variances[n], log_probs, norms, scale_variance, w, first, second)
        scales[n] = 0.0
        for m in range(n_clusters):
            scales[n] += w[m] * first[m] * totals[m]


@compiled
def expanded_scale(count, first, second, scale_variance, penalty):
    """Common factor of a cluster's voxel scales (parameter-expanded EM; Liu, Rubin and Wu 1998).

    With scales drawn from N(c, scale_variance c2) the best c minimises
    count log c + (second - 2 c first + c2 count) / (2 scale_variance c2) + c2 penalty / 2;
    c then moves into the spectrum. Without it EM crawls along the common scale.
    """
    c = 1.0
    for _ in range(50):
        slope = count / c - second / (scale_variance * c**3) + first / (scale_variance * c**2) + penalty * c
        bend = -count / c**2 + 3.0 * second / (scale_variance * c**4) - 2.0 * first / (scale_variance * c**3) + penalty
        change = -slope / bend if bend > 0.0 else -np.sign(slope) * 0.1 * c
        change = min(max(change, -0.5 * c), c)
        c += change
        if abs(change) <= 1e-14 * c:
            break
    return c
