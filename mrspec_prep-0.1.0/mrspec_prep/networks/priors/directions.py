"""Posterior of an axis: draws about its least-squares fit, their mean axis and cones about it.

An axis is n0 + E t, made a unit vector, with n0 the fit, E a basis of the plane across it and t in the plane
(gnomonic projection: every axis once). Axes spread evenly have the density (1 + |t|2)^(-3/2) / (2 pi) over t.
"""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.result import CONES

SHARES = (0.7, 0.2, 0.1)  # of draws: about as wide as the likelihood, wider, any axis
WIDTHS = (1.2, 3.0)  # of the first two, over the likelihood's
FARTHEST = 1.0  # from the fit that the middle of the draws moves with the other parameters
EVEN = 1.0  # information about t [1/rad2] where the signals have none


def tangents(direction):
    """(n, 3, 2) orthonormal bases of the planes across unit vectors (n, 3)."""
    axis = np.eye(3)[np.argmin(np.abs(direction), axis=1)]
    first = np.cross(direction, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(direction, first)], axis=2)


@compiled
def axes_block(direction, basis, factors, response, moved, uniforms, normals, shares, widths, axes, log_ratio):
    """Draw axes (n, s, 3), and add to log_ratio (n, s) their log prior less log density.

    factors (n, 2, 2): lower ones of the information about t; response (n, 2, d): of its middle to moved
    (n, s, d), the other parameters less their fit; uniforms (s, 3), normals (s, 2).
    """
    n_draws, d = moved.shape[1:]
    t, off = np.empty(2), np.empty(2)
    for n in range(direction.shape[0]):
        factor = factors[n]
        peak = factor[0, 0] * factor[1, 1]
        for s in range(n_draws):
            for a in range(2):
                middle = 0.0
                for p in range(d):
                    middle += response[n, a, p] * moved[n, s, p]
                off[a] = min(max(middle, -FARTHEST), FARTHEST)
            if uniforms[s, 0] < shares[0] + shares[1]:
                width = widths[0] if uniforms[s, 0] < shares[0] else widths[1]
                t[1] = normals[s, 1] / factor[1, 1]
                t[0] = (normals[s, 0] - factor[1, 0] * t[1]) / factor[0, 0]
                t[0], t[1] = off[0] + width * t[0], off[1] + width * t[1]
            else:
                cosine = max(uniforms[s, 1], 1e-6)
                radius = np.sqrt(1.0 - cosine * cosine) / cosine
                t[0] = radius * np.cos(2.0 * np.pi * uniforms[s, 2])
                t[1] = radius * np.sin(2.0 * np.pi * uniforms[s, 2])
            prior = (1.0 + t[0] * t[0] + t[1] * t[1]) ** -1.5
            along = factor[0, 0] * (t[0] - off[0]) + factor[1, 0] * (t[1] - off[1])
            across = factor[1, 1] * (t[1] - off[1])
            square = along * along + across * across
            density = shares[2] * prior
            for j in range(2):
                density += shares[j] * peak / widths[j] ** 2 * np.exp(-0.5 * square / widths[j] ** 2)
            log_ratio[n, s] += np.log(prior) - np.log(density)
            length = 0.0
            for c in range(3):
                axes[n, s, c] = direction[n, c] + basis[n, c, 0] * t[0] + basis[n, c, 1] * t[1]
                length += axes[n, s, c] ** 2
            for c in range(3):
                axes[n, s, c] /= np.sqrt(length)


def draw_axes(fit, rows, values, uniforms, normals):
    """Draw an axis with each draw of the other parameters.

    Parameters
    ----------
    fit : LeastSquares
    rows : slice
        Voxels.
    values : (n, n_draws, d) array
        Draws of the other parameters.
    uniforms : (n_draws, 3) array
        Which of ``SHARES``; place of an axis that may be any.
    normals : (n_draws, 2) array
        Place of an axis near the fit.

    Returns
    -------
    axes : (n, n_draws, 3) array
        Unit vectors.
    log_ratio : (n, n_draws) array
        Log prior, even over all axes, less log density of the draws [nats].

    """
    d = values.shape[2]
    direction, information = fit.values[rows, d:], fit.information[rows]
    basis = tangents(direction)
    across = np.einsum("nca,ncp->nap", basis, information[:, d:, :d])
    matrix = np.einsum("nca,ncb,nbe->nae", basis, information[:, d:, d:], basis) + EVEN * np.eye(2)
    response = -np.linalg.solve(matrix, across)
    moved = values - fit.values[rows, None, :d]
    axes, log_ratio = np.empty((*values.shape[:2], 3)), np.zeros(values.shape[:2])
    shape = np.array(SHARES), np.array(WIDTHS)
    given = direction, basis, np.linalg.cholesky(matrix), response, moved, uniforms, normals
    axes_block(*map(np.ascontiguousarray, given), *shape, axes, log_ratio)
    return axes, log_ratio


def mean_axes(axes, weights, quantiles):
    """Mean axis of weighted draws and cones about it.

    Parameters
    ----------
    axes : (n, n_draws, 3) array
        Unit vectors; v and -v are one axis.
    weights : (n, n_draws) array
        Sum to one per voxel.
    quantiles : callable
        ``quantiles(values (n, n_draws, 1), weights, levels)``: (n, 1, n_levels) array.

    Returns
    -------
    mean : (n, 3) array
        The axis of largest mean squared cosine.
    std : (n, 3) array
        Of the components, all draws on the side of the mean.
    cones : (n, 2) array
        Angles to the mean [rad] that ``result.CONES`` of the draws do not exceed.

    """
    scatter = np.einsum("ns,nsa,nsb->nab", weights, axes, axes)
    mean = np.linalg.eigh(scatter)[1][:, :, -1]
    cosine = np.einsum("nsa,na->ns", axes, mean)
    sided = axes * np.sign(cosine)[..., None]
    std = np.sqrt(np.einsum("ns,nsa->na", weights, (sided - mean[:, None]) ** 2))
    angles = np.arccos(np.minimum(np.abs(cosine), 1.0))
    return mean, std, quantiles(angles[..., None], weights, CONES)[:, 0]
