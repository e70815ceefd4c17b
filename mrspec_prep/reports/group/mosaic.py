"""Cluster maps of many participants under one another: arrays -> SVG text."""

import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from mrspec_prep.reports.figures import image_axes, pixel_aspect, show_reference
from mrspec_prep.reports.mosaic import choose_view, stitch
from mrspec_prep.reports.style import INK, MUTED, WIDTH, axes_at, styled

SLICES = 5  # of each scan
LABEL, BAR = 1.0, 1.15  # width of the name and of the proportions beside a row [inch]
GAP = 0.06
ROW_HEIGHTS = (0.45, 1.25)  # least and most [inch]


@styled
def group_maps_figure(rows, colors):
    """One row per scan: reference image, cluster maps of some slices, and proportions.

    Parameters
    ----------
    rows : sequence of dict
        name (str), note (str: group and site), labels (x, y, z) int array, reference (x, y, z) array or None,
        affine (4, 4), proportions (M,) array.
    colors : (M,) sequence of str

    """
    views = [choose_view(row["labels"] > 0, row["affine"], SLICES) for row in rows]
    n_slices = max(len(view.slices) for view in views)
    room = WIDTH - LABEL - BAR - 0.15
    tallest = max(_millimetres(view)[1] for view in views)
    widest = max(_millimetres(view)[0] for view in views)
    scale = min(room / ((n_slices + 1) * widest), ROW_HEIGHTS[1] / tallest)  # inch per mm, one for all
    height = max(scale * tallest, ROW_HEIGHTS[0])
    head = 0.26
    figure = Figure((WIDTH, head + len(rows) * (height + GAP)))
    figure_height = figure.get_size_inches()[1]
    cell = scale * widest
    _head(figure, figure_height, cell, n_slices)
    colormap, norm = ListedColormap(list(colors)), Normalize(0.5, len(colors) + 0.5)
    for index, (row, view) in enumerate(zip(rows, views, strict=True)):
        bottom = figure_height - head - (index + 1) * (height + GAP) + GAP
        _name(figure, row, bottom, height)
        middle = _one_slice(view)
        if row["reference"] is not None:
            axes = _cell_axes(figure, LABEL, bottom, cell, height, middle, scale)
            show_reference(axes, row["reference"], row["labels"] > 0, middle, 1, dim=1.0)
        for position in range(len(view.slices)):
            single = _one_slice(view, position)
            axes = _cell_axes(figure, LABEL + (position + 1) * cell + 0.06, bottom, cell, height, single, scale)
            if row["reference"] is not None:
                show_reference(axes, row["reference"], row["labels"] > 0, single, 1, dim=0.45)
            shown = np.ma.masked_equal(stitch(row["labels"].astype(float), single, 1, fill=0), 0)
            axes.imshow(shown, cmap=colormap, norm=norm, aspect=pixel_aspect(single))
        _bar(figure, row["proportions"], colors, bottom, height)
    return figure


def _millimetres(view):
    """Width and height of one slice [mm]."""
    (left, right), (bottom, top) = view.box
    return (right - left) * view.pixel[0], (top - bottom) * view.pixel[1]


def _one_slice(view, position=None):
    """View of a single slice, the middle one by default."""
    position = len(view.slices) // 2 if position is None else position
    return type(view)(view.axis, (view.slices[position],), view.box, view.pixel, (view.positions[position],))


def _cell_axes(figure, left, bottom, width, height, view, scale):
    """Image axes of one slice in the middle of its cell, at the scale of all rows."""
    wide, tall = (scale * length for length in _millimetres(view))
    return image_axes(figure, left + (width - wide) / 2, bottom + (height - tall) / 2, wide, tall)


def _head(figure, figure_height, cell, n_slices):
    """Titles of the columns."""
    for left, text in (
        (LABEL, "reference"),
        (LABEL + cell + 0.06, "clusters"),
        (WIDTH - BAR, "proportions"),
    ):
        figure.text(left / WIDTH, 1 - 0.13 / figure_height, text, va="center", fontsize=8.5, weight="bold")


def _name(figure, row, bottom, height):
    """Name of a scan and what is known of it, left of its row."""
    figure_height = figure.get_size_inches()[1]
    middle = (bottom + height / 2) / figure_height
    lift = 0.08 / figure_height if row["note"] else 0
    figure.text(0.02 / WIDTH, middle + lift, row["name"], va="center", weight="bold", color=INK)
    if row["note"]:
        figure.text(0.02 / WIDTH, middle - lift, row["note"], va="center", fontsize=7, color=MUTED, linespacing=1.2)


def _bar(figure, proportions, colors, bottom, height):
    """Proportions of one scan as a lying stacked bar."""
    axes = axes_at(figure, WIDTH - BAR, bottom + height / 2 - 0.11, BAR - 0.08, 0.22)
    base = 0.0
    for share, color in zip(proportions, colors, strict=True):
        axes.barh(0, share, 1, left=base, color=color, linewidth=0)
        base += share
    axes.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    axes.axis("off")
