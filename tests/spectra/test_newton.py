import numpy as np
import pytest
from scipy.optimize import check_grad

from mrspec_prep.spectra import reduce_kernel
from mrspec_prep.spectra.newton import cholesky, curvature, dots, gradient, solve_factored


def test_factor_and_solve():
    rng = np.random.default_rng(0)
    half = rng.standard_normal((7, 9))
    matrix, x = half @ half.T, rng.standard_normal(7)
    factor, solution = matrix.copy(), x.copy()
    cholesky(factor)
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(matrix), atol=1e-12)
    solve_factored(factor, solution)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, x), rtol=1e-9)


@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_gradient_matches_finite_differences(placenta, alpha):
    reduced = reduce_kernel(placenta.kernel)
    signal = reduced.compress(placenta.signals[:1])[0][0]
    rng = np.random.default_rng(0)

    def dual_objective(y):
        return 0.5 * y @ y - signal @ y + (np.maximum(reduced.columns @ y, 0) ** 2).sum() / (2 * alpha)

    def dual_gradient(y):
        z, g = np.empty(reduced.n_bins), np.empty(reduced.n_ranks)
        dots(reduced.columns, y, z)
        gradient(reduced.columns, signal, alpha, y, z, g)
        return g

    point = 0.01 * rng.standard_normal(reduced.n_ranks)
    scale = np.linalg.norm(dual_gradient(point))
    assert check_grad(dual_objective, dual_gradient, point) < 1e-5 * scale


def test_curvature_counts_the_active_columns_only(placenta):
    columns = reduce_kernel(placenta.kernel).columns
    z = np.random.default_rng(0).standard_normal(len(columns))
    hessian = np.empty((columns.shape[1],) * 2)
    curvature(columns, 0.3, z, hessian, np.empty(4, np.int64))
    active = columns[z > 0]
    expected = 0.3 * np.eye(columns.shape[1]) + active.T @ active
    np.testing.assert_allclose(np.tril(hessian), np.tril(expected), atol=1e-9)
