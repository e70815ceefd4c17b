"""Relaxation times between the atoms: a Gauss-Newton fit of every voxel on the interpolated dictionary."""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.threads import for_blocks

N_TRIALS = 20  # of one voxel, at most
REACH = 3.0  # grid steps from the atom
SETTLED = 1e-3  # grid steps
HALVINGS = 4
BLOCK = 2048  # voxels of one task


def refine(coefficients, dictionary, index):
    """Least squares of every voxel, started at its atom.

    min over (u, v), m of ||c - m d(u, v)||2 with d the dictionary's table interpolated by cubic convolution (Keys 1981,
    doi:10.1109/TASSP.1981.1163711) in the grid's steps, m complex. Eliminating m = d'c / d'd leaves
    max |d'c|2 / d'd; Gauss-Newton steps use the derivatives of d off d itself (variable projection). A step that does
    not raise the inner product is halved and then refused: the fit is never worse than the atom.

    Parameters
    ----------
    coefficients : (n_voxels, rank) complex array
    dictionary : Dictionary
    index : (n_voxels,) int array
        Of the best atom, from ``match_atoms``.

    Returns
    -------
    t1, t2 : (n_voxels,) array
        [ms], T2 <= T1, within the grid.
    m0 : (n_voxels,) complex array
        m [signal units].
    product : (n_voxels,) array
        |d'c| / ||d|| [signal units].
    signals : (n_voxels, rank) array
        d.

    """
    grid = dictionary.grid
    if min(grid.shape) < 2:
        raise ValueError(f"refine needs 2 points or more on each axis of the grid, got {grid.shape}: refine=False")
    padded = _with_border(dictionary.table)
    start = np.stack(np.unravel_index(dictionary.atoms[index], grid.shape), axis=1).astype(float)
    parts = np.ascontiguousarray(np.stack([coefficients.real, coefficients.imag], axis=1), dtype=float)
    logs = tuple(np.log(axis) for axis in grid.axes)
    place, found = np.empty((len(start), 2)), np.empty((len(start), 3))
    signals = np.empty((len(start), dictionary.rank))

    def block(first, last):
        rows = slice(first, last)
        _climb(padded, logs[0], logs[1], parts[rows], start[rows], place[rows], found[rows], signals[rows])

    for_blocks(len(start), BLOCK, block)
    t2, t1 = (np.exp(np.interp(place[:, a], np.arange(grid.shape[a]), logs[a])) for a in (0, 1))
    return t1, np.minimum(t2, t1), found[:, 0] + 1j * found[:, 1], found[:, 2], signals


def _with_border(table):
    """Table with one more row on each side, extrapolated as cubic convolution asks: 3 p0 - 3 p1 + p2."""
    for axis in (0, 1):
        table = np.moveaxis(table, axis, 0)
        if len(table) > 2:
            first, last = 3 * table[0] - 3 * table[1] + table[2], 3 * table[-1] - 3 * table[-2] + table[-3]
        else:
            first, last = 2 * table[0] - table[1], 2 * table[-1] - table[-2]
        table = np.moveaxis(np.concatenate([first[None], table, last[None]]), 0, axis)
    return np.ascontiguousarray(table)


@compiled_within
def _interpolate(padded, place, weights, slopes, signal):
    """Signal and its derivatives along both axes, rows of ``signal`` (3, rank), by cubic convolution."""
    for axis in range(2):
        t = place[axis] - min(max(int(np.floor(place[axis])), 0), padded.shape[axis] - 4)
        weights[axis, 0] = ((-0.5 * t + 1.0) * t - 0.5) * t
        weights[axis, 1] = (1.5 * t - 2.5) * t * t + 1.0
        weights[axis, 2] = ((-1.5 * t + 2.0) * t + 0.5) * t
        weights[axis, 3] = (0.5 * t - 0.5) * t * t
        slopes[axis, 0] = (-1.5 * t + 2.0) * t - 0.5
        slopes[axis, 1] = (4.5 * t - 5.0) * t
        slopes[axis, 2] = (-4.5 * t + 4.0) * t + 0.5
        slopes[axis, 3] = (1.5 * t - 1.0) * t
    low2 = min(max(int(np.floor(place[0])), 0), padded.shape[0] - 4)
    low1 = min(max(int(np.floor(place[1])), 0), padded.shape[1] - 4)
    signal[:] = 0.0
    for a in range(4):
        for b in range(4):
            row = padded[low2 + a, low1 + b]
            both = weights[0, a] * weights[1, b]
            along2 = slopes[0, a] * weights[1, b]
            along1 = weights[0, a] * slopes[1, b]
            for r in range(padded.shape[2]):
                signal[0, r] += both * row[r]
                signal[1, r] += along2 * row[r]
                signal[2, r] += along1 * row[r]


