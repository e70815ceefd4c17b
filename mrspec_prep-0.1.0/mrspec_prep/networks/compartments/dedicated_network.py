"""Residual network for one protocol, over what its signals can tell apart (torch)."""

import numpy as np
import torch
from torch import nn

from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.physics import Encodings

N_SIGNALS = 20_000  # that the features are scaled by
LEAST_SHARE = 3e-4  # of the largest singular value of noise-free signals: directions below it hold noise only


class DedicatedNetwork(nn.Module):
    """Features of a signal, then residual blocks.

    The signal is written in the singular vectors of noise-free signals. What lies outside them gives its noise, and
    each coordinate enters twice: over its spread, and over the noise, as a logarithm that keeps the sign.

    Parameters
    ----------
    basis : (n_encodings, n_basis) array
        Orthonormal columns.
    means, spreads : (n_features,) arrays
        Of the features, over the recipe.
    n_classes, width, n_blocks : int

    """

    def __init__(self, basis, means, spreads, n_classes=4, width=256, n_blocks=3):
        super().__init__()
        for name, value in (("basis", basis), ("means", means), ("spreads", spreads)):
            self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=torch.float32))
        self.entry = nn.Linear(len(means), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(n_blocks)
        )
        self.exit = nn.Sequential(nn.SiLU(), nn.Linear(width, n_classes))
        with torch.no_grad():  # a block starts small, the answer near the prior
            for block in self.blocks:
                block[-1].weight.mul_(0.1)
            self.exit[-1].weight.mul_(0.1)

    def forward(self, signals):
        """(n, n_classes) logits of signals (n, n_encodings) of unit 2-norm."""
        hidden = self.entry((features(signals, self.basis) - self.means) / self.spreads)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.exit(hidden)


def features(signals, basis):
    """(n, 2 n_basis + 1) features of signals (n, n_encodings): coordinates, the same over the noise, log noise."""
    coordinates = signals @ basis
    outside = (signals**2).sum(dim=1, keepdim=True) - (coordinates**2).sum(dim=1, keepdim=True)
    noise = (outside.clamp_min(1e-8) / max(1, basis.shape[0] - basis.shape[1])).sqrt()
    ratio = coordinates / noise
    return torch.cat([coordinates, ratio.sign() * ratio.abs().log1p(), noise.log()], dim=1)


def dedicated_network(recipe: Recipe, protocol: Encodings, rng, width=256, n_blocks=3):
    """Untrained network for a recipe and protocol; weights follow torch's own seed."""
    clean = simulate(_noise_free(recipe), protocol, N_SIGNALS, rng).signals
    _, values, vectors = np.linalg.svd(clean, full_matrices=False)
    basis = vectors[values > LEAST_SHARE * values[0]].T
    noisy = torch.as_tensor(simulate(recipe, protocol, N_SIGNALS, rng).signals)
    found = features(noisy, torch.as_tensor(np.ascontiguousarray(basis)))
    return DedicatedNetwork(basis, found.mean(dim=0), found.std(dim=0), recipe.n_classes, width, n_blocks)


def _noise_free(recipe):
    settings = recipe.as_dict() | {"noise": "rms", "noise_range": (1e-9, 1e-9), "noise_steps": 1}
    return Recipe.from_dict(settings)
