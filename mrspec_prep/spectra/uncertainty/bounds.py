"""Bounds of spectral fractions that hold for every non-negative spectrum the data allow: no regularisation enters.

All spectra f >= 0 with ||B f - s||2 <= R2 are held possible, R2 being the chi-squared (or F) limit that the truth
stays within with the probability asked for. The largest possible fraction in a region with indicator w is the
smallest t for which

    Phi(t) = min_{f>=0} ||B f - s||2 + kappa2 (c_t'f)2 >= R2,   c_t = w - t:

forcing the fraction to t costs more misfit than the noise allows. (The ratio w'f / 1'f becomes the linear constraint
c_t'f = 0, as Charnes and Cooper's change of variables does.) Each Phi is one NNLS problem in few dimensions. With
the residual r = s - B f of its solution, u = -r / |mu|, mu = kappa2 c_t'f, is a certificate: B'u >= c_t and
s'u + R ||u|| <= 0 exclude every f with a larger fraction, whatever kappa.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.regions.integration import region_bins
from mrspec_prep.spectra.voxelwise.active_set import active_set
from mrspec_prep.threads import for_blocks

FRACTION_TOLERANCE = 1e-3  # a bound is outward of the exact one by at most this
PENALTY = 1e5  # kappa2 over the mean squared length of a column of B
MULTIPLIER_TOLERANCE = 1e-10
MAX_CHANGES = 500
MAX_STEPS = 40
BLOCK = 64


@dataclass(frozen=True, eq=False)
class FractionBounds:
    """Smallest and largest fraction in each region that the data allow.

    Attributes
    ----------
    low, high : dict of str to (n_voxels,) array
        Between 0 and 1. 0 and 1 where no spectrum explains the signal within the noise: nothing is known then.
    possible : (n_voxels,) bool array
        Whether any non-negative spectrum explains the signal.
    compared_in_full : (n_voxels,) bool array
        Where no spectrum explains the leading combinations alone (the kernel misses something): all
        combinations were compared instead, with their wider limit.
    misfit : (n_voxels,) array
        Least misfit of a non-negative spectrum over the limit, R2 [ratio]; at most 1 where possible.
    n_numbers : int
        Leading combinations of the encodings that were compared with the signal.
    level : float

    """

    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    possible: np.ndarray
    compared_in_full: np.ndarray
    misfit: np.ndarray
    n_numbers: int
    level: float


def bound_fractions(
    signals,
    kernel,
    noise_std,
    grid,
    regions,
    level=0.95,
    degrees_of_freedom=np.inf,
    joint=True,
    n_numbers=None,
    n_threads=None,
):
    """Bounds of the fraction w'f / 1'f over all f >= 0 that explain the signal within the noise.

    Tissue need not lie on grid points: the upper bound counts the bins next to a region too, the lower bound
    leaves out those next to its border, so that the grid's spacing is part of the bounds.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Gaussian noise is taken for granted; so is the kernel.
    kernel : (n_encodings, n_bins) array or ReducedKernel
    noise_std : (n_voxels,) array
        [signal units].
    grid : Grid
    regions : dict of str to dict of str to (low, high)
        Boxes [um2/ms, ms].
    level : float
        Of the bounds.
    joint : bool
        True: R2 is the limit that the truth's misfit stays within with probability ``level``; then the bounds of all
        regions hold at once with at least that probability, without further assumption. False: each region on
        its own, R2 = least misfit + the limit of a single number (one-at-a-time strict bounds; Rust and Burrus 1972).
        Narrower; the level then holds on average, not for every truth (Batlle et al. 2023), and is measured
        in ``benchmarks/coverage.py``.
    degrees_of_freedom : float
        Of each voxel's noise variance, where it was estimated: the F distribution takes the place of chi-squared.
    n_numbers : int, optional
        Leading singular directions of the kernel (``kernel = P B``) in which signal and spectrum are compared: there
        repeats and directions are averaged. Any number keeps the level; default: ``informative_numbers``. Voxels
        that no spectrum explains so are compared in all directions, which can only widen what is possible.
    n_threads : int, optional

    Returns
    -------
    FractionBounds

    Raises
    ------
    ValueError
        Level not between 0 and 1, noise not positive, or a region without bins.

    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    noise_std = np.broadcast_to(np.asarray(noise_std, dtype=float), len(signals))
    if not (noise_std > 0).all():
        raise ValueError(f"noise_std must be > 0, got {noise_std.min()}")
    empty = [name for name, box in regions.items() if not region_bins(grid, box).any()]
    if empty:
        raise ValueError(f"regions without any bin of the grid: {', '.join(empty)}")
    compressed, _ = reduced.compress(signals)
    if n_numbers is None:
        n_numbers = informative_numbers(reduced, compressed, noise_std)
    n_numbers = min(n_numbers, reduced.n_ranks)
    touched = np.array([touched_bins(grid, box) for box in regions.values()], dtype=float)
    beyond = np.array([~enclosed_bins(grid, box) for box in regions.values()], dtype=float)
    sides = np.concatenate([touched, beyond]).reshape(2 * len(regions), reduced.n_bins)
    scaled = compressed / noise_std[:, None]
    largest, misfit = np.ones((len(signals), len(sides))), np.zeros(len(signals))
    pending = np.arange(len(signals))
    for n_compared in (n_numbers, reduced.n_ranks):
        limits = (
            misfit_limit(n_compared, level, degrees_of_freedom),
            np.inf if joint else misfit_limit(1, level, degrees_of_freedom),
        )
        columns = np.ascontiguousarray(reduced.columns[:, :n_compared])
        largest[pending], misfit[pending] = _largest_shares(columns, scaled[pending], sides, limits, n_threads)
        pending = np.flatnonzero(misfit > 1)
        if n_compared == n_numbers:
            compared_in_full = misfit > 1
    high = {name: largest[:, i] for i, name in enumerate(regions)}
    low = {name: 1.0 - largest[:, len(regions) + i] for i, name in enumerate(regions)}
    return FractionBounds(low, high, misfit <= 1, compared_in_full, misfit, n_numbers, level)


