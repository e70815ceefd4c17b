"""Random numbers of a run, on the device where it computes."""

import torch


class Randomness:
    """Two generators of one seed: weights are drawn on the CPU, noise on the device; torch's own is left alone.

    Parameters
    ----------
    seed : int
    device : torch.device

    """

    def __init__(self, seed, device):
        self.device = device
        self.weights = torch.Generator().manual_seed(seed)
        self.noise = torch.Generator(device).manual_seed(seed + 1)

    def normal(self, *shape):
        """Standard normal tensor."""
        return torch.randn(shape, generator=self.noise, device=self.device)

    def uniform(self, *shape):
        """Tensor of uniform numbers in [0, 1)."""
        return torch.rand(shape, generator=self.noise, device=self.device)

    def gumbel(self, *shape):
        """Tensor of standard Gumbel numbers."""
        return -torch.empty(shape, device=self.device).exponential_(generator=self.noise).log()

    def order(self, n):
        """Random order of n items."""
        return torch.randperm(n, generator=self.noise, device=self.device)

    def linear(self, n_in, n_out, *, zero=False):
        """Fully connected layer, uniform within 1 / sqrt(n_in); or zero, where a network starts as no correction."""
        layer = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out)
        for values in (layer.weight, layer.bias):
            bound = 0.0 if zero else n_in**-0.5
            torch.nn.init.uniform_(values, -bound, bound, generator=self.weights)
        return layer.to(self.device)
