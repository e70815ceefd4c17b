"""Exact posteriors under a mixture prior, by importance sampling.

Each voxel's draws come from what its Gaussian likelihood and the mixture say (``posterior``), widened;
their weights carry the exact likelihood. With the draws kept, a better prior only re-weights them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.fitting.least_squares import LeastSquares
from mrspec_prep.networks.fitting.likelihood import costs
from mrspec_prep.networks.priors.coordinates import Coordinates
from mrspec_prep.networks.priors.directions import draw_axes, mean_axes
from mrspec_prep.networks.priors.mixture import posterior
from mrspec_prep.networks.priors.quantiles import draw_quantiles
from mrspec_prep.networks.problem import Problem
from mrspec_prep.networks.result import LEVELS
from mrspec_prep.threads import for_blocks

SIGNALS = 704  # voxels times encodings in a block of draws, whose arrays then stay in the processor's cache
VOXELS = 4, 64  # in a block, at least and at most
WIDE, WIDER, RARE = 1.2, 3.0, 0.2  # widths of the draws over the Gaussian's; share of the wider ones
PRIOR_SHARE = 0.1  # of draws that choose their component by the prior alone
PRIOR_DRAWS = 0.25  # share drawn from the prior's components: where a likelihood is far from Gaussian, they see it
CUT = 15.0  # logarithms this far below the largest count as nothing
LEAST_WEIGHT = 1e-7  # of a voxel's draws: below, a draw adds nothing to sums
IGNORED = 1e-4  # components less probable are not drawn from


@compiled
def draw_block(normals, uniforms, probs, means, factors, wide, wider, rare, ignored, draws, log_density):
    """Draws from widened mixtures and the log density they have there.

    normals (s, d), uniforms (s,) in order; draws (n, s, d), log_density (n, s) are filled.
    """
    n_voxels, n_components, d = means.shape
    n_draws = uniforms.shape[0]
    logs, share, x = np.empty(n_components), np.empty(n_components), np.empty(d)
    narrow = (1.0 - rare) / wide**d
    broad = rare / wider**d
    constant = 0.5 * d * np.log(2.0 * np.pi)
    for n in range(n_voxels):
        total = 0.0
        for k in range(n_components):
            share[k] = probs[n, k] if probs[n, k] > ignored else 0.0
            total += share[k]
        for k in range(n_components):
            share[k] /= total
            logs[k] = 1.0
            for a in range(d):
                logs[k] *= factors[n, k, a, a]
        k, before = 0, 0.0
        for s in range(n_draws):
            while k < n_components - 1 and uniforms[s] > before + share[k]:
                before += share[k]
                k += 1
            within = (uniforms[s] - before) / max(share[k], 1e-300)
            width = wider if within > 1.0 - rare else wide
            for a in range(d - 1, -1, -1):
                total = normals[s, a] * width
                for c in range(a + 1, d):
                    total -= factors[n, k, c, a] * x[c]
                x[a] = total / factors[n, k, a, a]
            for a in range(d):
                draws[n, s, a] = means[n, k, a] + x[a]
            density = 0.0
            for j in range(n_components):
                if share[j] == 0.0:
                    continue
                square = 0.0
                for a in range(d):
                    along = 0.0
                    for c in range(a, d):
                        along += factors[n, j, c, a] * (draws[n, s, c] - means[n, j, c])
                    square += along * along
                bell = narrow * np.exp(-0.5 * square / wide**2) + broad * np.exp(-0.5 * square / wider**2)
                density += share[j] * logs[j] * bell
            log_density[n, s] = np.log(max(density, 1e-300)) - constant


@compiled
def weigh_block(draws, log_ratio, means, factors, constants, weights, probs, firsts, seconds):
    """Weigh the draws (n, s, d) of voxels by a mixture; returns the sum of the log evidences.

    weights (n, s), summing to one per voxel, and probs (n, K), the expected component, are filled;
    sums (K, d) and second moments (K, d, d) of the components are added to.
    """
    n_voxels, n_draws, d = draws.shape
    n_components = means.shape[0]
    logs, shares = np.empty(n_components), np.empty((n_draws, n_components))
    total, densest = 0.0, constants.max() + np.log(n_components)
    for n in range(n_voxels):
        best = -np.inf
        for s in range(n_draws):
            if log_ratio[n, s] + densest < best - CUT:  # wherever it lies
                weights[n, s] = -np.inf
                continue
            highest = -np.inf
            for k in range(n_components):
                square = 0.0
                for a in range(d):
                    along = 0.0
                    for c in range(a, d):
                        along += factors[k, c, a] * (draws[n, s, c] - means[k, c])
                    square += along * along
                logs[k] = constants[k] - 0.5 * square
                highest = max(highest, logs[k])
            weights[n, s] = log_ratio[n, s] + highest
            if weights[n, s] < best - CUT:
                weights[n, s] = -np.inf
                continue
            mass = 0.0
            for k in range(n_components):
                shares[s, k] = np.exp(logs[k] - highest) if logs[k] > highest - CUT else 0.0
                mass += shares[s, k]
            for k in range(n_components):
                shares[s, k] /= mass
            weights[n, s] += np.log(mass)
            best = max(best, weights[n, s])
        mass = 0.0
        for s in range(n_draws):
            weights[n, s] = np.exp(weights[n, s] - best)
            mass += weights[n, s]
        total += best + np.log(mass / n_draws)
        for k in range(n_components):
            probs[n, k] = 0.0
        for s in range(n_draws):
            weights[n, s] /= mass
            if weights[n, s] < LEAST_WEIGHT:
                continue
            for k in range(n_components):
                r = weights[n, s] * shares[s, k]
                if r < LEAST_WEIGHT:
                    continue
                probs[n, k] += r
                for a in range(d):
                    firsts[k, a] += r * draws[n, s, a]
                    for b in range(a + 1):
                        seconds[k, a, b] += r * draws[n, s, a] * draws[n, s, b]
    return total


def mirror(seconds):
    """Fill the upper triangles of (K, d, d) second moments."""
    lower = np.tril(seconds, -1)
    return np.tril(seconds) + lower.transpose(0, 2, 1)


class Sampler:
    """Draws from the posteriors of a problem's voxels.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
        Of the same problem.
    n_draws : int
        Per voxel.
    seed : int

    """

    def __init__(self, problem: Problem, fit: LeastSquares, n_draws, seed):
        self.problem, self.fit, self.seed = problem, fit, seed
        self.coordinates = Coordinates(problem.model)
        self.errors = self.coordinates.errors(fit)
        n_numbers = self.coordinates.n + (4 if problem.model.oriented else 1)
        sobol = qmc.Sobol(n_numbers, rng=np.random.default_rng(seed))
        self.points = sobol.random_base2(int(np.ceil(np.log2(n_draws))))

    @property
    def n_draws(self):
        """Draws per voxel, a power of two."""
        return len(self.points)

    @property
    def block(self):
        """Voxels in a block of draws."""
        return int(np.clip(SIGNALS // len(self.problem.encodings), *VOXELS))

    def proposal(self, mixture, rows):
        """Posterior of a block of voxels from which most draws come."""
        return posterior(self.errors, mixture, rows)

    def draw(self, mixture, rows):
        """Draws of a block of voxels.

        Parameters
        ----------
        mixture : Mixture
            Prior that tells where to look.
        rows : slice

        Returns
        -------
        draws : (n, n_draws, d) array
            Coordinates u.
        values : (n, n_draws, d) array
            Parameters there.
        log_ratio : (n, n_draws) array
            Log-likelihood less log density of the draws [nats].
        axes : (n, n_draws, 3) array or None
            Direction, even over all axes a priori, of models that have one.

        """
        found = self.proposal(mixture, rows)
        shift = np.random.default_rng((self.seed, rows.start)).random(self.points.shape[1])
        points = (self.points + shift) % 1.0
        points = points[np.argsort(points[:, 0])]
        normals = ndtri(np.clip(points[:, 1:], 1e-12, 1 - 1e-12))
        probs = (1 - PRIOR_SHARE) * found.probs + PRIOR_SHARE * mixture.weights
        n, d = len(probs), self.coordinates.n
        probs = np.hstack([(1 - PRIOR_DRAWS) * probs, PRIOR_DRAWS * probs])
        means = np.concatenate([found.means, np.broadcast_to(mixture.means, found.means.shape)], axis=1)
        prior = np.broadcast_to(mixture.factors()[0], found.factors.shape)
        factors = np.concatenate([found.factors, prior], axis=1)
        draws, log_density = np.empty((n, self.n_draws, d)), np.empty((n, self.n_draws))
        shape = (WIDE, WIDER, RARE, IGNORED)
        draw_block(normals[:, :d].copy(), points[:, 0].copy(), probs, means, factors, *shape, draws, log_density)
        values = self.coordinates.values(draws)
        named = {name: values[..., a] for a, name in enumerate(self.coordinates.names)}
        axes = None
        if self.problem.model.oriented:
            axes, ratio = draw_axes(self.fit, rows, values, points[:, -3:], normals[:, -2:])
            log_density -= ratio
            named |= {name: axes[..., a] for a, name in enumerate(self.problem.model.names[-3:])}
        predicted = self.problem.model.signal(self.problem.encodings, named)
        return draws, values, -costs(self.problem, predicted, rows) - log_density, axes


@dataclass(frozen=True, eq=False)
class Summary:
    """Posterior of every voxel.

    Attributes
    ----------
    mean, std : (n_voxels, d) arrays
        Of the parameters.
    quantiles : (n_voxels, d, 4) array
        At ``result.LEVELS``.
    cluster_probs : (n_voxels, K) array
    direction, direction_std : (n_voxels, 3) arrays or None
        Mean axis and the standard deviation of its components.
    cones : (n_voxels, 2) array or None
        As in ``MapsResult``.
    effective : (n_voxels,) array
        Draws' worth of the weighted draws, 1 / sum w2: few where the draws missed the posterior.

    """

    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray
    cluster_probs: np.ndarray
    effective: np.ndarray
    direction: np.ndarray | None = None
    direction_std: np.ndarray | None = None
    cones: np.ndarray | None = None


def summarise(sampler, mixture, on_step=None) -> Summary:
    """Posterior mean, standard deviation and component of every voxel under a mixture prior.

    Parameters
    ----------
    sampler : Sampler
    mixture : Mixture
    on_step : callable, optional
        ``on_step(voxels done, n_voxels)``.

    Returns
    -------
    Summary

    """
    n, d = sampler.errors.best.shape
    mean, std, effective = np.empty((n, d)), np.empty((n, d)), np.empty(n)
    quantiles = np.empty((n, d, len(LEVELS)))
    probs, done = np.empty((n, mixture.n_components)), [0]
    about = (np.empty((n, 3)), np.empty((n, 3)), np.empty((n, 2))) if sampler.problem.model.oriented else ()
    factors, constants = mixture.factors()

    def block(start, stop):
        rows = slice(start, stop)
        draws, values, log_ratio, axes = sampler.draw(mixture, rows)
        weights = np.empty(log_ratio.shape)
        unused = np.zeros_like(mixture.means), np.zeros_like(mixture.covariances)
        weigh_block(draws, log_ratio, mixture.means, factors, constants, weights, probs[rows], *unused)
        mean[rows] = np.einsum("ns,nsd->nd", weights, values)
        std[rows] = np.sqrt(np.einsum("ns,nsd->nd", weights, (values - mean[rows, None]) ** 2))
        quantiles[rows] = draw_quantiles(values, weights)
        effective[rows] = 1 / (weights**2).sum(axis=1)
        if axes is not None:
            for part, found in zip(about, mean_axes(axes, weights, draw_quantiles), strict=True):
                part[rows] = found
        done[0] += stop - start
        if on_step is not None:
            on_step(done[0], n)

    for_blocks(n, sampler.block, block)
    return Summary(mean, std, quantiles, probs, effective, *about)
