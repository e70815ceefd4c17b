"""Weights of a voxel's components: small quadratic programmes, one per voxel, solved exactly.

min_{z>=0} 1/2 z'H z - c'z, with sum z = 1 or with a free sum, by a primal active set over
few dimensions. The objective never rises, and the start only decides how long it takes.
"""

import numpy as np

from mrspec_prep.compiled import compiled

RIDGE = 1e-12  # of the largest diagonal entry of H: equal components share their weight
MULTIPLIER = 1e-11  # a component enters where its slope exceeds this share of the largest |c| and |H|


@compiled
def solve_face(hessian, linear, members, n_members, ridge, sums_to_one, factor, x, y):
    """Best point of one face: fills x in the order of ``members``; returns the multiplier of the sum.

    x = H_PP^-1 c_P, and with a fixed sum x - l H_PP^-1 1 such that the sum is one.
    """
    for i in range(n_members):
        for j in range(i + 1):
            total = hessian[members[i], members[j]]
            if i == j:
                total += ridge
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = np.sqrt(max(total, 0.1 * ridge))
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(n_members):
        first, second = linear[members[i]], 1.0
        for k in range(i):
            first -= factor[i, k] * x[k]
            second -= factor[i, k] * y[k]
        x[i], y[i] = first / factor[i, i], second / factor[i, i]
    for i in range(n_members - 1, -1, -1):
        first, second = x[i], y[i]
        for k in range(i + 1, n_members):
            first -= factor[k, i] * x[k]
            second -= factor[k, i] * y[k]
        x[i], y[i] = first / factor[i, i], second / factor[i, i]
    if not sums_to_one:
        return 0.0
    above, size = -1.0, 0.0
    for i in range(n_members):
        above += x[i]
        size += y[i]
    multiplier = above / size
    total = 0.0
    for i in range(n_members):
        x[i] -= multiplier * y[i]
        total += x[i]
    for i in range(n_members):
        x[i] /= total
    return multiplier


@compiled
def to_face_optimum(hessian, linear, weights, members, n_members, ridge, sums_to_one, work):
    """Move along the face in use to its best point, leaving components that reach zero.

    Returns the number of components left and the multiplier of the sum.
    """
    factor, x, y = work
    multiplier = 0.0
    while n_members > 0:
        multiplier = solve_face(hessian, linear, members, n_members, ridge, sums_to_one, factor, x, y)
        step, blocked = 1.0, -1
        for i in range(n_members):
            if x[i] <= 0.0:
                here = weights[members[i]]
                share = here / (here - x[i]) if here > 0.0 else 0.0
                if blocked < 0 or share < step:
                    step, blocked = share, i
        for i in range(n_members):
            weights[members[i]] += step * (x[i] - weights[members[i]])
        if blocked < 0:
            break
        weights[members[blocked]] = 0.0
        kept = 0
        for i in range(n_members):
            if weights[members[i]] > 0.0:
                members[kept] = members[i]
                kept += 1
            else:
                weights[members[i]] = 0.0
        n_members = kept
    return n_members, multiplier


@compiled
def solve_simplex(hessian, linear, weights, sums_to_one, members, work):
    """Solve one programme from feasible weights, in place; returns the number of faces visited."""
    n = linear.shape[0]
    largest, slope_size, n_members, best_start, total = 0.0, 0.0, 0, 0, 0.0
    for i in range(n):
        largest = max(largest, hessian[i, i])
        slope_size = max(slope_size, abs(linear[i]))
        total += weights[i]
        if weights[i] > 0.0:
            members[n_members] = i
            n_members += 1
        if 0.5 * hessian[i, i] - linear[i] < 0.5 * hessian[best_start, best_start] - linear[best_start]:
            best_start = i
    ridge, limit = max(RIDGE * largest, 1e-300), MULTIPLIER * max(largest, slope_size)
    if sums_to_one and not 0.999999 < total < 1.000001:
        weights[:] = 0.0
        weights[best_start] = 1.0
        members[0] = best_start
        n_members = 1
    for visit in range(10 * n + 20):
        n_members, multiplier = to_face_optimum(hessian, linear, weights, members, n_members, ridge, sums_to_one, work)
        entering, steepest = -1, -limit
        for i in range(n):
            if weights[i] <= 0.0:
                slope = multiplier - linear[i]
                for k in range(n_members):
                    slope += hessian[i, members[k]] * weights[members[k]]
                if slope < steepest:
                    entering, steepest = i, slope
        if entering < 0:
            return visit + 1
        members[n_members] = entering
        n_members += 1
    return -1


@compiled
def weights_block(gram, products, precisions, pull, sums_to_one, weights):
    """Solve voxel after voxel, H_n = gram p_n + pull, c_n = products_n p_n + pull; returns how many did not settle.

    ``pull`` is the precision of the prior that draws a free sum towards 1 (0 where the sum is fixed).
    """
    n_voxels, n = products.shape
    hessian, linear, members = np.empty((n, n)), np.empty(n), np.empty(n, np.int64)
    work = (np.zeros((n, n)), np.zeros(n), np.zeros(n))
    failed = 0
    for v in range(n_voxels):
        for i in range(n):
            linear[i] = products[v, i] * precisions[v] + pull
            for j in range(n):
                hessian[i, j] = gram[i, j] * precisions[v] + pull
        if solve_simplex(hessian, linear, weights[v], sums_to_one, members, work) < 0:
            failed += 1
    return failed


def simplex_weights(gram, products, start=None):
    """Weights z >= 0, sum z = 1, that minimise 1/2 z'G z - c'z, for many c.

    Parameters
    ----------
    gram : (n_components, n_components) array
        G, positive semidefinite: inner products of the components' signals.
    products : (n_voxels, n_components) array
        c_n: inner products of every voxel's signal and the components' signals.
    start : (n_voxels, n_components) array, optional
        Feasible weights to start from; they change the time, not the result.

    Returns
    -------
    (n_voxels, n_components) array

    Raises
    ------
    ValueError
        Shapes that do not fit, or values not finite.
    RuntimeError
        The active set did not settle (G is not positive semidefinite).

    """
    products = np.ascontiguousarray(products, dtype=float)
    gram = np.ascontiguousarray(gram, dtype=float)
    if products.ndim != 2 or gram.shape != (products.shape[1],) * 2:
        raise ValueError(f"gram {gram.shape} does not fit products {products.shape}")
    if not (np.isfinite(gram).all() and np.isfinite(products).all()):
        raise ValueError("gram or products hold NaN or infinite values")
    weights = np.zeros_like(products) if start is None else np.array(start, dtype=float)
    failed = weights_block(gram, products, np.ones(len(products)), 0.0, True, weights)
    if failed:
        raise RuntimeError(f"the weights of {failed} voxels did not settle: is gram positive semidefinite?")
    return weights
