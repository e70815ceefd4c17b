"""The network of Gao et al., Figure 1: convolution, instance normalisation and ReLU, then nine residual blocks.

The abstract leaves out widths, kernels and how outputs become maps; here: 64 channels, 3 x 3, two convolutions a block,
M0 and the mean echo time over T2 by softplus.
"""

from torch import nn
from torch.nn.functional import softplus

from mrspec_prep.networks.scan_cnn.network import Estimate, convolution

CHANNELS, N_BLOCKS = 64, 9
LEAST_RATE = 0.01


class PaperBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, width):
        super().__init__()
        self.steps = nn.Sequential(*_normalised(width, width), nn.ReLU(), *_normalised(width, width))

    def forward(self, x):
        """(b, width, h, w) to the same."""
        return x + self.steps(x)


class PaperNetwork(nn.Module):
    """Images over echo time in, M0 and rate out.

    Parameters
    ----------
    n_echoes : int

    """

    def __init__(self, n_echoes):
        super().__init__()
        blocks = [PaperBlock(CHANNELS) for _ in range(N_BLOCKS)]
        self.steps = nn.Sequential(*_normalised(n_echoes, CHANNELS), nn.ReLU(), *blocks, convolution(CHANNELS, 2))

    def estimate(self, images, protocol):
        """Estimate of images (b, e, h, w)."""
        found = self.steps(images)
        rate = softplus(found[:, 1]) + LEAST_RATE
        amplitude = softplus(found[:, 0]) * (-rate).exp()
        return Estimate(rate.log(), amplitude)


def _normalised(n_in, n_out):
    return convolution(n_in, n_out), nn.InstanceNorm2d(n_out, affine=True)
