"""How figures look: type, ink, colour maps; and figures as SVG text, the same every time."""

import io
from functools import wraps

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, TwoSlopeNorm

INK = "#1b2733"
MUTED = "#5c6b7a"
FAINT = "#d9dfe5"
PAPER = "#ffffff"
NIGHT = "#0d1014"  # background of image panels
ACCENT = "#0b6e8a"
WARM = "#c2410c"
WIDTH = 9.0  # of every figure [inch]
IMAGE_DPI = 200

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "mrspec_prep",
    "image.interpolation": "nearest",
    "image.resample": False,
}


def styled(draw):
    """Decorate a function that returns a matplotlib figure: it returns SVG text in the house style."""

    @wraps(draw)
    def to_svg(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            stream = io.BytesIO()
            metadata = {"Date": None, "Creator": "mrspec_prep", "Title": draw.__name__.replace("_", " ")}
            figure.savefig(stream, format="svg", dpi=IMAGE_DPI, metadata=metadata)
        return stream.getvalue().decode("utf-8")

    return to_svg


def axes_at(figure, left, bottom, width, height):
    """Axes of a figure at a place given in inches."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))


def tint_map(color):
    """Colour map from paper white to one colour."""
    return LinearSegmentedColormap.from_list("tint", [PAPER, color])


def glow_map(color):
    """Colour map from the night of image panels to one colour, lighter at the very top."""
    top = 0.2 + 0.8 * np.array(matplotlib.colors.to_rgb(color))
    return LinearSegmentedColormap.from_list("glow", [(0, NIGHT), (0.9, color), (1, tuple(top))])


def color_range(values, rule):
    """Norm of a colour scale.

    Parameters
    ----------
    values : (n,) array
        Of the voxels fitted, display units.
    rule : [low, high] or str
        ``range`` of ``data/maps.toml``.

    Returns
    -------
    matplotlib norm

    """
    values = values[np.isfinite(values)]
    if rule == "log":
        positive = values[values > 0]
        low = 10.0 ** np.floor(np.log10(positive.min())) if positive.size else 1e-12
        high = 10.0 ** np.ceil(np.log10(positive.max())) if positive.size else 1.0
        return LogNorm(low, max(high, 10 * low))
    if rule == "one":
        half = float(np.clip(np.percentile(np.abs(values - 1), 98), 0.25, 1.0)) if values.size else 0.5
        spread = float(np.percentile(values, 98)) if values.size else 1.5
        norm = TwoSlopeNorm(1.0, 1 - min(half, 1.0), max(1 + half, spread))
    elif isinstance(rule, str):
        low, high = _bulk(values)
        low = 0.0 if rule == "zero" else low
        if not high > low:
            pad = max(abs(low) * 0.05, 1e-6)
            low, high = low - pad, high + pad
        norm = Normalize(low, high)
    else:
        norm = Normalize(*map(float, rule))
    return norm


def _bulk(values):
    """Where most values lie: 2nd to 98th percentile, never further than three quartile widths from the quartiles."""
    if not values.size:
        return 0.0, 1.0
    low, first, third, high = np.percentile(values, [2, 25, 75, 98])
    reach = 3 * (third - first)
    return (float(max(low, first - reach)), float(min(high, third + reach))) if reach > 0 else (float(low), float(high))
