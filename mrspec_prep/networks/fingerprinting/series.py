"""A series of frames, checked, as rows of voxels and back."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics.checks import number_array


@dataclass(frozen=True, eq=False)
class Series:
    """Voxels to fit.

    Attributes
    ----------
    voxels : (n_voxels, n_frames) array
        Of the mask, in C order of the volume.
    mask : (...) bool array
        Shape of the maps.
    magnitude : bool
        Whether the numbers are magnitudes: real, none negative.
    volume : (..., n_frames) array
        The whole series.

    """

    voxels: np.ndarray
    mask: np.ndarray
    magnitude: bool
    volume: np.ndarray

    def to_maps(self, values):
        """Rows of voxels, (n_voxels, ...), into maps; 0 outside the mask."""
        values = np.asarray(values)
        maps = np.zeros((*self.mask.shape, *values.shape[1:]), values.dtype)
        maps[self.mask] = values
        return maps


def checked_series(series, schedule, mask=None):
    """Take the voxels of a mask.

    Parameters
    ----------
    series : (x, y, z, n_frames) or (n_voxels, n_frames) array
        Complex, or real.
    schedule : Schedule
    mask : (x, y, z) or (n_voxels,) array, optional
        Default: voxels whose frames are not all zero.

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        Wrong shapes, frames unlike the schedule's, NaN, nothing but zeros.

    """
    series = number_array(series, "series")
    if series.ndim not in (2, 4):
        raise ValueError(f"series must be (x, y, z, n_frames) or (n_voxels, n_frames), got shape {series.shape}")
    if series.shape[-1] != len(schedule):
        frames = f"{series.shape[-1]} frames and the schedule {len(schedule)}"
        raise ValueError(f"the series has {frames}: one row of the schedule per frame")
    signal = np.abs(series).max(axis=-1)  # NaN and infinity carry over
    chosen = signal != 0 if mask is None else np.asarray(mask) != 0
    if chosen.shape != series.shape[:-1]:
        raise ValueError(f"mask has shape {chosen.shape}, the series {series.shape[:-1]} voxels: one value per voxel")
    if not chosen.any():
        what = "the series is zero everywhere" if mask is None else "the mask is empty"
        raise ValueError(f"{what}: there is no voxel to fit")
    signal = signal[chosen]
    if not np.isfinite(signal).all():
        n = int((~np.isfinite(signal)).sum())
        raise ValueError(f"{n} voxels hold NaN or infinite values: mask those voxels out")
    if (signal == 0).any():
        raise ValueError(
            f"{int((signal == 0).sum())} voxels of the mask are zero in every frame: mask those voxels out"
        )
    voxels = series[chosen]
    return Series(voxels, chosen, not np.iscomplexobj(voxels) and bool((voxels >= 0).all()), series)
