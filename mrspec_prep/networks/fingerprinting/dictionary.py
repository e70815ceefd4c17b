"""Dictionary of fingerprints in the subspace that holds nearly all of their power."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrspec_prep.physics import Grid
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp
from mrspec_prep.threads import single_threaded_blas

T1_RANGE = (50.0, 5000.0)  # ms
T2_RANGE = (5.0, 2500.0)  # ms
N_POINTS = 83  # per axis, logarithmic: steps of 5.8 % (T1) and 7.9 % (T2), about 5000 pairs with T2 < T1
SMALLEST_NORM = 1e-6  # of an atom in the subspace, per unit of M0: below it there is no direction to match


def default_grid():
    """Return the grid of relaxation times that brain, muscle and fluid lie on."""
    return Grid(t1=np.geomspace(*T1_RANGE, N_POINTS), t2=np.geomspace(*T2_RANGE, N_POINTS))


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Signals of all pairs of a grid in a subspace; atoms are the pairs with T2 < T1.

    Attributes
    ----------
    schedule : Schedule
    grid : Grid
        Axes ``t2``, ``t1`` [ms].
    subspace : (rank, n_frames) array
        Phi, orthonormal rows, real.
    table : (n_t2, n_t1, rank) array
        Phi d of every pair, d the signal per unit of M0.
    power : float
        Share of the atoms' energy within the subspace, atoms of equal norm.
    magnitude : bool
        Whether d is the absolute value of the signal.
    window : int
        Frames that d is averaged over.

    """

    schedule: Schedule
    grid: Grid
    subspace: np.ndarray
    table: np.ndarray
    power: float
    magnitude: bool = False
    window: int = 1

    @property
    def rank(self):
        """Number of coefficients."""
        return len(self.subspace)

    @cached_property
    def atoms(self):
        """(n_atoms,) indices of the pairs that are atoms, into the grid's bins."""
        pairs = self.grid.bins()
        norms = np.linalg.norm(self.table.reshape(-1, self.rank), axis=1)
        return np.flatnonzero((pairs["t2"] < pairs["t1"]) & (norms > SMALLEST_NORM))

    @cached_property
    def directions(self):
        """(n_atoms, rank) array: Phi d / ||Phi d||."""
        atoms = self.table.reshape(-1, self.rank)[self.atoms]
        return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)

    def compress(self, t1, t2, b1=1.0):
        """(n_tissues, rank) coefficients Phi d of tissues, simulated per unit of M0; arguments of ``simulate_fisp``."""
        return self.simulate(t1, t2, b1) @ self.subspace.T

    def simulate(self, t1, t2, b1=1.0):
        """(n_tissues, n_frames) signals d of tissues per unit of M0, as this dictionary's; same arguments."""
        signals = simulate_fisp(self.schedule, t1, t2, b1)
        return windowed(np.abs(signals) if self.magnitude else signals, self.window)


def make_dictionary(schedule, grid=None, rank=6, *, magnitude=False, window=1):
    """Simulate a grid and find its subspace.

    Phi holds the leading right singular vectors of the matrix of atoms (McGivney 2014, doi:10.1109/TMI.2014.2337321),
    each atom of norm one, so that every tissue counts alike.

    Parameters
    ----------
    schedule : Schedule
    grid : Grid, optional
        With axes ``t1`` and ``t2`` [ms]; default: ``default_grid``.
    rank : int or float
        Number of coefficients; a number below 1: the least number that holds this share of the energy.
    magnitude : bool
        Of absolute values, for series without phase.
    window : int
        Of signals averaged over so many frames, for series reconstructed by a sliding window (``windowed``).

    Returns
    -------
    Dictionary

    Raises
    ------
    ValueError
        Axes missing, no pair with T2 < T1, or a rank that the atoms or frames cannot have.

    """
    grid = default_grid() if grid is None else grid
    if grid.names != ("t2", "t1"):
        raise ValueError(f"a dictionary's grid has the axes t1 and t2, got {', '.join(grid.names)}")
    pairs = grid.bins()
    atoms = pairs["t2"] < pairs["t1"]
    if not atoms.any():
        raise ValueError(
            f"no atom: the grid has no pair with T2 < T1 (T1 up to {grid.t1[-1]:g}, T2 from {grid.t2[0]:g} ms)"
        )
    signals = simulate_fisp(schedule, pairs["t1"], pairs["t2"])
    signals = windowed(np.abs(signals) if magnitude else signals, window)
    vectors, shares = _principal(signals[atoms])
    rank = _chosen_rank(rank, shares)
    with single_threaded_blas():
        table = (signals @ vectors[:rank].T).reshape(*grid.shape, rank)
    return Dictionary(schedule, grid, vectors[:rank], table, float(min(shares[rank - 1], 1.0)), magnitude, window)


def windowed(signals, window):
    """Mean of ``window`` neighbouring frames around each, shifted inwards at both ends; frames are the last axis."""
    n_frames = signals.shape[-1]
    if window == 1:
        return signals
    if not 1 <= window <= n_frames:
        raise ValueError(f"window must lie between 1 and the {n_frames} frames, got {window}")
    sums = np.cumsum(signals, axis=-1, dtype=complex if np.iscomplexobj(signals) else float)
    sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    first = np.clip(np.arange(n_frames) - (window - 1) // 2, 0, n_frames - window)
    return (sums[..., first + window] - sums[..., first]) / window


def _principal(signals):
    """Right singular vectors (rows) of signals of norm one, and the share of energy that the first 1, 2, ... hold."""
    norms = np.linalg.norm(signals, axis=1)
    if not (norms > 0).any():
        raise ValueError("no atom has any signal under this schedule: look at its flip angles")
    unit = signals[norms > 0] / norms[norms > 0, None]
    with single_threaded_blas():
        energies, vectors = np.linalg.eigh(unit.T @ unit)
    energies, vectors = np.maximum(energies[::-1], 0.0), vectors[:, ::-1].T
    vectors *= np.where(vectors.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)  # a sign for good
    return np.ascontiguousarray(vectors), np.cumsum(energies) / energies.sum()


def _chosen_rank(rank, shares):
    if isinstance(rank, float) and 0 < rank < 1:
        return int(np.searchsorted(shares, rank)) + 1
    if int(rank) != rank or not 1 <= rank <= len(shares):
        remedy = f"a whole number from 1 to {len(shares)} (frames), or a share of the energy below 1"
        raise ValueError(f"rank must be {remedy}, got {rank}")
    return int(rank)
