"""Dictionary matching in the subspace: the atom with the largest inner product, exactly."""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.threads import for_blocks

TILE = 512  # atoms: their sums stay in the processor's first cache
GROUP = 3  # coefficients added at a time
BLOCK = 2048  # voxels of one task
ROUNDING = 8e-6  # of ||c||2: more than single precision can be wrong by


def match_atoms(coefficients, directions):
    """Atom of every voxel: argmax over atoms of |<c, u>|, u = Phi d / ||Phi d||.

    All atoms are real, so that |<c, u>|2 = (Re c . u)2 + (Im c . u)2: two real products, in single precision; the atoms
    that come within its rounding errors of the best are compared again in double. Nothing is left out: the answer is
    that of brute force.

    Parameters
    ----------
    coefficients : (n_voxels, rank) complex array
        Finite.
    directions : (n_atoms, rank) array
        Of norm one.

    Returns
    -------
    index : (n_voxels,) int array
    product : (n_voxels,) array
        |<c, u>| of that atom [signal units].

    """
    n, rank = coefficients.shape
    norms = np.linalg.norm(coefficients, axis=1)
    unit = coefficients / np.where(norms > 0, norms, 1.0)[:, None]
    parts = np.ascontiguousarray(np.stack([unit.real, unit.imag], axis=1))  # (n_voxels, 2, rank)
    padded = -(-rank // GROUP) * GROUP
    narrow = np.zeros((n, 2, padded), np.float32)
    narrow[:, :, :rank] = parts
    atoms = np.zeros((padded, len(directions)), np.float32)
    atoms[:rank] = directions.T
    exact = np.ascontiguousarray(directions, dtype=float)
    index, product = np.empty(n, np.int64), np.empty(n)

    def block(start, stop):
        rows = slice(start, stop)
        _match(narrow[rows], atoms, parts[rows], exact, index[rows], product[rows])

    for_blocks(n, BLOCK, block)
    return index, product * norms


@compiled
def _match(narrow, atoms, parts, exact, index, product):
    """Fill ``index`` and ``product`` (of unit coefficients)."""
    n_atoms = atoms.shape[1]
    n_tiles = (n_atoms + TILE - 1) // TILE
    scores = np.zeros(n_atoms, np.float32)
    real, imaginary = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    highest = np.empty(n_tiles, np.float32)
    for v in range(len(index)):
        best = np.float32(0.0)
        for tile in range(n_tiles):
            low = tile * TILE
            size = min(TILE, n_atoms - low)
            _add_products(narrow[v], atoms, low, size, real, imaginary)
            highest[tile] = _square(real, imaginary, size, scores[low : low + size])
            best = max(best, highest[tile])
        index[v], product[v] = _best_of(scores, highest, best - np.float32(ROUNDING), parts[v], exact)


@compiled_within
def _add_products(voxel, atoms, low, size, real, imaginary):
    """Inner products of one voxel with a tile of atoms, ``GROUP`` coefficients at a time."""
    for r in range(0, voxel.shape[1], GROUP):
        x0, x1, x2 = voxel[0, r], voxel[0, r + 1], voxel[0, r + 2]
        y0, y1, y2 = voxel[1, r], voxel[1, r + 1], voxel[1, r + 2]
        a0, a1, a2 = atoms[r, low : low + size], atoms[r + 1, low : low + size], atoms[r + 2, low : low + size]
        if r == 0:
            for j in range(size):
                real[j] = x0 * a0[j] + x1 * a1[j] + x2 * a2[j]
                imaginary[j] = y0 * a0[j] + y1 * a1[j] + y2 * a2[j]
        else:
            for j in range(size):
                real[j] += x0 * a0[j] + x1 * a1[j] + x2 * a2[j]
                imaginary[j] += y0 * a0[j] + y1 * a1[j] + y2 * a2[j]


@compiled_within
def _square(real, imaginary, size, scores):
    """Squared moduli of a tile into ``scores``; the largest (non-negative floats are ordered as their bits are)."""
    for j in range(size):
        scores[j] = real[j] * real[j] + imaginary[j] * imaginary[j]
    bits = scores.view(np.int32)
    top = np.int32(0)
    for j in range(size):
        top = max(top, bits[j])
    found = np.empty(1, np.int32)
    found[0] = top
    return found.view(np.float32)[0]


@compiled_within
def _best_of(scores, highest, enough, voxel, exact):
    """Best atom in double precision among those whose score is ``enough``."""
    best, index = -1.0, 0
    for tile in range(len(highest)):
        if highest[tile] < enough:
            continue
        for j in range(tile * TILE, min((tile + 1) * TILE, len(scores))):
            if scores[j] < enough:
                continue
            x, y = 0.0, 0.0
            for r in range(exact.shape[1]):
                x += voxel[0, r] * exact[j, r]
                y += voxel[1, r] * exact[j, r]
            if x * x + y * y > best:
                best, index = x * x + y * y, j
    return index, np.sqrt(best)
