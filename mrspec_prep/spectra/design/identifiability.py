"""What a protocol can resolve, before anything is fitted, in words."""

from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from mrspec_prep.physics import AXIS_SYMBOLS, kernel_axes, kernel_matrix
from mrspec_prep.physics.grids import AXIS_UNITS, informative_range
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.design.crlb import (
    ComponentBound,
    component_bound,
    separable_factor,
    spread_components,
    widest_factor,
)
from mrspec_prep.spectra.design.resolution import peak_width, resolution_rows
from mrspec_prep.spectra.regions.integration import RESOLVING_VALUES, SOURCES, distinct_values

SOURCE_WORDS = {
    "bvalue": ("b-value", "s/mm2"),
    "echo_time": ("echo time", "ms"),
    "inversion_time": ("inversion time", "ms"),
}
COUNT_WORDS = ("No", "One", "Two")
MOST_COMPONENTS = 4
USEFUL_ERROR = 0.5  # a component whose position or fraction is known worse than this is not measured
DECAYED = 0.05  # a signal that has fallen to this part before the first encoding is lost


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What a protocol can tell apart.

    Attributes
    ----------
    resolved : tuple of str
        Axes with enough distinct encodings to hold structure.
    n_components : int
        Singular values of the kernel above the noise: independent numbers the signal holds.
    singular_values : (n,) array
        Of K over the square root of its number of bins.
    snr : float
    statements : tuple of str
        Plain sentences.
    bounds : tuple of ComponentBound
        Cramer-Rao bounds of 1 to 4 equal components spread over what the protocol weighs; empty where
        an axis is not varied.
    separable : dict of str to float
        Axis -> smallest factor at which two equal components are told apart (infinite: never).
    widths : dict of str to float
        Axis -> width of the resolution kernel's peak at this SNR [decades].

    """

    resolved: tuple[str, ...]
    n_components: int
    singular_values: np.ndarray
    snr: float
    statements: tuple[str, ...]
    bounds: tuple[ComponentBound, ...] = ()
    separable: dict[str, float] = field(default_factory=dict)
    widths: dict[str, float] = field(default_factory=dict)


def identify(kernel_name, encodings, grid, snr, alpha=0.01):
    """Say what a protocol can resolve at a signal-to-noise ratio.

    Parameters
    ----------
    kernel_name : str
    encodings : Encodings
    grid : Grid
    snr : float
        Of the volumes with the most signal, one volume, S0 = 1.
    alpha : float
        Tikhonov weight of the spectra, for their resolution.

    Returns
    -------
    Identifiability

    Raises
    ------
    ValueError
        SNR not a positive number, or a kernel that the encodings cannot weigh.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid
    >>> from mrspec_prep.spectra import identify
    >>> found = identify("t2", Encodings(echo_time=[30, 60]), Grid(t2=np.geomspace(10, 300, 20)), snr=50)
    >>> found.resolved
    ()
    >>> found.statements[0]
    'Two echo times: the data hold a mean T2, not T2 structure.'

    """
    if not (np.isfinite(snr) and snr > 0):
        raise ValueError(f"snr must be a number > 0, got {snr}")
    reduced = reduce_kernel(kernel_matrix(kernel_name, encodings, grid))
    values = reduced.singular_values / np.sqrt(grid.n_bins)
    n_components = int((values > 1.0 / snr).sum())
    axes = kernel_axes(kernel_name)
    resolved = tuple(axis for axis in axes if len(distinct_values(encodings, axis)) >= RESOLVING_VALUES)
    statements = [_axis_statement(axis, encodings) for axis in axes]
    statements += [text for axis in resolved if (text := _lost_statement(axis, encodings))]
    statements.append(
        f"At SNR {snr:.3g} the signal holds {n_components} independent number{'s' * (n_components != 1)} "
        f"(singular values of the kernel above the noise) for a spectrum of {grid.n_bins} bins; "
        "regularisation fills in the rest."
    )
    ranges = _ranges(axes, encodings, grid)
    bounds, separable, widths = (), {}, {}
    if ranges:
        several = "kurtosis" not in axes  # that kernel grows beyond its range: it describes one component only
        numbers = range(1, MOST_COMPONENTS + 1 if several else 2)
        bounds = tuple(component_bound(kernel_name, encodings, spread_components(ranges, k), snr) for k in numbers)
        if several:
            limits = {axis: _limits(ranges[axis], getattr(grid, axis)) for axis in resolved}
            separable = {
                axis: separable_factor(kernel_name, encodings, ranges, axis, snr, limits[axis]) for axis in resolved
            }
            widths = _widths(reduced, grid, ranges, max(alpha, grid.n_bins / snr**2), resolved)
        statements.append(_bounds_statement(bounds, snr))
        statements += [_separable_statement(axis, f, ranges[axis], limits[axis]) for axis, f in separable.items()]
    if widths:
        statements.append(_widths_statement(widths))
    return Identifiability(resolved, n_components, values, float(snr), tuple(statements), bounds, separable, widths)


def _ranges(axes, encodings, grid):
    """What the protocol weighs along every axis, within the grid; empty where an axis is not varied."""
    ranges = {}
    for axis in axes:
        if len(distinct_values(encodings, axis)) < 2:
            return {}
        values = getattr(grid, axis)
        low, high = (values[0], values[-1]) if axis == "kurtosis" else informative_range(axis, encodings)
        low, high = max(low, values[0], 1e-3), min(high, values[-1])
        if not low < high:
            return {}
        ranges[axis] = (low, high)
    return ranges


def _limits(within, values):
    """Where components may lie along an axis: within the grid, and at least within what the protocol weighs."""
    return min(within[0], max(float(values[0]), 1e-3)), max(within[1], float(values[-1]))


def _widths(reduced, grid, ranges, alpha, axes):
    """Median width of the resolution kernel's peak along each axis, over a quarter, half and three quarters of it."""
    bins = grid.bins()
    middle = {axis: np.sqrt(low * high) for axis, (low, high) in ranges.items()}
    found = {}
    for axis in axes:
        low, high = ranges[axis]
        places = [middle | {axis: low * (high / low) ** share} for share in (0.25, 0.5, 0.75)]
        nearest = [
            int(sum(np.log(np.maximum(bins[a], 1e-6) / place[a]) ** 2 for a in grid.names).argmin()) for place in places
        ]
        rows = resolution_rows(reduced, alpha, nearest)
        found[axis] = float(np.median([peak_width(row, grid, axis) for row in rows]))
    return found


