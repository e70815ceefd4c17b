"""The paper's network: two convolutions over the inversion-time by echo-time plane (Endt et al., MIDL 2024; torch)."""

import numpy as np
import torch
from torch import nn

from mrspec_prep.physics import Encodings

N_SIDE = 8  # inversion times and echo times


class PaperCNN(nn.Module):
    """Convolutions of 6 and 16 channels (3 x 3, no padding), max-pool 2, 32, 32, n_classes; dropout 20 %.

    4,208 weights for four classes.

    Parameters
    ----------
    order : (64,) int array
        Encodings by inversion time, then echo time (``plane_order``).
    n_classes : int
    as_published : bool
        Return probabilities instead of logits: with the cross-entropy of torch, which applies a softmax of its own,
        softmax twice. Signals enter with 2-norm 1; else times the root of their number, with RMS 1, as layers are
        initialised for.

    """

    def __init__(self, order, n_classes=4, as_published=False):
        super().__init__()
        self.register_buffer("order", torch.as_tensor(np.asarray(order)))
        self.as_published = as_published
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, n_classes),
        )  # fmt: skip

    def forward(self, signals):
        """(n, n_classes) logits, or probabilities, of signals (n, 64)."""
        plane = signals[:, self.order].reshape(-1, 1, N_SIDE, N_SIDE)
        return self.layers(plane).softmax(dim=1) if self.as_published else self.layers(N_SIDE * plane)


def plane_order(protocol: Encodings):
    """(64,) order of encodings that makes them a plane, inversion time by echo time.

    Raises
    ------
    ValueError
        The protocol is not each of 8 inversion times with each of 8 echo times.

    """
    if protocol.inversion_time is None or protocol.echo_time is None:
        raise ValueError("the paper's network needs inversion and echo times")
    order = np.lexsort((protocol.echo_time, protocol.inversion_time))
    if len(protocol) == N_SIDE**2:
        inversion = protocol.inversion_time[order].reshape(N_SIDE, N_SIDE)
        echo = protocol.echo_time[order].reshape(N_SIDE, N_SIDE)
        if (inversion == inversion[:, :1]).all() and (echo == echo[:1]).all():
            return order
    raise ValueError("the paper's network needs each of 8 inversion times with each of 8 echo times")