def _largest_shares(columns, scaled, sides, limits, n_threads):
    """Largest share of every side and least misfit over the limit, per voxel."""
    targets = np.ascontiguousarray(scaled[:, : columns.shape[1]])
    largest, misfit = np.ones((len(targets), len(sides))), np.zeros(len(targets))

    def work(start, stop):
        part = slice(start, stop)
        _bounds_block(columns, targets[part], sides, limits, largest[part], misfit[part])

    for_blocks(len(targets), BLOCK, work, n_threads)
    return largest, misfit


def touched_bins(grid, box):
    """(n_bins,) bool: bins by which a component inside a box can be described, those next to it included.

    A component between two grid points acts like a mixture of both; one of them may lie across the border.
    """
    return _box(grid, box, lambda values, low, high: (_below(values, low), _above(values, high)))


def enclosed_bins(grid, box):
    """(n_bins,) bool: bins that no component outside a box needs; the complement of what touches its outside."""

    def kept(values, low, high):
        first = np.searchsorted(values, low) + 1 if low > values[0] else 0
        last = np.searchsorted(values, high) - 1 if high <= values[-1] else len(values)
        return first, last

    return _box(grid, box, kept)


def _below(values, low):
    """Index of the last grid point below ``low``, or of the first one."""
    return max(int(np.searchsorted(values, low)) - 1, 0)


def _above(values, high):
    """Index behind the first grid point not below ``high``, or behind the last one."""
    return min(int(np.searchsorted(values, high)) + 1, len(values))


def _box(grid, box, ends):
    """Bins whose index along every axis of the box lies within what ``ends`` gives."""
    inside = np.ones(grid.shape, bool)
    for dimension, (name, values) in enumerate(zip(grid.names, grid.axes, strict=True)):
        if name in box:
            first, last = ends(values, *box[name])
            index = np.arange(len(values)).reshape([-1 if d == dimension else 1 for d in range(len(grid.shape))])
            inside &= (index >= first) & (index < last)
    return inside.ravel()


