"""What spectra say about a voxel: fractions in named regions, and the mean values a plain reader would measure."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from mrspec_prep.physics import kernel_axes, kernel_matrix
from mrspec_prep.physics.checks import real_array
from mrspec_prep.physics.encodings import COLUMNS, Encodings
from mrspec_prep.physics.equations import MM2_PER_S, inversion_recovery
from mrspec_prep.spectra.voxelwise.nnls import NNLSResult

#: names and bounds of the classes along each axis [um2/ms, ms]
CLASSES = {
    "diffusivity": {"slow": (0.0, 1.0), "free": (1.0, 4.0), "fast": (4.0, np.inf)},
    "t2star": {"short": (0.0, 40.0), "long": (40.0, np.inf)},
    "t2": {"short": (0.0, 40.0), "medium": (40.0, 200.0), "long": (200.0, np.inf)},
    "t1": {"quick": (0.0, 1000.0), "late": (1000.0, np.inf)},
    "kurtosis": {"low": (0.0, 1.0), "high": (1.0, np.inf)},
}
SOURCES = {
    "diffusivity": "bvalue",
    "kurtosis": "bvalue",
    "t2": "echo_time",
    "t2star": "echo_time",
    "t1": "inversion_time",
}
RESOLVING_VALUES = 3  # distinct encodings from which an axis holds structure, not only a mean
T1_CANDIDATES = 400
FULLY_RECOVERED = 1e12  # ms


def distinct_values(encodings, axis):
    """Distinct settings of the volumes that weigh one spectral axis [s/mm2 or ms], sorted."""
    values = getattr(encodings, SOURCES[axis])
    if values is None:
        return np.zeros(0)
    rounded = np.round(values, -1) if SOURCES[axis] == "bvalue" and values.max() > 400 else np.round(values, 3)
    return np.unique(rounded)


def default_regions(kernel_name, encodings, grid):
    """Boxes that split the axes the protocol resolves into classes of the literature.

    Parameters
    ----------
    kernel_name : str
    encodings : Encodings
    grid : Grid

    Returns
    -------
    dict of str to dict of str to (low, high)
        Region name (letters only) -> axis -> half-open interval [um2/ms, ms]. Classes that
        hold no bin of the grid are left out; no axis resolved: no region.

    Examples
    --------
    >>> from mrspec_prep.physics import Encodings, Grid
    >>> from mrspec_prep.spectra import default_regions
    >>> default_regions("t2", Encodings(echo_time=[10, 20, 40]), Grid(t2=[10, 60, 500]))
    {'short': {'t2': (0.0, 40.0)}, 'medium': {'t2': (40.0, 200.0)}, 'long': {'t2': (200.0, inf)}}

    """
    regions = {"": {}}
    for axis in kernel_axes(kernel_name):
        if len(distinct_values(encodings, axis)) < RESOLVING_VALUES:
            continue
        values = getattr(grid, axis)
        inside = {n: box for n, box in CLASSES[axis].items() if ((values >= box[0]) & (values < box[1])).any()}
        if len(inside) > 1:
            regions = {r + n: {**boxes, axis: box} for r, boxes in regions.items() for n, box in inside.items()}
    regions.pop("", None)
    return regions


def region_bins(grid, box):
    """(n_bins,) bool: bins of a grid inside a box {axis: (low, high)}, low included, high not.

    Raises
    ------
    ValueError
        No box, an axis the grid does not have, or bounds that are not low < high.

    """
    bins = grid.bins()
    if not isinstance(box, Mapping):
        raise ValueError(f"a region must be a box {{axis: (low, high)}}, got {box!r}")
    inside = np.ones(grid.n_bins, bool)
    for axis, bounds in box.items():
        if axis not in bins:
            close = get_close_matches(str(axis), bins, 1, 0.4)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"region names the axis {axis}; the grid has {', '.join(bins)}{hint}")
        low, high = _bounds(axis, bounds)
        inside &= (bins[axis] >= low) & (bins[axis] < high)
    return inside


def _bounds(axis, bounds):
    """Bounds of a box along an axis, low < high; either may be infinite."""
    given = real_array(bounds, f"the bounds of {axis}")
    if given.shape != (2,) or not given[0] < given[1]:
        raise ValueError(f"a region must hold (low, high) with low < high along {axis}, got {bounds!r}")
    return given


def integrate_regions(spectra, grid, regions):
    """Fraction of each spectrum's total inside each region (spectral integration, paper 1 section 2.1).

    Parameters
    ----------
    spectra : (n_voxels, n_bins) array or NNLSResult
    grid : Grid
    regions : dict of str to dict of str to (low, high)
        Boxes, low included, high not [um2/ms, ms].

    Returns
    -------
    dict of str to (n_voxels,) array
        Between 0 and 1; 0 for an empty spectrum.

    Raises
    ------
    ValueError
        Regions that are no boxes, an axis the grid lacks, or the spectra have another number of bins or are not finite.

    Examples
    --------
    >>> from mrspec_prep.physics import Grid
    >>> from mrspec_prep.spectra import integrate_regions
    >>> spectra = [[1.0, 0.0, 3.0]]  # one voxel, three bins
    >>> integrate_regions(spectra, Grid(t2=[20, 60, 200]), {"short": {"t2": (0, 40)}, "long": {"t2": (100, 1000)}})
    {'short': array([0.25]), 'long': array([0.75])}

    """
    if not isinstance(regions, Mapping):
        raise ValueError(f"regions must be a dict of name to box {{axis: (low, high)}}, got {type(regions).__name__}")
    weights = np.array([region_bins(grid, box) for box in regions.values()] + [np.ones(grid.n_bins)], dtype=float)
    sums = apply_to_spectra(spectra, weights)
    total = sums[:, -1]
    safe = np.where(total > 0, total, 1.0)
    return {name: np.clip(sums[:, i] / safe, 0.0, 1.0) for i, name in enumerate(regions)}


def integrate_visible(spectra, grid, regions, kernel_name, encodings):
    """Fraction of each region when every component counts by its signal at the shortest TE and lowest b.

    Inversion recovery counts as complete. Components that have decayed before the first echo count for nothing, where
    ``integrate_regions`` counts their spins.

    Parameters
    ----------
    spectra : (n_voxels, n_bins) array or NNLSResult
    grid : Grid
    regions : dict of str to dict of str to (low, high)
    kernel_name : str
    encodings : Encodings

    Returns
    -------
    dict of str to (n_voxels,) array
        Between 0 and 1; 0 for an empty spectrum.

    """
    first = {name: getattr(encodings, name) for name in ("bvalue", "echo_time")}
    first = {name: [values.min()] for name, values in first.items() if values is not None}
    recovered = {} if encodings.inversion_time is None else {"inversion_time": [FULLY_RECOVERED]}
    (visible,) = kernel_matrix(kernel_name, Encodings(**first, **recovered), grid)
    weights = np.array([region_bins(grid, box) for box in regions.values()] + [np.ones(grid.n_bins)], dtype=float)
    sums = apply_to_spectra(spectra, weights * visible)
    total = np.where(sums[:, -1] > 0, sums[:, -1], 1.0)
    return {name: np.clip(sums[:, i] / total, 0.0, 1.0) for i, name in enumerate(regions)}


def apply_to_spectra(spectra, weights):
    """(n_voxels, n_rows): spectra times a matrix (n_rows, n_bins), streamed over blocks of voxels."""
    if isinstance(spectra, NNLSResult):
        if weights.shape[1] != spectra.n_bins:
            raise ValueError(f"the grid has {weights.shape[1]} bins, the spectra have {spectra.n_bins}")
        return spectra.predict(weights)
    spectra = np.atleast_2d(real_array(spectra, "spectra"))
    if weights.shape[1] != spectra.shape[1]:
        raise ValueError(f"the grid has {weights.shape[1]} bins, the spectra have {spectra.shape[1]}")
    broken = np.flatnonzero(~np.isfinite(spectra).all(axis=1))
    if len(broken):
        raise ValueError(
            f"spectra hold NaN or infinite values in {len(broken)} voxels, first voxel {broken[0]}: leave those out"
        )
    return spectra @ weights.T


def mean_parameters(spectra, grid, kernel_name, encodings):
    """Apparent values that one-compartment readers would take from the fitted signals.

    The mean of a regularised spectrum says little when an axis has two encodings, so
    the fitted signal is read instead, over the protocol's own range:

    - ``t2``, ``t2star``: slope of log signal against TE at the lowest b (and longest TI),
      weighted by the squared signal;
    - ``diffusivity``: the same against b at the shortest TE (and longest TI);
    - ``t1``: the recovery curve nearest to the signal against TI at the shortest TE and
      lowest b, its height free;
    - ``kurtosis``: mean of the spectrum.

    Values are held within the grid's axis.

    Parameters
    ----------
    spectra : (n_voxels, n_bins) array or NNLSResult
    grid : Grid
    kernel_name : str
    encodings : Encodings

    Returns
    -------
    dict of str to (n_voxels,) array
        ``s0`` (sum of the spectrum, signal units) and one entry per axis [um2/ms, ms];
        0 for an empty spectrum.

    Examples
    --------
    >>> from mrspec_prep.physics import Encodings, Grid
    >>> from mrspec_prep.spectra import mean_parameters
    >>> means = mean_parameters([[0.0, 2.0, 0.0]], Grid(t2=[20, 60, 200]), "t2", Encodings(echo_time=[10, 20, 40]))
    >>> {name: values.round(6).tolist() for name, values in means.items()}
    {'s0': [2.0], 't2': [60.0]}

    """
    axes = kernel_axes(kernel_name)
    probes = {axis: _probe(encodings, axis) for axis in axes if axis != "kurtosis"}
    rows = [kernel_matrix(kernel_name, probe, grid) for probe in probes.values()]
    extra = [np.ones((1, grid.n_bins))] + ([grid.bins()["kurtosis"][None]] if "kurtosis" in axes else [])
    values = apply_to_spectra(spectra, np.vstack(rows + extra))
    s0 = values[:, sum(map(len, rows))]
    result, start = {"s0": s0}, 0
    for axis, probe in probes.items():
        signal = values[:, start : start + len(probe)]
        start += len(probe)
        apparent = _recovery_time(signal, probe, grid.t1) if axis == "t1" else _decay(signal, probe, axis)
        low, high = getattr(grid, axis)[[0, -1]]
        result[axis] = np.where(s0 > 0, np.clip(apparent, low, high), 0.0)
    if "kurtosis" in axes:
        result["kurtosis"] = values[:, -1] / np.where(s0 > 0, s0, 1.0)
    return result


def _probe(encodings, axis):
    """Encodings that vary one axis over the protocol's range, the others where the signal is largest."""
    varied = SOURCES[axis]
    keep = np.ones(len(encodings), bool)
    for name, extreme in (("bvalue", np.min), ("echo_time", np.min), ("inversion_time", np.max)):
        values = getattr(encodings, name)
        if name != varied and values is not None:
            keep &= np.abs(values - extreme(values[keep])) <= 1e-3 * max(abs(extreme(values[keep])), 1.0)
    values = getattr(encodings, varied)
    if len(np.unique(values[keep])) < 2:  # nothing varies there: read the kernel at the protocol's values
        first = int(np.flatnonzero(keep)[0])
        settings = {
            name: np.full(len(np.unique(values)), getattr(encodings, name)[first])
            for name in COLUMNS
            if getattr(encodings, name) is not None
        }
        return Encodings(**{**settings, varied: np.unique(values)})
    index = np.flatnonzero(keep)
    _, first = np.unique(values[index], return_index=True)
    taken = encodings.take(index[first])
    return replace(taken, direction=None)


