"""Grids of relaxation times and diffusivities on which spectra live."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics.checks import real_array

GRID_AXES = ("diffusivity", "t2star", "t2", "t1", "kurtosis")
AXIS_UNITS = {"diffusivity": "um2/ms", "t2star": "ms", "t2": "ms", "t1": "ms", "kurtosis": "1"}
AXIS_SYMBOLS = {"diffusivity": "D", "t2star": "T2*", "t2": "T2", "t1": "T1", "kurtosis": "K"}
DEFAULT_POINTS = {1: 200, 2: 50, 3: 20}  # points per axis by number of axes (METHODS.md section 1)
MARGIN = 5.0  # the grid reaches this factor beyond the smallest and largest informative value


@dataclass(frozen=True, eq=False)
class Grid:
    """Axes of a spectrum, in the order of the fields; bins run in C order.

    Parameters
    ----------
    diffusivity : (n,) array or None
        [um2/ms].
    t2star, t2, t1 : (n,) array or None
        [ms].
    kurtosis : (n,) array or None
        Unitless.

    Raises
    ------
    ValueError
        No axis, an empty axis, or values not strictly increasing, positive and finite
        (kurtosis may hold zero).

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Grid
    >>> grid = Grid(diffusivity=np.geomspace(0.1, 10, 3), t2star=[20, 50, 100, 200])
    >>> grid.names, grid.shape, grid.n_bins
    (('diffusivity', 't2star'), (3, 4), 12)
    >>> grid.bins()["t2star"][:5]  # of each bin, the last axis fastest
    array([ 20.,  50., 100., 200.,  20.])

    """

    diffusivity: np.ndarray | None = None
    t2star: np.ndarray | None = None
    t2: np.ndarray | None = None
    t1: np.ndarray | None = None
    kurtosis: np.ndarray | None = None

    def __post_init__(self):
        names = [name for name in GRID_AXES if getattr(self, name) is not None]
        if not names:
            raise ValueError(f"Grid needs at least one axis of {', '.join(GRID_AXES)}")
        for name in names:
            given = real_array(getattr(self, name), f"grid axis {name}")
            if given.ndim > 1:
                raise ValueError(f"grid axis {name} must be a list of values, (n,), got shape {given.shape}")
            axis = np.array(given, dtype=float).ravel()
            lowest = 0.0 if name == "kurtosis" else np.nextafter(0, 1)
            if axis.size == 0 or not np.isfinite(axis).all() or axis.min() < lowest or (np.diff(axis) <= 0).any():
                raise ValueError(f"grid axis {name} must be strictly increasing, finite and > 0, got {axis[:4]}...")
            axis.setflags(write=False)
            object.__setattr__(self, name, axis)

    @property
    def names(self):
        """Names of the axes present, in the order of the spectrum's dimensions."""
        return tuple(name for name in GRID_AXES if getattr(self, name) is not None)

    @property
    def axes(self):
        """Axis values, in the order of ``names``."""
        return tuple(getattr(self, name) for name in self.names)

    @property
    def shape(self):
        """Number of points per axis."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def n_bins(self):
        """Number of bins of a spectrum."""
        return int(np.prod(self.shape))

    def bins(self):
        """(n_bins,) array of each axis' value per bin, keyed by axis name (C order)."""
        mesh = np.meshgrid(*self.axes, indexing="ij")
        return {name: values.ravel() for name, values in zip(self.names, mesh, strict=True)}


def axis_values(low, high, n_points, spacing="log"):
    """``n_points`` values from ``low`` to ``high``, spaced by ``log`` or ``linear``.

    Raises
    ------
    ValueError
        Bounds not 0 < low < high, fewer than 2 points, or an unknown spacing.

    """
    if not 0 < low < high:
        raise ValueError(f"grid bounds must satisfy 0 < low < high, got {low} and {high}")
    if n_points < 2:
        raise ValueError(f"a grid axis needs at least 2 points, got {n_points}")
    if spacing == "log":
        return np.geomspace(low, high, n_points)
    if spacing == "linear":
        return np.linspace(low, high, n_points)
    raise ValueError(f"grid spacing must be 'log' or 'linear', got {spacing!r}")


def informative_range(axis, encodings):
    """Smallest and largest value of one spectral axis that the protocol can weigh.

    A decay is informative where its time constant is comparable to the encoding:
    1/b for diffusivity, TE for T2 and T2*, TI for T1 [units of ``AXIS_UNITS``].

    Raises
    ------
    ValueError
        The protocol does not vary what the axis needs.

    """
    source = {"diffusivity": "bvalue", "t2star": "echo_time", "t2": "echo_time", "t1": "inversion_time"}[axis]
    values = getattr(encodings, source)
    if values is None or source not in encodings.varying():
        raise ValueError(f"axis {axis} needs {source} to vary over the volumes, and it does not")
    values = values[values > (1.0 if source == "bvalue" else 0.0)]
    if axis == "diffusivity":
        values = 1e3 / values
    return float(values.min()), float(values.max())


def default_grid(axes, encodings, points=None, bounds=None, spacing="log", values=None):
    """Grid from the protocol: 1/5 of the smallest to 5 x the largest informative value.

    Parameters
    ----------
    axes : sequence of str
        Axes of the kernel (``kernel_axes``).
    encodings : Encodings
    points : sequence of int, optional
        Points per axis in the order of ``axes``; default 200 (1-D), 50 (2-D), 20 (3-D).
    bounds : dict of str to (low, high), optional
        Replaces the protocol's range for the axes named [units of ``AXIS_UNITS``].
    spacing : str or dict of str to str
        ``log`` or ``linear``, for all axes or by axis.
    values : dict of str to sequence, optional
        Values of axes by hand, instead of their points, bounds and spacing [units of ``AXIS_UNITS``].

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        Points, bounds, spacing or values of axes that the kernel lacks, or an axis that this protocol does not weigh.

    Examples
    --------
    >>> from mrspec_prep.physics import Encodings, default_grid
    >>> grid = default_grid(("t2",), Encodings(echo_time=[10, 20, 40, 80]), points=[50])
    >>> float(grid.t2.min().round(6)), float(grid.t2.max().round(6))
    (2.0, 400.0)

    """
    bounds, values = bounds or {}, dict(values or {})
    named = {"bounds": bounds, "spacing": {} if isinstance(spacing, str) else spacing, "values": values}
    for what, by_axis in named.items():
        if strange := [axis for axis in by_axis if axis not in axes]:
            raise ValueError(f"{what} of {', '.join(strange)}, and the kernel has the axes {', '.join(axes)}")
    points = points or [DEFAULT_POINTS[len(axes)]] * len(axes)
    if len(points) != len(axes):
        raise ValueError(
            f"kernel has the axes {', '.join(axes)}: give {len(axes)} numbers of points, got {len(points)}"
        )
    for axis, n_points in zip(axes, points, strict=True):
        if axis in values:
            continue
        space = spacing if isinstance(spacing, str) else spacing.get(axis, "log")
        if axis in bounds:
            low, high = bounds[axis]
        elif axis == "kurtosis":
            low, high, space = 0.05, 3.0, "linear"
        else:
            smallest, largest = informative_range(axis, encodings)
            low, high = smallest / MARGIN, largest * MARGIN
        values[axis] = axis_values(low, high, n_points, space)
    return Grid(**values)
