"""Which voxels of a region of interest touch each other, and how closely."""

import itertools
from dataclasses import dataclass

import numpy as np

NEIGHBOURHOODS = {6: 1, 18: 2, 26: 3}  # neighbours of a voxel: axes on which they may differ from it


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbour lists of the voxels of a region of interest, in compressed rows.

    Attributes
    ----------
    starts : (n_voxels + 1,) int array
        The neighbours of voxel n are ``index[starts[n]:starts[n + 1]]``.
    index : (n_pairs,) int array
        Every pair of neighbours appears twice.
    weight : (n_pairs,) array
        Closeness: 1 for the nearest neighbours of the grid, the ratio of the distances for the others.
    colors : tuple of int arrays
        Voxels by colour: no two neighbours share one, so that the voxels of a colour may be
        updated at once and in any order.

    """

    starts: np.ndarray
    index: np.ndarray
    weight: np.ndarray
    colors: tuple[np.ndarray, ...]

    @property
    def n_voxels(self):
        """Voxels of the region of interest."""
        return len(self.starts) - 1

    @property
    def degree(self):
        """(n_voxels,) array: summed weight of the neighbours of each voxel."""
        rows = np.repeat(np.arange(self.n_voxels), np.diff(self.starts))
        return np.bincount(rows, self.weight, self.n_voxels)

    def permuted(self, order):
        """Neighbour lists of the same voxels in another order: the new voxel i is the old ``order[i]``."""
        order = np.asarray(order)
        where = np.empty_like(order)
        where[order] = np.arange(len(order))
        counts = np.diff(self.starts)[order]
        starts = np.concatenate([[0], np.cumsum(counts)])
        pairs = np.arange(starts[-1]) + np.repeat(self.starts[order] - starts[:-1], counts)
        colors = tuple(np.sort(where[color]) for color in self.colors)
        return Neighbours(starts, where[self.index[pairs]], self.weight[pairs], colors)


def neighbours_of(roi, voxel_size=(1.0, 1.0, 1.0), n_neighbours=26):
    """Neighbour lists of the voxels inside a region of interest.

    Parameters
    ----------
    roi : (nx, ny, nz) bool array
        Voxels are numbered in C order, as ``np.argwhere(roi)``.
    voxel_size : three floats
        Edges [mm]; thick slices touch each other less than voxels within a slice.
    n_neighbours : int
        6 (faces), 18 (and edges) or 26 (and corners).

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        ``roi`` not three-dimensional or empty, edges not positive, another number of neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.spectra import neighbours_of
    >>> found = neighbours_of(np.ones((3, 1, 1), bool))  # three voxels in a row: the middle one has two
    >>> found.starts.tolist(), found.index.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1])

    """
    roi = np.asarray(roi, dtype=bool)
    if roi.ndim != 3 or not roi.any():
        raise ValueError(f"roi must be three-dimensional and hold a voxel, got shape {roi.shape}, {roi.sum()} voxels")
    size = np.asarray(voxel_size, dtype=float)
    if size.shape != (3,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"voxel_size must be three lengths > 0 [mm], got {voxel_size}")
    if n_neighbours not in NEIGHBOURHOODS:
        raise ValueError(f"n_neighbours must be one of 6, 18, 26, got {n_neighbours}")
    places = np.argwhere(roi)
    number = np.full(np.array(roi.shape) + 2, -1)
    number[tuple(places.T + 1)] = np.arange(len(places))
    rows, columns, weights = [], [], []
    for shift in itertools.product((-1, 0, 1), repeat=3):
        if not 1 <= np.abs(shift).sum() <= NEIGHBOURHOODS[n_neighbours]:
            continue
        other = number[tuple((places + 1 + shift).T)]
        inside = np.flatnonzero(other >= 0)
        rows.append(inside)
        columns.append(other[inside])
        weights.append(np.full(len(inside), size.min() / np.linalg.norm(shift * size)))
    rows, columns, weights = np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
    order = np.lexsort((columns, rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(places)))])
    parity = (places % 2) @ np.array([4, 2, 1])
    colors = tuple(np.flatnonzero(parity == color) for color in np.unique(parity))
    return Neighbours(starts, columns[order], weights[order], colors)
