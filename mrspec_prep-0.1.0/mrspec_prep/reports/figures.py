"""Pictures of maps: arrays -> SVG text."""

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from mrspec_prep.reports.mosaic import columns_for, corner, stitch
from mrspec_prep.reports.style import INK, MUTED, NIGHT, WIDTH, axes_at, color_range, glow_map, styled
from mrspec_prep.reports.words import short

MOSAIC_WIDTH = 6.3  # of the picture beside a histogram [inch]
MARGIN = 0.0
HEAD = 0.42  # above a histogram: two lines [inch]
NIGHT_GRAY = LinearSegmentedColormap.from_list("night gray", [NIGHT, "#ffffff"])
OUTLINE = "#ffb000"


@styled
def outline_figure(reference, roi, view):
    """Reference image with the outline of the region of interest.

    Parameters
    ----------
    reference : (x, y, z) array
        Signal, any unit.
    roi : (x, y, z) bool array
    view : View

    """
    n_columns, width, height = _mosaic_size(view, WIDTH - 2 * MARGIN, _tallest(view))
    figure = Figure((WIDTH, height + 2 * MARGIN))
    axes = image_axes(figure, MARGIN, MARGIN, width, height)
    show_reference(axes, reference, roi, view, n_columns, dim=1.0)
    mask = stitch(roi.astype(float), view, n_columns, fill=0)
    axes.contour(mask, [0.5], colors=[OUTLINE], linewidths=0.9)
    _annotate(axes, view, n_columns)
    return figure


@styled
def map_figure(values, roi, view, entry):
    """One map: slices, colour bar, and the distribution over the region on the same scale.

    Parameters
    ----------
    values : (x, y, z) array
        Display units.
    roi : (x, y, z) bool array
    view : View
    entry : dict
        Of ``data/maps.toml``: title, symbol, unit, colormap, range.

    """
    inside = values[roi].astype(float)
    norm = color_range(inside, entry["range"])
    colormap = matplotlib.colormaps[entry["colormap"]].with_extremes(bad=NIGHT)
    n_columns, width, height = _mosaic_size(view, MOSAIC_WIDTH, _tallest(view))
    scale_height = min(max(height - HEAD - 0.45, 1.5), 2.6)
    figure_height = max(height, scale_height + HEAD + 0.45)
    figure = Figure((WIDTH, figure_height))
    axes = image_axes(figure, MARGIN, figure_height - height, width, height)
    image = stitch(np.where(roi, values, np.nan), view, n_columns)
    axes.imshow(image, cmap=colormap, norm=norm, aspect=pixel_aspect(view))
    _annotate(axes, view, n_columns)
    scale = (MARGIN + width + 0.22, figure_height - HEAD - scale_height, scale_height)
    _scale_with_histogram(figure, inside, norm, colormap, entry, scale)
    return figure


@styled
def cluster_figure(labels, reference, view, colors, legend):
    """Most probable cluster of each voxel over the reference image.

    Parameters
    ----------
    labels : (x, y, z) int array
        0 outside, 1 to M.
    reference : (x, y, z) array or None
    view : View
    colors : (M,) sequence of str
    legend : (M,) sequence of str
        What the legend says of each cluster.

    """
    n_columns, width, height = _mosaic_size(view, MOSAIC_WIDTH, _tallest(view))
    line = 0.42 if any("\n" in text for text in legend) else 0.3
    legend_height = line * len(colors)
    figure_height = max(height, legend_height) + 2 * MARGIN
    figure = Figure((WIDTH, figure_height))
    axes = image_axes(figure, MARGIN, figure_height - MARGIN - height, width, height)
    if reference is not None:
        show_reference(axes, reference, labels > 0, view, n_columns, dim=0.45)
    stitched = stitch(labels.astype(float), view, n_columns, fill=0)
    shown = np.ma.masked_equal(stitched, 0)
    axes.imshow(
        shown, cmap=ListedColormap(list(colors)), norm=Normalize(0.5, len(colors) + 0.5), aspect=pixel_aspect(view)
    )
    _annotate(axes, view, n_columns)
    left = MARGIN + width + 0.3
    for index, (color, text) in enumerate(zip(colors, legend, strict=True)):
        top = figure_height - MARGIN - line * index - 0.06
        box = (left / WIDTH, (top - 0.2) / figure_height)
        figure.add_artist(
            matplotlib.patches.Rectangle(
                box, 0.2 / WIDTH, 0.2 / figure_height, facecolor=color, linewidth=0, transform=figure.transFigure
            )
        )
        figure.text((left + 0.3) / WIDTH, (top - 0.1) / figure_height, text, va="center", fontsize=8.5, linespacing=1.3)
    return figure


