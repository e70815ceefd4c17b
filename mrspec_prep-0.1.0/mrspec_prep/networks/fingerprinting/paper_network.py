"""The network as published: from the time series to coefficients that repeat it."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from mrspec_prep.networks.fingerprinting.reconstruction import N_ITERATIONS
from mrspec_prep.networks.residual_cnn import ResidualCNN


@dataclass(frozen=True)
class PaperSettings:
    """Settings of the published network; nine blocks and the loss are the paper's, the rest it does not print.

    Attributes
    ----------
    n_blocks, n_channels : int
        Residual blocks and their width.
    n_steps : int
        Of Adam.
    learning_rate : float
    crop : int
        Side of the squares trained on [voxels]; instance norms then differ from those of whole slices. 0: whole slices.
    n_iterations : int
        Conjugate gradients of the coefficients that risk compares with, where the sampling is known.
    window : int
        Frames that the reconstruction averaged (sliding window); 1: none.

    """

    n_blocks: int = 9
    n_channels: int = 64
    n_steps: int = 300
    learning_rate: float = 1e-3
    crop: int = 0
    n_iterations: int = N_ITERATIONS
    window: int = 1

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (value > 0 or (name == "crop" and value == 0)):
                raise ValueError(f"{name} must be > 0, got {value}")


def paper_coefficients(problem, settings, randomness, _rng, on_step=None):
    """Train the published network on the series and return its coefficients.

    Loss: mean over voxels and frames of |c Phi - rho|_1, real and imaginary parts; last iterate.

    Returns
    -------
    coefficients : (n_voxels, rank) complex array
    history : dict of str to list

    """
    series, subspace = problem.series, problem.dictionary.subspace
    device = randomness.device
    scale = float(np.sqrt((np.abs(series.voxels) ** 2).mean()))
    sizes = np.maximum(np.sqrt((np.abs(problem.coefficients) ** 2).mean(axis=0)), 1e-12 * scale) / scale
    basis = torch.as_tensor(sizes[:, None] * subspace, dtype=torch.float32, device=device)  # outputs near one
    n_in, n_out = 2 * subspace.shape[1], 2 * len(subspace)  # real and imaginary parts
    network = ResidualCNN(n_in, n_out, settings.n_channels, settings.n_blocks, randomness)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    inside = np.argwhere(series.mask)
    history = {"step": [], "loss": []}
    for step in range(1, settings.n_steps + 1):
        x, y, z = inside[int(randomness.uniform(1) * len(inside))]
        shape = series.mask.shape[:2]
        window = tuple(_window(place, n, settings.crop or n) for place, n in zip((x, y), shape, strict=True))
        frames, where = _slice(series, z, window, scale, device)
        loss = _loss(network(frames), basis, frames, where)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        history["step"].append(step)
        history["loss"].append(float(loss.detach()))
        if not math.isfinite(history["loss"][-1]):
            raise ValueError(f"the training diverged before step {step}: another seed, or a lower learning_rate")
        if on_step is not None:
            on_step(step, settings.n_steps)
    return _all_slices(network, series, len(subspace), scale, device) * sizes * scale, history


def _window(place, length, size):
    low = min(max(place - size // 2, 0), max(length - size, 0))
    return slice(low, low + size)


def _slice(series, z, window, scale, device):
    """(1, 2 n_frames, n_x, n_y) frames of part of a slice, over ``scale``, and its mask."""
    part = series.volume[window[0], window[1], z] / scale
    part = np.moveaxis(np.concatenate([part.real, part.imag], axis=-1), -1, 0)[None]
    where = torch.as_tensor(series.mask[window[0], window[1], z], device=device)
    return torch.as_tensor(part.astype(np.float32), device=device), where


def _loss(outputs, basis, frames, where):
    """Mean of |c Phi - rho| over real and imaginary parts of the frames within the mask."""
    real, imaginary = outputs[0].split(len(basis))
    made = [torch.einsum("rxy,rt->txy", part, basis) for part in (real, imaginary)]
    return (torch.cat(made) - frames[0])[:, where].abs().mean()


@torch.no_grad()
def _all_slices(network, series, rank, scale, device):
    volume = np.empty((*series.mask.shape, rank), complex)
    whole = (slice(None), slice(None))
    for z in range(series.mask.shape[2]):
        outputs = network(_slice(series, z, whole, scale, device)[0])[0].cpu().numpy()
        volume[:, :, z] = np.moveaxis(outputs[:rank] + 1j * outputs[rank:], 0, -1)
    return volume[series.mask]
