"""E-steps of InSpect for noise that is not Gaussian.

Rician and nc-chi magnitudes: the channels' phases are latent. Given a mean signal x a magnitude v
stands for the real value v I_L(z)/I_{L-1}(z), z = x v/s2, with the sign of x; the M-step then sees
Gaussian data, as in majorise-minimise. Responsibilities use the density of the magnitudes itself.
Student-t: the voxel's precision is latent. Where the voxel scale is latent too its posterior is
taken as independent of the other latent variables, which bounds the likelihood from below; the
bound is what the EM climbs, and it is exact for a fixed scale.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.spectra.clusters.block_sums import sum_blocks
from mrspec_prep.spectra.clusters.em_steps import scaled_fit
from mrspec_prep.spectra.noise.likelihoods import NoiseModel, bessel_table, knee, sum_log_bessel
from mrspec_prep.threads import for_blocks

BLOCK = 512  # voxels per partial sum
NEGLIGIBLE = 45.0  # nats below the best cluster at which a cluster's responsibility is zero
SMALLEST_VALUE = 1e-3  # sigmas; a magnitude stored as zero counts as this in the likelihood's constant
ROUNDS = 30
ACCURACY = 1e-8  # relative, of the latent scale; the bound is stationary there


@dataclass(frozen=True, eq=False)
class VoxelNoise:
    """What the E-step needs beyond the compressed signals, in each voxel's own units.

    Attributes
    ----------
    model : NoiseModel
    magnitudes : (n_voxels, n_encodings) array or None
        For magnitudes.
    energies : (n_voxels,) array
        ||s||2.

    """

    model: NoiseModel
    magnitudes: np.ndarray | None
    energies: np.ndarray

    def take(self, index):
        """The same for some of the voxels."""
        magnitudes = None if self.magnitudes is None else self.magnitudes[index]
        return VoxelNoise(self.model, magnitudes, self.energies[index])


def voxel_noise(model, signals, units, energies):
    """``VoxelNoise`` of signals and energies ||s||2 [signal units], brought to each voxel's units."""
    magnitudes = np.abs(np.asarray(signals, float)) / units[:, None] if model.is_magnitude else None
    return VoxelNoise(model, magnitudes, energies / units**2)


def log_constant(model, signals, variances, energies):
    """Log-likelihood of a zero mean signal, per voxel [nats of the signals in their own units].

    Parameters
    ----------
    model : NoiseModel
        Not Gaussian.
    signals : (n_voxels, n_encodings) array
    variances, energies : (n_voxels,) arrays
        sigma2 and ||s||2.

    Returns
    -------
    (n_voxels,) array

    """
    n_data = signals.shape[1]
    if model.is_magnitude:
        n_coils = model.n_coils
        floor = SMALLEST_VALUE * np.sqrt(variances)[:, None]
        logs = np.log(np.maximum(np.abs(np.asarray(signals, float)), floor)).sum(axis=1)
        norm = n_coils * np.log(variances) + (n_coils - 1) * np.log(2) + gammaln(n_coils)
        return (2 * n_coils - 1) * logs - n_data * norm - energies / (2 * variances)
    nu = model.degrees_of_freedom
    half = (n_data + nu) / 2
    norm = gammaln(half) - gammaln(nu / 2) - n_data / 2 * np.log(np.pi * nu * variances)
    return norm - half * np.log1p(energies / (nu * variances))


def noise_expect(problem, states, log_probs):
    """E-step of several states, each block of voxels read once, as ``em_sums.expect``.

    Parameters
    ----------
    problem : Problem
    states : list of State
    log_probs : list of array
        Of each state log p_m, for all voxels (n_clusters,) or for each (n_voxels, n_clusters).

    Returns
    -------
    list of (log_likelihood, (moments, weights, sums))
        Shapes (3, n_clusters), (n_clusters,) and (n_clusters, n_ranks).

    """
    runners = [_block_runner(problem, state, logs) for state, logs in zip(states, log_probs, strict=True)]
    nothing = [(np.empty((0, len(state.probs))), np.empty(0), np.empty(0)) for state in states]

    ends = np.cumsum([0] + [len(state.probs) for state in states])

    def run(part, sums, gains):
        for i, runner in enumerate(runners):
            low, high = ends[i], ends[i + 1]
            moments = np.empty((3, high - low))
            gains[i] = runner(part, moments, sums[1][low:high], sums[2][low:high], *nothing[i])
            sums[0][:, low:high] = moments

    if not problem.noise.model.is_magnitude:
        return sum_blocks(problem, ends, run, BLOCK)
    found = sum_blocks(problem, ends, run, BLOCK, problem.n_encodings)
    return [(value, (*rest, sums @ problem.reduced.projection)) for value, (*rest, sums) in found]


def noise_responsibilities(problem, state, log_probs, totals):
    """Responsibilities (n_voxels, n_clusters) and expected scale times the clusters' totals (n_voxels,)."""
    n_voxels, n_clusters = len(problem.signals), len(state.probs)
    responsibilities, scales = np.empty((n_voxels, n_clusters)), np.empty(n_voxels)
    run = _block_runner(problem, state, log_probs)

    def work(start, stop):
        part = slice(start, stop)
        spare = np.empty((n_clusters, problem.n_encodings))
        run(part, np.empty((3, n_clusters)), np.empty(n_clusters), spare, responsibilities[part], scales[part], totals)

    for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    return responsibilities, scales