@styled
def strips_figure(volumes, roi, view, names, colors, colormap, label, highest=1.0):
    """Several maps on one scale from 0, a strip of slices each.

    Parameters
    ----------
    volumes : sequence of (x, y, z) arrays
        Fractions.
    roi : (x, y, z) bool array
    view : View
        Few slices.
    names : sequence of str
        Title of each strip.
    colors : sequence of str or None
        Colour of each strip; None: ``colormap`` for all.
    colormap : str
        Of all strips, where no colours are given.
    label : str
        Of the colour bar.
    highest : float
        Upper end of the scale.

    """
    n_slices, bar_space, title = len(view.slices), 0.75, 0.24
    per_row, width = _strips_per_row(len(volumes), n_slices, view.aspect, WIDTH - bar_space - MARGIN)
    gap = 0.18
    strip_height = width * view.aspect / n_slices
    n_rows = -(-len(volumes) // per_row)
    figure_height = n_rows * (strip_height + title + 0.08) + MARGIN
    figure_height = max(figure_height, 1.5)
    figure = Figure((WIDTH, figure_height))
    for index, (volume, name) in enumerate(zip(volumes, names, strict=True)):
        row, column = divmod(index, per_row)
        left = MARGIN + column * (width + gap)
        top = figure_height - row * (strip_height + title + 0.08)
        color = colors[index] if colors else None
        cmap = (glow_map(color) if color else matplotlib.colormaps[colormap]).with_extremes(bad=NIGHT)
        axes = image_axes(figure, left, top - title - strip_height, width, strip_height)
        image = stitch(np.where(roi, volume, np.nan), view, n_slices)
        axes.imshow(image, cmap=cmap, norm=Normalize(0, highest), aspect=pixel_aspect(view))
        if color:
            mark = {"marker": "s", "s": 30, "color": color, "transform": figure.transFigure, "clip_on": False}
            axes.scatter([(left + 0.06) / WIDTH], [(top - title / 2 + 0.005) / figure_height], **mark)
        figure.text(
            (left + (0.18 if color else 0)) / WIDTH, (top - title / 2) / figure_height, name, va="center", weight="bold"
        )
    used = MARGIN + min(per_row, len(volumes)) * (width + gap)
    bar = axes_at(figure, used + 0.02, figure_height - title - min(strip_height, 1.6), 0.11, min(strip_height, 1.6))
    shared = matplotlib.colormaps[colormap] if not colors else glow_map("#8a8f98")
    ticks = [0, 0.5, 1] if highest == 1 else None
    figure.colorbar(ScalarMappable(Normalize(0, highest), shared), cax=bar, ticks=ticks, label=label)
    bar.spines[:].set_visible(False)
    return figure


def _mosaic_size(view, width, max_height):
    """Columns, width and height [inch] of all slices stitched, gaps neglected."""
    n_columns = columns_for(view, width, max_height)
    n_rows = -(-len(view.slices) // n_columns)
    slice_width = min(width / n_columns, max_height / (n_rows * view.aspect))
    return n_columns, n_columns * slice_width, n_rows * slice_width * view.aspect


def _tallest(view):
    """Height allowed [inch] by number of slices: one slice need not fill the page."""
    return 3.2 if len(view.slices) == 1 else 3.7


def _strips_per_row(n_strips, n_slices, aspect, width, gap=0.18, tallest=6.5, widest=1.45):
    """Strips per row and the width of one [inch] that make slices largest without a figure too tall."""
    best = (0.0, 1, 1.0)
    for per_row in range(1, n_strips + 1):
        n_rows = -(-n_strips // per_row)
        strip = (width - gap * (per_row - 1)) / per_row
        strip = min(strip, max(tallest / n_rows - 0.32, 0.3) * n_slices / aspect, widest * n_slices)
        best = max(best, (round(strip / n_slices, 3), per_row, strip))
    return best[1], best[2]


def pixel_aspect(view):
    """Height over width of a pixel."""
    return view.pixel[1] / view.pixel[0]


def image_axes(figure, left, bottom, width, height):
    """Axes of an image panel at a place given in inches: dark, without ticks."""
    axes = axes_at(figure, left, bottom, width, height)
    axes.set(facecolor=NIGHT, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def show_reference(axes, reference, roi, view, n_columns, dim):
    """Reference image, windowed for the region: brighter surroundings may saturate."""
    image = stitch(reference, view, n_columns)
    positive, inside = (values[np.isfinite(values) & (values > 0)] for values in (image, reference[roi]))
    top = float(np.percentile(positive, 99.5)) if positive.size else 1.0
    top = min(top, 1.3 * float(np.percentile(inside, 99))) if inside.size else top
    colormap = NIGHT_GRAY.with_extremes(bad=NIGHT)
    axes.imshow(image, cmap=colormap, norm=Normalize(0, top / dim), aspect=pixel_aspect(view))


def _annotate(axes, view, n_columns):
    """Position of each slice, and which side is which in the first."""
    (left, right), (bottom, top) = view.box
    width, height = right - left, top - bottom
    quiet = {"color": "#aeb8c2", "fontsize": 6.5, "clip_on": True}
    for index, label in enumerate(view.labels):
        x, y = corner(view, index, n_columns)
        axes.text(x - 0.5 + 0.02 * width, y - 0.5 + 0.985 * height, label, va="bottom", ha="left", **quiet)
        if index == 0:
            for side, place, align in ((view.sides[0], 0.02, "left"), (view.sides[1], 0.98, "right")):
                axes.text(x - 0.5 + place * width, y - 0.5 + 0.015 * height, side, va="top", ha=align, **quiet)


def _scale_with_histogram(figure, values, norm, colormap, entry, place):
    """Colour bar whose axis is also that of the histogram beside it; the end bins hold what lies beyond."""
    left, bottom, height = place
    total_width = figure.get_size_inches()[0]
    bar = axes_at(figure, left + 0.5, bottom, 0.12, height)
    unit = f" [{entry['unit']}]" if entry["unit"] else ""
    figure.colorbar(ScalarMappable(norm, colormap), cax=bar)  # no arrows: they would shift it against the histogram
    bar.yaxis.set_ticks_position("left")
    bar.yaxis.set_label_position("left")
    bar.set_ylabel(f"{entry['symbol']}{unit}")
    if isinstance(norm, Normalize) and not isinstance(norm, LogNorm):
        bar.set_yscale("linear")
    histogram = axes_at(figure, left + 0.68, bottom, total_width - left - 0.68 - 0.15, height)
    finite = values[np.isfinite(values)]
    is_log = isinstance(norm, LogNorm)
    edges = (np.geomspace if is_log else np.linspace)(norm.vmin, norm.vmax, 41)
    counts, _ = np.histogram(np.clip(finite, norm.vmin, norm.vmax), edges)
    centres = np.sqrt(edges[1:] * edges[:-1]) if is_log else (edges[1:] + edges[:-1]) / 2
    colors = colormap(norm(centres))
    histogram.barh(edges[:-1], counts, np.diff(edges), align="edge", color=colors, edgecolor=MUTED, linewidth=0.25)
    histogram.set(ylim=(norm.vmin, norm.vmax), yticks=[], xlabel="voxels")
    if is_log:
        histogram.set_yscale("log")
        histogram.set_ylim(norm.vmin, norm.vmax)
    histogram.set_yticks([], minor=False)
    histogram.set_yticks([], minor=True)
    histogram.spines["left"].set_visible(False)
    histogram.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, integer=True))
    if finite.size:
        _mark_quartiles(histogram, finite, entry, norm)


def _mark_quartiles(axes, values, entry, norm):
    """Line at the median; median and quartiles as a title."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    if norm.vmin <= middle <= norm.vmax:
        axes.axhline(middle, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    unit = f" {entry['unit']}" if entry["unit"] else ""
    text = f"median {short(middle)}{unit}\nquartiles {short(low)} to {short(high)}{unit}"
    axes.set_title(text, fontsize=7.5, weight="normal", color=INK, linespacing=1.3)
