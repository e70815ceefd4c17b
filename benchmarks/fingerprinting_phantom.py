"""A slice of a brain by formulas, for fingerprinting: tissue with soft borders and slow variation, no network in it."""

from dataclasses import dataclass

import numpy as np

#: T1, T2 [ms] and M0 of tissue at 3 T, rounded
TISSUES = {
    "white": (850.0, 65.0, 0.70),
    "grey": (1400.0, 95.0, 0.82),
    "csf": (4000.0, 1500.0, 1.0),
    "lesion": (1150.0, 160.0, 0.78),
}
SPREAD = 0.06  # of T1 and T2 within a tissue, relative, as a slow field
EDGE = 1.0  # voxels of a 128 matrix over which tissues pass into each other


@dataclass(frozen=True, eq=False)
class Phantom:
    """Truth of one slice.

    Attributes
    ----------
    t1, t2 : (n, n) array
        [ms]; 0 outside the head.
    m0 : (n, n) complex array
    mask : (n, n) bool array
        Where M0 is at least half of a tissue's.
    labels : (n, n) int array
        Index of the tissue with the largest share, -1 outside the mask.
    pure : (n, n) bool array
        Where one tissue has at least 95 %.

    """

    t1: np.ndarray
    t2: np.ndarray
    m0: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    pure: np.ndarray


def make_phantom(n=128, seed=0):
    """Brain slice of n x n voxels; the seed moves folds, ventricles, lesions and slow fields."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1] * 2, indexing="ij")
    soft = EDGE * 2 / 128
    shares = _shares(x, y, soft, rng)
    names = list(TISSUES)
    inside = _step(0.86 - np.hypot(x / 0.92, y / 0.78) / 1.0, soft)
    values = np.array([TISSUES[name] for name in names])
    fields = [1 + SPREAD * _slow(x, y, rng) for _ in range(2)]
    t1 = np.exp(np.tensordot(np.log(values[:, 0]), shares, 1)) * fields[0]
    t2 = np.exp(np.tensordot(np.log(values[:, 1]), shares, 1)) * fields[1]
    phase = 0.8 * _slow(x, y, rng) + 1.2 * x - 0.7 * y
    m0 = np.tensordot(values[:, 2], shares, 1) * inside * (1 + 0.1 * _slow(x, y, rng)) * np.exp(1j * phase)
    mask = inside > 0.5
    labels = np.where(mask, shares.argmax(axis=0), -1)
    return Phantom(t1 * (inside > 0), t2 * (inside > 0), m0, mask, labels, mask & (shares.max(axis=0) > 0.95))


def _step(signed, width):
    """0 to 1 where the signed distance passes zero."""
    return 0.5 * (1 + np.tanh(signed / width))


def _slow(x, y, rng):
    """Field of unit variance that varies over a third of the head."""
    field = np.zeros_like(x)
    for _ in range(6):
        k = rng.uniform(-1, 1, 2) * np.pi * 1.5
        field += np.cos(k[0] * x + k[1] * y + 2 * np.pi * rng.random())
    return field / np.sqrt(3)


def _shares(x, y, soft, rng):
    """Shares of the tissues, (4, n, n), that sum to one."""
    radius, angle = np.hypot(x / 0.92, y / 0.78), np.arctan2(y, x)
    waves = sum(
        a * np.cos(k * angle + 2 * np.pi * rng.random()) for k, a in ((3, 0.012), (7, 0.016), (12, 0.022), (19, 0.024))
    )
    pial = _step(0.79 + 0.5 * waves - radius, soft)  # inside: brain
    ribbon = _step(0.68 + 1.9 * waves - radius, soft)  # inside: not cortex
    fissure = _step(0.012 - np.abs(y), soft) * _step(np.abs(x) - 0.42, soft)
    nuclei = np.zeros_like(x)
    for side in (-1, 1):
        for place in ((-0.02, 0.27, 0.19, 0.075), (0.2, 0.12, 0.12, 0.08)):
            cx, cy, a, b = np.array(place) * rng.uniform(0.93, 1.07, 4)
            nuclei = np.maximum(nuclei, _ellipse(x - cx, y - side * cy, a, b, soft))
    ventricles = np.zeros_like(x)
    for side in (-1, 1):
        bend = 0.11 + 0.35 * (x + 0.12) ** 2
        size = rng.uniform(0.9, 1.1)
        ventricles = np.maximum(ventricles, _ellipse(x + 0.12, y - side * bend, 0.27 * size, 0.06 * size, soft))
    lesions = np.zeros_like(x)
    for _ in range(5):
        r, phi = rng.uniform(0.3, 0.5), 2 * np.pi * rng.random()
        a, b = rng.uniform(0.025, 0.07, 2)
        lesions = np.maximum(lesions, _ellipse(x - 0.92 * r * np.cos(phi), y - 0.78 * r * np.sin(phi), a, b, soft))
    csf = np.maximum(np.maximum(1 - pial, fissure), ventricles)
    grey = (1 - csf) * np.maximum(1 - ribbon, nuclei)
    rest = 1 - csf - grey
    return np.stack([rest * (1 - lesions), grey, csf, rest * lesions])


def _ellipse(x, y, a, b, soft):
    return _step((1 - np.hypot(x / a, y / b)) * min(a, b), soft)
