"""Density of a measured signal of unit norm, given its noise-free shape and the law of its noise."""

import math

import numpy as np

from mrspec_prep.compiled import compiled

LOG_2PI = math.log(2 * math.pi)
MULTIPLICATIVE = 5  # place among the noises of a recipe


@compiled
def log_direction_density(signal, pure, unit_code, first, levels, log_weights):
    """Log density of a noisy signal divided by its own 2-norm, up to a constant of the number of encodings.

    With y = r s, s of unit norm and weights w = 1 / sigma^2 per encoding, the norm r is integrated:
    p(s) = int r^(N-1) prod N(r s_e; p_e, sigma_e) dr = prod(1 / sigma_e) A^(-N/2) J(B / sqrt(A)) exp(-(C - B^2/A) / 2)
    with A = sum w s^2, B = sum w s p, C = sum w p^2 and J(b) = int t^(N-1) exp(-(t - b)^2 / 2) dt over t > 0
    (``log_radial``). The noise levels are summed over.

    Parameters
    ----------
    signal : (N,) array
        Unit 2-norm.
    pure : (N,) array
        Noise-free signal.
    unit_code, first : int
        What a noise level multiplies (order of ``recipe.NOISES``) and the reference encoding.
    levels, log_weights : (n_levels,) arrays

    Returns
    -------
    float

    """
    n = len(signal)
    highest, total = -np.inf, 0.0
    if unit_code == MULTIPLICATIVE:
        product, log_pure, square, linear = 1.0, 0.0, 0.0, 0.0
        for e in range(n):
            magnitude = max(abs(pure[e]), 1e-12)
            product *= magnitude
            if e % 8 == 7:
                log_pure += math.log(product)
                product = 1.0
            ratio = signal[e] / magnitude
            square += ratio * ratio
            linear += ratio if pure[e] >= 0 else -ratio
        log_pure += math.log(product)
        constant = -log_pure - 0.5 * n * math.log(square)  # the levels cancel, as sigma = level |p|
        for k in range(len(levels)):
            misfit = (n - linear * linear / square) / levels[k] ** 2
            value = constant + log_radial(linear / (math.sqrt(square) * levels[k]), n) - 0.5 * misfit + log_weights[k]
            highest, total = add_exponential(highest, total, value)
        return highest + math.log(total)
    squared, along, largest, magnitudes = 0.0, 0.0, 0.0, 0.0
    for e in range(n):
        squared += pure[e] * pure[e]
        along += signal[e] * pure[e]
        magnitudes += abs(pure[e])
        largest = max(largest, abs(pure[e]))
    unit = math.sqrt(squared / n)
    if unit_code == 1:
        unit = 1.0
    elif unit_code == 2:
        unit = largest
    elif unit_code == 3:
        unit = magnitudes / n
    elif unit_code == 4:
        unit = abs(pure[first])
    unit = max(unit, 1e-12)
    for k in range(len(levels)):
        sigma = levels[k] * unit
        value = log_radial(along / sigma, n) - 0.5 * (squared - along * along) / sigma**2 + log_weights[k]
        highest, total = add_exponential(highest, total, value)
    return highest + math.log(total)


@compiled
def add_exponential(highest, total, value):
    """One more term of a sum of exponentials, kept as exp(highest) total."""
    if value > highest:
        return value, total * math.exp(highest - value) + 1.0
    return highest, total + math.exp(value - highest)


@compiled
def log_radial(b, n):
    """Log of int t^(n-1) exp(-(t - b)^2 / 2) dt over t > 0, by Laplace's method (relative error < 1/(8 n))."""
    t = 0.5 * (b + math.sqrt(b * b + 4 * (n - 1)))
    return (n - 1) * math.log(t) - 0.5 * (t - b) ** 2 + 0.5 * LOG_2PI - 0.5 * math.log(1 + (n - 1) / (t * t))
