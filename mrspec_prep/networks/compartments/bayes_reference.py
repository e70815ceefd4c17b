"""What accuracy is possible at all: the posterior over the number of compartments under the law of the simulation.

No classifier is right more often than the one that picks the class of highest posterior probability.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.compartments.evidence import log_evidence, log_evidence_of_one
from mrspec_prep.networks.compartments.recipe import NOISES, Recipe
from mrspec_prep.networks.compartments.simulation import signal_tables
from mrspec_prep.physics import Encodings
from mrspec_prep.threads import for_blocks

N_NODES = 9  # of the integral over continuous noise levels


@dataclass(frozen=True, eq=False)
class ClassPosterior:
    """Posterior over the number of compartments.

    Attributes
    ----------
    probs : (n, n_classes) array
        From the mean of the evidences of all repeats.
    log_evidence : (n_repeats, n, n_classes) array
        Log marginal likelihoods, up to a constant of the signal; independent runs of the sampler.

    """

    probs: np.ndarray
    log_evidence: np.ndarray

    @property
    def repeat_probs(self):
        """(n_repeats, n, n_classes) posterior of each run alone."""
        return _probabilities(self.log_evidence)

    @property
    def evidence_std(self):
        """(n_classes,) standard deviation of the log evidence of one run, over the signals; 0 where exact."""
        return np.sqrt(np.mean(np.var(self.log_evidence, axis=0, ddof=1), axis=0))


def class_posterior(
    signals, recipe: Recipe, protocol: Encodings, n_population=256, n_moves=48, n_repeats=4, seed=0
) -> ClassPosterior:
    """Posterior probability of 1 to n_classes compartments, each equally likely before.

    Tissue, fractions and noise level are integrated over the recipe's law, and the unknown norm of the signal
    before it was divided by it exactly. One compartment is enumerated without sampling.

    Parameters
    ----------
    signals : (n, n_encodings) array
        Divided by their 2-norm here if they are not.
    recipe : Recipe
    protocol : Encodings
    n_population, n_moves, n_repeats : int
        Of the sampler (``evidence``); the repeats tell its error, n_repeats >= 2.
    seed : int

    Returns
    -------
    ClassPosterior

    Raises
    ------
    ValueError
        Fewer than two repeats, or signals of another protocol.

    """
    signals = np.asarray(signals, float)
    if n_repeats < 2:
        raise ValueError(f"n_repeats must be >= 2, to know the error; got {n_repeats}")
    if signals.ndim != 2 or signals.shape[1] != len(protocol):
        raise ValueError(f"signals must be (n, {len(protocol)}), got {signals.shape}")
    signals = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    tables, sizes, law, noise = sampler_input(recipe, protocol)
    evidence = np.empty((n_repeats, len(signals), recipe.n_classes))

    def run(start, stop):
        for i in range(start, stop):
            evidence[:, i, 0] = log_evidence_of_one(signals[i], tables, sizes, law, noise)
            for r in range(n_repeats):
                for n in range(2, recipe.n_classes + 1):
                    run_seed = (seed * 1_000_003 + (i * n_repeats + r) * recipe.n_classes + n) % 2**32
                    evidence[r, i, n - 1] = log_evidence(
                        signals[i], n, tables, sizes, law, noise, n_population, n_moves, run_seed
                    )

    for_blocks(len(signals), 16, run)
    return ClassPosterior(_probabilities(np.logaddexp.reduce(evidence, axis=0)), evidence)


def sampler_input(recipe: Recipe, protocol: Encodings):
    """Tables, sizes, law and noise as the compiled sampler takes them (``evidence.log_evidence``)."""
    by_axis = signal_tables(protocol, recipe)
    sizes = np.array([len(table) for table in by_axis.values()])
    tables = np.zeros((len(sizes), sizes.max(), len(protocol)))
    for a, table in enumerate(by_axis.values()):
        tables[a, : len(table)] = table
    ceiling = np.zeros(0, np.int64)
    if recipe.t2_below_t1 and {"t1", "t2"} <= set(by_axis):
        ceiling = np.searchsorted(recipe.values("t2"), recipe.values("t1"), side="right").astype(np.int64) - 1
    levels, weights = noise_nodes(recipe)
    noise = (list(NOISES).index(recipe.noise), int(protocol.reference()[0]), levels, np.log(weights))
    return tables, sizes, (recipe.smallest_fraction, ceiling, recipe.fractions == "normalised"), noise


def noise_nodes(recipe: Recipe):
    """Noise levels and their probabilities; a quadrature where the levels are continuous."""
    if recipe.noise_steps:
        levels = recipe.noise_levels()
        return levels, np.full(len(levels), 1 / len(levels))
    low, high = recipe.noise_range
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    return 0.5 * (low + high) + 0.5 * (high - low) * nodes, weights / 2


@dataclass(frozen=True)
class Possible:
    """Accuracy of the best possible choice and of a given one, expected under the posterior of the same signals.

    Attributes
    ----------
    least : float
        Of the choice by the other runs of the sampler, judged by one: not above what is possible but by chance.
    most : float
        Mean of the largest probability: not below what is possible, as errors of the evidence raise it.
    given : float
        Of the given choice.
    gap : float
        ``least - given``.
    gap_error : float
        Standard error of the gap.

    """

    least: float
    most: float
    given: float
    gap: float
    gap_error: float


def compare(posterior: ClassPosterior, choices, binary=False, beside=None) -> Possible:
    """Expected accuracy of choices (n,) of 1 to n_classes, beside the best possible.

    Every signal counts by the probability that a choice is right, not by the one truth that was drawn: the error of
    the difference of two choices is many times smaller.

    Parameters
    ----------
    posterior : ClassPosterior
    choices : (n,) int array
        Number of compartments; with ``binary`` 1, or anything above for more than one.
    binary : bool
        One compartment against more.
    beside : (n, n_classes) array, optional
        Probabilities of a network. ``least`` is then of the choice by their geometric mean with those of the other
        runs: where the sampler errs more than the network, that choice comes closer to the best possible.

    Returns
    -------
    Possible

    """
    runs = posterior.repeat_probs
    joint = posterior.probs
    others = [np.logaddexp.reduce(np.delete(posterior.log_evidence, r, axis=0), axis=0) for r in range(len(runs))]
    if beside is not None:
        others = [0.5 * (found + np.log(np.maximum(beside, 1e-12))) for found in others]
    others = np.stack([_probabilities(found) for found in others])
    chosen = np.asarray(choices) - 1
    if binary:
        runs, joint, others = (np.stack([p[..., 0], 1 - p[..., 0]], axis=-1) for p in (runs, joint, others))
        chosen = np.minimum(chosen, 1)
    rows = np.arange(len(chosen))
    best = np.mean([run[rows, other.argmax(axis=1)] for run, other in zip(runs, others, strict=True)], axis=0)
    given = np.mean([run[rows, chosen] for run in runs], axis=0)
    error = float(np.std(best - given, ddof=1) / np.sqrt(len(chosen)))
    least, mean_given = float(best.mean()), float(given.mean())
    return Possible(least, float(joint.max(axis=1).mean()), mean_given, least - mean_given, error)


def _probabilities(log_evidence):
    relative = np.exp(log_evidence - log_evidence.max(axis=-1, keepdims=True))
    return relative / relative.sum(axis=-1, keepdims=True)
