"""Dual coefficients with as many bits as matter, so that what is stored and what is used are the same numbers."""

from dataclasses import replace

import numpy as np

ALLOWED = 1e-5  # bound of what rounding may do to a bin, relative to the voxel's largest: objective excess below 2e-9
MOST_BITS = 53  # of a double's mantissa
BLOCK = 4096  # voxels rounded at a time


def storable(result):
    """Result whose dual coefficients are rounded to the bits that the spectra can feel.

    Each direction has as many bits as its share of ``ALLOWED`` asks for, in the voxel that feels
    it most: many for the leading directions, few for those that the kernel hardly sees. The zeros
    behind them vanish when a file is compressed, and everything computed from the result
    afterwards is regenerated exactly from what the file holds.

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
    reach = np.abs(result.basis).max(axis=1, initial=0.0)
    effect = np.zeros(result.dual.shape[1])  # largest part of a bin per direction, over the voxels
    for where, spectra in result.blocks():
        largest = spectra.max(axis=1) * alpha[where]
        seen = largest > 0
        part = np.abs(result.dual[where][seen]) * reach / largest[seen, None]
        effect = np.maximum(effect, part.max(axis=0, initial=0.0))
    share = ALLOWED / np.sqrt(len(effect))
    bits = np.clip(np.ceil(np.log2(np.maximum(effect / share, 2.0))), 1, MOST_BITS).astype(int)
    rounded = np.empty_like(result.dual)
    for start in range(0, result.n_voxels, BLOCK):
        where = slice(start, start + BLOCK)
        rounded[where] = round_to_bits(result.dual[where], bits)
    return replace(result, dual=rounded)


def round_to_bits(values, bits):
    """Values whose mantissas have ``bits`` significant bits (broadcast), the others zero."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