def misfit_limit(n_numbers, level, degrees_of_freedom=np.inf):
    """Squared misfit over the noise variance that the truth exceeds with probability 1 - level."""
    if np.isinf(degrees_of_freedom):
        return float(scipy.stats.chi2.ppf(level, n_numbers))
    return float(n_numbers * scipy.stats.f.ppf(level, n_numbers, degrees_of_freedom))


def informative_numbers(reduced, compressed, noise_std):
    """Leading singular directions of the kernel, up to the last in which the image's signal exceeds its noise.

    The mean square over all voxels decides: above 2 noise variances (one of them noise). Directions
    beyond hold little but noise and would only widen the limit. At least 3.
    """
    energy = ((compressed / noise_std[:, None]) ** 2).mean(axis=0)
    above = np.flatnonzero(energy > 2)
    return int(min(max(above[-1] + 1 if len(above) else 1, 3), reduced.n_ranks))


@compiled
def _penalised(work, target, weight, t, kappa, f):
    """Solve for Phi(t) from the spectrum f, in place; returns Phi and its derivative in t."""
    n_bins, n_rows = work.shape
    for j in range(n_bins):
        work[j, n_rows - 1] = kappa * (weight[j] - t)
    active_set(work, target, 0.0, f, MULTIPLIER_TOLERANCE, MAX_CHANGES)
    value, total, tilt = 0.0, 0.0, 0.0
    for j in range(n_bins):
        if f[j] > 0.0:
            total += f[j]
            tilt += f[j] * (weight[j] - t)
    for k in range(n_rows):
        fitted = 0.0
        for j in range(n_bins):
            if f[j] > 0.0:
                fitted += f[j] * work[j, k]
        value += (fitted - target[k]) ** 2
    return value, -2.0 * kappa * kappa * tilt * total


@compiled
def _largest_fraction(work, target, weight, start, least, limit, kappa, f):
    """Smallest t known to cost at least ``limit``, from a spectrum of fraction ``start`` and misfit ``least``."""
    inside, outside, t = start, 1.0, 1.0
    goal = np.sqrt(max(limit - least, 0.0))
    for _ in range(MAX_STEPS):
        value, slope = _penalised(work, target, weight, t, kappa, f)
        if value >= limit:
            outside = t
        elif t == 1.0:
            return 1.0
        else:
            inside = t
        if outside - inside <= FRACTION_TOLERANCE:
            break
        root = np.sqrt(max(value - least, 0.0))
        step = 2.0 * root * (goal - root) / slope if slope > 0.0 else 0.0
        t += step + 0.3 * FRACTION_TOLERANCE  # aim a little outward: both ends close in
        if not inside < t < outside or step == 0.0:
            t = 0.5 * (inside + outside)
    return outside


@compiled
def _bounds_block(columns, targets, sides, limits, largest, misfit):
    """Largest fraction of every side (bins whose share is pushed up), voxel by voxel; 1 where nothing explains."""
    n_bins, n_rows = columns.shape
    limit, slack = limits
    work, target = np.empty((n_bins, n_rows + 1)), np.zeros(n_rows + 1)
    work[:, :n_rows] = columns
    kappa = np.sqrt(PENALTY * (columns * columns).sum() / n_bins)
    best, spectrum = np.empty(n_bins), np.empty(n_bins)
    for v in range(targets.shape[0]):
        target[:n_rows] = targets[v]
        best[:] = 0.0
        least, _ = _penalised(work, target, best, 0.0, 0.0, best)  # kappa = 0: no fraction is asked for
        total = best.sum()
        misfit[v] = least / limit
        largest[v] = 1.0
        if least > limit or total == 0.0:
            continue
        bound = least + slack if np.isfinite(slack) else limit
        for side in range(sides.shape[0]):
            weight = sides[side]
            share = (weight * best).sum() / total
            spectrum[:] = best
            largest[v, side] = _largest_fraction(work, target, weight, share, least, bound, kappa, spectrum)
