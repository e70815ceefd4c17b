"""Whole volumes on the grid of a series: its 4-D image, and maps that go with it."""

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import check_same_grid, iterate_volumes, read_grid


def series_shape(series):
    """Number of voxels along x, y, z."""
    return read_grid(series.images[0]).shape


def load_map(path, series):
    """A 3-D map on the grid of a series.

    Returns
    -------
    (nx, ny, nz) float32 array

    Raises
    ------
    InputError
        Unreadable, of several volumes, or on another grid.

    """
    grid = read_grid(path)
    check_same_grid(path, grid, series.images[0], read_grid(series.images[0]))
    if grid.n_volumes != 1:
        raise InputError("a map must hold one volume", file=path, value=grid.n_volumes, remedy="split it")
    (volume,) = iterate_volumes(path)
    return volume


def check_noise_map(path, n_bad):
    """Raise InputError where a noise map is not positive in some voxels that are to be fitted."""
    if n_bad:
        raise InputError(
            "the noise map is not positive everywhere in the region of interest",
            file=path,
            value=f"{n_bad} voxels",
            remedy="give a map that covers the mask, or --noise residual",
        )


def load_series_image(series):
    """All volumes of a series as one image.

    Returns
    -------
    (nx, ny, nz, n_encodings) float32 array

    Raises
    ------
    InputError
        An image that cannot be read.

    """
    data = np.empty((*series_shape(series), len(series.encodings)), np.float32)
    for number, path in enumerate(series.images):
        encoding_of = {int(volume): e for e, (file, volume) in enumerate(series.volumes) if file == number}
        for index, volume in enumerate(iterate_volumes(path)):
            if index in encoding_of:
                data[..., encoding_of[index]] = volume
    return data
