"""The network of Gao et al. for relaxation: images over echo time in, M0 and rate out.

The abstract leaves out widths, kernels and how outputs become maps; here: 64 channels, 3 x 3, two convolutions a block,
M0 and the mean echo time over T2 by softplus.
"""

from torch.nn.functional import softplus

from mrspec_prep.networks.residual_cnn import ResidualCNN
from mrspec_prep.networks.scan_cnn.network import Estimate

CHANNELS, N_BLOCKS = 64, 9
LEAST_RATE = 0.01


class PaperNetwork(ResidualCNN):
    """Images over echo time in, M0 and rate out.

    Parameters
    ----------
    n_echoes : int
    randomness : Randomness

    """

    def __init__(self, n_echoes, randomness):
        super().__init__(n_echoes, 2, CHANNELS, N_BLOCKS, randomness)

    def estimate(self, images, protocol):
        """Estimate of images (b, e, h, w)."""
        m0, rate = self(images).unbind(1)
        rate = softplus(rate) + LEAST_RATE
        return Estimate(rate.log(), softplus(m0) * (-rate).exp())
