"""Measured signals for the viewer: of every volume, or means over equal encodings, and means over clusters."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.measured import canonical_order, measured_volumes
from mrspec_prep.reports.facts import CONTRASTS, known_contrasts

MOST_SIGNALS = 6_000_000  # values of one page: about 10 MB of it
OF_SIGMA = 8  # a signal is stored to this part of the noise


@dataclass(frozen=True, eq=False)
class Signals:
    """What was measured in the voxels of a region.

    Parameters
    ----------
    values : (n_voxels, n) float32 array or None
        Of every volume, or of every group of equal encodings; None where both are too many.
    level : str
        ``volume``, ``encoding`` or ``cluster``: what ``values`` are of.
    cluster_means, cluster_spreads : (n_clusters, n_groups) arrays
        Mean over the voxels of each cluster, and their standard deviation.

    """

    values: np.ndarray | None
    level: str
    cluster_means: np.ndarray
    cluster_spreads: np.ndarray


def equal_encodings(columns):
    """Group of each volume among those that differ in direction only, in order of first appearance.

    Parameters
    ----------
    columns : dict of str to array
        Volume table.

    Returns
    -------
    (n_encodings,) int array

    """
    known = known_contrasts(columns)
    n = len(next(iter(columns.values())))
    if not known:
        return np.arange(n)
    _, first, inverse = np.unique(np.stack(list(known.values()), 1), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def contrasts_of(columns):
    """What varies over the volumes, as axes of a plot: symbol, unit, name and value of every volume."""
    known, found = known_contrasts(columns), []
    for name, _, symbol, unit, title in CONTRASTS:
        if name in known and len(np.unique(known[name])) > 1:
            found.append({"symbol": symbol, "unit": unit, "name": title, "values": known[name].tolist()})
    n = len(next(iter(columns.values())))
    return found or [{"symbol": "volume", "unit": "", "name": "volume", "values": list(range(1, n + 1))}]


def read_signals(out_dir, series, grid, group_of, labels, n_clusters, most=MOST_SIGNALS):
    """Signals of the voxels of a region, as many as a page can hold.

    Parameters
    ----------
    out_dir : path
    series : SeriesResults
    grid : (shape, affine)
        Of the files.
    group_of : (n_encodings,) int array
    labels : (n_voxels,) int array
        Cluster of each voxel from 1 on; zeros where there are none.
    n_clusters : int
    most : int
        Values that the page can hold.

    Returns
    -------
    Signals

    Raises
    ------
    InputError
        As ``measured_volumes``, and an image on another grid.

    """
    roi = series.roi.data.astype(bool)
    where = canonical_order(*grid)[roi]
    counts = np.bincount(group_of)
    n_voxels, n_groups, n_encodings = len(where), len(counts), len(group_of)
    level = "volume" if n_voxels * n_encodings <= most else "encoding" if n_voxels * n_groups <= most else "cluster"
    shape = {"volume": n_encodings, "encoding": n_groups, "cluster": 0}[level]
    values = np.zeros((n_voxels, shape), np.float32)
    sums, squares = (np.zeros((n_clusters + 1, n_groups)) for _ in range(2))
    members = np.bincount(labels, minlength=n_clusters + 1)
    for encoding, volume in measured_volumes(out_dir, series.columns, series.acquisition.get("Sources")):
        if volume.shape != tuple(grid[0]):
            raise InputError("a measured image is on another grid than its region", value=volume.shape)
        signal, group = volume.ravel()[where], group_of[encoding]
        if level == "volume":
            values[:, encoding] = signal
        elif level == "encoding":
            values[:, group] += signal / counts[group]
        weights = signal.astype(float)
        sums[:, group] += np.bincount(labels, weights, n_clusters + 1) / counts[group]
        squares[:, group] += np.bincount(labels, weights**2, n_clusters + 1) / counts[group]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums[1:] / members[1:, None]
        spreads = np.sqrt(np.maximum(squares[1:] / members[1:, None] - means**2, 0))
    return Signals(values if shape else None, level, means, spreads)