def noise_densities(problem, state):
    """Densities of every voxel under every cluster over their sum, and the total log of the sums with constants.

    Returns
    -------
    shares : (n_voxels, n_clusters) array
    total : float

    """
    n_voxels, n_clusters = len(problem.signals), len(state.probs)
    shares, scales = np.empty((n_voxels, n_clusters)), np.empty(n_voxels)
    run = _block_runner(problem, state, np.zeros(n_clusters))

    def work(start, stop):
        part, spare = slice(start, stop), np.empty((n_clusters, problem.n_encodings))
        moments, weights = np.empty((3, n_clusters)), np.empty(n_clusters)
        return run(part, moments, weights, spare, shares[part], scales[part], np.zeros(n_clusters))

    gains = for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    return shares, float(np.sum(gains) + problem.constant.sum())


def _block_runner(problem, state, log_probs):
    """Call of compiled code for one block of voxels."""
    noise, prior = problem.noise, float(problem.scale_variance)
    model = noise.model
    log_probs = np.atleast_2d(log_probs)

    def priors(part):
        return log_probs[part] if len(log_probs) > 1 else log_probs

    if model.is_magnitude:
        predicted = np.ascontiguousarray(state.means @ problem.reduced.projection.T)
        table, bend = bessel_table(model.n_coils), knee(model.n_coils)

        def run(part, moments, weights, sums, responsibilities, scales, totals):
            return magnitude_block(
                noise.magnitudes[part], problem.variances[part], priors(part), predicted, state.norms, prior,
                model.n_coils, bend, table, moments, weights, sums, responsibilities, scales, totals,
            )  # fmt: skip
    else:

        def run(part, moments, weights, sums, responsibilities, scales, totals):
            return student_block(
                problem.signals[part], noise.energies[part], problem.variances[part], priors(part), state.means,
                state.norms, prior, float(model.degrees_of_freedom), float(problem.n_encodings),
                moments, weights, sums, responsibilities, scales, totals,
            )  # fmt: skip

    return run


@compiled
def magnitude_block(
    magnitudes, variances, log_probs, predicted, norms, scale_variance, n_coils, bend, table,
    moments, weights, sums, responsibilities, scales, totals,
):  # fmt: skip
    """Sums of one block of voxels in encoding space; returns the sum of the log mixture gains.

    ``log_probs`` has one row for all voxels or one for each. Responsibilities and scales are kept
    where ``responsibilities`` has rows.
    """
    n_clusters, n_encodings = predicted.shape
    w, first, second = np.empty(n_clusters), np.empty(n_clusters), np.empty(n_clusters)
    bounds, arguments = np.empty(n_clusters), np.empty(n_encodings)
    ratios = np.empty((n_clusters, n_encodings))
    moments[:] = 0.0
    weights[:] = 0.0
    sums[:] = 0.0
    gain = 0.0
    for n in range(magnitudes.shape[0]):
        v, variance = magnitudes[n], variances[n]
        log_prior = log_probs[n if log_probs.shape[0] > 1 else 0]
        inverse = 1.0 / variance
        best = 0
        for m in range(n_clusters):  # log I(z) <= z: a Gaussian bound tells which clusters matter
            product = 0.0
            for e in range(n_encodings):
                product += v[e] * abs(predicted[m, e])
            bound, first[m], second[m] = scaled_fit(product, norms[m], variance, scale_variance)
            bounds[m] = log_prior[m] + bound
            if bounds[m] > bounds[best]:
                best = m
        top = -np.inf
        for turn in range(-1, n_clusters):
            m = best if turn < 0 else turn
            if turn == best:
                continue
            if bounds[m] < top - NEGLIGIBLE:
                w[m] = -np.inf
                continue
            for e in range(n_encodings):
                arguments[e] = v[e] * abs(predicted[m, e]) * inverse
            value, first[m], second[m] = magnitude_fit(
                arguments,
                norms[m] * inverse,
                scale_variance,
                first[m],
                top - NEGLIGIBLE - log_prior[m],
                n_coils,
                bend,
                table,
                ratios[m],
            )
            w[m] = log_prior[m] + value
            top = max(top, w[m])
        total = 0.0
        for m in range(n_clusters):
            w[m] = np.exp(w[m] - top) if w[m] > top - NEGLIGIBLE else 0.0
            total += w[m]
        gain += top + np.log(total)
        for m in range(n_clusters):
            w[m] /= total
            if w[m] > 0.0:
                moments[0, m] += w[m]
                moments[1, m] += w[m] * first[m]
                moments[2, m] += w[m] * second[m]
                weights[m] += w[m] * second[m] * inverse
                share = w[m] * first[m] * inverse
                for e in range(n_encodings):
                    real = share * v[e] * ratios[m, e]
                    sums[m, e] += real if predicted[m, e] >= 0.0 else -real
        if responsibilities.shape[0] > 0:
            scales[n] = 0.0
            for m in range(n_clusters):
                responsibilities[n, m] = w[m]
                scales[n] += w[m] * first[m] * totals[m]
    return gain


