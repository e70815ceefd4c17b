"""Encoder that starts from least squares: a network corrects each component's Gaussian posterior."""

import math
from dataclasses import dataclass

import numpy as np
import torch

FARTHEST = 5.0  # standard deviations at which the network's inputs are cut off
MOVED, WIDENED = 4.0, 1.5  # largest corrections: of a mean [posterior standard deviations], of a log width


@dataclass(frozen=True, eq=False)
class Encoded:
    """q(c, z | S) of voxels.

    Attributes
    ----------
    log_probs : (n, K) tensor
        log q(c | S).
    means : (n, K, d) tensor
    factors : (n, K, d, d) tensor
        Lower factors of the precisions.

    """

    log_probs: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def log_joint(self, z):
        """Log densities (n, s, K) of component and latent z (n, s, d); and squared distances (n, s, K)."""
        along = torch.einsum("nkca,nskc->nska", self.factors, z[:, :, None] - self.means[:, None])
        squares = (along**2).sum(dim=-1)
        logs = torch.diagonal(self.factors, dim1=-2, dim2=-1).log().sum(dim=-1)
        constants = self.log_probs + logs - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return constants[:, None] - 0.5 * squares, squares


class ResidualEncoder(torch.nn.Module):
    """q(c | S) and q(z | S, c) of a scan's voxels.

    Without the network they are exact for a Gaussian likelihood (that of least squares) and the mixture prior.
    The network sees that likelihood: its mean, the Cholesky factor of its precision, the slope at bounds and log
    sigma. It moves each component's mean, widens or narrows it along the factor, and changes the probability.

    Parameters
    ----------
    errors : Errors
    noise_std : (n_voxels,) array
    decoder : TissueDecoder
    n_components, width, n_layers : int
    randomness : Randomness

    """

    def __init__(self, errors, noise_std, decoder, n_components, width, n_layers, randomness):
        super().__init__()
        scale, self.n = decoder.scale, len(decoder.scale)
        precision = scale[:, None] * errors.precision * scale
        potential = (errors.potential - errors.precision @ decoder.location) * scale
        self.precision = torch.tensor(precision, device=decoder.device)
        self.potential = torch.tensor(potential, device=decoder.device)
        best = (errors.best - decoder.location) / scale
        self.inputs = decoder.tensor(standardised(features(precision, potential, best, noise_std)))
        self.n_components, sizes = n_components, [self.inputs.shape[1]] + [width] * n_layers
        layers = []
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [randomness.linear(n_in, n_out), torch.nn.SiLU()]
        last = randomness.linear(width, n_components * (1 + 2 * self.n), zero=True)
        self.network = torch.nn.Sequential(*layers, last)

    def forward(self, voxels, prior) -> Encoded:
        """Return q of voxels (n,) under a ``LearnableMixture``."""
        log_probs, means, factors = self.closed_form(voxels, prior)
        out = self.network(self.inputs[voxels]).unflatten(1, (self.n_components, 1 + 2 * self.n))
        moved = MOVED * torch.tanh(out[..., 1 : 1 + self.n] / MOVED)
        narrowed = WIDENED * torch.tanh(out[..., 1 + self.n :] / WIDENED)
        means = means + torch.linalg.solve_triangular(factors.mT, moved[..., None], upper=True)[..., 0]
        return Encoded((log_probs + out[..., 0]).log_softmax(dim=1), means, factors * narrowed.exp()[..., None, :])

    @torch.no_grad()
    def closed_form(self, voxels, prior):
        """Probabilities (logarithms), means and precision factors where the likelihood is Gaussian."""
        lower, prior_means = prior.factors().double(), prior.means.double()
        precisions = lower @ lower.mT
        shifts = torch.einsum("kij,kj->ki", precisions, prior_means)
        factors = torch.linalg.cholesky(self.precision[voxels, None] + precisions)
        right = (self.potential[voxels, None] + shifts)[..., None]
        half = torch.linalg.solve_triangular(factors, right, upper=False)
        means = torch.linalg.solve_triangular(factors.mT, half, upper=True)[..., 0]
        constants = prior.logits.double().log_softmax(0) + prior.log_diagonals.double().sum(1)
        constants = constants - 0.5 * (shifts * prior_means).sum(dim=1)
        logs = torch.diagonal(factors, dim1=-2, dim2=-1).log().sum(dim=-1)
        evidence = constants + 0.5 * (half**2).sum(dim=(-2, -1)) - logs
        return evidence.log_softmax(dim=1).float(), means.float(), factors.float()


def features(precision, potential, best, noise_std):
    """(n_voxels, n_features) array of what the signals say about each voxel.

    Parameters
    ----------
    precision : (n_voxels, d, d) array
    potential, best : (n_voxels, d) arrays
    noise_std : (n_voxels,) array

    Returns
    -------
    (n_voxels, n_features) array

    """
    d = best.shape[1]
    factors = np.linalg.cholesky(precision + np.eye(d))
    diagonal = np.einsum("nii->ni", factors)
    rows, columns = np.tril_indices(d, -1)
    below = factors[:, rows, columns] / diagonal[:, columns]
    slope = (potential - np.einsum("nij,nj->ni", precision, best)) / diagonal
    return np.hstack([best, np.log(diagonal), below, slope, np.log(noise_std)[:, None]])


def standardised(columns):
    """Columns by their median and spread, cut off at ``FARTHEST``; columns that do not vary are zero."""
    low, middle, high = np.percentile(columns, [16, 50, 84], axis=0)
    spread = (high - low) / 2
    spread = np.where(spread > 0, spread, columns.std(axis=0))
    scaled = np.where(spread > 1e-9, (columns - middle) / np.maximum(spread, 1e-9), 0.0)
    return np.clip(scaled, -FARTHEST, FARTHEST)
