"""Cholesky factors of small matrices, inside compiled loops over voxels."""

import numpy as np

from mrspec_prep.compiled import compiled


@compiled
def factorise(matrix, factor):
    """Lower Cholesky factor of a small positive definite matrix; the logarithm of its determinant."""
    d, logs = matrix.shape[0], 0.0
    for a in range(d):
        for b in range(a + 1):
            total = matrix[a, b]
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            if a == b:
                factor[a, a] = np.sqrt(max(total, 1e-14 * matrix[a, a] + 1e-290))
                logs += 2.0 * np.log(factor[a, a])
            else:
                factor[a, b] = total / factor[b, b]
    return logs


@compiled
def backward(factor, x):
    """Solve L' x = x in place."""
    d = x.shape[0]
    for a in range(d - 1, -1, -1):
        for c in range(a + 1, d):
            x[a] -= factor[c, a] * x[c]
        x[a] /= factor[a, a]


@compiled
def covariance_of(factor, covariance):
    """Inverse of L L'."""
    d = factor.shape[0]
    column = np.empty(d)
    for b in range(d):
        for a in range(d):
            column[a] = 1.0 if a == b else 0.0
        for a in range(d):
            for c in range(a):
                column[a] -= factor[a, c] * column[c]
            column[a] /= factor[a, a]
        backward(factor, column)
        for a in range(d):
            covariance[a, b] = column[a]


@compiled
def invert_block(matrices, flat, inverses):
    """Inverses (n, d, d) of positive semidefinite matrices, scaled to a unit diagonal and ``flat`` added there."""
    n, d, _ = matrices.shape
    scaled, factor, size = np.empty((d, d)), np.empty((d, d)), np.empty(d)
    for i in range(n):
        for a in range(d):
            size[a] = np.sqrt(max(matrices[i, a, a], 1e-100))
            for b in range(a + 1):
                scaled[a, b] = matrices[i, a, b] / (size[a] * size[b])
            scaled[a, a] += flat
        factorise(scaled, factor)
        covariance_of(factor, inverses[i])
        for a in range(d):
            for b in range(d):
                inverses[i, a, b] /= size[a] * size[b]
