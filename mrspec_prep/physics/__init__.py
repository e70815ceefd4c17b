"""Encodings, signal equations, grids, kernels and simulation. Arrays in, arrays out."""

from mrspec_prep.physics.encodings import Encodings
from mrspec_prep.physics.fingerprinting.schedule import Schedule
from mrspec_prep.physics.grids import AXIS_SYMBOLS, AXIS_UNITS, Grid, default_grid
from mrspec_prep.physics.kernels import KERNELS, kernel_axes, kernel_matrix, possible_kernels
from mrspec_prep.physics.simulate import add_noise, simulate_signals

__all__ = [
    "AXIS_SYMBOLS",
    "AXIS_UNITS",
    "KERNELS",
    "Encodings",
    "Grid",
    "Schedule",
    "add_noise",
    "default_grid",
    "kernel_axes",
    "kernel_matrix",
    "possible_kernels",
    "simulate_signals",
]
