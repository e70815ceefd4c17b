"""A scan as a network sees it: slices in the units it was trained in, pieces of them, voxels kept aside."""

from dataclasses import dataclass

import numpy as np
import torch

from mrspec_prep.networks.scan_cnn.virtual_echoes import Protocol

LARGEST = 0.98  # quantile of the first echo that counts as 1
BLOCK = 6  # voxels along each side of what is kept aside together: noise of neighbours is independent, anatomy is not


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of a scan.

    Attributes
    ----------
    images : (z, e, x, y) tensor
        Signals over ``scale``.
    mask : (z, x, y) bool tensor
    scale : float
        [signal units].
    protocol : Protocol

    """

    images: torch.Tensor
    mask: torch.Tensor
    scale: float
    protocol: Protocol


def slices_of(scan, device="cpu"):
    """Slices along the third axis.

    Parameters
    ----------
    scan : Scan
    device : str

    Returns
    -------
    Slices

    Raises
    ------
    ValueError
        No signal in the mask.

    """
    scale = float(np.quantile(np.abs(scan.images[scan.mask][:, 0]), LARGEST))
    if not scale > 0:
        raise ValueError("the first echo holds no signal inside the mask")
    images = torch.from_numpy(np.ascontiguousarray((scan.images / scale).transpose(2, 3, 0, 1), dtype=np.float32))
    mask = torch.from_numpy(np.ascontiguousarray(scan.mask.transpose(2, 0, 1)))
    protocol = Protocol(scan.echo_times, scan.noise_std / scale, scan.distribution == "rician")
    return Slices(images.to(device), mask.to(device), scale, protocol)


def keep_aside(mask, share, rng):
    """(z, x, y) bool tensor: blocks of voxels that are not learned from, at least one of those with voxels of the mask.

    Parameters
    ----------
    mask : (z, x, y) bool tensor
    share : float
        Of all blocks.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        All voxels lie in one block.

    """
    z, x, y = mask.shape
    lots = rng.random((z, -(-x // BLOCK), -(-y // BLOCK))).repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)[:, :x, :y]
    drawn = np.unique(lots[mask.cpu().numpy()])
    if len(drawn) < 2:
        raise ValueError(
            f"{int(mask.sum())} voxels within {BLOCK} x {BLOCK} are too few to learn from: a larger mask, n_steps = 0, "
            "or a voxelwise method"
        )
    voxels = lots <= min(max(share, drawn[0]), drawn[-2])
    return torch.from_numpy(np.ascontiguousarray(voxels)).to(mask.device) & mask


class Pieces:
    """Random square pieces of slices around voxels to learn from, turned and mirrored at random.

    Parameters
    ----------
    images : (z, e, x, y) tensor
    weights : (z, x, y) tensor
        1 where voxels are learned from.
    size : int
        Voxels along each side; less where the slices are smaller.
    rng : numpy.random.Generator

    """

    def __init__(self, images, weights, size, rng):
        self.images, self.weights, self.rng = images, weights, rng
        self.size = [min(size, n) for n in images.shape[2:]]
        self.centres = weights.nonzero().cpu().numpy()

    def draw(self, n):
        """Images (n, e, size, size) and weights (n, size, size)."""
        pieces = [self._piece(self.centres[i]) for i in self.rng.integers(len(self.centres), size=n)]
        images, weights = zip(*pieces, strict=True)
        return torch.stack(images), torch.stack(weights)

    def _piece(self, centre):
        z, *middle = centre
        starts = [
            int(np.clip(c - self.rng.integers(size), 0, n - size))
            for c, size, n in zip(middle, self.size, self.weights.shape[1:], strict=True)
        ]
        rows, columns = (slice(start, start + size) for start, size in zip(starts, self.size, strict=True))
        turn = int(self.rng.integers(8)) if self.size[0] == self.size[1] else int(self.rng.integers(4))
        return turned(self.images[z, :, rows, columns], turn), turned(self.weights[z, rows, columns], turn)


def turned(images, turn):
    """Images (..., h, w) mirrored (bits 1 and 2 of ``turn``) and transposed (bit 4)."""
    for bit, axis in ((1, -1), (2, -2)):
        if turn & bit:
            images = images.flip(axis)
    return images.transpose(-1, -2) if turn & 4 else images


def turned_back(images, turn):
    """The inverse of ``turned``."""
    images = images.transpose(-1, -2) if turn & 4 else images
    for bit, axis in ((1, -1), (2, -2)):
        if turn & bit:
            images = images.flip(axis)
    return images
