"""What fingerprinting answers."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class FingerprintResult:
    """Maps of one series; (...) is (n_voxels,) or (x, y, z), as the series was. Voxels that were left out hold 0.

    Attributes
    ----------
    t1, t2 : (...) array
        [ms].
    m0 : (...) complex array, or float of a real series
        Magnetisation at rest times what the receiver makes of it, with its phase or sign [signal units].
    coefficients : (..., rank) complex array
        That were matched [signal units].
    match : (...) array
        |<c, Phi d>| / (||c|| ||Phi d||) of coefficients and fitted signal, 0 to 1: 1 where the schedule explains them.
    risk : (...) array or None
        Of networks: distance from dictionary matching of the voxel alone, sqrt((p_max2 - p2) / (2 sigma2)) with p the
        inner products of the series' own coefficients with both fits' unit signals, sigma their noise. About 1 or less
        is what noise explains; above 3 the network has overruled the data. NaN where no noise is known. None for
        ``dictionary``.
    mask : (...) bool array
        Voxels that were fitted.
    noise_std : float
        Sigma of the real (or imaginary) part of one coefficient of the series [signal units].
    power : float
        Share of the dictionary's energy that the subspace holds.
    rank : int
    history : dict of str to list
        What was watched while training; empty for ``dictionary``.
    device : str
        ``cpu`` or ``cuda``.
    seed : int
    settings : dict
        Every setting that was used, defaults too.

    """

    t1: np.ndarray
    t2: np.ndarray
    m0: np.ndarray
    coefficients: np.ndarray
    match: np.ndarray
    risk: np.ndarray | None
    mask: np.ndarray
    noise_std: float
    power: float
    rank: int
    history: dict = field(default_factory=dict)
    device: str = "cpu"
    seed: int = 0
    settings: dict = field(default_factory=dict)
