"""Figure of the fingerprinting benchmark: maps and error maps of the methods."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

RANGES = {"t1": (0, 4500, 10), "t2": (0, 300, 20)}  # ms, ms, error in per cent


def draw(path, phantom, results):
    """Write a PNG: columns are truth and methods; rows T1, its error, T2, its error.

    Parameters
    ----------
    path : Path
    phantom : Phantom
    results : dict of str to FingerprintResult

    """
    columns = {"truth": None} | results
    box = tuple(slice(max(places.min() - 2, 0), places.max() + 3) for places in np.nonzero(phantom.mask))
    figure, axes = plt.subplots(4, len(columns), figsize=(1.75 * len(columns), 7.2), layout="constrained")
    for row, name in enumerate(RANGES):
        low, high, off = RANGES[name]
        truth = getattr(phantom, name)
        for column, (label, result) in enumerate(columns.items()):
            values = truth * phantom.mask if result is None else getattr(result, name)[:, :, 0]
            error = np.where(phantom.mask, 100 * (values / np.where(phantom.mask, truth, 1) - 1), np.nan)
            shown = axes[2 * row, column].imshow(_up(values[box]), cmap="viridis", vmin=low, vmax=high)
            wrong = axes[2 * row + 1, column].imshow(_up(error[box]), cmap="RdBu_r", vmin=-off, vmax=off)
            if row == 0:
                axes[0, column].set_title(
                    label.replace(" + ", "\n+ ").replace(", ", ",\n").replace(": ", ":\n"), fontsize=7
                )
        for line, image, unit in ((2 * row, shown, f"{name.upper()} [ms]"), (2 * row + 1, wrong, "error [%]")):
            bar = figure.colorbar(image, ax=axes[line], shrink=0.8, pad=0.005)
            bar.set_label(unit, fontsize=7)
            bar.ax.tick_params(labelsize=6)
    for panel in axes.flat:
        panel.set_axis_off()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _up(image):
    """First axis to the top, the head upright."""
    return np.rot90(image)
