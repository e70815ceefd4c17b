"""Sums over voxels of several states, block by block: the same whatever the number of threads."""

import numpy as np

from mrspec_prep.spectra.compiled import for_blocks


def sum_blocks(problem, numbers, run, block_size, width=None):
    """E-step sums over all voxels for states with these numbers of clusters.

    Parameters
    ----------
    problem : Problem
    numbers : list of int
        Clusters of each state.
    run : callable
        ``run(part, sums)`` fills, for a slice of voxels, each state's (moments, weights, sums) and returns
        each state's log-likelihood gain over zero signals.
    block_size : int
        Voxels at a time.
    width : int, optional
        Length of a cluster's sum, by default n_ranks.

    Returns
    -------
    list of (log_likelihood, (moments, weights, sums))
        Shapes (3, n_clusters), (n_clusters,) and (n_clusters, width).

    """
    n_voxels, n_ranks = problem.signals.shape
    n_blocks, width = -(-n_voxels // block_size), width or n_ranks
    partial = [(np.empty((n_blocks, 3, m)), np.empty((n_blocks, m)), np.empty((n_blocks, m, width))) for m in numbers]

    def work(start, stop):
        block = start // block_size
        return run(slice(start, stop), [tuple(part[block] for part in parts) for parts in partial])

    gains = for_blocks(n_voxels, block_size, work, problem.n_threads)
    values = [float(np.sum(gain) + problem.constant.sum()) for gain in zip(*gains, strict=True)]
    return [(v, tuple(part.sum(axis=0) for part in parts)) for v, parts in zip(values, partial, strict=True)]
