"""Curves and clouds of parameter maps: histograms over methods, latent spaces, learning: arrays -> SVG text."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator

from mrspec_prep.bids.output.catalogue import cluster_color
from mrspec_prep.reports.style import ACCENT, PAPER, WIDTH, axes_at, color_range, styled

N_BINS = 60
MOST_POINTS = 4000  # of a cloud
SHRUNK = 0.744  # variance of the inner nine tenths of a plane Gaussian, over that of all
MOST_PARTS = 4  # of a loss that are drawn
WIDE_RANGE = 30  # largest over smallest value from which an axis is logarithmic
FEW = 12  # points that are marked
HIDDEN = ("step", "epoch", "n_components", "learning_rate")  # abscissae, and what is no result
AGAINST = {"bic": "n_components", "starts": "start"}  # instead of the step
WORDS = {"bic": "BIC", "kl": "KL", "starts": "log evidence of starts"}
NAMES = {"n_components": "number of components"}
TINY = 1e-3  # change over value from which only the change is drawn
DENSITY = LinearSegmentedColormap.from_list("density", [PAPER, ACCENT, "#06323f"])


@dataclass(frozen=True)
class Cloud:
    """Points of voxels in a plane.

    Parameters
    ----------
    title : str
    points : (n_voxels, 2) array
    labels : (x name, y name)
        With units.
    components : (n_voxels,) int array or None
        From 1; None where the method has no components.
    shared : bool
        Whether its ranges are those of all shared clouds.

    """

    title: str
    points: np.ndarray
    labels: tuple
    components: np.ndarray | None
    shared: bool = True


@styled
def histograms_figure(panels, names, colors):
    """Distribution of each parameter over the region, a line per method.

    Parameters
    ----------
    panels : sequence of (entry, sequence of (n_voxels,) array or None)
        Entry of ``data/maps.toml`` and the values by each method, display units.
    names, colors : sequence of str
        Of the methods.

    """
    per_row = min(len(panels), 3)
    n_rows = -(-len(panels) // per_row)
    figure = Figure((WIDTH, 2.25 * n_rows + 0.3), layout="constrained")
    grid = figure.subplots(n_rows, per_row, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for index, (axes, (entry, values)) in enumerate(zip(grid.flat, panels, strict=False)):
        norm = color_range(np.concatenate([one for one in values if one is not None]), entry["range"])
        edges = np.linspace(norm.vmin, norm.vmax, N_BINS + 1)
        for one, color in zip(values, colors, strict=True):
            if one is not None:
                counts, _ = np.histogram(np.clip(one, norm.vmin, norm.vmax), edges)
                axes.stairs(100 * counts / len(one), edges, color=color, linewidth=1.3)
        unit = f" [{entry['unit']}]" if entry["unit"] else ""
        axes.set(xlabel=f"{entry['symbol']}{unit}", xlim=(norm.vmin, norm.vmax), ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(True, axis="y")
        if index % per_row == 0:
            axes.set_ylabel("voxels [%]")
    handles = [figure.axes[0].plot([], [], color=color, linewidth=2.2)[0] for color in colors]
    figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 4), handlelength=1.4)
    return figure


@styled
def clouds_figure(clouds):
    """Latent and parameter spaces; points and ellipses have the colour of their component.

    Parameters
    ----------
    clouds : sequence of Cloud

    """
    foot, head, left, gap, right = 0.48, 0.3, 0.55, 0.62, 0.08
    per_row = min(len(clouds), 3)
    width = min((WIDTH - left - right - gap * (per_row - 1)) / per_row, 2.9)
    height = 0.82 * width
    n_rows = -(-len(clouds) // per_row)
    figure = Figure((WIDTH, n_rows * (height + foot + head)))
    together = [cloud.points for cloud in clouds if cloud.shared]
    together = _ranges(np.concatenate(together)) if together else None
    for index, cloud in enumerate(clouds):
        row, column = divmod(index, per_row)
        bottom = (n_rows - 1 - row) * (height + foot + head) + foot
        axes = axes_at(figure, left + column * (width + gap), bottom, width, height)
        _cloud(axes, cloud, together if cloud.shared else _ranges(cloud.points))
    return figure


@styled
def learning_figure(curves, colors):
    """What was watched while methods learned, a panel for each quantity of each method.

    Parameters
    ----------
    curves : dict of str to dict
        Title of the method -> name -> (n_steps,) values; ``step`` or ``epoch`` is the abscissa.
    colors : sequence of str
        Of the methods.

    """
    panels = []
    for (title, found), color in zip(curves.items(), colors, strict=True):
        for name in watched(found)[:MOST_PARTS]:
            against = AGAINST.get(name) or ("epoch" if "epoch" in found else "step")
            known = np.isfinite(found[name])
            steps = found.get(against, np.arange(1, len(known) + 1))
            words = WORDS.get(name) or name.replace("_", " ")
            values = found[name][known]
            if len(values) and np.ptp(values) < TINY * abs(values[-1]):
                words, values = f"{words}, less its last", values - values[-1]
            panels.append((title, words, NAMES.get(against, against), steps[known], values, color))
    per_row = min(len(panels), 3)
    n_rows = -(-len(panels) // per_row)
    figure = Figure((WIDTH, 1.75 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, per_row, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, words, name_of_step, steps, values, color) in zip(grid.flat, panels, strict=False):
        _curve(axes, steps, values, color)
        axes.set(xlabel=name_of_step)
        axes.set_ylabel(words, fontsize=8)
        axes.set_title(title, fontsize=8)
    return figure


def watched(history):
    """Names of what has a curve in a history: at least two values, and not an abscissa."""
    return [name for name, values in history.items() if name not in HIDDEN and np.isfinite(values).sum() > 1]


def principal(values):
    """(n, 2) points along the two directions of most variance; (n, 2) itself where there are two."""
    if values.shape[1] <= 2:
        return values
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, ::-1][:, :2]
    return centred @ (vectors * np.where(vectors.sum(axis=0) < 0, -1, 1))


def _ranges(points):
    """Range of each axis: nearly all points with a margin."""
    low, high = np.nanpercentile(points, [0.5, 99.5], axis=0)
    pad = np.maximum(0.06 * (high - low), 1e-6)
    return list(zip(low - pad, high + pad, strict=True))


def _cloud(axes, cloud, ranges):
    points, components = cloud.points, cloud.components
    keep = np.isfinite(points).all(axis=1)
    points, components = points[keep], components[keep] if components is not None else None
    if components is None:
        axes.hexbin(*points.T, gridsize=46, extent=(*ranges[0], *ranges[1]), bins="log", cmap=DENSITY, linewidths=0,
                    mincnt=1, rasterized=True)  # fmt: skip
    else:
        chosen = np.random.default_rng(0).permutation(len(points))[:MOST_POINTS]
        colors = np.array([cluster_color(index) for index in range(int(components.max()) or 1)])
        shown = chosen[components[chosen] > 0]
        axes.scatter(*points[shown].T, s=3, c=colors[components[shown] - 1], alpha=0.35, linewidths=0, rasterized=True)
        for index, color in enumerate(colors):
            mine = points[components == index + 1]
            if len(mine) > 2:
                _ellipses(axes, mine, color, str(index + 1))
    axes.set(xlim=ranges[0], ylim=ranges[1], xlabel=cloud.labels[0], ylabel=cloud.labels[1])
    axes.set_title(cloud.title)
    axes.grid(True)


def _ellipses(axes, points, color, name):
    """Ellipses of one and two standard deviations around the median, of the inner nine tenths of the points; named."""
    centre = np.median(points, axis=0)
    distance = np.einsum("ni,ij,nj->n", points - centre, np.linalg.pinv(np.cov(points.T)), points - centre)
    inner = points[distance <= np.quantile(distance, 0.9)]
    values, vectors = np.linalg.eigh(np.cov(inner.T) / SHRUNK)
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    for scale in (1, 2):
        width, height = 2 * scale * np.sqrt(np.maximum(values[::-1], 0))
        axes.add_patch(Ellipse(centre, width, height, angle=angle, fill=False, edgecolor="white", linewidth=2.4))
        axes.add_patch(Ellipse(centre, width, height, angle=angle, fill=False, edgecolor=color, linewidth=1.3))
    box = {"boxstyle": "circle,pad=0.2", "facecolor": color, "edgecolor": "white", "linewidth": 0.8}
    axes.text(*centre, name, color="white", fontsize=7, weight="bold", ha="center", va="center", bbox=box, clip_on=True)


def _curve(axes, x, values, color):
    few = {"marker": "o", "markersize": 4} if len(x) <= FEW else {}
    axes.plot(x, values, color=color, linewidth=1.3, **few)
    if few:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, axis="y")
    if values.size and values.min() > 0 and values.max() / values.min() > WIDE_RANGE:
        axes.set_yscale("log")
    elif values.size > 20:  # a few wild first steps shall not flatten the rest
        low, high = np.percentile(values[len(values) // 50 :], [0, 99])
        pad = 0.05 * (max(high, values[-1]) - low) or 1e-3
        axes.set_ylim(low - pad, max(high, values[-1]) + pad)
    if len(x) and x[-1] / max(x[0], 1) > 1000:
        axes.set_xscale("log")
