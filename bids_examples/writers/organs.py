"""Simulated organs: what each is made of, and how it is drawn.

Organs are drawn on a fine grid and averaged into voxels, so that borders hold partial volume. Each tissue is a mixture
of compartments.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FINE = (8, 8, 4)  # sub-voxel points per axis over which a voxel is averaged


@dataclass(frozen=True)
class Organ:
    """A simulated organ: what it is made of and how it is drawn.

    Parameters
    ----------
    kernel : str
        Key of ``KERNELS``.
    shape : tuple of int
        Voxels per axis.
    voxel_size : tuple of float
        [mm].
    components : dict of str to dict
        Compartment -> value per spectral axis [um2/ms, ms].
    tissues : dict of str to dict
        Tissue -> volume fraction of each compartment it holds; fractions sum to one.
    draw : callable
        ``draw(x, y, z, participant)`` -> (n_points, n_tissues) fractions at points
        given in voxels from the centre; what is missing to one is air.
    region : tuple of str
        Tissues that make up the region of interest.

    """

    kernel: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    components: dict[str, dict[str, float]]
    tissues: dict[str, dict[str, float]]
    draw: Callable
    region: tuple[str, ...]


def soft_step(distance, width):
    """0 to 1 across ``distance`` = 0, smooth over ``width``."""
    return 0.5 * (1 + np.tanh(distance / width))


def draw_placenta(x, y, z, participant):
    """Placenta along the wall of a fluid-filled uterus; tissues as in ``PLACENTA.tissues``.

    Lobules side by side along the wall, each with a soft core, divided by septa that reach
    in from the wall. The second participant's placenta lies elsewhere, and one of its lobules
    has lost its core.
    """
    side, n_lobules, poor_lobule = {"01": (-0.5 * np.pi, 4, None), "02": (-0.1 * np.pi, 4, 1)}[participant]
    angle = np.angle(np.exp(1j * (np.arctan2(y, x) - side)))
    radius = np.hypot(x / 11.4, y / 10.6) * (1 + 0.03 * np.cos(3 * angle + 1)) + 0.008 * z**2
    reach = 1.9 - 0.04 * z
    along = angle / reach
    inner = 0.18 + 0.60 * np.clip(np.abs(along), 0, 1) ** 5
    uterus, within_wall = radius < 1.0, radius < 0.84
    placenta = within_wall & (np.abs(along) < 1) & (radius > inner)

    thickness, depth = 11.0 * (0.84 - inner), 11.0 * (0.84 - radius)  # voxels; depth is 0 at the wall
    position = (0.5 * (along + 1) + 0.01 * np.sin(1.5 * z)) * n_lobules
    lobule, offset = np.floor(position), position - np.floor(position) - 0.5
    width = 2 * reach / n_lobules * np.maximum(radius, 0.45) * 11.0  # of a lobule, voxels
    arc = offset * width
    half_width, half_depth = np.maximum(0.5 * width - 1.4, 0.1), np.maximum(0.5 * thickness - 1.3, 0.1)  # of a core
    core = soft_step(1 - np.hypot(arc / half_width, (depth - 0.5 * thickness) / half_depth), 0.1)
    core = core * (lobule != poor_lobule)
    septum = soft_step(0.6 - 0.5 * width + np.abs(arc), 0.1) * (depth < 0.6 * thickness)
    septum = np.where((lobule <= 0) & (offset < 0) | (lobule >= n_lobules - 1) & (offset > 0), 0.0, septum)
    poor = np.zeros_like(x) if poor_lobule is None else (lobule == poor_lobule) * soft_step(0.45 - np.abs(offset), 0.05)
    rest = 1 - septum
    parts = np.stack([rest * core, rest * (1 - core) * (1 - poor), septum, rest * (1 - core) * poor], axis=1)
    parts *= placenta[:, None]
    wall = uterus & ~within_wall
    fluid = within_wall & ~placenta
    return np.column_stack([parts, wall & (np.abs(along) < 1.1), wall & (np.abs(along) >= 1.1), fluid]).astype(float)


PLACENTA = Organ(
    kernel="adc-t2star",
    shape=(24, 24, 4),
    voxel_size=(4.0, 4.0, 5.0),
    components={
        "pool": {"diffusivity": 2.3, "t2star": 120.0},
        "tissue": {"diffusivity": 1.6, "t2star": 68.0},
        "flow": {"diffusivity": 45.0, "t2star": 80.0},
        "decidua": {"diffusivity": 1.1, "t2star": 45.0},
        "scar": {"diffusivity": 0.8, "t2star": 36.0},
        "muscle": {"diffusivity": 1.8, "t2star": 52.0},
        "water": {"diffusivity": 3.0, "t2star": 250.0},
    },
    tissues={
        "core": {"pool": 0.65, "flow": 0.35},
        "villous": {"tissue": 0.85, "flow": 0.15},
        "septum": {"decidua": 1.0},
        "poor": {"scar": 0.95, "flow": 0.05},
        "wall": {"muscle": 0.7, "flow": 0.3},
        "farwall": {"muscle": 0.7, "flow": 0.3},
        "fluid": {"water": 1.0},
    },
    draw=draw_placenta,
    region=("core", "villous", "septum", "poor", "wall"),
)


def draw_prostate(x, y, z, participant):
    """Prostate: outer zone, inner zone with three nodules, one lesion; tissues as in ``PROSTATE.tissues``."""
    radius = np.hypot(x / 6.3, (y + 0.25 * (x / 6.3) ** 2) / 5.3) + 0.03 * z**2
    prostate = radius < 1.0
    inner_zone = prostate & (np.hypot(x / 4.6, (y - 1.3) / 3.4) < 1.0)
    nodules = np.zeros_like(x)
    for nodule_x, nodule_y, size in ((-2.0, 1.8, 1.5), (1.9, 2.2, 1.3), (0.6, -0.3, 0.9)):
        distance = np.sqrt((x - nodule_x) ** 2 + (y - nodule_y) ** 2 + (1.2 * z) ** 2)
        nodules = np.maximum(nodules, soft_step(size - distance, 0.25))
    lesion = soft_step(1.4 - np.sqrt((x - 3.4) ** 2 + (y + 2.6) ** 2 + z**2), 0.3) * (prostate & ~inner_zone)
    outer = (prostate & ~inner_zone) * (1 - lesion)
    return np.column_stack([outer, inner_zone * (1 - nodules), inner_zone * nodules, lesion])


PROSTATE = Organ(
    kernel="adc-t2",
    shape=(16, 16, 3),
    voxel_size=(3.0, 3.0, 3.0),
    components={
        "stroma": {"diffusivity": 1.1, "t2": 55.0},
        "epithelium": {"diffusivity": 0.5, "t2": 70.0},
        "lumen": {"diffusivity": 2.8, "t2": 500.0},
    },
    tissues={
        "outer": {"stroma": 0.3, "epithelium": 0.25, "lumen": 0.45},
        "inner": {"stroma": 0.65, "epithelium": 0.25, "lumen": 0.1},
        "nodule": {"stroma": 0.35, "epithelium": 0.35, "lumen": 0.3},
        "lesion": {"stroma": 0.3, "epithelium": 0.67, "lumen": 0.03},
    },
    draw=draw_prostate,
    region=("outer", "inner", "nodule", "lesion"),
)


def draw_brain(x, y, z, participant):
    """Brain slices: folded cortex, ventricles, one lesion; tissues as in ``BRAIN.tissues``."""
    angle = np.arctan2(y, x)
    radius = np.hypot(x / 8.2, y / 9.6) + 0.015 * z**2
    head = radius < 1.0
    folds = 0.03 * np.cos(13 * angle + 0.7 * z) + 0.02 * np.cos(7 * angle)
    cleft = (np.abs(x) < 0.3) & (np.abs(y) > 5.0)
    surface = (radius < 0.92 + 0.6 * folds) & ~cleft
    white = (radius < 0.74 + 1.6 * folds) & (np.abs(x) > 0.8 * (np.abs(y) > 4.2))
    bend = np.abs(x) - 1.2 - 0.11 * y**2
    ventricle = soft_step(0.5 - np.abs(bend), 0.1) * (np.abs(y) < 2.9)
    deep = np.hypot((np.abs(x) - 3.0) / 0.9, (y + 0.2) / 1.5) < 1.0
    grey = surface & (~white | deep)
    white = surface & white & ~deep
    lesion = soft_step(1.7 - np.sqrt((x + 2.9) ** 2 + (y - 4.0) ** 2 + z**2), 0.25) * white * (1 - ventricle)
    fluid = head & ~surface
    tissue = 1 - ventricle
    return np.column_stack([white * (tissue - lesion), grey * tissue, lesion, fluid + ventricle])


BRAIN = Organ(
    kernel="t1-t2",
    shape=(20, 22, 3),
    voxel_size=(7.0, 7.0, 7.0),
    components={
        "myelin": {"t2": 15.0, "t1": 400.0},
        "axonal": {"t2": 72.0, "t1": 900.0},
        "cortical": {"t2": 95.0, "t1": 1400.0},
        "injured": {"t2": 160.0, "t1": 1800.0},
        "water": {"t2": 700.0, "t1": 3800.0},
    },
    tissues={
        "white": {"myelin": 0.15, "axonal": 0.85},
        "grey": {"myelin": 0.03, "cortical": 0.97},
        "lesion": {"myelin": 0.02, "injured": 0.98},
        "fluid": {"water": 1.0},
    },
    draw=draw_brain,
    region=("white", "grey", "lesion", "fluid"),
)


def tissue_fractions(organ, participant):
    """(x, y, z, n_tissues) fraction of each tissue per voxel: the mean over its sub-voxel points."""
    axes = [(np.arange(n * f) + 0.5) / f - n / 2 for n, f in zip(organ.shape, FINE, strict=True)]
    points = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    drawn = np.asarray(organ.draw(*points, participant), dtype=float)
    blocks = drawn.reshape(*(length for n, f in zip(organ.shape, FINE, strict=True) for length in (n, f)), -1)
    return np.clip(blocks.mean(axis=(1, 3, 5)), 0.0, 1.0)


def component_fractions(organ, tissues):
    """(..., n_components) volume fraction of each compartment, from (..., n_tissues)."""
    table = [[content.get(name, 0.0) for name in organ.components] for content in organ.tissues.values()]
    return tissues @ np.array(table)


def coil_shading(shape):
    """(x, y, z) smooth sensitivity, 0.8 to 1.2, unitless."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return 1.0 + 0.12 * y - 0.06 * x * y - 0.05 * x
