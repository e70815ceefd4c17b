"""Acquisition of a fingerprinting series: its schedule as a picture and in few rows."""

import numpy as np
from matplotlib.figure import Figure

from mrspec_prep.reports.style import ACCENT, MUTED, WARM, WIDTH, styled
from mrspec_prep.reports.words import count, short

MS = 1e3  # ms per s


def is_schedule(columns):
    """Whether a volume table is a schedule of frames."""
    return "flip_angle" in columns


def schedule_blocks(columns, words, pen):
    """Blocks on a schedule: flip angles and repetition times over the frames, and what a figure cannot show.

    Parameters
    ----------
    columns : dict of str to array
        The table in BIDS units.
    words : dict
        Content of ``data/report.toml``.
    pen : Pen

    Yields
    ------
    dict

    """
    yield pen.figure(schedule_figure(columns), "schedule", words["captions"]["schedule"])
    inversions = columns["TI"][np.isfinite(columns["TI"])] * MS
    duration = columns["TR"].sum() + inversions.sum() / MS
    inverted = f"{count(len(inversions), 'inversion')} (TI {_span(inversions, ' ms')})" if len(inversions) else ""
    text = words["captions"]["schedule_times"].format(
        echo=_span(columns["TE"] * MS, " ms"), inverted=inverted or "no inversion", duration=short(float(duration))
    )
    yield {"kind": "paragraph", "text": text}


@styled
def schedule_figure(columns):
    """Flip angle and repetition time of every frame.

    Parameters
    ----------
    columns : dict of str to array
        The table in BIDS units.

    """
    figure = Figure((WIDTH, 2.9), layout="constrained")
    frames, inverted = np.arange(len(columns["TR"])), np.flatnonzero(np.isfinite(columns["TI"]))
    panels = figure.subplots(2, 1, sharex=True)
    shown = ((columns["flip_angle"], "flip angle [°]", ACCENT), (columns["TR"] * MS, "TR [ms]", MUTED))
    for axes, (values, label, color) in zip(panels, shown, strict=True):
        axes.plot(frames, values, color=color, linewidth=1.3)
        axes.vlines(inverted, 0, 1, transform=axes.get_xaxis_transform(), color=WARM, linewidth=1.2)
        axes.set_ylabel(label)
        axes.grid(True, axis="y")
    panels[0].set_ylim(0, None)
    panels[1].set(xlabel="frame", xlim=(-0.5, len(frames) - 0.5))
    figure.align_ylabels(panels)
    return figure


def _span(values, unit):
    """Range of values, or the one that all have."""
    low, high = float(np.min(values)), float(np.max(values))
    return f"{short(low)}{unit}" if high - low < 1e-6 else f"{short(low)} to {short(high)}{unit}"
