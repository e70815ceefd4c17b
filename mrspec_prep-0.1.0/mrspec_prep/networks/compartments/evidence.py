"""Marginal likelihood of a signal for a number of compartments, by sequential Monte Carlo.

A population of tissues drawn from the recipe's law is moved to the posterior through likelihood ** beta, beta from 0
to 1 (Del Moral et al., J. R. Stat. Soc. B 68:411, 2006): the product of the mean weights of the steps is an unbiased
estimate of the marginal likelihood. Between steps every tissue takes Metropolis moves that keep the tempered
posterior: steps of some compartments and differences of the population.
"""

import math

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.compartments.direction_density import add_exponential, log_direction_density
from mrspec_prep.networks.compartments.tissue_moves import (
    allowed,
    draw,
    log_prior,
    mix,
    sort_compartments,
    step_by_difference,
    step_some,
)

RESAMPLE_AT = 0.5  # of the population: how far each step of beta goes


@compiled
def log_evidence(signal, n, tables, sizes, law, noise, n_population, n_moves, seed):
    """Log marginal likelihood of one signal for n compartments.

    Parameters
    ----------
    signal : (n_encodings,) array
        Unit 2-norm.
    n : int
        Compartments.
    tables : (n_axes, n_values, n_encodings) array
        Signal of every value of each axis; rows beyond ``sizes`` are not read.
    sizes : (n_axes,) int array
        Number of values of each axis.
    law : (float, int array, bool)
        Smallest fraction, ceiling of T2 (``tissue_moves.allowed``), whether fractions are normalised uniform numbers.
    noise : (int, int, array, array)
        Unit, reference encoding, levels and their log weights (``log_direction_density``).
    n_population, n_moves : int
        Tissues, and Metropolis moves of each between two steps.
    seed : int

    Returns
    -------
    float

    """
    np.random.seed(seed)
    smallest, ceiling, normalised = law
    unit_code, first, levels, log_weights = noise
    n_axes = len(sizes)
    places, fractions = np.zeros((n_population, n, n_axes)), np.ones((n_population, n))
    pure = np.zeros(len(signal))
    likelihood = np.zeros(n_population)
    for i in range(n_population):
        draw(places[i], fractions[i], sizes, smallest, ceiling, normalised)
        mix(places[i], fractions[i], tables, pure)
        likelihood[i] = log_direction_density(signal, pure, unit_code, first, levels, log_weights)
    to_places, to_fractions = np.zeros((n, n_axes)), np.zeros(n)
    beta, evidence = 0.0, 0.0
    while beta < 1.0:
        reached = _next_beta(likelihood, beta)
        highest = np.max(likelihood)
        weights = np.exp((reached - beta) * (likelihood - highest))
        evidence += (reached - beta) * highest + math.log(np.mean(weights))
        beta = reached
        if beta >= 1.0:
            break
        kept = _systematic(weights)
        places, fractions, likelihood = places[kept], fractions[kept], likelihood[kept]
        for _ in range(n_moves):
            for i in range(n_population):
                to_places[:] = places[i]
                to_fractions[:] = fractions[i]
                if np.random.random() < 0.5:
                    step_some(to_places, to_fractions, sizes)
                elif not step_by_difference(places, fractions, to_places, to_fractions):
                    continue
                if not allowed(to_places, to_fractions, sizes, smallest, ceiling):
                    continue
                mix(to_places, to_fractions, tables, pure)
                value = log_direction_density(signal, pure, unit_code, first, levels, log_weights)
                gain = beta * (value - likelihood[i])
                gain += log_prior(to_fractions, normalised) - log_prior(fractions[i], normalised)
                if gain >= 0 or np.random.random() < math.exp(gain):
                    sort_compartments(to_places, to_fractions)
                    places[i] = to_places
                    fractions[i] = to_fractions
                    likelihood[i] = value
    return evidence


@compiled
def _next_beta(log_likelihood, beta):
    """Largest beta at which the weights of the population keep ``RESAMPLE_AT`` of it effective."""
    low, high = beta, 1.0
    for step in range(40):
        middle = 1.0 if step == 0 else 0.5 * (low + high)
        weights = np.exp((middle - beta) * (log_likelihood - np.max(log_likelihood)))
        if weights.sum() ** 2 / (weights**2).sum() >= RESAMPLE_AT * len(weights):
            low = middle
            if step == 0:
                break
        else:
            high = middle
    return low


@compiled
def _systematic(weights):
    """Indices of a population drawn by its weights, evenly spaced (Kitagawa 1996)."""
    n = len(weights)
    kept = np.zeros(n, np.int64)
    at, step = np.random.random(), weights.sum() / n
    passed, j = weights[0], 0
    for i in range(n):
        while passed < (i + at) * step and j < n - 1:
            j += 1
            passed += weights[j]
        kept[i] = j
    return kept


@compiled
def log_evidence_of_one(signal, tables, sizes, law, noise):
    """Log marginal likelihood for one compartment: the mean over all its values, without sampling."""
    ceiling = law[1]
    unit_code, first, levels, log_weights = noise
    pure = np.zeros(len(signal))
    places, fractions = np.zeros((1, len(sizes))), np.ones(1)
    n_values = 1
    for size in sizes:
        n_values *= size
    highest, total, counted = -np.inf, 0.0, 0
    for value in range(n_values):
        rest = value
        for a in range(len(sizes)):
            places[0, a] = rest % sizes[a]
            rest //= sizes[a]
        if not allowed(places, fractions, sizes, 0.0, ceiling):
            continue
        mix(places, fractions, tables, pure)
        density = log_direction_density(signal, pure, unit_code, first, levels, log_weights)
        highest, total = add_exponential(highest, total, density)
        counted += 1
    return highest + math.log(total / counted)
