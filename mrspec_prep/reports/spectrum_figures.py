"""Pictures of spectra, of the protocol and of the choice of the number of clusters: arrays -> SVG text."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from scipy.ndimage import gaussian_filter

from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.reports.style import ACCENT, FAINT, INK, MUTED, WARM, WIDTH, axes_at, styled, tint_map
from mrspec_prep.reports.words import number, peak_in_words

SMALL = 3.0  # width below which axes have no small ticks [inch]
NEUTRAL = "#37474f"  # the mean of all voxels
MAX_PEAKS = 3  # named in a panel
DISPLAY_WIDTH = 0.02  # standard deviation of the smoothing of drawn planes, in axis lengths: one step of 50
WIDE_RANGE = 20  # of measured times, largest over least, from which their axis is logarithmic
MAX_PEAKS_3D = 2  # named above a row of planes


@styled
def spectra_figure(spectra, grid, names, colors, peaks):
    """Spectra of any number of axes: curves in 1-D, planes in 2-D, marginal planes in 3-D.

    Parameters
    ----------
    spectra : (n, n_bins) array
    grid : Grid
        ms, um2/ms.
    names : (n,) sequence of str
        Title of each spectrum.
    colors : (n,) sequence of str
    peaks : (n,) sequence of lists of dict
        {axis: value, ..., "fraction": share}, largest first.

    """
    cubes = [spectrum.reshape(grid.shape) for spectrum in spectra]
    draw = {1: _curves, 2: _planes}.get(len(grid.shape), _marginals)
    return draw(cubes, grid, names, colors, peaks)


@styled
def overlay_figure(spectra, grid, names, colors, peaks):
    """All clusters of a 2-D spectrum in one plane: contours at 1/5 and 3/5 of each maximum."""
    figure = Figure((WIDTH, 4.1), layout="constrained")
    axes = figure.add_subplot()
    y_name, x_name = grid.names
    handles = []
    for spectrum, color, found in zip(spectra, colors, peaks, strict=True):
        plane = _smoothed(spectrum.reshape(grid.shape))
        if plane.max() > 0:
            axes.contourf(*grid.axes[::-1], plane, [0.2, 0.6, 1.01], colors=[color], alpha=0.22)
            axes.contour(*grid.axes[::-1], plane, [0.2, 0.6], colors=[color], linewidths=[0.9, 1.4])
        for peak in found[:MAX_PEAKS]:
            size = 10 + 90 * peak["fraction"]
            axes.scatter(peak[x_name], peak[y_name], s=size, color=color, edgecolor="white", linewidth=0.8, zorder=3)
        handles.append(axes.plot([], [], "o", color=color, markersize=7)[0])
    _value_axis(axes, "x", x_name, grid.axes[1])
    _value_axis(axes, "y", y_name, grid.axes[0])
    axes.grid(True)
    axes.legend(handles, names, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _logarithmic(axes, name, low, high):
    """Make an axis logarithmic, with ticks at round numbers."""
    getattr(axes, f"set_{name}scale")("log")
    axis = getattr(axes, f"{name}axis")
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = [float(tick) for tick in np.outer(decades, (1, 2, 5)).ravel() if low <= tick <= high]
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


@styled
def protocol_figure(columns):
    """What was measured: two contrasts against each other, or one against its count.

    Parameters
    ----------
    columns : dict of str to array
        The volume table in BIDS units.

    """
    shown = [(name, columns[name] * factor, label) for name, factor, label in _CONTRASTS if _varies(columns, name)]
    figure = Figure((WIDTH, 2.7 if len(shown) > 1 else 2.0), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True)
    if len(shown) >= 2:
        (_, y, y_label), (_, x, x_label) = shown[:2]
        places, counts = np.unique(np.stack([x, y], axis=1).round(3), axis=0, return_counts=True)
        color = ACCENT
        unit = 150.0 / counts.max()
        scatter = axes.scatter(*places.T, s=unit * counts, color=color, alpha=0.75, edgecolor="white", linewidth=0.5)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.margins(0.06, 0.12)
        kinds = sorted({int(counts.min()), int(np.median(counts)), int(counts.max())})
        handles = [axes.scatter([], [], s=unit * kind, color=color, alpha=0.75) for kind in kinds]
        words = [str(kind) for kind in kinds]
        axes.legend(handles, words, title="volumes", loc="center left", bbox_to_anchor=(1.01, 0.5))
        scatter.set_clip_on(False)
        for values, axis in ((x, "x"), (y, "y")):
            if values.min() > 0 and values.max() > WIDE_RANGE * values.min():
                _logarithmic(axes, axis, values.min(), values.max())
    elif shown:
        _, x, label = shown[0]
        values, counts = np.unique(x.round(3), return_counts=True)
        axes.vlines(values, 0, counts, color=ACCENT, linewidth=2)
        axes.scatter(values, counts, color=ACCENT, s=24, zorder=3, clip_on=False)
        axes.set(xlabel=label, ylabel="volumes", ylim=(0, counts.max() * 1.15))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


@styled
def selection_figure(table, chosen, criterion):
    """Information criteria and likelihood against the number of clusters.

    Parameters
    ----------
    table : dict of str to array
        n_clusters, bic, aic, log_likelihood, converged.
    chosen : int
    criterion : str
        ``bic``, ``aic`` or ``held-out``: what the choice was made by.

    """
    figure = Figure((WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    n = np.asarray(table["n_clusters"], float)
    done = np.asarray(table.get("converged", np.ones(len(n))), bool)
    for key, color, style in (("bic", ACCENT, "-"), ("aic", WARM, "--")):
        if key in table and np.isfinite(table[key]).any():
            excess = table[key] - np.nanmin(table[key])
            _curve_of_fits(left, n, excess, done, color, style, key.upper())
    left.set(xlabel="number of clusters", ylabel="excess over the best value")
    left.set_title("Information criteria (lower is better)")
    if "log_likelihood" in table:
        _curve_of_fits(right, n, table["log_likelihood"], done, INK, "-", "log-likelihood")
    if "held_out" in table and np.isfinite(table["held_out"]).any():
        _curve_of_fits(right, n, table["held_out"], done, ACCENT, "--", "of held-out volumes")
        right.legend(loc="best")
    right.set(xlabel="number of clusters", ylabel="log-likelihood", title="Log-likelihood (higher is better)")
    for axes in (left, right):
        axes.axvspan(chosen - 0.35, chosen + 0.35, color=FAINT, zorder=0, linewidth=0)
        axes.grid(True, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.set_xlim(n.min() - 0.6, n.max() + 0.6)
    handles = [left.scatter([], [], s=26, facecolor="white", edgecolor=MUTED)] if not done.all() else []
    lines, labels = left.get_legend_handles_labels()
    used = Patch(facecolor=FAINT, label=f"chosen ({criterion.upper()})")
    left.legend([*lines, *handles, used], [*labels, *["not converged"] * len(handles), used.get_label()], loc="best")
    return figure


_CONTRASTS = (
    ("b", 1.0, "b-value [s/mm²]"),
    ("TI", 1e3, "inversion time [ms]"),
    ("TE", 1e3, "echo time [ms]"),
)


def _varies(columns, name):
    values = columns.get(name)
    if values is None or values.dtype.kind != "f" or not np.isfinite(values).all():
        return False
    return bool(np.ptp(values) > 1e-3 * max(values.max(), 1e-9))


def _curve_of_fits(axes, x, y, done, color, style, label):
    """Line with filled marks where the fit converged and hollow ones where not."""
    axes.plot(x, y, style, color=color, label=label)
    axes.scatter(x[done], y[done], s=26, color=color, zorder=3)
    axes.scatter(x[~done], y[~done], s=26, facecolor="white", edgecolor=color, zorder=3)


def _value_axis(axes, which, name, values, label=True):
    """Scale, limits and label of one spectral axis; logarithmic where the grid is."""
    is_log = len(values) > 2 and np.allclose(np.diff(np.log(values)), np.log(values[1] / values[0]), rtol=1e-3)
    entry = axis_entry(name)
    unit = f" [{entry['unit']}]" if entry["unit"] else ""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if is_log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(10, subs=_log_labels(axes, which, values), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        if axes.get_position().width * axes.figure.get_figwidth() < SMALL:
            axis.set_minor_locator(NullLocator())
    edges = _edges(values)
    (axes.set_xlim if which == "x" else axes.set_ylim)(edges[0], edges[-1])
    if label:
        axis.set_label_text(f"{entry['symbol']}{unit}")


def _log_labels(axes, which, values):
    """Multiples of a power of ten that are labelled: more where an axis is long and spans little."""
    box, figure = axes.get_position(), axes.figure.get_size_inches()
    inches = (box.width * figure[0]) if which == "x" else (box.height * figure[1])
    per_decade = inches / max(np.log10(values[-1] / values[0]), 0.1)
    return (1, 2, 5) if per_decade > 1.6 else (1, 3) if per_decade > 0.7 else (1,)


def _edges(values):
    """Cell borders of grid points, halfway on their own scale."""
    if len(values) < 2:
        return np.array([values[0] * 0.9, values[0] * 1.1])
    if len(values) > 2 and np.allclose(np.diff(np.log(values)), np.log(values[1] / values[0]), rtol=1e-3):
        return np.exp(_edges_linear(np.log(values)))
    return np.maximum(_edges_linear(values), values[0] * 0.5)


def _edges_linear(values):
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _curves(curves, grid, names, colors, peaks):
    """One-dimensional spectra above one another on one axis."""
    row, foot, side = 0.8, 0.5, 0.35
    figure = Figure((WIDTH, row * len(curves) + foot))
    axis, values = grid.names[0], grid.axes[0]
    for index, (curve, name, color, found) in enumerate(zip(curves, names, colors, peaks, strict=True)):
        axes = axes_at(figure, side, foot + row * (len(curves) - 1 - index), WIDTH - side - 0.1, 0.6 * row)
        scaled = curve / (curve.max() or 1.0)
        axes.fill_between(values, scaled, color=color, alpha=0.25, linewidth=0)
        axes.plot(values, scaled, color=color)
        axes.set(ylim=(0, 1.35), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.set_title(name, fontsize=8, color=color, pad=1)
        is_last = index == len(curves) - 1
        _value_axis(axes, "x", axis, values, label=is_last)
        if not is_last:
            axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelbottom=is_last)
        for peak in found[:MAX_PEAKS]:
            where = axes.transData.transform((peak[axis], 0))[0]
            left, right = axes.transAxes.transform([(0.07, 0), (0.93, 0)])[:, 0]
            side_of = "left" if where < left else "right" if where > right else "center"
            height = float(np.interp(peak[axis], values, scaled))
            above = {"xytext": (0, 3), "textcoords": "offset points", "ha": side_of, "fontsize": 7.5}
            axes.annotate(peak_in_words(peak, grid), (peak[axis], height), **above)
    figure.text(0.005, 0.5, "amplitude / maximum", rotation=90, va="center", fontsize=8.5)
    return figure


def _planes(planes, grid, names, colors, peaks):
    """Two-dimensional spectra, one panel each, peaks named below."""
    n = len(planes)
    most = 3 if n <= 3 else 4 if n <= 8 else 5
    per_row = -(-n // -(-n // most))  # rows of like length
    left, gap, below, above = 0.55, 0.22, 0.92, 0.26
    side = min((WIDTH - left - gap * (per_row - 1) - 0.18) / per_row, 2.3)
    n_rows = -(-n // per_row)
    figure = Figure((WIDTH, n_rows * (side + below + above)))
    for index, (plane, name, color, found) in enumerate(zip(planes, names, colors, peaks, strict=True)):
        row, column = divmod(index, per_row)
        bottom = (n_rows - 1 - row) * (side + below + above) + below
        axes = axes_at(figure, left + column * (side + gap), bottom, side, side)
        _plane(axes, plane, grid.names, grid.axes, color, found)
        axes.set_title(name, fontsize=8.5)
        if column:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
        lines = [f"{letter}  {peak_in_words(p, grid)}" for letter, p in zip("abc", found[:MAX_PEAKS], strict=False)]
        place = {"xytext": (0, -33), "textcoords": "offset points", "va": "top"}
        axes.annotate("\n".join(lines), (0, 0), xycoords="axes fraction", fontsize=7.2, linespacing=1.35, **place)
    return figure


def _marginals(cubes, grid, names, colors, peaks):
    """Three-dimensional spectra: the three planes that remain when one axis is summed out."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    left, gap, below, above, height = 0.55, 0.62, 0.48, 0.26, 1.5
    width = (WIDTH - left - 2 * gap - 0.18) / 3
    figure = Figure((WIDTH, len(cubes) * (height + below + above)))
    for index, (cube, name, color, every) in enumerate(zip(cubes, names, colors, peaks, strict=True)):
        found = every[:MAX_PEAKS_3D]
        words = "   ".join(f"{letter} {peak_in_words(peak, grid)}" for letter, peak in zip("ab", found, strict=False))
        bottom = (len(cubes) - 1 - index) * (height + below + above) + below
        for position, (first, second) in enumerate(pairs):
            axes = axes_at(figure, left + position * (width + gap), bottom, width, height)
            plane = cube.sum(axis=3 - first - second)
            kept = [(grid.names[axis], grid.axes[axis]) for axis in (first, second)]
            _plane(axes, plane, *zip(*kept, strict=True), color, found)
            if position == 0:
                axes.set_title(name, fontsize=8.5)
            if position == 1:
                axes.set_title(words, fontsize=7.2, weight="normal")
    return figure


def _plane(axes, plane, names, values, color, found):
    """One coloured plane with its peaks marked."""
    shown = np.sqrt(_smoothed(plane))
    axes.pcolormesh(_edges(values[1]), _edges(values[0]), shown, cmap=tint_map(color), vmin=0, vmax=1, rasterized=True)
    _value_axis(axes, "x", names[1], values[1])
    _value_axis(axes, "y", names[0], values[0])
    axes.grid(True, alpha=0.6)
    axes.spines[:].set_visible(True)
    for letter, peak in zip("abc", found[:MAX_PEAKS], strict=False):
        place = (peak[names[1]], peak[names[0]])
        axes.plot(*place, "o", markersize=2.6, color="white", markeredgecolor=INK, markeredgewidth=0.7, clip_on=False)
        words = axes.annotate(letter, place, xytext=(3, 2), textcoords="offset points", fontsize=8, weight="bold")
        words.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _smoothed(plane):
    """Plane over its maximum after a slight Gaussian: a peak of one bin becomes a visible dot."""
    soft = gaussian_filter(np.asarray(plane, float), [DISPLAY_WIDTH * n for n in plane.shape], mode="nearest")
    return soft / (soft.max() or 1.0)
