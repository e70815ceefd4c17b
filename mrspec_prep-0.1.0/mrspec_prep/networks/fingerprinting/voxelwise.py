"""Method ``dictionary``: every voxel on its own."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.fingerprinting.matching import match_atoms
from mrspec_prep.networks.fingerprinting.reconstruction import N_ITERATIONS
from mrspec_prep.networks.fingerprinting.refinement import refine


@dataclass(frozen=True)
class DictionarySettings:
    """Settings of dictionary matching.

    Attributes
    ----------
    refine : bool
        Fit relaxation times between the atoms; False: those of the best atom.
    n_iterations : int
        Conjugate gradients, where the sampling is known.
    window : int
        Frames that the reconstruction averaged (sliding window); 1: none.

    """

    refine: bool = True
    n_iterations: int = N_ITERATIONS
    window: int = 1

    def __post_init__(self):
        if not isinstance(self.refine, bool):
            raise ValueError(f"refine must be true or false, got {self.refine!r}")
        for name in ("n_iterations", "window"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value}")


@dataclass(frozen=True, eq=False)
class VoxelFit:
    """Relaxation times of coefficients.

    Attributes
    ----------
    t1, t2 : (n_voxels,) array
        [ms].
    m0 : (n_voxels,) complex array
        [signal units].
    product : (n_voxels,) array
        |<c, Phi d>| / ||Phi d|| [signal units].
    match : (n_voxels,) array
        The same over ||c||.
    signals : (n_voxels, rank) array
        Phi d, per unit of M0.
    atoms : (n_voxels,) int array
        Best atom, index of ``dictionary.atoms``.

    """

    t1: np.ndarray
    t2: np.ndarray
    m0: np.ndarray
    product: np.ndarray
    match: np.ndarray
    signals: np.ndarray
    atoms: np.ndarray


def fit_voxels(coefficients, dictionary, settings=None):
    """Match coefficients with a dictionary.

    Parameters
    ----------
    coefficients : (n_voxels, rank) complex array
    dictionary : Dictionary
    settings : DictionarySettings, optional

    Returns
    -------
    VoxelFit

    """
    settings = settings or DictionarySettings()
    index, product = match_atoms(coefficients, dictionary.directions)
    if settings.refine:
        t1, t2, m0, product, signals = refine(coefficients, dictionary, index)
    else:
        pairs = dictionary.grid.bins()
        chosen = dictionary.atoms[index]
        t1, t2 = pairs["t1"][chosen], pairs["t2"][chosen]
        signals = dictionary.table.reshape(-1, dictionary.rank)[chosen]
        m0 = (signals * coefficients).sum(axis=1) / (signals**2).sum(axis=1)
    norms = np.linalg.norm(coefficients, axis=1)
    match = np.minimum(product / np.where(norms > 0, norms, 1.0), 1.0)
    return VoxelFit(t1, t2, m0, product, match, signals, index)
