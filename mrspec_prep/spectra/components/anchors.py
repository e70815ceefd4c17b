"""Anchor voxels: the purest voxels of an image, where the components' mixtures begin to be unmixed.

Voxels that mix M components lie in a simplex of M - 1 dimensions; its corners are the
components. Successive projection (Araujo et al. 2001; Gillis and Vavasis 2014) picks
corners one after the other, on the leading principal components, where noise is least.
"""

import numpy as np

from mrspec_prep.threads import single_threaded_blas

NEAREST_SHARE = 0.005  # of the voxels are averaged at each corner


def principal_scores(signals, weights, n_scores):
    """Scores of the voxels on the leading principal components of the weighted signals.

    Parameters
    ----------
    signals : (n_voxels, n_ranks) array
    weights : (n_voxels,) array
        Precision of each voxel.
    n_scores : int

    Returns
    -------
    (n_voxels, n_scores) array

    """
    centred = signals - np.average(signals, axis=0, weights=weights)
    with single_threaded_blas():
        _, directions = np.linalg.eigh((centred * weights[:, None]).T @ centred)
        return centred @ directions[:, ::-1][:, :n_scores]


def anchor_signals(signals, weights, n_anchors, candidates=None, n_nearest=None):
    """Signals of the corners of the simplex that voxels span.

    Parameters
    ----------
    signals : (n_voxels, n_ranks) array
        Compressed signals on a common scale.
    weights : (n_voxels,) array
        Precision of each voxel.
    n_anchors : int
    candidates : (n,) int array, optional
        Voxels that may be corners; default: all.
    n_nearest : int, optional
        The voxels farthest in a corner's direction that are averaged; default 0.5 % of them.

    Returns
    -------
    anchors : (n_anchors, n_ranks) array
    voxels : (n_anchors,) int array
        The farthest voxel of each corner.

    """
    candidates = np.arange(len(signals)) if candidates is None else np.asarray(candidates)
    part, precision = signals[candidates], weights[candidates]
    n_nearest = max(1, round(NEAREST_SHARE * len(part))) if n_nearest is None else n_nearest
    scores = principal_scores(part, precision, max(n_anchors - 1, 1))
    spread = np.sqrt(np.average((scores**2).sum(axis=1), weights=precision))
    # One more coordinate makes the corners linearly independent
    points = np.column_stack([np.full(len(scores), spread if spread > 0 else 1.0), scores])
    anchors, voxels = np.empty((n_anchors, signals.shape[1])), np.empty(n_anchors, int)
    for corner in range(n_anchors):
        sizes = np.einsum("nk,nk->n", points, points)
        direction = points[sizes.argmax()]
        length = np.linalg.norm(direction)
        along = points @ (direction / length) if length > 0 else sizes
        farthest = np.argsort(-along, kind="stable")[: min(n_nearest, len(along))]
        anchors[corner] = np.average(part[farthest], axis=0, weights=precision[farthest])
        voxels[corner] = candidates[farthest[0]]
        if length > 0:
            corner_point = points[farthest].mean(axis=0)
            unit = corner_point / np.linalg.norm(corner_point)
            points = points - np.outer(points @ unit, unit)
    return anchors, voxels
