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
