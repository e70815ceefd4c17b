"""A network that says how much each neighbour tells about a voxel: averages of fingerprints, and nothing else."""

import math

import torch
from torch.nn import functional

from mrspec_prep.networks.residual_cnn import ResidualBlock, convolution

FAR = -1e4  # logarithm of the weight of a neighbour outside the mask


class LikenessNetwork(torch.nn.Module):
    """Weighted mean over the neighbourhood of every voxel, the weights by a convolutional network.

    With u the unit coefficients (M0 and phase divided out), q = (||c|| / sigma)2 their precision, up to normalisation::

        u_i <- sum_j w_ij u_j
        log w_ij = log q_j - b_i ||u_i - u_j||2 / (1/q_i + 1/q_j) - ||e_i - e_j||2 - a |x_i - x_j|2

    The second term is the distance of two fingerprints in units of its noise: with b fixed and e = 0 this would be
    non-local means of single fingerprints (Buades 2005, doi:10.1137/040616024). Bandwidth b and features e come from
    convolution, instance norm, ReLU and residual blocks over u and ||c||, as in the paper's network; b starts near
    1/bandwidth2, e near 0. What comes out lies between measured fingerprints: the network cannot invent one.

    Parameters
    ----------
    rank : int
    settings : ScanCnnSettings
    randomness : Randomness
    scale : dict of str to tensor
        ``centre``, ``spread`` (rank,) of u and ``norm`` of the scan, which inputs are divided by.

    """

    def __init__(self, rank, settings, randomness, scale):
        super().__init__()
        width = settings.n_channels
        self.radius, self.n_features = settings.radius, settings.n_features
        self.first = convolution(rank + 2, width, randomness)
        self.blocks = torch.nn.ModuleList(ResidualBlock(width, randomness) for _ in range(settings.n_blocks))
        self.last = convolution(width, settings.n_features + 1, randomness, gain=0.1)
        self.bandwidth = torch.nn.Parameter(torch.tensor(math.log(settings.bandwidth), device=randomness.device))
        self.distance = torch.nn.Parameter(torch.tensor(0.02, device=randomness.device))
        self.itself = torch.nn.Parameter(torch.tensor(0.0, device=randomness.device))
        for name, value in scale.items():
            self.register_buffer(name, value.reshape(1, -1, 1, 1))

    def forward(self, directions, precision, inside):
        """Averaged directions, not normalised.

        Parameters
        ----------
        directions : (n, rank, n_x, n_y) tensor
        precision : (n, 1, n_x, n_y) tensor
            (||c|| / sigma)2.
        inside : (n, 1, n_x, n_y) tensor
            1 within the mask, 0 outside.

        Returns
        -------
        (n, rank, n_x, n_y) tensor

        """
        seen = (directions - self.centre) / self.spread, precision.sqrt() / self.norm
        hidden = functional.relu(
            functional.instance_norm(self.first(torch.cat([*(s * inside for s in seen), inside], 1)))
        )
        for block in self.blocks:
            hidden = block(hidden)
        features, narrow = self.last(hidden).split([self.n_features, 1], dim=1)
        narrow = torch.exp(narrow - 2 * self.bandwidth)
        maps = torch.cat([directions, features, 1 / precision.clamp_min(1e-3), inside], dim=1)
        logits, neighbours = [], []
        for dx, dy, near in shifted(maps, self.radius):
            logits.append(self._logit(maps, near, narrow, dx, dy))
            neighbours.append(near[:, : directions.shape[1]])
        weights = torch.softmax(torch.stack(logits), dim=0)
        return (weights * torch.stack(neighbours)).sum(dim=0)

    def _logit(self, here, near, narrow, dx, dy):
        parts = [here.shape[1] - self.n_features - 2, self.n_features, 1, 1]
        u_i, e_i, variance_i, _ = here.split(parts, dim=1)
        u_j, e_j, variance_j, inside = near.split(parts, dim=1)
        far = narrow * ((u_i - u_j) ** 2).sum(1, keepdim=True) / (variance_i + variance_j.clamp_min(1e-12))
        far = far + ((e_i - e_j) ** 2).sum(1, keepdim=True) + self.distance.abs() * (dx**2 + dy**2)
        logit = -far - torch.log(variance_j.clamp_min(1e-12))
        if dx == 0 and dy == 0:
            return logit + self.itself
        return logit.masked_fill(inside < 0.5, FAR)


def shifted(maps, radius):
    """Yield (dx, dy, maps moved by it), zeros coming in, for every neighbour within a square."""
    n_x, n_y = maps.shape[-2:]
    padded = functional.pad(maps, (radius,) * 4)
    for dx in range(-radius, radius + 1):
        for dy in range(-radius, radius + 1):
            yield dx, dy, padded[..., dx + radius : dx + radius + n_x, dy + radius : dy + radius + n_y]
