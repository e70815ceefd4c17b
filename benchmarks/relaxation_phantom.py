"""A head-like phantom for T2 maps, made of ellipses, sulci and smooth textures; no network had a hand in it.

Each voxel is the mean of 4 x 4 points, so that borders hold partial volume; the truth of a voxel is the least-squares
T2 of its noise-free signals.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from mrspec_prep.networks import fit_scan_cnn

TISSUES = ("air", "CSF", "cortex", "white", "deep grey", "lesion")
T2 = np.array([1.0, 1200.0, 95.0, 72.0, 62.0, 160.0])  # ms
M0 = np.array([0.0, 1.0, 0.82, 0.70, 0.76, 0.85])
FINE = 4  # points along each side of a voxel
NO_CSF = 0.05  # volume fraction of CSF below which a voxel counts as without


@dataclass(frozen=True, eq=False)
class Phantom:
    """Noise-free images and what is true of them.

    Attributes
    ----------
    images : (n, n, z, n_echoes) array
        M0 about 1.
    t2, m0 : (n, n, z) array
        Least-squares fit of ``images`` [ms; unitless].
    tissue : (n, n, z) int array
        Place in ``TISSUES`` of the tissue with the largest volume.
    csf : (n, n, z) array
        Volume fraction of CSF and air.

    """

    images: np.ndarray
    t2: np.ndarray
    m0: np.ndarray
    tissue: np.ndarray
    csf: np.ndarray

    @property
    def mask(self):
        """Voxels with tissue."""
        return self.tissue > 0

    def regions(self):
        """Where errors are looked at: name and (n, n, z) bool array."""
        solid = self.mask & (self.tissue != 1) & (self.csf < NO_CSF)
        found = {"whole": self.mask, "without CSF": solid, "at borders": solid & borders(self.tissue)}
        return found | {name: solid & (self.tissue == k) for k, name in enumerate(TISSUES) if k > 1}


def borders(tissue):
    """Voxels with another tissue beside them in their slice."""
    found = np.zeros(tissue.shape, bool)
    for axis in (0, 1):
        step = np.diff(tissue, axis=axis) != 0
        pad = [(0, 0)] * 3
        for side in ((0, 1), (1, 0)):
            pad[axis] = side
            found |= np.pad(step, pad)
    return found


def head_phantom(echo_times, seed, n=90, n_slices=3):
    """Phantom of n x n voxels; shape and texture change with the seed.

    Parameters
    ----------
    echo_times : (n_echoes,) sequence
        [ms].
    seed : int
    n, n_slices : int

    """
    rng, times = np.random.default_rng([seed, 20]), np.asarray(echo_times, float)
    bend = np.stack([_smooth(rng, n * FINE, 6 * FINE) for _ in range(2)])
    slices = [_slice(rng, n * FINE, bend, 1 + 0.02 * (k - n_slices / 2)) for k in range(n_slices)]
    images = np.stack([_voxels(m0[..., None] * np.exp(-times / t2[..., None])) for t2, m0, _ in slices], axis=2)
    parts = np.stack([_voxels((label[..., None] == np.arange(len(TISSUES))) * 1.0) for *_, label in slices], axis=2)
    tissue = parts.argmax(axis=-1)
    truth = fit_scan_cnn(images, times, method="varpro", mask=tissue > 0, noise_std=1e-4, distribution="gaussian")
    return Phantom(images, truth.t2, truth.m0, tissue, parts[..., 0] + parts[..., 1])


def _slice(rng, n, bend, size):
    """T2, M0 and tissue of one slice on the fine grid."""
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    bent = np.stack([x, y]) + 0.025 * (bend + 0.3 * np.stack([_smooth(rng, n, 6 * FINE) for _ in range(2)]))
    tissue = _tissue(*bent, size)
    texture = 1 + 0.04 * _smooth(rng, n, 3 * FINE) + 0.03 * _smooth(rng, n, FINE)
    t2 = T2[tissue] * np.where(tissue == 1, 1.0, texture)
    return t2, M0[tissue] * (1 + 0.03 * _smooth(rng, n, 3 * FINE)) * (1 - 0.15 * (x**2 + y**2)), tissue


def _tissue(x, y, size):
    """Tissue at points, head within the unit square."""

    def ellipse(x0, y0, a, b):
        return ((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 < 1

    radius, angle = np.hypot(x / (0.72 * size), y / (0.88 * size)), np.arctan2(y, x)
    folds = 0.05 * np.sin(14 * angle + 3 * np.sin(3 * angle)) + 0.02 * np.sin(31 * angle + 1)
    tissue = np.zeros(x.shape, int)
    tissue[radius < 1] = 1
    tissue[radius < 0.95 + folds / 2] = 2
    tissue[radius < 0.83 + folds] = 3
    sulci = np.abs(np.sin(7 * angle + 1.5 * np.sin(3 * angle))) < 0.06
    tissue[sulci & (radius > 0.72) & (radius < 1)] = 1
    for side in (-1, 1):
        tissue[ellipse(0.28 * side, 0.08, 0.1, 0.17)] = 4
        tissue[ellipse(0.13 * side, -0.05, 0.07, 0.27)] = 1
    tissue[ellipse(0.3, -0.45, 0.06, 0.05) | ellipse(-0.33, -0.3, 0.025, 0.025)] = 5
    return tissue


def _smooth(rng, n, scale):
    field = gaussian_filter(rng.standard_normal((n, n)), scale, mode="wrap")
    return field / field.std()


def _voxels(fine):
    """Means over ``FINE`` x ``FINE`` points."""
    n = len(fine) // FINE
    return fine.reshape(n, FINE, n, FINE, *fine.shape[2:]).mean(axis=(1, 3))
