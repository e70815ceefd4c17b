"""Axes of a spectrum along which the protocol tells a mean only, and what can be said of a spectrum then."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.physics import Grid
from mrspec_prep.physics.peaks import find_peaks
from mrspec_prep.reports.facts import CONTRAST_OF_AXIS, distinct_values
from mrspec_prep.reports.words import join, percent, place_in_words, rough

MOST_OF_IT = 0.5  # share of the marginal that the peaks that are named must hold
RELAXATION = ("t2", "t2star")


def two_valued(axes, n_values):
    """Axes whose contrast has two values only: a mean can be told, no structure.

    Parameters
    ----------
    axes : sequence of str
    n_values : dict of str to int
        Column of the volume table -> number of distinct values.

    """
    return [axis for axis in axes if n_values.get(CONTRAST_OF_AXIS[axis]) == 2]


def unresolved_axes(series):
    """Axes of a series' spectra whose structure is no evidence: of two values, or not resolved at its noise."""
    axes, told = series.grid.names if series.grid else (), series.acquisition.get("ResolvedAxes")
    blind = two_valued(axes, distinct_values(series.columns))
    return [axis for axis in axes if axis in blind or (told is not None and axis not in told)]


def marginal(spectrum, grid, unresolved, lowest):
    """Spectrum over the other axes alone, every bin by the signal that it gives at the weakest weighting measured.

    What an unresolved axis holds beyond that signal is an extrapolation, and would outweigh all else.

    Parameters
    ----------
    spectrum : (n_bins,) array
    grid : Grid
    unresolved : sequence of str
        Axes of the grid, not all.
    lowest : dict of str to float
        Least echo time [ms] as TE, least b-value [s/mm2] as b.

    Returns
    -------
    values : (n_kept,) array
    Grid
        Of the axes that are left.

    """
    cube = np.asarray(spectrum, float).reshape(grid.shape)
    for position, axis in enumerate(grid.names):
        if axis in unresolved:
            seen = _signal(axis, grid.axes[position], lowest.get(CONTRAST_OF_AXIS[axis], 0.0))
            cube = cube * seen.reshape([-1 if i == position else 1 for i in range(cube.ndim)])
    dropped = tuple(i for i, axis in enumerate(grid.names) if axis in unresolved)
    kept = Grid(**{name: v for name, v in zip(grid.names, grid.axes, strict=True) if name not in unresolved})
    return cube.sum(axis=dropped).ravel(), kept


def marginal_peaks(spectrum, grid, unresolved, lowest):
    """Largest peaks over the resolved axes, in words: as many as hold half of the signal.

    Returns
    -------
    str
        ``D 0.8 µm²/ms``; with shares where one peak holds less than half; empty where nothing is resolved.

    """
    if set(unresolved) >= set(grid.names):
        return ""
    values, kept = marginal(spectrum, grid, unresolved, lowest)
    named, held = [], 0.0
    for peak in find_peaks(values, kept):
        named.append(peak)
        held += peak.fraction
        if held >= MOST_OF_IT:
            break
    texts = [_place(peak.position, kept) + (f" ({percent(peak.fraction)})" if len(named) > 1 else "") for peak in named]
    return join(texts)


def mean_relaxation(spectrum, grid, axis, times):
    """T2 or T2* [ms] of the decay between two echo times without diffusion weighting; NaN where there is none."""
    position = grid.names.index(axis)
    others = tuple(i for i in range(len(grid.names)) if i != position)
    along = np.asarray(spectrum, float).reshape(grid.shape).sum(axis=others)
    early, late = (float(along @ np.exp(-time / grid.axes[position])) for time in times)
    return (times[1] - times[0]) / np.log(early / late) if 0 < late < early else float("nan")


def mean_in_words(spectrum, grid, axis, times):
    """Mean relaxation time with its symbol; empty where it cannot be told."""
    value = mean_relaxation(spectrum, grid, axis, times) if axis in RELAXATION and len(times) == 2 else np.nan
    entry = axis_entry(axis)
    return f"{entry['symbol']} {rough(value)} {entry['unit']}" if np.isfinite(value) else ""


def title_of_found(grid, unresolved, means):
    """What a list of clusters shows of each; ``means`` are the axes, among the unresolved, whose mean it shows."""
    title = "Tissue clusters: share of the voxels"
    if not unresolved:
        return f"{title}, largest peak"
    resolved, shown, blind = (
        join([axis_entry(axis)["symbol"] for axis in axes])
        for axes in ([axis for axis in grid.names if axis not in unresolved], means, unresolved)
    )
    title += f", largest peak along {resolved}" if resolved else ""
    title += f", mean {shown}" if shown else ""
    return f"{title} (its spectrum is not resolved)" if shown == blind else f"{title} (not resolved: {blind})"


def _place(position, grid):
    symbols = [axis_entry(axis)["symbol"] for axis in grid.names]
    return ", ".join(f"{s} {place}" for s, place in zip(symbols, place_in_words(position, grid), strict=True))


def _signal(axis, values, least):
    """Signal of every bin of an axis at the weakest weighting measured: echo time [ms] or b-value [s/mm2]."""
    if axis in RELAXATION:
        return np.exp(-least / values)
    return np.exp(-least * 1e-3 * values) if axis == "diffusivity" else np.ones(len(values))
