"""Pictures of a group: proportions per participant, groups against one another, sites: arrays -> SVG text."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mrspec_prep.reports.style import INK, MUTED, WIDTH, axes_at, styled
from mrspec_prep.reports.words import count

MANY = 60  # scans beyond which bars are no longer named
BRACKET_GAP = 0.35  # between groups of bars, in bar widths
LETTER = 0.062  # width of a letter of a bar's name [inch]
MARKS = ("o", "D", "s", "^", "v", "P")


@styled
def proportions_figure(shares, names, groups, levels, colors, sites=()):
    """Stacked bars of the cluster proportions of every scan, groups side by side.

    Parameters
    ----------
    shares : (n, M) array
        Rows sum to one.
    names : (n,) sequence of str
        What a bar is called.
    groups : (n,) sequence of str
    levels : sequence of str
        Groups in the order in which they are drawn.
    colors : (M,) sequence of str
    sites : (n,) sequence of str, optional
        Site of each scan; a second line below the bars where there are several.

    """
    order, starts = grouped_order(shares, groups, levels)
    places = np.empty(len(order))
    for position, (start, stop) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        places[start:stop] = np.arange(start, stop) + position * BRACKET_GAP
    few = len(order) <= MANY
    several = len(set(sites)) > 1 and few
    longest = max((len(name) for name in names), default=1)
    turned = few and longest * LETTER * len(order) > WIDTH - 1.7
    foot = (0.1 + 0.075 * longest if turned else 0.24) * few + 0.3 * several + 0.42
    height = 2.9
    figure = Figure((WIDTH, height + foot + 0.12))
    axes = axes_at(figure, 0.62, foot, WIDTH - 0.62 - 0.9, height)
    base = np.zeros(len(order))
    for index, color in enumerate(colors):
        values = 100 * shares[order, index]
        if few:
            axes.bar(places, values, 0.86, bottom=base, color=color, linewidth=0)
        else:
            _steps(axes, places, starts, base, base + values, color)
        base += values
    axes.set(ylim=(0, 100), xlim=(places[0] - 0.6, places[-1] + 0.6), ylabel="voxels [%]", xticks=[])
    axes.spines["bottom"].set_visible(False)
    inch = 1 / height  # in axes fractions
    below = -0.05 * inch
    across = axes.get_xaxis_transform()
    if few:
        for place, row in zip(places, order, strict=True):
            how = {"rotation": 90 if turned else 0, "ha": "center", "va": "top", "fontsize": 7.5}
            axes.text(place, below, names[row], transform=across, **how)
        below -= (0.1 + 0.075 * longest if turned else 0.19) * inch
    if several:
        how = {"ha": "center", "va": "top", "fontsize": 6.5, "color": MUTED}
        for place, row in zip(places, order, strict=True):
            axes.text(place, below, _short(sites[row], len(order)), transform=across, **how)
        below -= 0.19 * inch
    for level, start, stop in zip(levels, starts[:-1], starts[1:], strict=True):
        if not level or stop == start:
            continue
        ends = (places[start] - 0.43, places[stop - 1] + 0.43)
        axes.plot(ends, [below - 0.06 * inch] * 2, color=INK, linewidth=1, transform=across, clip_on=False)
        text = f"{level} · {count(stop - start, 'scan')}"
        axes.text(np.mean(ends), below - 0.1 * inch, text, transform=across, ha="center", va="top", weight="bold")
    _key(figure, colors, WIDTH - 0.82, foot, height)
    return figure


@styled
def comparison_figure(shares, groups, levels, colors, notes, participants):
    """One panel per cluster: proportion of every scan by group, with medians and the result of the test.

    The manner of the InSpect paper's Figure 2C (Slator et al. 2019), with tests.

    Parameters
    ----------
    shares : (n, M) array
    groups, levels
        As in ``proportions_figure``.
    colors : (M,) sequence of str
    notes : (M,) sequence of (str, bool)
        Result in words, and whether it stands out.
    participants : (n,) sequence of str
        Repeated scans of one participant are joined by a line.

    """
    figure, panels = _panels(len(colors), 2.1, foot=0.55 if len(levels) > 1 else 0.3, above=0.62)
    top = _ceiling(shares)
    for index, (axes, color, (note, stands_out)) in enumerate(zip(panels, colors, notes, strict=True)):
        values = 100 * shares[:, index]
        places = np.zeros(len(values))
        for position, level in enumerate(levels):
            here = np.flatnonzero(np.asarray(groups) == level)
            places[here] = position + _spread(values[here], top)
            mark = {
                "marker": MARKS[position % len(MARKS)],
                "s": 26,
                "linewidth": 0.6,
                "edgecolor": "white",
                "zorder": 3,
            }
            axes.scatter(places[here], values[here], color=color, clip_on=False, **mark)
            if len(here):
                axes.plot([position - 0.34, position + 0.34], [np.median(values[here])] * 2, color=INK, linewidth=1.6)
        for name in dict.fromkeys(participants):
            same = np.flatnonzero(np.asarray(participants) == name)
            if len(same) > 1:
                axes.plot(places[same], values[same], color=INK, linewidth=0.7, zorder=2.5)
        axes.set(ylim=(-0.02 * top, top), xlim=(-0.55, len(levels) - 0.45), xticks=range(len(levels)))
        longest = max(len(level) for level in levels)
        tilt = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if longest * len(levels) > 16 else {}
        axes.set_xticklabels(levels, **tilt)
        _finish(axes, index, color, note, stands_out)
    return figure


@styled
def trend_figure(shares, numbers, label, colors, notes):
    """One panel per cluster: proportion of every scan against a number of the participant.

    Parameters
    ----------
    shares : (n, M) array
    numbers : (n,) array
    label : str
        Name of the number.
    colors : (M,) sequence of str
    notes : (M,) sequence of (str, bool)
        As in ``comparison_figure``.

    """
    figure, panels = _panels(len(colors), 2.1, foot=0.5, above=0.62)
    top = _ceiling(shares)
    for index, (axes, color, (note, stands_out)) in enumerate(zip(panels, colors, notes, strict=True)):
        how = {"color": color, "s": 24, "edgecolor": "white", "linewidth": 0.6, "clip_on": False, "zorder": 3}
        axes.scatter(numbers, 100 * shares[:, index], **how)
        axes.set(ylim=(-0.02 * top, top), xlabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _finish(axes, index, color, note, stands_out)
    return figure


@styled
def sites_figure(sites, codes, measures, shares, colors):
    """What tells sites apart: strips of measures per scan, and the mean proportions of each site.

    Parameters
    ----------
    sites : sequence of str
    codes : (n,) int array
        Site of each scan.
    measures : sequence of (str, array, float or None)
        Axis label, (n,) values, and the value that is expected.
    shares : (n, M) array
    colors : (M,) sequence of str

    """
    row, foot, above, left, gap = 0.42, 0.55, 0.3, 1.05, 0.25
    height = max(row * len(sites), 0.8)
    figure = Figure((WIDTH, height + foot + above))
    n = len(measures) + 1
    width = (WIDTH - left - gap * (n - 1) - 0.85) / n
    for index, (label, values, expected) in enumerate(measures):
        axes = axes_at(figure, left + index * (width + gap), foot, width, height)
        for site in range(len(sites)):
            here = values[codes == site]
            here = here[np.isfinite(here)]
            if not len(here):
                continue
            jitter = 0.26 * np.sin(2.4 * np.arange(len(here))) if len(here) > 1 else np.zeros(1)
            axes.scatter(here, site + jitter, s=16, color=MUTED, alpha=0.7, linewidth=0, zorder=2)
            axes.plot([np.median(here)] * 2, [site - 0.34, site + 0.34], color=INK, linewidth=1.8, zorder=3)
        if expected is not None:
            axes.axvline(expected, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        axes.set(ylim=(len(sites) - 0.5, -0.5), yticks=range(len(sites)), xlabel=label)
        low, high = np.nanmin(values), np.nanmax(values)
        if expected is None:
            axes.set_xlim(0, 1.08 * high)
        else:  # no closer than a tenth: small differences should look small
            axes.set_xlim(min(low, expected - 0.1) - 0.02, max(high, expected + 0.1) + 0.02)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(True, axis="x")
        axes.set_yticklabels(sites if index == 0 else [])
        axes.tick_params(axis="y", length=0)
    axes = axes_at(figure, left + len(measures) * (width + gap), foot, width, height)
    base = np.zeros(len(sites))
    means = np.array([shares[codes == site].mean(axis=0) for site in range(len(sites))])
    for index, color in enumerate(colors):
        axes.barh(range(len(sites)), 100 * means[:, index], 0.7, left=base, color=color, linewidth=0)
        base += 100 * means[:, index]
    axes.set(xlim=(0, 100), ylim=(len(sites) - 0.5, -0.5), yticks=range(len(sites)), xlabel="mean proportions [%]")
    axes.set_yticklabels([] if measures else sites)
    axes.tick_params(axis="y", length=0)
    _key(figure, colors, WIDTH - 0.76, foot, height, columns=2)
    return figure


def grouped_order(shares, groups, levels):
    """Order of scans by group, within each from most to least of what differs most between scans.

    Returns
    -------
    order : (n,) int array
    starts : (n_levels + 1,) int array
        Where each group begins in it.

    """
    groups = np.asarray(groups)
    leading = int(np.argmax(shares.var(axis=0))) if shares.size else 0
    order, starts = [], [0]
    for level in levels:
        here = np.flatnonzero(groups == level)
        order += here[np.argsort(-shares[here, leading], kind="stable")].tolist()
        starts.append(len(order))
    return np.array(order, int), np.array(starts)


def _steps(axes, places, starts, low, high, color):
    """Bars without gaps, one shape per group: what many of them become."""
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        if stop > start:
            edges = np.append(places[start:stop] - 0.5, places[stop - 1] + 0.5)
            ends = (np.append(part[start:stop], part[stop - 1]) for part in (low, high))
            axes.fill_between(edges, *ends, step="post", color=color, linewidth=0)


def _panels(n, height, foot, above):
    """Figure with one panel per cluster in rows of at most eight; the first of a row bears the axis."""
    per_row = min(n, 8)
    n_rows = -(-n // per_row)
    per_row = -(-n // n_rows)
    left, gap = 0.6, 0.16
    width = min((WIDTH - left - 0.1 - gap * (per_row - 1)) / per_row, 1.9)
    block = height + foot + above
    figure = Figure((WIDTH, n_rows * block))
    panels = []
    for index in range(n):
        row, column = divmod(index, per_row)
        axes = axes_at(figure, left + column * (width + gap), (n_rows - 1 - row) * block + foot, width, height)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(True, axis="y")
        if column:
            axes.tick_params(labelleft=False, left=False)
            axes.spines["left"].set_visible(False)
        else:
            axes.set_ylabel("voxels [%]")
        panels.append(axes)
    return figure, panels


def _finish(axes, index, color, note, stands_out):
    """Title in the cluster's colour and the result of the test above a panel."""
    axes.set_title(f"Cluster {index + 1}", fontsize=8.5, color=color, pad=26, loc="center")
    weight, ink = ("bold", INK) if stands_out else ("normal", MUTED)
    how = {"ha": "center", "va": "bottom", "fontsize": 7.2, "linespacing": 1.3, "weight": weight, "color": ink}
    axes.text(0.5, 1.03, note, transform=axes.transAxes, **how)


