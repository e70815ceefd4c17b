"""Posterior means under a mixture prior learned from the scan itself with the exact likelihood.

Empirical Bayes: the mixture over tissue parameters maximises the likelihood of all voxels' signals, by EM
over importance samples; then each voxel is its posterior mean under that mixture. Starts are wide: a mixture
fitted to least squares (``mixture_prior``) is narrow where noise has bent the estimates, and holds EM there.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.fitting.least_squares import LeastSquares, least_squares, valid_voxels
from mrspec_prep.networks.priors.importance import Sampler, mirror, summarise, weigh_block
from mrspec_prep.networks.priors.mixture_prior import (
    learning_voxels,
    least_covariance,
    log_penalty,
    maximised,
    random_start,
)
from mrspec_prep.networks.priors.quantiles import named_quantiles
from mrspec_prep.networks.problem import PositiveSettings, Problem, settings_of
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.threads import for_blocks

BLOCK = 64  # voxels in a block of sums
#: components as wide as half the median error, with the weight of so many voxels: without it, those of tissue that the
#: signals hardly tell apart shrink to points, and intervals are too narrow
LEAST_WIDTH, PSEUDO_COUNT = 0.5, 20.0
START_ROUNDS = 3  # of draws and EM steps per start


@dataclass(frozen=True)
class LearnedPriorSettings(PositiveSettings):
    """Settings of the learned prior.

    Attributes
    ----------
    n_components : int
        Gaussians of the prior; more than there are tissues, since tissue need not be Gaussian.
    n_learning : int
        At most this many voxels, drawn at random, teach the prior.
    n_starts, n_starting : int
        Random starts, and at most this many voxels for each.
    n_draws : int
        Importance samples per voxel while learning.
    n_rounds : int
        Times that samples are drawn anew from the prior learned so far.
    max_steps : int
        EM steps per round.
    tolerance : float
        Gain of log evidence per voxel below which a round ends [nats].
    n_final_draws : int
        Importance samples per voxel of the maps.

    """

    n_components: int = 5
    n_learning: int = 5000
    n_starts: int = 4
    n_starting: int = 1500
    n_draws: int = 64
    n_rounds: int = 4
    max_steps: int = 30
    tolerance: float = 1e-5
    n_final_draws: int = 512


def part_of(problem, fit, rows):
    """Problem and fit of some voxels."""
    part = Problem(
        problem.model,
        problem.signals[rows],
        problem.encodings,
        problem.n_averages,
        problem.noise_std[rows],
        problem.distribution,
    )
    return part, LeastSquares(*(values[rows] for values in vars(fit).values()))


def draw_all(sampler, mixture):
    """Draws (n_voxels, n_draws, d) and log ratios (n_voxels, n_draws) of every voxel."""
    n, d = sampler.errors.best.shape
    draws, log_ratio = np.empty((n, sampler.n_draws, d)), np.empty((n, sampler.n_draws))

    def block(start, stop):
        draws[start:stop], _, log_ratio[start:stop], _ = sampler.draw(mixture, slice(start, stop))

    for_blocks(n, sampler.block, block)
    return draws, log_ratio


def em_step(draws, log_ratio, mixture, least):
    """One step over fixed draws: a better mixture, and the penalised log evidence of the given one."""
    factors, constants = mixture.factors()
    k, d = mixture.means.shape

    def block(start, stop):
        weights, probs = np.empty((stop - start, draws.shape[1])), np.empty((stop - start, k))
        sums = np.zeros((k, d)), np.zeros((k, d, d))
        given = draws[start:stop], log_ratio[start:stop], mixture.means, factors, constants
        evidence = weigh_block(*given, weights, probs, *sums)
        return evidence, probs.sum(axis=0), *sums

    parts = for_blocks(len(draws), BLOCK, block)
    evidence, counts, firsts, seconds = (sum(part) for part in zip(*parts, strict=True))
    penalty = log_penalty(mixture, least, PSEUDO_COUNT)
    return maximised(counts, firsts, mirror(seconds), least, PSEUDO_COUNT), evidence + penalty


def em_round(draws, log_ratio, mixture, least, max_steps, tolerance):
    """Steps over fixed draws until one gains less than ``tolerance`` per voxel [nats].

    Returns
    -------
    mixture : Mixture
    trace : list of float
        Log evidence per voxel before each step.

    """
    trace = []
    for _ in range(max_steps):
        better, evidence = em_step(draws, log_ratio, mixture, least)
        trace.append(evidence / len(draws))
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance:
            break
        mixture = better
    return mixture, trace


def learn_prior(problem, fit, settings, seed=0, on_step=None):
    """Mixture over the coordinates of tissue that makes all signals most likely.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
    settings : LearnedPriorSettings
    seed : int
    on_step : callable, optional
        ``on_step(round, n_rounds)``.

    Returns
    -------
    mixture : Mixture
    history : dict of str to list
        ``log_evidence`` per voxel before each step, ``starts`` of each start [nats], up to a constant.

    """
    rng = np.random.default_rng(seed)
    n_steps = settings.n_starts + settings.n_rounds
    mixtures = []
    few = _sampler(problem, fit, settings.n_starting, settings.n_draws, rng)
    for number in range(settings.n_starts):
        mixture = random_start(few.errors, settings.n_components, rng)
        for _ in range(START_ROUNDS):
            mixture, trace = _round(few, mixture, settings)
        mixtures.append((trace[-1], mixture))
        if on_step is not None:
            on_step(number + 1, n_steps)
    mixture = max(mixtures, key=lambda run: run[0])[1]
    sampler, history = _sampler(problem, fit, settings.n_learning, settings.n_draws, rng), []
    for number in range(settings.n_rounds):
        mixture, trace = _round(sampler, mixture, settings)
        history += trace
        if on_step is not None:
            on_step(settings.n_starts + number + 1, n_steps)
    return mixture, {"log_evidence": history, "starts": [float(run[0]) for run in mixtures]}


def _sampler(problem, fit, n_voxels, n_draws, rng):
    """Sampler of some voxels, drawn at random."""
    part, part_fit = part_of(problem, fit, learning_voxels(problem.n_voxels, n_voxels, rng))
    return Sampler(part, part_fit, n_draws, int(rng.integers(2**31)))


def _round(sampler, mixture, settings):
    """``em_round`` over draws from the posteriors under a mixture."""
    least = least_covariance(sampler.errors, LEAST_WIDTH)
    return em_round(*draw_all(sampler, mixture), mixture, least, settings.max_steps, settings.tolerance)


def named_posterior(problem, fit, found):
    """Fields of ``MapsResult`` that weighted draws give (``summarise``), by name."""
    values, std = found.mean, found.std
    if problem.model.oriented:
        values, std = np.hstack([values, found.direction]), np.hstack([std, found.direction_std])
    return {
        "maps": problem.named(values),
        "std": problem.named(std),
        "converged": fit.converged,
        "valid": valid_voxels(problem, values),
        "noise_std": problem.noise_std,
        "intervals": named_quantiles(problem.model.names, found.quantiles),
        "cones": found.cones,
        "cluster_probs": found.cluster_probs,
    }


def fit_learned_prior(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``learned-prior``: posterior means under a prior learned from the scan (``fit_maps``)."""
    settings = settings_of(LearnedPriorSettings, settings)
    fit = least_squares(problem)
    mixture, history = learn_prior(problem, fit, settings, seed, on_step)
    found = summarise(Sampler(problem, fit, settings.n_final_draws, seed), mixture, on_step)
    return MapsResult(**named_posterior(problem, fit, found), history=history, seed=seed, settings=dict(vars(settings)))
