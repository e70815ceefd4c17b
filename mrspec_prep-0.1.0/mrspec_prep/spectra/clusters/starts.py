"""Where EM starts: a smaller problem for short runs, and seeds far apart."""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.compression.levels import coarse_columns
from mrspec_prep.spectra.compression.reduction import ReducedKernel

START_VOXELS = 4000
START_COLUMNS = 300  # merged columns of the kernel
VISIBLE_SHARE = 0.3  # ranks whose signal falls below this share of a voxel's noise are left out


def start_problem(problem, rng):
    """Some of the voxels, on merged columns of the kernel and the ranks that show above the noise.

    Parameters
    ----------
    problem : Problem
    rng : numpy.random.Generator

    Returns
    -------
    sample : Problem
        The voxels taken, on the whole kernel.
    small : Problem
        The same voxels, compressed further.

    """
    n_voxels = len(problem.signals)
    if n_voxels > START_VOXELS:
        problem = problem.take(np.sort(rng.choice(n_voxels, START_VOXELS, replace=False)))
    reduced = problem.reduced
    level = float(np.abs(problem.reduced.projection @ problem.signals.mean(axis=0)).max())
    visible = VISIBLE_SHARE * float(np.sqrt(np.median(problem.variances))) / max(level, 1e-300)
    n_ranks = int((reduced.singular_values > visible).sum())
    if n_ranks < 1 or reduced.n_bins <= START_COLUMNS:
        return problem, problem
    columns, n_ranks = coarse_columns(reduced, visible**2, START_COLUMNS, 1.0)
    smaller = ReducedKernel(
        np.ascontiguousarray(columns.T), reduced.projection[:, :n_ranks], reduced.singular_values[:n_ranks], columns
    )
    signals = np.ascontiguousarray(problem.signals[:, :n_ranks])
    return problem, replace(problem, reduced=smaller, signals=signals)


def spread_seeds(signals, variances, n_seeds, rng):
    """Nearest of ``n_seeds`` voxels drawn far apart, by squared-distance sampling (Arthur and Vassilvitskii 2007).

    Of a few candidates for each seed the one that leaves the voxels nearest is taken.

    Parameters
    ----------
    signals : (n_voxels, n_ranks) array
    variances : (n_voxels,) array
        Distances count in units of each voxel's noise.
    n_seeds : int
    rng : numpy.random.Generator

    Returns
    -------
    (n_voxels,) int array

    """
    n_voxels = len(signals)
    energies = np.einsum("nk,nk->n", signals, signals)
    n_candidates = 2 + int(np.log(n_seeds))

    def distances(seeds):
        """Squared distances of every voxel to some voxels, (n_voxels, n_seeds)."""
        products = energies[:, None] - 2 * (signals @ signals[seeds].T) + energies[seeds]
        return np.maximum(products, 0.0) / variances[:, None]

    owner = np.zeros(n_voxels, int)
    nearest = distances(rng.integers(n_voxels, size=1))[:, 0]
    for m in range(1, n_seeds):
        total = nearest.sum()
        chances = nearest / total if total > 0 else None
        found = distances(rng.choice(n_voxels, n_candidates, p=chances))
        best = found[:, np.minimum(found, nearest[:, None]).sum(axis=0).argmin()]
        owner = np.where(best < nearest, m, owner)
        nearest = np.minimum(nearest, best)
    return owner


def partition_stability(partitions):
    """Mean adjusted Rand index between the first partition and the others; 1 where there is no other.

    Parameters
    ----------
    partitions : list of (n_voxels,) int arrays

    Returns
    -------
    float

    """
    if len(partitions) < 2:
        return 1.0
    return float(np.mean([adjusted_rand_index(partitions[0], other) for other in partitions[1:]]))


def adjusted_rand_index(first, second):
    """Agreement of two partitions on pairs of voxels, corrected for chance (Hubert and Arabie 1985).

    Parameters
    ----------
    first, second : (n_voxels,) int arrays

    Returns
    -------
    float
        1 for the same partition, 0 for independent ones.

    """
    _, first = np.unique(first, return_inverse=True)
    _, second = np.unique(second, return_inverse=True)
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts):
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    all_pairs = len(first) * (len(first) - 1) / 2
    expected = rows * columns / all_pairs if all_pairs else 0.0
    most = (rows + columns) / 2
    return (together - expected) / (most - expected) if most > expected else 1.0
