"""Gaussian mixtures over the coordinates of tissue, and what they make of a voxel's Gaussian likelihood."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.fitting.cholesky import backward, covariance_of, factorise


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussian mixture.

    Attributes
    ----------
    weights : (K,) array
        Sum to one.
    means : (K, d) array
    covariances : (K, d, d) array

    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def n_components(self):
        """K."""
        return len(self.weights)

    @property
    def n_parameters(self):
        """Free numbers of the mixture."""
        k, d = self.means.shape
        return k - 1 + k * d + k * d * (d + 1) // 2

    def precisions(self):
        """Inverse covariances (K, d, d) and the logarithms of their determinants (K,)."""
        precisions = np.linalg.inv(self.covariances)
        return 0.5 * (precisions + precisions.transpose(0, 2, 1)), -np.linalg.slogdet(self.covariances)[1]

    def factors(self):
        """Lower factors L of the precisions L L', (K, d, d), and log weights with the constants of the densities."""
        precisions, logs = self.precisions()
        d = self.means.shape[1]
        constants = np.log(np.maximum(self.weights, 1e-300)) + 0.5 * logs - 0.5 * d * np.log(2 * np.pi)
        return np.linalg.cholesky(precisions), constants

    def sample(self, n, rng):
        """(n, d) draws and the component of each (n,)."""
        component = rng.choice(self.n_components, n, p=self.weights)
        factors = np.linalg.cholesky(self.covariances)
        draws = rng.standard_normal((n, self.means.shape[1]))
        return self.means[component] + np.einsum("nij,nj->ni", factors[component], draws), component


@compiled
def component_posterior(precision, potential, prior_precision, prior_shift, factor, mean):
    """Posterior of one voxel under one Gaussian: ``factor`` of its precision, ``mean``; log evidence.

    prior_shift: prior precision times prior mean. The evidence lacks the constants of the prior.
    """
    d = potential.shape[0]
    both = np.empty((d, d))
    for a in range(d):
        mean[a] = potential[a] + prior_shift[a]
        for b in range(d):
            both[a, b] = precision[a, b] + prior_precision[a, b]
    logs = factorise(both, factor)
    square = 0.0
    for a in range(d):
        for c in range(a):
            mean[a] -= factor[a, c] * mean[c]
        mean[a] /= factor[a, a]
        square += mean[a] * mean[a]
    backward(factor, mean)
    return 0.5 * (square - logs)


@compiled
def posterior_block(precision, potential, constants, prior_precisions, shifts, probs, means, factors):
    """Posterior of voxels under every component; returns the sum of the log evidences.

    constants (K,): log weight + log-determinant of the prior precision / 2 - m'P m / 2.
    probs (n, K), means (n, K, d), factors (n, K, d, d) of the precisions are filled.
    """
    total = 0.0
    n_components = constants.shape[0]
    for n in range(potential.shape[0]):
        highest = -np.inf
        for k in range(n_components):
            probs[n, k] = constants[k] + component_posterior(
                precision[n], potential[n], prior_precisions[k], shifts[k], factors[n, k], means[n, k]
            )
            highest = max(highest, probs[n, k])
        mass = 0.0
        for k in range(n_components):
            probs[n, k] = np.exp(probs[n, k] - highest)
            mass += probs[n, k]
        for k in range(n_components):
            probs[n, k] /= mass
        total += highest + np.log(mass)
    return total


@compiled
def sums_block(probs, means, factors, counts, firsts, seconds):
    """Add the voxels' expected counts (K,), sums (K, d) and second moments (K, d, d)."""
    d = means.shape[2]
    covariance = np.empty((d, d))
    for n in range(probs.shape[0]):
        for k in range(probs.shape[1]):
            r = probs[n, k]
            if r < 1e-12:
                continue
            covariance_of(factors[n, k], covariance)
            counts[k] += r
            for a in range(d):
                firsts[k, a] += r * means[n, k, a]
                for b in range(d):
                    seconds[k, a, b] += r * (covariance[a, b] + means[n, k, a] * means[n, k, b])


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior of voxels under a mixture, a mixture itself.

    Attributes
    ----------
    probs : (n, K) array
        Probability of each component.
    means : (n, K, d) array
    factors : (n, K, d, d) array
        Lower factors of the precisions.
    log_evidence : float
        Sum over voxels [nats], up to a constant of the data.

    """

    probs: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    log_evidence: float


def posterior(errors, mixture, rows=slice(None)) -> Posterior:
    """Posterior of voxels whose likelihood is Gaussian (``Errors``) under a mixture.

    Parameters
    ----------
    errors : Errors
    mixture : Mixture
    rows : slice
        Voxels.

    Returns
    -------
    Posterior

    """
    precision, potential = errors.precision[rows], errors.potential[rows]
    (n, d), k = potential.shape, mixture.n_components
    prior_precisions, logs = mixture.precisions()
    shifts = np.einsum("kij,kj->ki", prior_precisions, mixture.means)
    constants = np.log(np.maximum(mixture.weights, 1e-300)) + 0.5 * (logs - (shifts * mixture.means).sum(axis=1))
    probs, means, factors = np.empty((n, k)), np.empty((n, k, d)), np.zeros((n, k, d, d))
    total = posterior_block(precision, potential, constants, prior_precisions, shifts, probs, means, factors)
    return Posterior(probs, means, factors, total)


def marginal_std(factors):
    """Standard deviations (..., d) of Gaussians whose precisions have the lower factors L (..., d, d)."""
    d = factors.shape[-1]
    inverse = np.linalg.solve(factors, np.broadcast_to(np.eye(d), factors.shape))
    return np.sqrt((inverse**2).sum(axis=-2))
