"""Pictures of T2 maps: methods side by side, errors below."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

T2_RANGE, ERROR = (40, 180), 30.0  # ms
MIDDLE = 1  # slice


def phantom_picture(path, phantom, found):
    """Truth and every method's T2 map of one slice, and T2 minus truth below."""
    inside = phantom.mask[:, :, MIDDLE]
    shown = {"truth": phantom.t2} | {row: maps.t2 for row, maps in found.items()}
    rows_of_maps(path, {name: t2[:, :, MIDDLE] for name, t2 in shown.items()}, inside, phantom.t2[:, :, MIDDLE])


def rows_of_maps(path, maps, inside, truth, t2_range=T2_RANGE, error=ERROR, reference="truth"):
    """T2 maps (x, y) of one slice by name, the first the reference, and differences to it below."""
    rows, columns = np.nonzero(inside)
    crop = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    figure, axes = plt.subplots(2, len(maps), figsize=(2.3 * len(maps) + 0.8, 6), layout="constrained", squeeze=False)
    for column, (name, t2) in enumerate(maps.items()):
        outside = ~inside[crop]
        t2, off = np.ma.masked_array(t2[crop], outside), np.ma.masked_array((t2 - truth)[crop], outside)
        top = axes[0, column].imshow(t2, vmin=t2_range[0], vmax=t2_range[1], cmap="viridis")
        axes[0, column].set_title(name.replace(", ", ",\n"), fontsize=9)
        low = axes[1, column].imshow(off, vmin=-error, vmax=error, cmap="RdBu_r")
        for axis in axes[:, column]:
            axis.set_axis_off()
    axes[1, 0].set_visible(False)
    figure.colorbar(top, ax=axes[0], label="T2 [ms]", shrink=0.8)
    figure.colorbar(low, ax=axes[1], label=f"T2 minus {reference} [ms]", shrink=0.8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
