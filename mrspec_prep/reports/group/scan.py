"""One scan of a group for the viewer: cluster map, reference image and signals, from the group's own files."""

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.compressed import read_compressed
from mrspec_prep.bids.output.derivatives import MapFile
from mrspec_prep.bids.output.measured import canonical_order
from mrspec_prep.reports.collect import NAME_ENTITIES, SeriesResults
from mrspec_prep.reports.viewer.signals import Signals


def scan_results(cluster_map, spectra, compressed):
    """What is known of a scan, as the viewer of a participant reads it.

    Parameters
    ----------
    cluster_map : ClusterMap
    spectra : ClusterSpectra
        Of the group.
    compressed : CompressedSignals or None
        Gives the noise.

    Returns
    -------
    SeriesResults
        Axes to the right, front and up.

    """
    labels = cluster_map.labels
    found = SeriesResults((None, "dwi", *(None for _ in NAME_ENTITIES)), labels=labels, cluster_spectra=spectra)
    found.roi = MapFile(labels.data > 0, labels.affine, {}, "roi", labels.turns)
    if cluster_map.reference is not None:
        found.reference = MapFile(cluster_map.reference, labels.affine, {}, "reference")
    if compressed is not None:
        noise = np.zeros(labels.data.shape)
        noise[found.roi.data] = np.asarray(compressed.sigma)[voxel_rows(compressed, labels)]
        found.noise = MapFile(noise, labels.affine, {}, "noise")
    return found


def check_clusters(cluster_map, n_clusters):
    """Raise InputError where a cluster map has clusters beyond those whose spectra are known."""
    most = int(cluster_map.labels.data.max())
    if most > n_clusters:
        raise InputError(
            f"the cluster map has a cluster {most}, and the group has {n_clusters} spectra: they are of different runs",
            file=cluster_map.path,
            remedy="run the group again",
        )


def open_compressed(path, labels):
    """Compressed signals of a scan, checked to be of the voxels of its cluster map.

    Parameters
    ----------
    path : path
    labels : MapFile
        Axes to the right, front and up.

    Returns
    -------
    CompressedSignals

    Raises
    ------
    InputError
        As ``read_compressed``, and signals of other voxels than the map's.

    """
    found = read_compressed(path)
    order = canonical_order(found.header.shape, found.header.affine)
    if order.shape != labels.data.shape or not np.array_equal(found.roi.ravel()[order], labels.data > 0):
        remedy = "run the group again"
        raise InputError("signals and cluster map are of different voxels", file=path, remedy=remedy)
    return found


def voxel_rows(compressed, labels):
    """(n_voxels,) int array: row of the compressed signals of each voxel of the map, in the map's order."""
    row_of = np.cumsum(compressed.roi.ravel()) - 1
    return row_of[canonical_order(compressed.header.shape, compressed.header.affine)[labels.data > 0]]


def regenerated_signals(compressed, labels, group_of, n_clusters, most):
    """Signals that the compressed ones stand for, averaged over equal encodings.

    What the kernel cannot describe is not among them.

    Parameters
    ----------
    compressed : CompressedSignals
    labels : MapFile
        Cluster of each voxel from 1 on, 0 outside; axes to the right, front and up.
    group_of : (n_encodings,) int array
    n_clusters : int
    most : int
        Values that the page can hold.

    Returns
    -------
    Signals

    """
    averaging = (np.arange(group_of.max() + 1)[:, None] == group_of) / np.bincount(group_of)[:, None]
    back = averaging @ compressed.protocol.projection  # (n_groups, n_ranks)
    stored = np.asarray(compressed.signals, float)[voxel_rows(compressed, labels)]
    level = "encoding" if len(stored) * len(back) <= most else "cluster"
    cluster_of = labels.data[labels.data > 0].astype(int)
    means, spreads = (np.full((n_clusters, len(back)), np.nan) for _ in range(2))
    for index in np.unique(cluster_of) - 1:
        own = stored[cluster_of == index + 1]
        means[index] = back @ own.mean(axis=0)
        centred = own - own.mean(axis=0)
        spreads[index] = np.sqrt(np.maximum(np.sum(back * (back @ (centred.T @ centred) / len(own)), axis=1), 0))
    return Signals((stored @ back.T).astype(np.float32) if level == "encoding" else None, level, means, spreads)
