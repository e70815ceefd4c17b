"""Least squares shrunken towards a Gaussian mixture learned from the same voxels (extreme deconvolution).

Bovy, Hogg and Roweis 2011 (Ann Appl Stat 5:1657): the mixture of the true parameters is fitted with each
voxel's own error covariance; then each voxel's estimate is its posterior mean.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.fitting.intervals import cones
from mrspec_prep.networks.fitting.least_squares import (
    BLOCK,
    covariances,
    least_squares,
    standard_errors,
    valid_voxels,
)
from mrspec_prep.networks.priors.coordinates import Coordinates, Errors
from mrspec_prep.networks.priors.mixture import Mixture, posterior, sums_block
from mrspec_prep.networks.priors.quantiles import mixture_quantiles, named_quantiles
from mrspec_prep.networks.problem import settings_of
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.threads import available_threads, for_blocks

PSEUDO_COUNT = 5.0  # voxels by which each covariance is drawn towards the least one
LEAST_WIDTH = 0.1  # of the median error: a prior this narrow cannot be told from a point


@dataclass(frozen=True)
class MixtureSettings:
    """Settings of the fitted mixture prior.

    Attributes
    ----------
    n_components : tuple of int
        Numbers of components to choose from, by BIC.
    n_learning : int
        At most this many voxels, drawn at random, teach the mixture.
    n_starts, start_steps : int
        Starts and their EM steps, before the best one goes on.
    max_steps : int
    tolerance : float
        Gain of log evidence per voxel below which EM ends [nats].

    """

    n_components: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    n_learning: int = 5000
    n_starts: int = 4
    start_steps: int = 8
    max_steps: int = 200
    tolerance: float = 3e-5

    def __post_init__(self):
        if not self.n_components or min(self.n_components) < 1:
            raise ValueError(f"n_components must list numbers >= 1, got {self.n_components}")
        for name in ("n_learning", "n_starts", "start_steps", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")


def least_covariance(errors: Errors, width=LEAST_WIDTH):
    """(d, d) covariance that no component falls much below: a share of the median error, squared."""
    information = np.maximum(np.einsum("nii->ni", errors.precision), 1e-300)
    return np.diag(width**2 / np.median(information, axis=0))


def maximised(counts, firsts, seconds, least, pseudo_count=PSEUDO_COUNT) -> Mixture:
    """Mixture of largest penalised likelihood for expected sums.

    The penalty is that of ``pseudo_count`` voxels of covariance ``least`` in every component.
    """
    safe = np.maximum(counts, 1e-10)
    means = firsts / safe[:, None]
    scatter = seconds - safe[:, None, None] * means[:, :, None] * means[:, None, :]
    covariances = (scatter + pseudo_count * least) / (safe + pseudo_count)[:, None, None]
    return Mixture(counts / counts.sum(), means, 0.5 * (covariances + covariances.transpose(0, 2, 1)))


def log_penalty(mixture, least, pseudo_count=PSEUDO_COUNT):
    """Logarithm of the penalty of ``maximised`` [nats], at most zero."""
    ratios = np.einsum("kij,jl->kil", mixture.precisions()[0], least)
    logs = np.linalg.slogdet(ratios)[1]
    return 0.5 * pseudo_count * float((logs - np.trace(ratios, axis1=1, axis2=2) + len(least)).sum())


def em_step(errors, mixture, least):
    """One step of extreme deconvolution: a better mixture, and the penalised log evidence of the given one."""
    k, d = mixture.means.shape

    def block(start, stop):
        found = posterior(errors, mixture, slice(start, stop))
        sums = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
        sums_block(found.probs, found.means, found.factors, *sums)
        return found.log_evidence, *sums

    parts = for_blocks(len(errors.potential), BLOCK, block, available_threads())
    evidence, counts, firsts, seconds = (sum(part) for part in zip(*parts, strict=True))
    return maximised(counts, firsts, seconds, least), evidence + log_penalty(mixture, least)


def random_start(errors, n_components, rng) -> Mixture:
    """Components around voxels far from each other (k-means++), as wide as all voxels over their number."""
    u = errors.best
    scale = np.maximum(np.percentile(u, 84, axis=0) - np.percentile(u, 16, axis=0), 1e-6) / 2
    chosen = [int(rng.integers(len(u)))]
    nearest = np.full(len(u), np.inf)
    for _ in range(1, n_components):
        nearest = np.minimum(nearest, (((u - u[chosen[-1]]) / scale) ** 2).sum(axis=1))
        capped = np.minimum(nearest, 20.0)  # stray voxels attract no more than distinct ones
        chosen.append(int(rng.choice(len(u), p=capped / capped.sum())) if capped.sum() > 0 else chosen[0])
    covariances = np.tile(np.diag(scale**2) / n_components ** (1 / len(scale)), (n_components, 1, 1))
    return Mixture(np.full(n_components, 1.0 / n_components), u[chosen], covariances)


def deconvolve(errors, n_components, rng, settings):
    """Mixture with a given number of components, from the best of several short runs.

    Parameters
    ----------
    errors : Errors
    n_components : int
    rng : numpy.random.Generator
    settings : MixtureSettings

    Returns
    -------
    mixture : Mixture
    trace : list of float
        Penalised log evidence before each step [nats]; it never falls.

    """
    least = least_covariance(errors)
    best = None
    for _ in range(settings.n_starts if n_components > 1 else 1):
        mixture = random_start(errors, n_components, rng)
        for _ in range(settings.start_steps):
            mixture, evidence = em_step(errors, mixture, least)
        if best is None or evidence > best[0]:
            best = evidence, mixture
    trace, mixture = [], best[1]
    for _ in range(settings.max_steps):
        better, evidence = em_step(errors, mixture, least)
        trace.append(evidence)
        if len(trace) > 1 and trace[-1] - trace[-2] < settings.tolerance * len(errors.potential):
            break
        mixture = better
    return mixture, trace


def learning_voxels(n_voxels, n_learning, rng):
    """Voxels that teach a prior: all, or a random choice in order."""
    if n_voxels <= n_learning:
        return np.arange(n_voxels)
    return np.sort(rng.choice(n_voxels, n_learning, replace=False))


def subset(errors, rows) -> Errors:
    """Errors of some voxels."""
    return Errors(errors.precision[rows], errors.potential[rows], errors.best[rows])


def select_mixture(errors, rng, settings, on_step=None):
    """Mixture with the number of components of least BIC.

    Returns
    -------
    mixture : Mixture
    history : dict of str to list
        ``n_components``, ``bic`` of each candidate; ``log_evidence`` of the one chosen, by step.

    """
    best, history = None, {"n_components": [], "bic": []}
    for number, k in enumerate(settings.n_components):
        mixture, trace = deconvolve(errors, k, rng, settings)
        evidence = posterior(errors, mixture).log_evidence
        bic = mixture.n_parameters * np.log(len(errors.potential)) - 2 * evidence
        history["n_components"].append(k)
        history["bic"].append(float(bic))
        if best is None or bic < best[0]:
            best = bic, mixture, trace
        if on_step is not None:
            on_step(number + 1, len(settings.n_components))
    history["log_evidence"] = best[2]
    return best[1], history


def fit_mixture_prior(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``lsq-gmm``: least squares, shrunken towards a mixture fitted to it (``fit_maps``)."""
    settings, rng = settings_of(MixtureSettings, settings), np.random.default_rng(seed)
    fit, coordinates = least_squares(problem), Coordinates(problem.model)
    errors = coordinates.errors(fit)
    learning = subset(errors, learning_voxels(problem.n_voxels, settings.n_learning, rng))
    mixture, history = select_mixture(learning, rng, settings, on_step)
    found = posterior(errors, mixture)
    values, std = coordinates.posterior_moments(found)
    covariance = covariances(problem, fit)
    if problem.model.oriented:  # the direction stays that of least squares
        values = np.hstack([values, fit.values[:, -3:]])
        std = np.hstack([std, standard_errors(problem, covariance)[:, -3:]])
    return MapsResult(
        problem.named(values),
        problem.named(std),
        fit.converged,
        valid_voxels(problem, values),
        problem.noise_std,
        intervals=named_quantiles(coordinates.names, mixture_quantiles(coordinates, found)),
        cones=cones(problem.model, fit.values, covariance),
        cluster_probs=found.probs,
        history=history,
        seed=seed,
        settings=dict(vars(settings), chosen=mixture.n_components),
    )
