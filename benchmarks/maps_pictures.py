"""Pictures of parameter maps by method, and scatter plots of estimate against truth."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from benchmarks.maps_halves import on_grid

CHARACTERS = 14  # of a title, per inch
COLORS = ("#0072B2", "#D55E00", "#009E73")  # white, grey, CSF: told apart by colour-blind eyes too


def half_maps(path, roi, maps, low, high, title):
    """Write a PNG: a row per method, its map from all volumes, from each half, and the halves' difference.

    Parameters
    ----------
    path : path
    roi : (nx, ny, nz) bool array
        The first slice is shown.
    maps : dict of str to (3, n_voxels) array
        By label: all volumes, first half, second half.
    low, high : float
        Range of the grey scale; differences are shown within +- half of it.
    title : str

    """
    inside = np.argwhere(roi[..., 0])
    (x0, y0), (x1, y1) = inside.min(axis=0), inside.max(axis=0) + 1
    figure = Figure(figsize=(7.2, 2.05 * len(maps) + 0.5), dpi=80, layout="constrained")
    axes, titles = figure.subplots(len(maps), 4, squeeze=False), ("all volumes", "half A", "half B", "A - B")
    for r, (label, (full, first, second)) in enumerate(maps.items()):
        axes[r, 0].set_ylabel(label, fontsize=9)
        for c, values in enumerate((full, first, second, first - second)):
            scale = {"vmin": low, "vmax": high, "cmap": "gray"}
            if c == 3:
                scale = {"vmin": -(high - low) / 2, "vmax": (high - low) / 2, "cmap": "RdBu_r"}
            picture = on_grid(roi, values)[x0:x1, y0:y1, 0].T
            shown = axes[r, c].imshow(picture, origin="lower", interpolation="nearest", **scale)
            axes[r, c].set(xticks=[], yticks=[], title=titles[c] if r == 0 else "")
            if r == len(maps) - 1 and c in (0, 3):
                figure.colorbar(shown, ax=axes[:, c], location="bottom", aspect=15).ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def scatter(path, panels, limits, title):
    """Write a PNG of estimate against truth.

    Parameters
    ----------
    path : path
    panels : dict of str to dict of str to tuple of three (n_voxels,) arrays
        Truth, estimate and cluster (0, 1, 2), by row and label.
    limits : (float, float)
        Of both axes.
    title : str

    """
    n_columns, first = max(map(len, panels.values())), list(next(iter(panels.values())))
    same = all(list(row) == first for row in panels.values())
    size = (1.3 * n_columns + 0.5, (1.3 if same else 1.6) * len(panels) + 0.6)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(len(panels), n_columns, squeeze=False, sharex=True, sharey=True)
    for r, (name, row) in enumerate(panels.items()):
        axes[r, 0].set_ylabel(name, fontsize=8)
        for panel, (label, (truth, estimate, cluster)) in zip(axes[r], row.items(), strict=False):
            panel.plot(limits, limits, color="0.6", linewidth=0.8, zorder=0)
            for c, color in enumerate(COLORS):
                of = cluster == c
                panel.plot(truth[of], estimate[of], ".", color=color, markersize=1.5, alpha=0.3, mew=0)
            panel.set(xlim=limits, ylim=limits, aspect="equal")
            panel.tick_params(labelsize=6)
            if r == 0 or not same:
                panel.set_title(label.replace(", ", "\n").replace(" n_", "\nn_").replace(" kl", "\nkl"), fontsize=7)
    figure.suptitle(textwrap.fill(title, int(CHARACTERS * size[0])), fontsize=9)
    figure.savefig(path)
