"""Hashes of grids and protocols: equal on every machine where rounding alone differs."""

import hashlib
import json

import numpy as np

from mrspec_prep.physics.encodings import AXES, Encodings
from mrspec_prep.physics.grids import Grid

DIGITS = 7  # significant digits of axis values, b-values and times that count
PLACES = 6  # decimals of the projection, whose columns have norm 1
GRID_SETTINGS = ("points", "spacing", "bounds", "grid")  # kernel settings that act through the grid alone
LENGTH = 16  # hexadecimal digits kept


def grid_hash(grid: Grid) -> str:
    """Hash of the axes of a grid, their names and order.

    Returns
    -------
    str
        16 hexadecimal digits.

    """
    return _digest({name: _rounded(axis) for name, axis in zip(grid.names, grid.axes, strict=True)})


def protocol_hash(kernel_settings: dict, encodings: Encodings, projection: np.ndarray | None = None) -> str:
    """Hash of everything that turns a spectrum into compressed signals, apart from the grid.

    Gradient directions are left out: no kernel depends on them, and motion correction turns them
    in every participant.

    Parameters
    ----------
    kernel_settings : dict
        ``name`` and what else the kernel depends on; what sets the grid alone is ignored.
    encodings : Encodings
    projection : (n_encodings, n_ranks) array, optional
        Orthonormal columns; left out where signals are not compressed.

    Returns
    -------
    str
        16 hexadecimal digits.

    """
    settings = {key: value for key, value in kernel_settings.items() if key not in GRID_SETTINGS}
    values = {name: getattr(encodings, name) for name in AXES}
    parts: dict[str, object] = {
        "kernel": settings,
        "encodings": {name: None if given is None else _rounded(given) for name, given in values.items()},
    }
    if projection is not None:
        columns = np.round(np.asarray(projection, float), PLACES) + 0.0  # no negative zeros
        parts["projection"] = [list(columns.shape), hashlib.sha256(columns.astype("<f8").tobytes()).hexdigest()]
    return _digest(parts)


def _rounded(values):
    return [f"{value:.{DIGITS}g}" for value in values]


def _digest(plain):
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:LENGTH]
