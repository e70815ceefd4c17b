"""How well the inversion pulse inverted, from the signals of the strongest voxels."""

from dataclasses import dataclass, replace

import numpy as np
import scipy
from scipy.optimize import brentq, minimize_scalar

from mrspec_prep.physics import default_grid, kernel_axes, kernel_matrix
from mrspec_prep.physics.grids import MARGIN, informative_range
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.noise.polarity import restore_polarity
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls

POINTS = {1: (60,), 2: (20, 30), 3: (8, 8, 15)}  # of the grid, per number of axes
RELATIVE_ALPHA = 1e-6  # of the mean squared length of a kernel's column: the misfit is all but unregularised
FLOOR = 0.15  # of the strongest volume: below it noise lifts magnitudes, and they are left out
COARSE = np.linspace(0.0, 1.0, 11)
PRECISION = 1e-4


@dataclass(frozen=True)
class EfficiencyEstimate:
    """Inversion efficiency of an image.

    Attributes
    ----------
    value : float
        e of the least misfit, between 0 and 1.
    low, high : float
        Efficiencies that raise the misfit by no more than its scatter explains.
    level : float
        Of the interval.
    n_voxels : int
        Voxels whose mean was read.
    residual : float
        Root mean square of the mean's residual at ``value`` [signal units].
    residual_at_one : float
        The same for a perfect inversion.

    """

    value: float
    low: float
    high: float
    level: float
    n_voxels: int
    residual: float
    residual_at_one: float

    @property
    def adopted(self):
        """Efficiency to fit with: ``value`` where the data exclude a perfect inversion, else 1."""
        return self.value if self.high < 1.0 else 1.0


def estimate_inversion_efficiency(
    signals, kernel_name, encodings, *, magnitudes, level=0.95, n_voxels=100, n_threads=None
):
    """Efficiency e of 1 - (1 + e) exp(-TI/T1) that fits the mean signal of the strongest voxels best.

    The mean is a non-negative mixture too, as one e holds for the image, and needs one spectrum only: a
    spectrum per voxel would adapt to each voxel's noise, and most where e is wrong. Spins that recover before
    the shortest TI look like spins that were not inverted, so T1 below the shortest TI is left out, and so is
    T2 above T1. Tissue that does recover faster lowers the estimate. With T1 as the only axis a wide
    spectrum can stand for an imperfect inversion, and the interval is wide.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    kernel_name : str
        With the axis ``t1``.
    encodings : Encodings
        Their own efficiency is ignored.
    magnitudes : bool
        Signals have lost their sign; it is restored anew for every e, and volumes whose mean is below 0.15 of the
        strongest one are left out. Voxels must hold signal: a background of magnitudes imitates poor inversion.
    level : float
        Of the interval.
    n_voxels : int
        At most; those with the largest reference signal.
    n_threads : int, optional

    Returns
    -------
    EfficiencyEstimate

    Raises
    ------
    ValueError
        A kernel without ``t1``, a level not between 0 and 1, or signals of another length.

    """
    axes = kernel_axes(kernel_name)
    if "t1" not in axes:
        raise ValueError(f"kernel {kernel_name} has no inversion recovery")
    signals = np.asarray(check_signals(signals, len(encodings)), dtype=float)
    strength = np.abs(signals[:, encodings.reference()]).mean(axis=1)
    strongest = np.sort(np.argsort(-strength, kind="stable")[:n_voxels])
    signals = signals[strongest]
    loudness = np.abs(signals).mean(axis=0)
    loud = loudness >= FLOOR * loudness.max()
    smallest, largest = informative_range("t1", encodings)
    grid = default_grid(axes, encodings, points=POINTS[len(axes)], bounds={"t1": (smallest, MARGIN * largest)})
    bins = grid.bins()
    kept = bins["t2"] <= bins["t1"] if "t2" in axes else np.ones(grid.n_bins, bool)

    def misfit(efficiency):
        """Sum of squared residuals of the mean and number of bins in use."""
        protocol = replace(encodings, inversion_efficiency=efficiency)
        reduced = reduce_kernel(kernel_matrix(kernel_name, protocol, grid)[:, kept])
        alpha = RELATIVE_ALPHA * float((reduced.columns**2).sum()) / reduced.n_bins
        signed = restore_polarity(signals, reduced, protocol, alpha)[0] if magnitudes else signals
        mean = signed.mean(axis=0, keepdims=True)
        if magnitudes:
            mean, reduced = mean[:, loud], reduce_kernel((reduced.projection @ reduced.columns.T)[loud])
        spectra = fit_nnls(mean, reduced, alpha, tolerance=1e-9, n_threads=n_threads).spectra
        compressed, outside = reduced.compress(mean)
        squares = ((compressed - spectra @ reduced.columns) ** 2).sum() + outside.sum()
        return float(squares), int(min((spectra > 0).sum(), reduced.n_ranks))

    found = profile_efficiency(misfit, int(loud.sum()) if magnitudes else len(encodings), level)
    return replace(found, n_voxels=len(signals))


def profile_efficiency(misfit, n_values, level=0.95):
    """Efficiency of the least misfit, and those whose misfit the noise explains (profile likelihood).

    The scatter is that of the residuals themselves: an e is held possible while the misfit exceeds the least one
    by no more than the F limit of one number times the residual variance.

    Parameters
    ----------
    misfit : callable
        e -> (sum of squared residuals, number of fitted parameters).
    n_values : int
        Values that were fitted.
    level : float

    Returns
    -------
    EfficiencyEstimate
        ``n_voxels`` is 1; residuals in the units of ``misfit``.

    Raises
    ------
    ValueError
        Level not between 0 and 1.

    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    seen = {float(e): misfit(float(e)) for e in COARSE}
    best = int(np.argmin([squares for squares, _ in seen.values()]))
    ends = COARSE[max(best - 1, 0)], COARSE[min(best + 1, len(COARSE) - 1)]

    def squares_at(efficiency):
        efficiency = float(np.clip(efficiency, 0.0, 1.0))
        if efficiency not in seen:
            seen[efficiency] = misfit(efficiency)
        return seen[efficiency][0]

    minimize_scalar(squares_at, bounds=ends, method="bounded", options={"xatol": PRECISION})
    value = min(seen, key=lambda e: seen[e][0])
    least, n_parameters = seen[value]
    freedom = max(n_values - n_parameters - 1, 1)
    limit = least * (1 + scipy.stats.f.ppf(level, 1, freedom) / freedom)

    def edge(end):
        """Where the misfit crosses the limit between the best efficiency and an end of the scale."""
        if value == end or squares_at(end) <= limit:
            return end
        beyond = min((e for e in COARSE if (e - value) * (end - value) > 0 and squares_at(e) > limit),
                     key=lambda e: abs(e - value))  # fmt: skip
        return float(brentq(lambda e: squares_at(e) - limit, value, beyond, xtol=PRECISION))

    residuals = (float(np.sqrt(squares / n_values)) for squares in (least, squares_at(1.0)))
    return EfficiencyEstimate(value, edge(0.0), edge(1.0), level, 1, *residuals)
