"""What every node shares: reading its series, rebuilding its kernel, keeping to its threads."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, traits
from threadpoolctl import threadpool_limits

from mrspec_prep.bids.input.series import Series
from mrspec_prep.bids.nifti import read_grid
from mrspec_prep.physics import Grid, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import neighbours_of
from mrspec_prep.threads import using_threads

__all__ = [
    "ComputeInputSpec",
    "File",
    "ImagesInputSpec",
    "SeriesInputSpec",
    "SimpleInterface",
    "kernel_of",
    "neighbours_in",
    "read_series",
    "traits",
    "within_threads",
]


class SeriesInputSpec(BaseInterfaceInputSpec):
    """Input of a node that works on one series."""

    series = File(exists=True, mandatory=True, desc="the series: files, volumes, encodings (JSON)")


class ImagesInputSpec(SeriesInputSpec):
    """Input of a node that reads the images themselves: Nipype knows their names only, not when they are replaced."""

    fingerprint = traits.Str(desc="changes when an input file changes")


class ComputeInputSpec(SeriesInputSpec):
    """Input of a node that fits."""

    kernel = traits.Dict(mandatory=True, desc="kernel name, grid points, spacing, bounds")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads over voxels; changes no result")


def read_series(path):
    """Series of a node's JSON file."""
    return Series.from_json(json.loads(Path(path).read_text()))


def kernel_of(series, kernel):
    """Grid and kernel matrix of a series.

    Returns
    -------
    grid : Grid
    matrix : (n_encodings, n_bins) array

    """
    grid = grid_of(series, kernel)
    return grid, kernel_matrix(kernel["name"], series.encodings, grid)


def neighbours_in(series, roi, n_neighbours):
    """Neighbour lists of the voxels of a boolean (x, y, z) array, by the voxel size of a series."""
    affine = read_grid(series.images[0]).affine
    return neighbours_of(roi, np.linalg.norm(affine[:3, :3], axis=0), n_neighbours)


def grid_of(series, kernel) -> Grid:
    """Grid that the kernel settings give on this protocol."""
    return default_grid(
        kernel_axes(kernel["name"]),
        series.encodings,
        points=list(kernel["points"]) or None,
        bounds=kernel["bounds"],
        spacing=kernel["spacing"],
        values=kernel.get("grid"),
    )


@contextmanager
def within_threads(num_threads):
    """Compiled voxel loops on ``num_threads`` threads, linear algebra on one.

    Sums over BLAS threads depend on their number; voxel loops do not. With this the result
    of a node is the same bytes whatever ``--omp-nthreads`` says.
    """
    with threadpool_limits(1), using_threads(num_threads):
        yield


def save_arrays(path, **arrays):
    """Write named arrays for the next node and give the path as text."""
    np.savez(path, **arrays)
    return str(path)