def _ceiling(shares):
    """Upper end of a shared axis of proportions [%]."""
    return max(100 * float(shares.max()) * 1.06, 1.0) if shares.size else 1.0


def _spread(values, top):
    """Sideways places of points so that near ones do not hide one another, within 0.3 of the middle."""
    places = np.zeros(len(values))
    if len(values) > MANY:
        return 0.3 * np.sin(2.4 * np.arange(len(values)))
    for rank, index in enumerate(order := np.argsort(values, kind="stable")):
        near = [i for i in order[:rank] if values[index] - values[i] < 0.045 * top]
        taken = {round(places[i], 2) for i in near}
        free = [s for s in (0, 0.13, -0.13, 0.26, -0.26, 0.07, -0.07, 0.2, -0.2) if round(s, 2) not in taken]
        places[index] = free[0] if free else 0.3 * np.sin(2.4 * rank)
    return places


def _key(figure, colors, left, bottom, height, columns=1):
    """Numbers of the clusters beside their colours, the first at the bottom as in the bars."""
    per_column = -(-len(colors) // columns)
    step = min(0.26, height / per_column)
    axes = axes_at(figure, left, bottom, 0.74, height)
    axes.set(xlim=(0, 0.74), ylim=(0, height))
    axes.axis("off")
    for index, color in enumerate(colors):
        column, place = divmod(index, per_column)
        x, y = 0.06 + 0.34 * column, (place + 0.5) * step
        axes.scatter(x, y, marker="s", s=42 if columns == 1 else 26, color=color, linewidth=0)
        axes.text(x + 0.11, y, str(index + 1), va="center", fontsize=7.5 if columns == 1 else 6.5)


def _short(site, n):
    """Name of a site short enough for a bar's width."""
    room = max(int(85 / n), 2)
    return site if len(site) <= room else f"{site[: room - 1]}…"
