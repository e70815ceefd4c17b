"""Compiled steps of the Potts prior by mean field.

Prior of the labels z: log p(z) = sum_n h_{z_n} + beta sum_{n~k} c_nk [z_n = z_k] - log Z, c the
closeness of neighbours. Mean field replaces the posterior by a product of responsibilities w_n,
each the softmax of (log-density + h + beta sum_k c_nk w_k). The last sum is called support.
"""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.spectra.clusters.em_steps import scaled_fit

SMALLEST = 1e-300


@compiled_within
def softmax(values):
    """Replace log-weights by probabilities; returns the log of their sum."""
    top = values[0]
    for m in range(values.shape[0]):
        top = max(top, values[m])
    total = 0.0
    for m in range(values.shape[0]):
        values[m] = np.exp(values[m] - top)
        total += values[m]
    for m in range(values.shape[0]):
        values[m] /= total
    return top + np.log(total)


@compiled
def density_block(signals, variances, means, norms, scale_variance, log_density, first, second):
    """Log-density gain of every voxel under every cluster, less its log sum; moments of the scale.

    Returns the total of the log sums.
    """
    n_clusters, n_ranks = means.shape
    local = np.empty(n_clusters)
    total = 0.0
    for n in range(signals.shape[0]):
        for m in range(n_clusters):
            product = 0.0
            for k in range(n_ranks):
                product += signals[n, k] * means[m, k]
            log_density[n, m], first[n, m], second[n, m] = scaled_fit(product, norms[m], variances[n], scale_variance)
            local[m] = log_density[n, m]
        norm = softmax(local)
        total += norm
        for m in range(n_clusters):
            log_density[n, m] -= norm
    return total


@compiled_within
def support(n, starts, index, weight, w, out):
    """Responsibilities of the neighbours of voxel n, summed by closeness."""
    out[:] = 0.0
    for e in range(starts[n], starts[n + 1]):
        for m in range(out.shape[0]):
            out[m] += weight[e] * w[index[e], m]


@compiled
def support_block(start, stop, starts, index, weight, w, out):
    """Supports of voxels start..stop."""
    for n in range(start, stop):
        support(n, starts, index, weight, w, out[n])


@compiled
def mean_field_block(voxels, log_density, field, beta, starts, index, weight, w):
    """Update the responsibilities of voxels of which no two are neighbours."""
    n_clusters = log_density.shape[1]
    new = np.empty(n_clusters)
    for n in voxels:
        support(n, starts, index, weight, w, new)
        for m in range(n_clusters):
            new[m] = log_density[n, m] + field[m] + beta * new[m]
        softmax(new)
        for m in range(n_clusters):
            w[n, m] = new[m]


@compiled
def free_energy_block(log_density, supports, field, beta, w):
    """Sum of w (log-density + h) + beta/2 w support - w log w."""
    total = 0.0
    for n in range(w.shape[0]):
        for m in range(w.shape[1]):
            if w[n, m] > 0.0:
                total += w[n, m] * (log_density[n, m] + field[m] + 0.5 * beta * supports[n, m] - np.log(w[n, m]))
    return total


@compiled
def pseudo_block(log_density, supports, field, beta, w, counts, derivatives):
    """Prior of every voxel given its neighbours, pi_n = softmax(h + beta support).

    Fills ``counts`` (2, n_clusters) with sum w and sum pi, and ``derivatives`` (2,) with
    slope and negative curvature in beta of the pseudo-likelihood sum w log pi. Returns the
    log-likelihood sum_n log sum_m pi exp(log-density).
    """
    n_clusters = w.shape[1]
    local = np.empty(n_clusters)
    counts[:] = 0.0
    derivatives[:] = 0.0
    likelihood = 0.0
    for n in range(w.shape[0]):
        for m in range(n_clusters):
            local[m] = field[m] + beta * supports[n, m]
        softmax(local)
        mean, square = 0.0, 0.0
        for m in range(n_clusters):
            counts[0, m] += w[n, m]
            counts[1, m] += local[m]
            mean += local[m] * supports[n, m]
            square += local[m] * supports[n, m] ** 2
            derivatives[0] += (w[n, m] - local[m]) * supports[n, m]
            local[m] = np.log(max(local[m], SMALLEST)) + log_density[n, m]
        derivatives[1] += square - mean * mean
        likelihood += softmax(local)
    return likelihood


@compiled
def sums_block(signals, variances, w, first, second, weighted, moments, weights, sums):
    """Sums that the M-step needs, from given responsibilities (as ``em_steps.e_step_block``)."""
    n_clusters, n_ranks = sums.shape
    moments[:] = 0.0
    weights[:] = 0.0
    sums[:] = 0.0
    for n in range(signals.shape[0]):
        inverse = 1.0 / variances[n] if weighted else 1.0
        for m in range(n_clusters):
            moments[0, m] += w[n, m]
            moments[1, m] += w[n, m] * first[n, m]
            moments[2, m] += w[n, m] * second[n, m]
            weights[m] += w[n, m] * second[n, m] * inverse
            share = w[n, m] * first[n, m] * inverse
            if share != 0.0:
                for k in range(n_ranks):
                    sums[m, k] += share * signals[n, k]