def _bounds_statement(bounds, snr):
    """One sentence on how many components any method could measure."""
    useful = list(takewhile(lambda bound: bound.worst <= USEFUL_ERROR, bounds))
    if not useful:
        return (
            f"At SNR {snr:.3g} not even one component can be measured to {USEFUL_ERROR:.0%} in a single voxel "
            "(Cram\u00e9r-Rao bound): only averages over voxels or clusters are meaningful."
        )
    most = useful[-1]
    errors = [f"{AXIS_SYMBOLS[axis]} {errors.max():.1%}" for axis, errors in most.position_errors.items()]
    if most.n_components > 1:
        errors.append(f"fractions {most.fraction_errors.max() / most.fractions.min():.1%}")
    several = "s" * (most.n_components > 1)
    more = "" if most is bounds[-1] else f", not {most.n_components + 1}"
    return (
        f"In a single voxel at SNR {snr:.3g} any method can measure at most {most.n_components} component{several} "
        f"spread over this protocol's range{more} (Cram\u00e9r-Rao bound; least relative errors: {', '.join(errors)})."
    )


def _separable_statement(axis, factor, within, limits):
    """One sentence on the contrast that two components need along an axis."""
    symbol, unit = AXIS_SYMBOLS[axis], AXIS_UNITS[axis]
    around = f"around {np.sqrt(within[0] * within[1]):.3g} {unit}"
    if not np.isfinite(factor):
        widest = f"not even a factor of {widest_factor(within, limits):.2g} apart, the most that the grid holds"
        return f"Two equal components cannot be told apart by {symbol} alone at this SNR, {around}, {widest}."
    return f"Two equal components are told apart by {symbol} alone from a factor of {factor:.2g} on, {around}."


def _widths_statement(widths):
    """One sentence on the point spread of the spectra."""
    parts = [f"{AXIS_SYMBOLS[a]} a factor of {10**width:.2g} ({width:.2f} decades)" for a, width in widths.items()]
    return (
        f"At this SNR a single value appears in a spectrum as a peak this wide at half height: {', '.join(parts)} "
        "(resolution kernel; non-negativity narrows isolated peaks)."
    )


def _axis_statement(axis, encodings):
    """One sentence on the number of encodings along an axis."""
    values, symbol = distinct_values(encodings, axis), AXIS_SYMBOLS[axis]
    word, unit = SOURCE_WORDS[SOURCES[axis]]
    n = len(values)
    if n < 2:
        return f"{COUNT_WORDS[n]} {word}: {symbol} cannot be measured."
    if n == 2:
        return f"Two {word}s: the data hold a mean {symbol}, not {symbol} structure."
    range_in_words = f"from {values[0]:g} to {values[-1]:g} {unit}"
    return f"{n} {word}s {range_in_words}: enough for structure along {symbol}, as far as noise allows."


def _lost_statement(axis, encodings):
    """One sentence on components that have decayed before the first encoding."""
    if axis not in ("t2", "t2star"):
        return ""
    shortest = distinct_values(encodings, axis)[0]
    limit = -shortest / np.log(DECAYED)
    if limit < 1.0:
        return ""
    return (
        f"Components with {AXIS_SYMBOLS[axis]} below about {limit:.0f} ms have lost {1 - DECAYED:.0%} of their signal "
        f"at the shortest echo time ({shortest:g} ms) and are hardly seen."
    )
