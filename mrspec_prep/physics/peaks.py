"""Peaks of a spectrum: basins of its local maxima."""

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Peak:
    """One peak.

    Attributes
    ----------
    position : dict of str to float
        Amplitude-weighted centre per axis, logarithmic where the axis is positive [um2/ms, ms].
    fraction : float
        Share of the spectrum's total.

    """

    position: dict[str, float]
    fraction: float


def find_peaks(spectrum, grid, threshold=0.05):
    """Peaks of one spectrum, largest first.

    Every bin climbs to its highest neighbour until a local maximum; the bins that end
    there are its basin. A basin below the threshold joins the neighbouring basin it
    shares the highest pass with, or is dropped where it touches none.

    Parameters
    ----------
    spectrum : (n_bins,) array
        Not negative.
    grid : Grid
    threshold : float
        Smallest share of the total that counts as a peak.

    Returns
    -------
    list of Peak
        Empty for an empty spectrum.

    Raises
    ------
    ValueError
        Another number of bins than the grid, or negative or infinite values.

    Examples
    --------
    >>> from mrspec_prep.physics import Grid
    >>> from mrspec_prep.spectra import find_peaks
    >>> grid = Grid(t2=[20.0, 40.0, 80.0, 160.0])  # ms
    >>> for peak in find_peaks([0.1, 0.0, 0.3, 0.0], grid):
    ...     print(f"{peak.fraction:.2f} at {peak.position['t2']:.0f} ms")
    0.75 at 80 ms
    0.25 at 20 ms

    """
    values = np.asarray(spectrum, dtype=float).ravel()
    if values.size != grid.n_bins:
        raise ValueError(f"the spectrum has {values.size} bins, the grid {grid.n_bins}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("a spectrum must be finite and >= 0")
    total = values.sum()
    if total == 0:
        return []
    labels = _basins(values.reshape(grid.shape)).ravel()
    labels = _merge_small(values, labels, grid.shape, threshold * total)
    bins = grid.bins()
    peaks = []
    for label in np.unique(labels[labels >= 0]):
        weight = np.where(labels == label, values, 0.0)
        if weight.sum() >= threshold * total:
            position = {axis: _centre(x, weight) for axis, x in bins.items()}
            peaks.append(Peak(position, float(weight.sum() / total)))
    return sorted(peaks, key=lambda peak: -peak.fraction)


def _centre(x, weight):
    """Weighted mean, of the logarithm where x is positive."""
    share = weight / weight.sum()
    return float(np.exp(share @ np.log(x)) if x.min() > 0 else share @ x)


def _shifts(n_dims):
    return [shift for shift in product((-1, 0, 1), repeat=n_dims) if any(shift)]


def _shifted(array, shift, fill):
    """Array whose entry i is array[i + shift], ``fill`` beyond the edge."""
    out = np.full(array.shape, fill, dtype=array.dtype)
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, array.shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, array.shape, strict=True))
    out[here] = array[there]
    return out


def _basins(image):
    """Index of the local maximum each bin climbs to, -1 where the spectrum is zero."""
    index = np.arange(image.size).reshape(image.shape)
    best, target = image.copy(), index.copy()
    for shift in _shifts(image.ndim):
        value, where = _shifted(image, shift, -np.inf), _shifted(index, shift, -1)
        # on a plateau the lower index wins, so that climbing always ends
        higher = (value > best) | ((value == best) & (where >= 0) & (where < target))
        best, target = np.where(higher, value, best), np.where(higher, where, target)
    target = target.ravel()
    while True:
        further = target[target]
        if np.array_equal(further, target):
            break
        target = further
    return np.where(image.ravel() > 0, target, -1).reshape(image.shape)


def _merge_small(values, labels, shape, smallest):
    """Join basins below ``smallest`` to the neighbour with the highest pass, smallest basins first."""
    image, labels = values.reshape(shape), labels.copy()
    kept_apart = set()
    while True:
        names = [n for n in np.unique(labels[labels >= 0]) if n not in kept_apart]
        masses = {n: values[labels == n].sum() for n in names}
        small = [n for n in names if masses[n] < smallest]
        if not small:
            return labels
        name = min(small, key=lambda n: (masses[n], n))
        neighbour = _highest_pass(image, labels.reshape(shape), name)
        if neighbour is None:
            kept_apart.add(name)
        else:
            labels[labels == neighbour] = neighbour
            labels[labels == name] = neighbour


def _highest_pass(image, labels, name):
    """Basin that shares the highest pass with ``name``; None where it touches none."""
    best, found = 0.0, None
    for shift in _shifts(image.ndim):
        other = _shifted(labels, shift, -1)
        border = (labels == name) & (other >= 0) & (other != name)
        if border.any():
            height = np.minimum(image, _shifted(image, shift, 0.0))[border]
            top = height.argmax()
            if height[top] > best:
                best, found = height[top], int(other[border][top])
    return found
