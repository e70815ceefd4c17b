"""Sums over voxels of several states, block by block: the same whatever the number of threads."""

import numpy as np

from mrspec_prep.threads import for_blocks

MOST_BLOCKS = 512  # partial sums held at a time


def sum_blocks(problem, ends, run, block_size, width=None):
    """E-step sums over all voxels for several states.

    Parameters
    ----------
    problem : Problem
    ends : (n_states + 1,) int array
        Clusters ends[i] to ends[i + 1] are those of state i.
    run : callable
        ``run(part, (moments, weights, sums), gains)`` fills, for a slice of voxels, the sums of all clusters
        and each state's log-likelihood gain over zero signals.
    block_size : int
        Voxels in a slice; more in an image of very many.
    width : int, optional
        Length of a cluster's sum, by default n_ranks.

    Returns
    -------
    list of (log_likelihood, (moments, weights, sums))
        Shapes (3, n_clusters), (n_clusters,) and (n_clusters, width).

    """
    n_voxels, n_ranks = problem.signals.shape
    block_size *= -(-n_voxels // (block_size * MOST_BLOCKS))
    n_blocks, n_clusters, n_states = -(-n_voxels // block_size), int(ends[-1]), len(ends) - 1
    shapes = (3, n_clusters), (n_clusters,), (n_clusters, width or n_ranks), (n_states,)
    cuts = np.cumsum([np.prod(shape) for shape in shapes])

    def split(row):
        return [part.reshape(shape) for part, shape in zip(np.split(row, cuts[:-1]), shapes, strict=True)]

    partial = np.empty((n_blocks, cuts[-1]))  # summed down the rows, one after the other whatever their length

    def work(start, stop):
        *sums, gains = split(partial[start // block_size])
        run(slice(start, stop), sums, gains)

    for_blocks(n_voxels, block_size, work, problem.n_threads)
    moments, weights, sums, gains = split(partial.sum(axis=0))
    values = gains + problem.constant.sum()
    return [
        (float(value), (moments[:, low:high], weights[low:high], sums[low:high]))
        for value, low, high in zip(values, ends, ends[1:], strict=False)
    ]
