"""Kernels: the signal of every encoding for every bin of a grid (paper 1, Eqs. 1-3)."""

import numpy as np

from mrspec_prep.physics import equations
from mrspec_prep.physics.encodings import Encodings, check_encodings
from mrspec_prep.physics.grids import Grid

#: spectral axes of each kernel, in the order of Grid
KERNELS = {
    "t2": ("t2",),
    "t2star": ("t2star",),
    "t1": ("t1",),
    "adc": ("diffusivity",),
    "adc-t2": ("diffusivity", "t2"),
    "adc-t2star": ("diffusivity", "t2star"),
    "t1-t2": ("t2", "t1"),
    "t1-adc": ("diffusivity", "t1"),
    "t1-t2-adc": ("diffusivity", "t2", "t1"),
    "adc-kurtosis": ("diffusivity", "kurtosis"),
}

#: what must be known of each volume, per spectral axis
NEEDS = {
    "diffusivity": "bvalue",
    "kurtosis": "bvalue",
    "t2": "echo_time",
    "t2star": "echo_time",
    "t1": "inversion_time",
}


def kernel_axes(name):
    """Spectral axes of a kernel.

    Raises
    ------
    ValueError
        Unknown kernel name; the message lists the known ones.

    Examples
    --------
    >>> from mrspec_prep.physics import kernel_axes
    >>> kernel_axes("adc-t2star")
    ('diffusivity', 't2star')

    """
    if name not in KERNELS:
        raise ValueError(f"unknown kernel {name!r}; known: {', '.join(KERNELS)}")
    return KERNELS[name]


def signal(name, encodings, **parameters):
    """Signal of one kernel at given tissue parameters, S0 = 1.

    Parameters
    ----------
    name : str
        Key of ``KERNELS``.
    encodings : Encodings
        n_encodings volumes.
    **parameters : (n,) arrays or tensors
        One per spectral axis: diffusivity [um2/ms], t2, t2star, t1 [ms], kurtosis.

    Returns
    -------
    (n_encodings, n) array or tensor
        Unitless; signed where inversion recovery takes part.

    Raises
    ------
    ValueError
        Unknown kernel, missing parameter, or encodings without what the kernel needs.

    """
    axes = kernel_axes(name)
    check_encodings(encodings)
    missing = [axis for axis in axes if axis not in parameters]
    if missing:
        raise ValueError(f"kernel {name} needs {', '.join(missing)}")
    for axis in axes:
        if getattr(encodings, NEEDS[axis]) is None:
            raise ValueError(f"kernel {name} needs {NEEDS[axis]} for every volume, and the encodings hold none")

    like = parameters[axes[0]]

    def column(values):
        """Volumes along the first axis, as the same kind of array as the parameters."""
        values = np.ascontiguousarray(values)[:, None]
        return like.new_tensor(values) if hasattr(like, "new_tensor") else values

    result = 1.0
    if "kurtosis" in axes:
        result = equations.diffusion_kurtosis(
            column(encodings.bvalue), parameters["diffusivity"], parameters["kurtosis"]
        )
    elif "diffusivity" in axes:
        result = equations.diffusion_decay(column(encodings.bvalue), parameters["diffusivity"])
    for axis in ("t2", "t2star"):
        if axis in axes:
            result = result * equations.transverse_decay(column(encodings.echo_time), parameters[axis])
    if "t1" in axes:
        repetition = None if encodings.repetition_time is None else column(encodings.repetition_time)
        efficiency = 1.0 if encodings.inversion_efficiency is None else column(encodings.inversion_efficiency)
        result = result * equations.inversion_recovery(
            column(encodings.inversion_time), parameters["t1"], repetition, efficiency
        )
    return result


def kernel_matrix(name: str, encodings: Encodings, grid: Grid) -> np.ndarray:
    """Discretised kernel K of S = K F (paper 1, Eqs. 2-3).

    Parameters
    ----------
    name : str
        Key of ``KERNELS``, for example ``adc-t2star``.
    encodings : Encodings
        n_encodings volumes.
    grid : Grid
        Exactly the axes of the kernel.

    Returns
    -------
    (n_encodings, n_bins) float array
        Unitless; bins in C order over ``grid.names``.

    Raises
    ------
    ValueError
        Unknown kernel, or a grid whose axes are not those of the kernel.

    Examples
    --------
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix
    >>> kernel_matrix("t2", Encodings(echo_time=[0, 50, 100]), Grid(t2=[50, 100])).round(3)
    array([[1.   , 1.   ],
           [0.368, 0.607],
           [0.135, 0.368]])

    """
    axes = kernel_axes(name)
    if set(grid.names) != set(axes):
        raise ValueError(f"kernel {name} needs a grid over {', '.join(axes)}, got {', '.join(grid.names)}")
    return signal(name, encodings, **grid.bins())


def possible_kernels(encodings):
    """Kernels whose every axis is varied by the protocol, most axes first.

    A kernel that leaves out a contrast which varies is listed too: it is possible for a
    subset of the volumes only. ``adc-kurtosis`` needs three distinct b-values; a kernel without diffusion needs
    unweighted volumes where b varies.

    Examples
    --------
    >>> from mrspec_prep.physics import Encodings, possible_kernels
    >>> possible_kernels(Encodings(echo_time=[10, 20], inversion_time=[50, 900]))
    ('t1-t2', 't2', 't2star', 't1')

    """
    varied = set(encodings.varying())
    names = [name for name, axes in KERNELS.items() if {NEEDS[axis] for axis in axes} <= varied]
    if encodings.bvalue is not None and len(np.unique(np.round(encodings.bvalue, -2))) < 3:
        names = [name for name in names if name != "adc-kurtosis"]
    if "bvalue" in varied and not encodings.is_b0().any():
        names = [name for name in names if "bvalue" in {NEEDS[axis] for axis in KERNELS[name]}]
    return tuple(sorted(names, key=lambda name: -len(KERNELS[name])))
