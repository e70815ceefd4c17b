"""Signals averaged with those of neighbouring voxels that hold the same tissue, as far as the noise can tell."""

import itertools

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.threads import for_blocks

NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
FULL_WEIGHT = 1.0  # standard deviations of the distance above its mean up to which a neighbour counts in full
FALL_OFF = 1.0  # further standard deviations after which its weight is exp(-1/2)


def pool_signals(signals, mask, noise_std, basis=None):
    """Average each voxel with its 26 neighbours in the mask, weighted by how alike the signals are.

    Signals are compared and averaged after division by their 2-norm, so that receive sensitivity and proton density
    do not matter. The squared distance of two of them, over their noise, has mean and variance of a chi-square
    distribution where the tissue is the same; a neighbour that lies farther counts less, one across a tissue border
    not at all. The average of equal tissue has all that its voxels tell of the number of compartments, which no
    product of their probabilities has.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Of the voxels of the mask in C order, signed where inversion recovery takes part.
    mask : (nx, ny, nz) bool array
    noise_std : float or (n_voxels,) array
        Sigma of the noise [signal units].
    basis : (n_encodings, n_basis) array, optional
        Orthonormal columns that hold all noise-free signals: distances are taken within them, where the noise is
        less and tissue differs as much. Default: all encodings.

    Returns
    -------
    pooled : (n_voxels, n_encodings) array
        Of unit 2-norm.
    pooled_std : (n_voxels,) array
        Sigma of the noise of ``pooled``.
    n_pooled : (n_voxels,) array
        Voxels of equal noise that the average is worth, 1 to 27.

    Raises
    ------
    ValueError
        Signals do not fit the mask, are zero, or the noise is not positive.

    """
    mask = np.asarray(mask, bool)
    signals = np.asarray(signals, float)
    if mask.ndim != 3 or signals.ndim != 2 or len(signals) != mask.sum():
        raise ValueError(f"signals {signals.shape} do not fit a mask {mask.shape} of {int(mask.sum())} voxels")
    noise_std = np.broadcast_to(np.asarray(noise_std, float), len(signals))
    if not (noise_std > 0).all():
        raise ValueError(f"noise_std must be > 0, got {noise_std.min()}")
    norm = np.linalg.norm(signals, axis=1)
    if not (norm > 0).all():
        raise ValueError(f"{int((norm <= 0).sum())} voxels of the mask have no signal; leave them out of the mask")
    unit, std = signals / norm[:, None], noise_std / norm
    compared = unit if basis is None else unit @ np.asarray(basis, float)
    at = np.full(tuple(size + 2 for size in mask.shape), -1)  # one voxel of margin: no wrapping round
    inner = at[1:-1, 1:-1, 1:-1]
    inner[mask] = np.arange(len(signals))
    places = np.flatnonzero(at.ravel() >= 0)
    strides = [int(np.ravel_multi_index((1 + x, 1 + y, 1 + z), at.shape)) for x, y, z in NEIGHBOURS]
    strides = np.array(strides) - int(np.ravel_multi_index((1, 1, 1), at.shape))
    pooled, pooled_std, n_pooled = np.empty_like(unit), np.empty(len(unit)), np.empty(len(unit))
    compared = np.ascontiguousarray(compared)
    for_blocks(
        len(unit),
        4096,
        lambda start, stop: _pool(
            start, stop, unit, compared, std, at.ravel(), places, strides, pooled, pooled_std, n_pooled
        ),
    )
    return pooled, pooled_std, n_pooled


@compiled
def _pool(start, stop, unit, compared, std, at, places, strides, pooled, pooled_std, n_pooled):
    degrees = compared.shape[1] - 1  # the norm is one
    for i in range(start, stop):
        precision = 1.0 / std[i] ** 2
        total, variance = precision, precision
        pooled[i] = precision * unit[i]
        for stride in strides:
            j = at[places[i] + stride]
            if j < 0:
                continue
            distance = 0.0
            for e in range(compared.shape[1]):
                distance += (compared[i, e] - compared[j, e]) ** 2
            distance /= std[i] ** 2 + std[j] ** 2
            excess = (distance - degrees) / np.sqrt(2.0 * degrees) - FULL_WEIGHT
            weight = 1.0 if excess <= 0 else np.exp(-0.5 * (excess / FALL_OFF) ** 2)
            precision = weight / std[j] ** 2
            pooled[i] += precision * unit[j]
            total += precision
            variance += weight * precision
        length = np.sqrt(np.sum(pooled[i] ** 2))
        pooled[i] /= length
        pooled_std[i] = np.sqrt(variance) / length
        n_pooled[i] = total * total / variance * std[i] ** 2