@compiled_within
def _product(voxel, signal):
    """Squared norm of d, real and imaginary part of d'c."""
    norm2, x, y = 0.0, 0.0, 0.0
    for r in range(signal.shape[1]):
        norm2 += signal[0, r] * signal[0, r]
        x += signal[0, r] * voxel[0, r]
        y += signal[0, r] * voxel[1, r]
    return max(norm2, 1e-300), x, y


@compiled_within
def _step(voxel, signal, norm2, x, y, step):
    """Gauss-Newton step (two grid coordinates) of variable projection."""
    m, n = x / norm2, y / norm2  # M0
    size = m * m + n * n
    h22, h11, h21, g2, g1, p2, p1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for r in range(signal.shape[1]):
        p2 += signal[1, r] * signal[0, r]
        p1 += signal[2, r] * signal[0, r]
    for r in range(signal.shape[1]):
        along2 = signal[1, r] - p2 / norm2 * signal[0, r]
        along1 = signal[2, r] - p1 / norm2 * signal[0, r]
        left = m * (voxel[0, r] - m * signal[0, r]) + n * (voxel[1, r] - n * signal[0, r])
        h22 += along2 * along2
        h11 += along1 * along1
        h21 += along2 * along1
        g2 += along2 * left
        g1 += along1 * left
    h22 *= 1 + 1e-9
    h11 *= 1 + 1e-9
    determinant = size * (h22 * h11 - h21 * h21)
    if determinant <= 0:
        return False
    step[0] = (h11 * g2 - h21 * g1) / determinant
    step[1] = (h22 * g1 - h21 * g2) / determinant
    return True


@compiled_within
def _bounded(x, step, start, size):
    """New coordinate within the grid and ``REACH`` of the start; a step at most one."""
    low, high = max(0.0, start - REACH), min(size - 1.0, start + REACH)
    return min(max(x + min(max(step, -1.0), 1.0), low), high)


@compiled_within
def _allowed(logs2, logs1, place):
    """T2 <= T1 at these coordinates."""
    i, j = min(int(place[0]), len(logs2) - 2), min(int(place[1]), len(logs1) - 2)
    t2 = logs2[i] + (place[0] - i) * (logs2[i + 1] - logs2[i])
    t1 = logs1[j] + (place[1] - j) * (logs1[j + 1] - logs1[j])
    return t2 <= t1


@compiled
def _climb(padded, logs2, logs1, parts, start, place, found, signals):
    """Fill ``place`` (grid steps along t2, t1), ``found`` (Re M0, Im M0, inner product) and ``signals``."""
    weights, slopes = np.empty((2, 4)), np.empty((2, 4))
    signal, step, there = np.empty((3, padded.shape[2])), np.empty(2), np.empty(2)
    size2, size1 = padded.shape[0] - 2, padded.shape[1] - 2
    for v in range(len(parts)):
        voxel, begin, here = parts[v], start[v], place[v]
        here[:], there[:], step[:] = begin, begin, 0.0
        best, halvings = -1.0, 0
        for _ in range(N_TRIALS):
            _interpolate(padded, there, weights, slopes, signal)
            norm2, x, y = _product(voxel, signal)
            score = (x * x + y * y) / norm2
            moved = max(abs(there[0] - here[0]), abs(there[1] - here[1]))
            if score > best and _allowed(logs2, logs1, there):
                here[:], best, halvings = there, score, 0
                found[v, 0], found[v, 1], found[v, 2] = x / norm2, y / norm2, np.sqrt(score)
                signals[v] = signal[0]
                settled = 0.0 < moved < SETTLED
                if settled or not _step(voxel, signal, norm2, x, y, step):
                    break
            else:
                halvings += 1
                step *= 0.5
                if halvings > HALVINGS:
                    break
            there[0] = _bounded(here[0], step[0], begin[0], size2)
            there[1] = _bounded(here[1], step[1], begin[1], size1)
