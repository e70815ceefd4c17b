"""The network behind the any-protocol classifier: a residual network whose weights depend on the protocol (torch)."""

import torch
from torch import nn

from mrspec_prep.networks.compartments.merged_network import SCALE_STEP


class MixedLinear(nn.Module):
    """Linear layer, its matrix mixed and its outputs scaled by what describes the protocol.

    W(d) = diag(exp(s(d))) (W_0 + sum_k a_k(d) W_k),  bias b_0 + b(d), with s, a, b linear in the embedded description
    (after CondConv, Yang et al. 2019, and FiLM, Perez et al. 2018).
    """

    def __init__(self, n_in, n_out, n_mixed, n_embedded):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1 + n_mixed, n_in, n_out) / n_in**0.5)
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.mixing = nn.Linear(n_embedded, n_mixed + 2 * n_out)
        nn.init.normal_(self.mixing.weight, std=0.1 / n_embedded**0.5)
        nn.init.zeros_(self.mixing.bias)
        self.sizes = (n_mixed, n_out, n_out)

    def merged(self, embedded):
        """Matrix (n, n_in, n_out) and bias (n, 1, n_out) of n protocols."""
        mixing, scale, shift = self.mixing(embedded).split(self.sizes, dim=-1)
        matrix = self.weight[0] + torch.einsum("pk,kio->pio", mixing, self.weight[1:])
        return matrix * torch.exp(SCALE_STEP * torch.tanh(scale))[:, None], (self.bias + shift)[:, None]


class AnyProtocolNetwork(nn.Module):
    """Features and noise level of signals, description of their protocol -> logits.

    Parameters
    ----------
    n_features, n_description, n_classes : int
    width, n_blocks, n_mixed, n_embedded : int
        Hidden units; residual blocks of two layers; matrices mixed per layer; numbers a description is embedded in.

    """

    def __init__(self, n_features, n_description, n_classes=4, width=160, n_blocks=2, n_mixed=3, n_embedded=64):
        super().__init__()
        self.sizes = {
            "n_features": n_features,
            "n_description": n_description,
            "n_classes": n_classes,
            "width": width,
            "n_blocks": n_blocks,
            "n_mixed": n_mixed,
            "n_embedded": n_embedded,
        }
        self.embed = nn.Sequential(nn.Linear(n_description, 128), nn.SiLU(), nn.Linear(128, n_embedded), nn.SiLU())
        shapes = [(n_features + 1, width), *[(width, width)] * (2 * n_blocks), (width, n_classes)]
        self.layers = nn.ModuleList(MixedLinear(*shape, n_mixed, n_embedded) for shape in shapes)
        with torch.no_grad():  # a block starts as nothing, the answer as the prior
            for layer in list(self.layers)[2::2] + [self.layers[-1]]:
                layer.weight.mul_(0.1)

    def merged(self, descriptions):
        """Layers of n protocols from (n, n_description): list of (matrix, bias)."""
        embedded = self.embed(descriptions)
        return [layer.merged(embedded) for layer in self.layers]

    def forward(self, features, levels, descriptions):
        """Logits (n_protocols, n, n_classes) of features (n_protocols, n, n_features), levels (n_protocols, n)."""
        return run_layers(self.merged(descriptions), torch.cat([features, levels[..., None]], dim=-1))


def run_layers(layers, values):
    """Residual network of merged layers; torch."""
    (first, bias), *middle, (last, last_bias) = layers
    values = torch.baddbmm(bias, values, first)
    for (into, into_bias), (out, out_bias) in zip(middle[::2], middle[1::2], strict=True):
        hidden = torch.relu(torch.baddbmm(into_bias, torch.relu(values), into))
        values = values + torch.baddbmm(out_bias, hidden, out)
    return torch.baddbmm(last_bias, torch.relu(values), last)
