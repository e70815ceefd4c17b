"""Compiled E-step of InSpect for Gaussian noise: sums over a block of voxels, for several states.

A voxel belongs to few clusters. Bounds from the leading ranks of the signals tell which these can be, and only for
them is the log-density computed in full; what a bound leaves out is lost to rounding in any case.
"""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.spectra.clusters.em_steps import NEGLIGIBLE, scaled_fit

TILE = 256  # voxels whose bounds stay in the cache
LARGEST_PRODUCT = 1e250


@compiled
def e_step_block(
    signals, variances, leading, rest, ends, log_probs, means, leading_means, rest_norms, norms, scale_variance,
    weighted, moments, weights, sums, gains,
):  # fmt: skip
    """Sums of one block of voxels for several states, whose clusters stand one after the other.

    Parameters
    ----------
    signals : (n_voxels, n_ranks) array
    variances, rest : (n_voxels,) arrays
        sigma2; norm of a signal beyond its leading ranks, over sigma2.
    leading : (n_tiles, n_leading, TILE) array
        Leading ranks of the signals over sigma2; n_leading is a multiple of 8.
    ends : (n_states + 1,) int array
        Clusters ends[i] to ends[i + 1] are those of state i.
    log_probs, norms, rest_norms : (n_clusters,) arrays
        log p_m, ||a_m||2 and the norm of a_m beyond the leading ranks.
    means, leading_means : (n_clusters, n_ranks), (n_clusters, n_leading) arrays
        a_m.
    moments, weights, sums : (3, n_clusters), (n_clusters,), (n_clusters, n_ranks) arrays
        Filled: sum w, sum w a, sum w a2; sum w a2 [/s2]; sum w a s [/s2].
    gains : (n_states,) array
        Filled: sum of the log mixture gains.

    """
    n_voxels, n_most = signals.shape[0], (ends[1:] - ends[:-1]).max()
    logs, first, second = np.empty((n_most, TILE)), np.ones((n_most, TILE)), np.ones((n_most, TILE))
    members, counts = np.empty((n_most, TILE), np.int64), np.empty(n_most, np.int64)
    best = np.empty(TILE, np.int64)
    inverse, top, total, shares = np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE)
    moments[:] = 0.0
    weights[:] = 0.0
    sums[:] = 0.0
    gains[:] = 0.0
    for start in range(0, n_voxels, TILE):
        stop = min(start + TILE, n_voxels)
        part, variance = signals[start:stop], variances[start:stop]
        for i in range(stop - start):
            inverse[i] = 1.0 / variance[i]
        for state in range(ends.shape[0] - 1):
            low, high = ends[state], ends[state + 1]
            some = means[low:high]
            upper_bounds(
                leading[start // TILE], inverse, rest[start:stop], log_probs[low:high], leading_means[low:high],
                rest_norms[low:high], norms[low:high], scale_variance, logs,
            )  # fmt: skip
            find_members(
                part, variance, log_probs[low:high], some, norms[low:high], scale_variance, logs, first, second,
                members, counts, top, best,
            )  # fmt: skip
            gains[state] += shares_of(logs, members, counts, high - low, stop - start, top, total)
            for m in range(low, high):
                row, index, n = m - low, members[m - low], counts[m - low]
                count, one, square, weight = 0.0, 0.0, 0.0, 0.0
                for j in range(n):
                    i = index[j]
                    w, precision = logs[row, i] / total[i], inverse[i] if weighted else 1.0
                    count += w
                    one += w * first[row, i]
                    square += w * second[row, i]
                    weight += w * second[row, i] * precision
                    shares[j] = w * first[row, i] * precision
                moments[0, m] += count
                moments[1, m] += one
                moments[2, m] += square
                weights[m] += weight
                add_signals(part, index, n, shares, sums, m)


@compiled_within
def upper_bounds(leading, inverse, rest, log_probs, means, rest_norms, norms, scale_variance, bounds):
    """Bounds (n_clusters, TILE) from above on log p_m and the gain of ``scaled_fit``.

    s'a differs from the sum over the leading ranks by at most the product of the norms beyond them (Cauchy-Schwarz).
    """
    n_voxels = rest.shape[0]
    for m in range(means.shape[0]):
        row = bounds[m]
        norm, rest_norm, log_prob = norms[m], rest_norms[m], log_probs[m]
        row[:] = 0.0
        for k in range(0, leading.shape[0], 8):
            a, b, c, d = means[m, k], means[m, k + 1], means[m, k + 2], means[m, k + 3]
            e, f, g, h = means[m, k + 4], means[m, k + 5], means[m, k + 6], means[m, k + 7]
            for n in range(TILE):
                row[n] += (
                    a * leading[k, n] + b * leading[k + 1, n] + c * leading[k + 2, n] + d * leading[k + 3, n]
                    + e * leading[k + 4, n] + f * leading[k + 5, n] + g * leading[k + 6, n] + h * leading[k + 7, n]
                )  # fmt: skip
        if scale_variance == 0.0:
            half = 0.5 * norm
            for n in range(n_voxels):
                row[n] += log_prob + rest_norm * rest[n] - half * inverse[n]
        else:
            stiff = 1.0 / scale_variance
            smallest = 0.5 * np.log(1.0 + scale_variance * norm * inverse[:n_voxels].min())  # of the gain's last term
            constant = log_prob - 0.5 * stiff - smallest
            for n in range(n_voxels):
                mean = abs(row[n] + stiff) + rest_norm * rest[n]
                row[n] = constant + 0.5 * mean * mean / (norm * inverse[n] + stiff)


@compiled_within
def find_members(
    signals, variances, log_probs, means, norms, scale_variance, logs, first, second, members, counts, top, best
):  # fmt: skip
    """Voxels that each cluster has a share in, and their log p_m + gain in place of the bounds in ``logs``.

    ``members`` (n_clusters, TILE) holds ``counts`` indices of voxels; ``top`` the largest value of each voxel.
    """
    n_voxels, n_ranks, n_clusters = signals.shape[0], signals.shape[1], means.shape[0]
    top[:] = -np.inf
    for m in range(n_clusters):
        row = logs[m]
        for n in range(n_voxels):
            best[n] = m if row[n] > top[n] else best[n]
            top[n] = max(row[n], top[n])
    counts[:] = 0
    for n in range(n_voxels):  # the likeliest cluster in full, which brings the signals into the cache
        m = best[n]
        product = 0.0
        for k in range(n_ranks):
            product += signals[n, k] * means[m, k]
        value, first[m, n], second[m, n] = scaled_fit(product, norms[m], variances[n], scale_variance)
        top[n] = log_probs[m] + value
        logs[m, n] = -np.inf
        members[m, counts[m]] = n
        counts[m] += 1
    for m in range(n_clusters):  # the others that the bounds leave
        count = counts[m]
        for n in range(n_voxels):
            if logs[m, n] > top[n] - NEGLIGIBLE:
                product = 0.0
                for k in range(n_ranks):
                    product += signals[n, k] * means[m, k]
                value, first[m, n], second[m, n] = scaled_fit(product, norms[m], variances[n], scale_variance)
                logs[m, n] = log_probs[m] + value
                members[m, count] = n
                count += 1
        counts[m] = count
    for n in range(n_voxels):
        logs[best[n], n] = top[n]


@compiled_within
def shares_of(logs, members, counts, n_clusters, n_voxels, top, total):
    """Exponentials in place of the logs of members, and their totals; returns the log mixture gains' sum."""
    for m in range(n_clusters):
        for j in range(counts[m]):
            n = members[m, j]
            top[n] = max(top[n], logs[m, n])
    total[:] = 0.0
    for m in range(n_clusters):
        for j in range(counts[m]):
            n = members[m, j]
            below = logs[m, n] - top[n]
            w = 1.0 if below == 0.0 else np.exp(below)
            logs[m, n] = w
            total[n] += w
    gain, product = 0.0, 1.0
    for n in range(n_voxels):
        gain += top[n]
        product *= total[n]  # the log of a product of many totals, each at least 1
        if product > LARGEST_PRODUCT:
            gain += np.log(product)
            product = 1.0
    return gain + np.log(product)


@compiled_within
def add_signals(signals, index, count, shares, sums, m):
    """Add share times signal of the voxels index[:count] to row m of sums (n_clusters, n_ranks)."""
    n_ranks = sums.shape[1]
    whole = count // 4 * 4
    for j in range(0, whole, 4):
        a, b, c, d = shares[j], shares[j + 1], shares[j + 2], shares[j + 3]
        s, t, u, v = index[j], index[j + 1], index[j + 2], index[j + 3]
        for k in range(n_ranks):
            sums[m, k] += a * signals[s, k] + b * signals[t, k] + c * signals[u, k] + d * signals[v, k]
    for j in range(whole, count):
        for k in range(n_ranks):
            sums[m, k] += shares[j] * signals[index[j], k]
