"""Pictures of what a classification can tell: confusion matrices, ROC curves, reliability: arrays -> SVG text."""

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mrspec_prep.reports.style import ACCENT, FAINT, INK, MUTED, PAPER, WIDTH, axes_at, styled, tint_map

LEFT, GAP, TOP, BOTTOM = 0.62, 0.62, 0.42, 0.5  # around the panels [inch]
DARK = 0.55  # share from which the text of a cell is white
FEWEST = 20  # signals in a bin of the reliability diagram that is drawn


@styled
def expectation_figure(confusion, alarms, detections, areas, reliability, names, colors):
    """Confusion matrices for two and for all numbers, ROC curves and reliability, of simulated signals.

    Parameters
    ----------
    confusion : (n, n) array
        Counts; row: truth, column: likeliest number.
    alarms : (n_points,) array
        False positive rates.
    detections : (n, n_points) array
        True positive rates, one number against the others.
    areas : (n,) array
        Under the ROC curves.
    reliability : (3, n_bins) array
        Probability, part told right, signals.
    names, colors : (n,) sequence of str
        Of the numbers.

    """
    size = (WIDTH - LEFT - 3 * GAP - 0.1) / 4
    figure = Figure((WIDTH, size + TOP + BOTTOM))

    def panel(index, title):
        axes = axes_at(figure, LEFT + index * (size + GAP), BOTTOM, size, size)
        axes.set_title(f"{'abcd'[index]}  {title}", fontsize=8.5)
        return axes

    confusion = np.asarray(confusion, float)
    several = np.array([[confusion[0, 0], confusion[0, 1:].sum()], [confusion[1:, 0].sum(), confusion[1:, 1:].sum()]])
    _matrix(panel(0, "one or several"), several, ["one", "several"])
    _matrix(panel(1, "how many"), confusion, names)
    _curves(panel(2, "each against the rest"), alarms, detections, areas, names, colors)
    _reliability(panel(3, "reliability"), np.asarray(reliability, float))
    return figure


def _matrix(axes, counts, names):
    """Rows sum to one."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=tint_map(ACCENT), norm=Normalize(0, 1), aspect="equal")
    ticks = range(len(names))
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="likeliest number", ylabel="truth")
    for row, column in np.ndindex(shares.shape):
        ink = PAPER if shares[row, column] > DARK else INK
        axes.text(
            column, row, f"{100 * shares[row, column]:.0f}\u202f%", ha="center", va="center", color=ink, fontsize=8
        )


def _curves(axes, alarms, detections, areas, names, colors):
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)))
    for rates, area, name, color in zip(detections, areas, names, colors, strict=True):
        shown = _legible(color)
        axes.plot(alarms, rates, color=shown, linewidth=1.6, label=f"{name}: area {area:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right", fontsize=7.5, handlelength=1.2, borderaxespad=0.2)


def _reliability(axes, reliability):
    told, right, counts = reliability
    drawn = np.nan_to_num(counts) >= FEWEST
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)))
    width = 1 / len(counts)
    edges = np.arange(len(counts)) * width
    axes.bar(edges, 0.3 * counts / counts.max(), width, align="edge", color=FAINT, linewidth=0)
    axes.plot(told[drawn], right[drawn], color=ACCENT, marker="o", markersize=3.5, linewidth=1.4)
    axes.set(xlim=(0.2, 1), ylim=(0, 1.01), xlabel="its probability", ylabel="part told right")


def _legible(color):
    """A colour dark enough for a line on paper."""
    red, green, blue = matplotlib.colors.to_rgb(color)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    return color if light < 0.6 else tuple(0.72 * part for part in (red, green, blue))
