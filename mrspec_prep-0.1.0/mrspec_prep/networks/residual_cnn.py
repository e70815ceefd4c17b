"""Convolution, instance normalisation, ReLU and residual blocks over images: the network of Gao et al., Figure 1."""

import torch
from torch.nn import functional


class ResidualCNN(torch.nn.Module):
    """Convolution, instance norm, ReLU, residual blocks, convolution.

    Parameters
    ----------
    n_in, n_out : int
        Channels of the images and of what is made of them.
    width, n_blocks : int
        Channels inside, residual blocks.
    randomness : Randomness

    """

    def __init__(self, n_in, n_out, width, n_blocks, randomness):
        super().__init__()
        self.first = convolution(n_in, width, randomness)
        self.blocks = torch.nn.ModuleList(ResidualBlock(width, randomness) for _ in range(n_blocks))
        self.last = convolution(width, n_out, randomness)

    def forward(self, images):
        """(b, n_in, h, w) to (b, n_out, h, w)."""
        hidden = functional.relu(functional.instance_norm(self.first(images)))
        for block in self.blocks:
            hidden = block(hidden)
        return self.last(hidden)


class ResidualBlock(torch.nn.Module):
    """x + norm(conv(relu(norm(conv x)))), instance norms."""

    def __init__(self, width, randomness):
        super().__init__()
        self.one, self.two = (convolution(width, width, randomness) for _ in range(2))

    def forward(self, x):
        """Return the same shape."""
        inner = functional.relu(functional.instance_norm(self.one(x)))
        return x + functional.instance_norm(self.two(inner))


def convolution(n_in, n_out, randomness, gain=1.0):
    """3 x 3 convolution, weights uniform within gain / sqrt(9 n_in), no offset at the start."""
    layer = torch.nn.utils.skip_init(torch.nn.Conv2d, n_in, n_out, 3, padding=1)
    bound = gain * (9 * n_in) ** -0.5
    torch.nn.init.uniform_(layer.weight, -bound, bound, generator=randomness.weights)
    torch.nn.init.zeros_(layer.bias)
    return layer.to(randomness.device)