def _decay(signal, probe, axis):
    """Time constant or diffusivity from the weighted slope of log signal."""
    x = getattr(probe, SOURCES[axis])
    if len(x) < 2:
        return np.full(len(signal), np.inf)
    top = signal.max(axis=1, keepdims=True)
    positive = np.maximum(signal / np.where(top > 0, top, 1.0), 1e-6)
    weight = positive**2 / (positive**2).sum(axis=1, keepdims=True)
    centered = x - (weight * x).sum(axis=1, keepdims=True)
    spread = (weight * centered**2).sum(axis=1)
    rate = -(weight * centered * np.log(positive)).sum(axis=1) / np.where(spread > 0, spread, 1.0)
    if axis == "diffusivity":
        return rate / MM2_PER_S
    return 1.0 / np.maximum(rate, 1e-12)


def _recovery_time(signal, probe, axis_values):
    """T1 of the recovery curve, free height, nearest to the signal."""
    candidates = np.geomspace(axis_values[0], axis_values[-1], T1_CANDIDATES)
    repetition = None if probe.repetition_time is None else probe.repetition_time[:, None]
    efficiency = 1.0 if probe.inversion_efficiency is None else probe.inversion_efficiency[:, None]
    curves = inversion_recovery(probe.inversion_time[:, None], candidates, repetition, efficiency)
    norms = np.maximum((curves**2).sum(axis=0), 1e-300)
    match = np.maximum(signal @ curves, 0.0) ** 2 / norms
    best = np.clip(match.argmax(axis=1), 1, T1_CANDIDATES - 2)
    index = np.arange(len(signal))
    below, at, above = match[index, best - 1], match[index, best], match[index, best + 1]
    bend = below - 2 * at + above
    shift = np.where(bend < 0, 0.5 * (below - above) / np.where(bend < 0, bend, 1.0), 0.0)
    ratio = candidates[1] / candidates[0]
    return candidates[best] * ratio ** np.clip(shift, -1.0, 1.0)
