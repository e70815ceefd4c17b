"""How the frames of a series were sampled, so far as the subspace needs to know it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Sampling:
    """Point spread of each interleaf, in the image plane.

    A frame gridded from its one interleaf is its true image convolved with the interleaf's point spread (summed over
    coils: s* times the convolution of s times the image). With it, coefficients are least squares of the samples
    instead of projections of gridded images, without aliasing: no other knowledge of k-space is needed.

    Parameters
    ----------
    spread : (n_interleaves, 2 nx, 2 ny) complex array
        What gridding makes of a point of height one, the point at index (nx, ny); the same density weights and scale as
        the series' frames. Equals the gridded image of samples that are all one, on twice the matrix.
    interleaf : (n_frames,) int array
        Index of each frame's interleaf.
    coils : (n_coils, nx, ny, nz) complex array, optional
        Sensitivities s that frames were combined with, sum over coils of s* F' w y; default: one, of 1.
    support : (nx, ny) bool array, optional
        Where there can be signal; default: the ellipse within the matrix, the field of view of spirals and of radial
        lines. In corners beyond it aliasing and object cannot be told apart.

    Raises
    ------
    ValueError
        Shapes that do not belong together, values not finite, or an index without an interleaf.

    """

    spread: np.ndarray
    interleaf: np.ndarray
    coils: np.ndarray | None = None
    support: np.ndarray | None = None

    def __post_init__(self):
        spread, interleaf = np.asarray(self.spread), np.asarray(self.interleaf)
        if spread.ndim != 3 or spread.shape[1] % 2 or spread.shape[2] % 2:
            raise ValueError(f"spread must be (n_interleaves, 2 nx, 2 ny), got shape {spread.shape}")
        if interleaf.ndim != 1 or interleaf.dtype.kind not in "iu":
            raise ValueError(f"interleaf must hold one whole number per frame, got {interleaf.dtype} {interleaf.shape}")
        if interleaf.size and not 0 <= interleaf.min() <= interleaf.max() < len(spread):
            raise ValueError(
                f"interleaf must lie between 0 and {len(spread) - 1}, got {interleaf.min()}..{interleaf.max()}"
            )
        object.__setattr__(self, "support", self._checked_support(self._plane(spread)))
        coils = None if self.coils is None else np.asarray(self.coils)
        if coils is not None and (coils.ndim != 4 or coils.shape[1:3] != self._plane(spread)):
            plane = self._plane(spread)
            raise ValueError(f"coils must be (n_coils, {plane[0]}, {plane[1]}, nz), got shape {coils.shape}")
        for name, values in (("spread", spread), ("coils", coils)):
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name} holds NaN or infinite values")
        object.__setattr__(self, "spread", spread)
        object.__setattr__(self, "interleaf", interleaf)
        object.__setattr__(self, "coils", coils)

    def _checked_support(self, plane):
        if self.support is None:
            x, y = (2 * (np.arange(n) + 0.5) / n - 1 for n in plane)
            return np.hypot(x[:, None], y) <= 1
        support = np.asarray(self.support) != 0
        if support.shape != plane or not support.any():
            raise ValueError(f"support must be {plane} with some voxels, got {support.sum()} of shape {support.shape}")
        return support

    @staticmethod
    def _plane(spread):
        return (spread.shape[1] // 2, spread.shape[2] // 2)

    def check(self, shape):
        """Refuse a series (x, y, z, n_frames) of another matrix, number of slices or frames."""
        if len(shape) != 4:
            raise ValueError(f"sampling needs a series (x, y, z, n_frames), got shape {shape}")
        if shape[:2] != self._plane(self.spread):
            raise ValueError(f"spread is of a matrix {self._plane(self.spread)}, the series of {shape[:2]}")
        if shape[3] != len(self.interleaf):
            raise ValueError(f"interleaf has {len(self.interleaf)} frames, the series {shape[3]}")
        if self.coils is not None and self.coils.shape[3] != shape[2]:
            raise ValueError(f"coils have {self.coils.shape[3]} slices, the series {shape[2]}")
