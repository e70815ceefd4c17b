"""Images of random shapes, from which a network learns what images are: leaves that fall on each other.

Dead leaves (Lee, Mumford and Huang 2001, Int J Comput Vision 41:35) have the edges, the flat parts and the range of
scales of natural images; networks trained on them denoise natural images (Achddou et al. 2021, SSVM). Here a leaf is a
tissue: leaves of one image share a few relaxation rates and amplitudes.
"""

from math import cos, pi, sin

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

FINE = 2  # points of the fine grid along each side of a voxel
LARGEST_OVER = 1.6  # of the radius: how far a leaf's outline may reach


def leaf_image(rng, n_voxels=96):
    """Tissue of one random image.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_voxels : int
        Along each side.

    Returns
    -------
    (2, FINE n_voxels, FINE n_voxels) float32 array
        Logarithm of T2 in arbitrary units, amplitude >= 0.

    """
    n = n_voxels * FINE
    times, amplitudes, spread = _tissues(rng)
    log_time, amplitude = np.zeros((2, n, n), np.float32)
    for radius in _radii(rng, n):
        tissue = rng.integers(len(times))
        rows, columns, inside = _leaf(rng, radius, n)
        log_time[rows, columns][inside] = times[tissue] + spread * rng.normal()
        amplitude[rows, columns][inside] = amplitudes[tissue] * np.exp(0.5 * spread * rng.normal())
    if rng.random() < 0.5:
        log_time, amplitude = _warped(rng, log_time, amplitude)
    for field in (log_time, amplitude):
        if rng.random() < 0.7:
            field += rng.exponential(0.04) * _smooth(rng, n, np.exp(rng.uniform(0, 3)) * FINE)
        if rng.random() < 0.4:
            field += rng.exponential(0.03) * _smooth(rng, n, 0.7 * FINE)
    amplitude *= np.exp(rng.exponential(0.15) * _smooth(rng, n, 0.3 * n))  # sensitivity of coils
    if rng.random() < 0.4:  # air
        amplitude[_smooth(rng, n, 0.15 * n) > rng.uniform(0.8, 2)] = 0
    return np.stack([log_time, np.maximum(amplitude, 0)]).astype(np.float32)


def _tissues(rng):
    """Logarithms of T2, amplitudes of the tissues of one image, and how much leaves of a tissue differ."""
    n = rng.integers(3, 9)
    if rng.random() < 0.5:  # alike, and one that is not
        times = rng.uniform(-1.2, 1.2) + rng.normal(0, 0.35, n)
        times[0] += rng.choice([-1, 1]) * rng.uniform(0.5, 3)
    else:
        times = rng.uniform(-2.5, 3, n)
    return times, 0.8 * np.exp(rng.normal(0, 0.35, n)), rng.choice([0, 0.02, 0.05, 0.1, 0.2])


def _radii(rng, n):
    """Radii of the leaves in the order in which they fall; the first covers all."""
    count = int(np.exp(rng.uniform(np.log(15), np.log(150))))
    radii = np.exp(rng.uniform(np.log(FINE), np.log(rng.uniform(0.1, 0.5) * n), count))
    if rng.random() < 0.6:
        radii = np.sort(radii)[::-1]
    return [2 * n, *radii]


def _leaf(rng, radius, n):
    """Rows, columns (slices) of one leaf's frame, and where in the frame the leaf is."""
    y, x = (rng.random(2) * n).tolist()
    radius, stretch, turn = float(radius), float(np.exp(rng.normal(0, 0.5))), pi * rng.random()
    reach = int(min(radius * max(stretch, 1 / stretch) * LARGEST_OVER + 3, 3 * n))
    rows = slice(max(int(y - reach), 0), min(int(y + reach), n))
    columns = slice(max(int(x - reach), 0), min(int(x + reach), n))
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - y
    dx = np.arange(columns.start, columns.stop, dtype=np.float32) - x
    u = (cos(turn) * dx + sin(turn) * dy) / (radius * stretch)
    v = (cos(turn) * dy - sin(turn) * dx) / (radius / stretch)
    kind = rng.random()
    if kind < 0.7:  # a blob, sometimes hollow like cortex
        angle, distance, outline = np.arctan2(v, u), np.sqrt(u**2 + v**2), 1.0
        for lobes in range(2, 7):
            outline = outline + rng.normal(0, 0.12) * np.cos(lobes * angle + 2 * pi * rng.random())
        inside = distance < outline
        if kind < 0.15:
            inside &= distance > outline - rng.uniform(0.1, 0.5)
    elif kind < 0.85:  # a box
        inside = (np.abs(u) < 1) & (np.abs(v) < 1)
    else:  # a winding line
        inside = (np.abs(v - 0.5 * np.sin(2 * u)) < 0.15) & (np.abs(u) < 1.5)
    return rows, columns, inside


def _warped(rng, *fields):
    """Fields bent by one random smooth displacement."""
    n = len(fields[0])
    scale, size = rng.uniform(3, 12) * FINE, rng.uniform(0, 4) * FINE
    where = np.mgrid[:n, :n].astype(np.float32) + size * np.stack([_smooth(rng, n, scale), _smooth(rng, n, scale)])
    return [map_coordinates(field, where, order=0, mode="mirror") for field in fields]


def _smooth(rng, n, scale):
    """(n, n) smooth random field of mean about 0 and standard deviation 1."""
    field = gaussian_filter(rng.standard_normal((n, n)).astype(np.float32), scale, mode="wrap")
    return field / field.std()
