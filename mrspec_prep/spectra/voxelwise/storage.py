"""Dual coefficients in half the room, with what is stored and what is used the same numbers."""

from dataclasses import replace

import numpy as np

FLOAT32_ROUNDING = 2.0**-24  # relative
ALLOWED = 1e-5  # bound of what rounding may do to a bin, relative to the voxel's largest: objective excess below 2e-9


def storable(result):
    """Result whose trailing dual coefficients hold single-precision values.

    The coefficients of the leading directions, where rounding would be felt, keep double
    precision. Everything computed from the result afterwards is regenerated exactly from
    what a file holds, 4 bytes for most coefficients.

    Parameters
    ----------
    result : NNLSResult
        With alpha > 0; one with sparse spectra (alpha = 0) is handed back.

    Returns
    -------
    NNLSResult

    """
    if result.dual is None:
        return result
    alpha = np.broadcast_to(result.alpha, result.n_voxels)
    effect = np.zeros(result.dual.shape[1])  # largest squared change of a bin per direction, over the voxels
    for where, spectra in result.blocks():
        largest = spectra.max(axis=1) * alpha[where]
        seen = largest > 0
        change = np.abs(result.dual[where][seen]) * np.abs(result.basis).max(axis=1) / largest[seen, None]
        effect = np.maximum(effect, (FLOAT32_ROUNDING * change).max(axis=0, initial=0.0) ** 2)
    remaining = np.sqrt(np.cumsum(effect[::-1])[::-1])
    leading = int((remaining > ALLOWED).sum())
    rounded = result.dual.copy()
    rounded[:, leading:] = rounded[:, leading:].astype(np.float32)
    return replace(result, dual=rounded)
