"""What a cluster is called, and its colour: the same in figures, tables and the viewer."""

import re

from mrspec_prep.bids.output.catalogue import axis_entry, cluster_color
from mrspec_prep.reports.words import percent, place_in_words

HEXADECIMAL = re.compile("#[0-9A-Fa-f]{6}")


def color_of(cluster, index):
    """Colour of a cluster as ``#rrggbb``: its own where its file says one, and it is one."""
    own = str(cluster.get("color"))
    return own if HEXADECIMAL.fullmatch(own) else cluster_color(index)


def cluster_name(cluster, index):
    """Number of a cluster and its share of the voxels."""
    share = f" · {percent(cluster['weight'])}" if "weight" in cluster else ""
    return f"Cluster {index + 1}{share}"


def legend_of(cluster, index, grid):
    """Name, share and main peak of a cluster, short enough for a legend."""
    peaks = cluster.get("peaks") or []
    if not peaks or grid is None:
        return cluster_name(cluster, index)
    symbols = [axis_entry(axis)["symbol"] for axis in grid.names if axis in peaks[0]]
    main = [f"{symbol} {place}" for symbol, place in zip(symbols, place_in_words(peaks[0], grid), strict=True)]
    return f"{cluster_name(cluster, index)}\n{', '.join(main)}"
