"""Pictures of parameter maps, methods side by side: arrays -> SVG text."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mrspec_prep.reports.figures import image_axes, pixel_aspect, show_reference
from mrspec_prep.reports.mosaic import choose_view, corner, stitch
from mrspec_prep.reports.style import MUTED, NIGHT, WIDTH, axes_at, color_range, styled

BAR = 0.95  # room right of the images for a colour bar [inch]
GAP, ROW_GAP = 0.12, 0.1
LINE = 0.155  # of a title [inch]
WIDEST = 1.9  # slice [inch]
NARROWEST = 1.05  # slice, before fewer are shown [inch]
MOST_SLICES = 4
RISK_EDGES = (0, 1, 2, 3, 4)
RISK_COLORS = ("#23303c", "#4d6273", "#a9b7c3", "#e8590c")  # quiet within the noise, loud beyond


@dataclass(frozen=True)
class Row:
    """One row of images on one scale.

    Parameters
    ----------
    volumes : sequence of (x, y, z) array or None
        One per column; None where the method has no such map.
    norm : matplotlib norm
    colormap : Colormap
    label : str
        Of the colour bar, with its unit.

    """

    volumes: tuple
    norm: Normalize
    colormap: Colormap
    label: str


def side_by_side(roi, affine, n_columns):
    """View with as many slices as fit into each of some columns (of a single one: beside a second)."""
    width = (WIDTH - BAR - GAP * (n_columns - 1)) / n_columns if n_columns > 1 else WIDTH / 2 - BAR
    return choose_view(roi, affine, int(np.clip(width // NARROWEST, 1, MOST_SLICES)))


@styled
def methods_figure(titles, estimates, stds, roi, view, entry):
    """One parameter: a column per method, estimates above their standard deviations, each row on one scale.

    Of a single method, the standard deviation stands beside the estimate.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    estimates, stds : sequence of (x, y, z) array or None
        Display units.
    roi : (x, y, z) bool array
    view : View
    entry : dict
        Of ``data/maps.toml``.

    """
    unit = f" [{entry['unit']}]" if entry["unit"] else ""
    pooled = np.concatenate([volume[roi] for volume in estimates if volume is not None])
    norm = color_range(pooled, entry["range"])
    rows = [Row(tuple(estimates), norm, matplotlib.colormaps[entry["colormap"]], f"{entry['symbol']}{unit}")]
    if any(std is not None for std in stds):
        spread = color_range(np.concatenate([std[roi] for std in stds if std is not None]), "zero")
        rows.append(Row(tuple(stds), spread, matplotlib.colormaps["cividis"], f"std of {entry['symbol']}{unit}"))
    return _grid(titles, rows, roi, view) if len(titles) > 1 else _pair(rows, roi, view)


@styled
def differences_figure(titles, differences, roi, view, entry):
    """Differences of one parameter to another method's, a column per method, on one scale.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    differences : sequence of (x, y, z) array
        Display units.
    roi : (x, y, z) bool array
    view : View
    entry : dict
        Of ``data/maps.toml``, its range about 0.

    """
    norm, label = color_range(differences[0][roi], entry["range"]), f"{entry['symbol']} [{entry['unit']}]"
    return _grid(titles, [Row(tuple(differences), norm, matplotlib.colormaps[entry["colormap"]], label)], roi, view)


@styled
def risk_figure(titles, risks, roi, view, legend):
    """Risk in steps: quiet within the noise, loud beyond.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    risks : sequence of (x, y, z) array
    roi : (x, y, z) bool array
    view : View
    legend : (4,) sequence of str
        What each step means.

    """
    colormap = ListedColormap(RISK_COLORS)
    norm = BoundaryNorm(RISK_EDGES, len(RISK_COLORS))
    capped = tuple(np.minimum(risk, RISK_EDGES[-1] - 0.5) for risk in risks)
    return _grid(titles, [Row(capped, norm, colormap, "")], roi, view, list(zip(RISK_COLORS, legend, strict=True)))


@styled
def prior_figure(titles, labels, certainties, reference, roi, view, colors):
    """Most probable component of each voxel over the reference image, and how probable it is.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    labels : sequence of (x, y, z) int array
        From 1.
    certainties : sequence of (x, y, z) array or None
        Largest probability.
    reference : (x, y, z) array or None
    roi : (x, y, z) bool array
    view : View
    colors : sequence of str

    """
    norm = Normalize(0.5, len(colors) + 0.5)
    rows = [Row(tuple(labels), norm, ListedColormap(list(colors)), "")]
    if any(one is not None for one in certainties):
        rows.append(Row(tuple(certainties), Normalize(0, 1), matplotlib.colormaps["gray"], "its probability"))
    legend = [(color, str(index + 1)) for index, color in enumerate(colors)]
    return _grid(titles, rows, roi, view, legend, reference, beside=True)


@styled
def direction_figure(titles, colors, angles, roi, view):
    """Fibre directions as colours, weighted by the stick fraction, above the angle of their uncertainty.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    colors : sequence of (x, y, z, 3) array
        Red right-left, green front-back, blue up-down, 0 to 1.
    angles : sequence of (x, y, z) array or None
        Degrees.
    roi : (x, y, z) bool array
    view : View

    """
    rows = [Row(tuple(colors), None, None, "")]
    if any(angle is not None for angle in angles):
        norm = Normalize(0, 60)
        rows.append(Row(tuple(angles), norm, matplotlib.colormaps["cividis"], "angle, std [°]"))
    legend = [("#ff3b3b", "right–left"), ("#2fd14f", "front–back"), ("#4a6bff", "up–down")]
    return _grid(titles, rows, roi, view, legend, beside=True)


def _pair(rows, roi, view):
    """Figure of one or two images beside each other, each with its colour bar."""
    n_slices, head = len(view.slices), 0.12 + LINE
    width = min(WIDTH / 2 - BAR, WIDEST * n_slices)
    height = width / n_slices * view.aspect
    figure = Figure((WIDTH, height + head))
    for index, (row, title) in enumerate(zip(rows, ("Estimate", "Standard deviation"), strict=False)):
        left = index * (width + BAR + GAP)
        figure.text(left / WIDTH, (height + 0.06) / (height + head), title, va="bottom", fontsize=8.5, weight="bold")
        axes = image_axes(figure, left, 0.0, width, height)
        _image(axes, row.volumes[0], row, roi, view, None)
        _mark(axes, view, is_first=index == 0)
        _bar(figure, row, left + width + 0.08, 0.0, height)
    return figure


def _grid(titles, rows, roi, view, legend=(), reference=None, beside=False):
    """Figure of rows of images; a legend stands below, or beside the first row in place of its colour bar."""
    n, n_slices = len(titles), len(view.slices)
    width = min((WIDTH - BAR - GAP * (n - 1)) / n, WIDEST * n_slices)
    height = width / n_slices * view.aspect
    head = 0.12 + LINE * max(title.count("\n") + 1 for title in titles)
    below = 0.0 if beside or not legend else 0.25 * len(legend) + 0.1
    total = head + len(rows) * (height + ROW_GAP) + below
    if beside:
        total = max(total, head + 0.24 * len(legend))
    figure = Figure((WIDTH, total))
    right = n * (width + GAP)
    for index, title in enumerate(titles):
        left = index * (width + GAP) / WIDTH
        figure.text(left, (total - head + 0.06) / total, title, va="bottom", fontsize=8.5, weight="bold",
                    linespacing=1.15)  # fmt: skip
    for position, row in enumerate(rows):
        bottom = total - head - height - position * (height + ROW_GAP)
        for index, volume in enumerate(row.volumes):
            axes = image_axes(figure, index * (width + GAP), bottom, width, height)
            _image(axes, volume, row, roi, view, reference if position == 0 else None)
            _mark(axes, view, is_first=index == position == 0)
        if row.label:
            _bar(figure, row, right + 0.02, bottom, height)
    top = total - head - 0.02 if beside else below - 0.1
    for index, (color, text) in enumerate(legend):
        _patch(figure, color, text, right if beside else 0.0, top - (0.24 if beside else 0.25) * index)
    return figure


def _image(axes, volume, row, roi, view, reference):
    """One cell: slices in a row, dark where there is nothing."""
    n_slices = len(view.slices)
    if volume is None:
        axes.set_facecolor("#f1f3f5")
        axes.text(0.5, 0.5, "not given", transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        return
    place = {"aspect": pixel_aspect(view)}
    if volume.ndim == 4:
        night = matplotlib.colors.to_rgb(NIGHT)
        channels = [stitch(np.where(roi, volume[..., c], night[c]), view, n_slices, fill=night[c]) for c in range(3)]
        axes.imshow(np.clip(np.stack(channels, axis=-1), 0, 1), **place)
        return
    if reference is not None:
        show_reference(axes, reference, roi, view, n_slices, dim=0.45)
    shown = np.where(roi, volume, np.nan)
    if volume.dtype.kind in "iu":
        shown = np.where(roi & (volume > 0), volume, np.nan)
    image = stitch(shown, view, n_slices)
    colormap = row.colormap.with_extremes(bad=(0, 0, 0, 0) if reference is not None else NIGHT)
    axes.imshow(image, cmap=colormap, norm=row.norm, **place)


def _mark(axes, view, is_first):
    """Sides and position of the slices, in the first image only."""
    if not is_first:
        return
    (left, right), (bottom, top) = view.box
    width, height = right - left, top - bottom
    quiet = {"color": "#c3ccd5", "fontsize": 6, "clip_on": True}
    for index, label in enumerate(view.labels):
        x, y = corner(view, index, len(view.slices))
        axes.text(x - 0.5 + 0.03 * width, y - 0.5 + 0.985 * height, label, va="bottom", **quiet)
        if index == 0:
            axes.text(x - 0.5 + 0.03 * width, y - 0.5 + 0.02 * height, view.sides[0], va="top", **quiet)
            axes.text(x - 0.5 + 0.97 * width, y - 0.5 + 0.02 * height, view.sides[1], va="top", ha="right", **quiet)


def _bar(figure, row, left, bottom, height):
    """Colour bar of a row."""
    length = min(height, 1.7)
    bar = axes_at(figure, left, bottom + (height - length) / 2 + 0.04, 0.1, length - 0.08)
    figure.colorbar(ScalarMappable(row.norm, row.colormap), cax=bar)
    bar.set_ylabel(row.label, fontsize=8)
    bar.tick_params(labelsize=7.5)
    bar.spines[:].set_visible(False)


def _patch(figure, color, text, left, top):
    """Coloured square and what it stands for, its top at a place given in inches."""
    width, height = figure.get_size_inches()
    side = 0.15
    figure.add_artist(
        Rectangle(
            (left / width, (top - side) / height),
            side / width,
            side / height,
            facecolor=color,
            linewidth=0,
            transform=figure.transFigure,
        )  # fmt: skip
    )
    figure.text((left + side + 0.07) / width, (top - side / 2) / height, text, va="center", fontsize=8)