@compiled_within
def magnitude_fit(arguments, precision, scale_variance, start, hopeless, n_coils, bend, table, ratios):
    """Log-density gain of one cluster over a zero signal, and the scale's first two moments.

    arguments: |x| v / s2; precision: ||x||2 / s2. The scale's posterior mean solves
    a = (sum_e z_e R(a z_e) + 1/V) / (precision + 1/V), R the Bessel ratio (filled in), by Newton's
    method. Ends early, with minus infinity, where the gain cannot reach ``hopeless``.
    """
    if scale_variance == 0.0:
        return sum_log_bessel(arguments, 1.0, n_coils, bend, table, ratios) - 0.5 * precision, 1.0, 1.0
    stiff = precision + 1.0 / scale_variance
    constant = 0.5 / scale_variance + 0.5 * np.log(scale_variance * stiff)
    a, mean, gain = start, start, 0.0
    for _ in range(ROUNDS):
        logs = sum_log_bessel(arguments, a, n_coils, bend, table, ratios)
        linear, bent = 0.0, 0.0
        for e in range(arguments.shape[0]):
            z, r = arguments[e], ratios[e]
            linear += z * r
            bent += z * z * (1.0 - r * r) - (2 * n_coils - 1) * z * r / a
        mean = (linear + 1.0 / scale_variance) / stiff
        gain = 0.5 * stiff * mean * mean - constant + logs - a * linear
        slope = 1.0 - min(max(bent, 0.0) / stiff, 0.9)
        if abs(mean - a) <= ACCURACY * a:
            break
        if gain + stiff * (mean - a) ** 2 / slope < hopeless:  # twice what a concave log-density could still gain
            return -np.inf, mean, mean * mean
        a = max(a + (mean - a) / slope, 0.1 * a)
    return gain, mean, mean * mean + 1.0 / stiff


@compiled
def student_block(
    signals, energies, variances, log_probs, means, norms, scale_variance, nu, n_encodings,
    moments, weights, sums, responsibilities, scales, totals,
):  # fmt: skip
    """Sums of one block of compressed voxels; returns the sum of the log mixture gains."""
    n_clusters, n_ranks = means.shape
    w, precisions = np.empty(n_clusters), np.empty(n_clusters)
    first, second = np.empty(n_clusters), np.empty(n_clusters)
    moments[:] = 0.0
    weights[:] = 0.0
    sums[:] = 0.0
    gain = 0.0
    for n in range(signals.shape[0]):
        log_prior = log_probs[n if log_probs.shape[0] > 1 else 0]
        top = -np.inf
        for m in range(n_clusters):
            product = 0.0
            for k in range(n_ranks):
                product += signals[n, k] * means[m, k]
            value, precisions[m], first[m], second[m] = student_fit(
                product, norms[m], energies[n], nu * variances[n], scale_variance, nu + n_encodings
            )
            w[m] = log_prior[m] + value
            top = max(top, w[m])
        total = 0.0
        for m in range(n_clusters):
            w[m] = np.exp(w[m] - top)
            total += w[m]
        gain += top + np.log(total)
        for m in range(n_clusters):
            w[m] /= total
            moments[0, m] += w[m]
            moments[1, m] += w[m] * first[m]
            moments[2, m] += w[m] * second[m]
            weights[m] += w[m] * second[m] * precisions[m]
            share = w[m] * first[m] * precisions[m]
            for k in range(n_ranks):
                sums[m, k] += share * signals[n, k]
        if responsibilities.shape[0] > 0:
            scales[n] = 0.0
            for m in range(n_clusters):
                responsibilities[n, m] = w[m]
                scales[n] += w[m] * first[m] * totals[m]
    return gain


@compiled_within
def student_fit(product, norm, energy, spread, scale_variance, count):
    """Log-density gain over a zero signal, expected precision, and the scale's first two moments.

    -(count/2) log(spread + ||r||2) with spread = nu s2, count = n_encodings + nu. With a latent
    scale precision = count / (spread + E||r||2) and the scale's moments are iterated to agree.
    """
    zero = spread + energy
    if scale_variance == 0.0:
        rest = max(zero - 2.0 * product + norm, spread)
        return -0.5 * count * np.log(rest / zero), count / rest, 1.0, 1.0
    best = product / norm if norm > 0.0 else 1.0
    rest = max(zero - product * best, spread)
    old, fit, mean, square = rest, 0.0, 1.0, 1.0
    for _ in range(ROUNDS):
        old = rest
        fit, mean, square = scaled_fit(product, norm, old / count, scale_variance)
        rest = max(zero - 2.0 * mean * product + square * norm, spread)
        if abs(rest - old) <= ACCURACY * rest:
            break
    precision = count / old
    gain = -0.5 * count * np.log(old / zero) + 0.5 * (old - zero) * precision + fit
    return gain, precision, mean, square
