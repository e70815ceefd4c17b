import numpy as np
import pytest
from scipy.optimize import check_grad

from mrspec_prep.spectra import reduce_kernel
from mrspec_prep.spectra.voxelwise.newton import (
    add_products,
    cholesky,
    dots,
    gradient,
    newton,
    solve_factored,
    workspace,
)


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
        every = np.arange(reduced.n_bins)
        dots(reduced.columns, every, y, z)
        gradient(reduced.columns, every, signal, alpha, y, z, g)
        return g

    point = 0.01 * rng.standard_normal(reduced.n_ranks)
    scale = np.linalg.norm(dual_gradient(point))
    assert check_grad(dual_objective, dual_gradient, point) < 1e-5 * scale


@pytest.mark.parametrize("n_leading", [1, 6, 7])
def test_products_are_added_and_taken_away(n_leading):
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((20, 7))
    chosen = rng.choice(20, 9, replace=False)
    signs = rng.choice([-1.0, 1.0], 9)
    matrix, space = np.zeros((n_leading, n_leading)), np.empty(2 * 7 * 20)
    add_products(columns, chosen, signs, 9, matrix, space)
    used = columns[chosen][:, :n_leading]
    np.testing.assert_allclose(np.tril(matrix), np.tril((used * signs[:, None]).T @ used), atol=1e-12)


@pytest.mark.parametrize("n_leading", [15, 30, 60])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_the_minimum_is_found_whatever_newtons_matrix_holds(placenta, alpha, n_leading):
    """Leaving ranks out of the matrix slows the steps down; the gap still tells when to stop."""
    reduced = reduce_kernel(placenta.kernel)
    signal = reduced.compress(placenta.signals[:1])[0][0]
    y = np.zeros(reduced.n_ranks)
    every, work = np.arange(reduced.n_bins), workspace(reduced.n_bins, reduced.n_ranks)
    gap, _ = newton(reduced.columns, every, n_leading, signal, 0.0, alpha, y, 1e-8, 20000, work)
    spectrum = np.maximum(reduced.columns @ y, 0) / alpha
    misfit = spectrum @ reduced.columns - signal
    primal = misfit @ misfit + alpha * spectrum @ spectrum
    dual = 2 * signal @ y - y @ y - alpha * spectrum @ spectrum
    assert primal - dual == pytest.approx(gap * dual, rel=1e-3, abs=1e-12)
    assert gap <= 1e-8
