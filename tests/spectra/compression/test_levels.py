import numpy as np

from mrspec_prep.spectra import reduce_kernel
from mrspec_prep.spectra.compression.levels import coarse_basis, coarse_columns, spread_points


def test_spread_points_are_far_apart_and_own_their_neighbours():
    points = np.array([[0.0], [0.1], [5.0], [5.1], [10.0]])
    chosen, owner = np.zeros(3, np.int64), np.zeros(5, np.int64)
    spread_points(points, chosen, owner)
    assert sorted(owner[[0, 2, 4]]) == [0, 1, 2]
    assert owner[0] == owner[1] and owner[2] == owner[3]


def test_merged_columns_keep_the_dual_of_equal_columns():
    rng = np.random.default_rng(0)
    reduced = reduce_kernel(np.repeat(rng.random((30, 5)), 8, axis=1))
    columns, n_leading = coarse_columns(reduced, 0.01, 5, 1e-6)
    for y in rng.standard_normal((4, n_leading)):
        full = (np.maximum(reduced.columns[:, :n_leading] @ y, 0) ** 2).sum()
        np.testing.assert_allclose((np.maximum(columns @ y, 0) ** 2).sum(), full, rtol=1e-9)


def test_small_problems_are_kept_whole(placenta):
    small = reduce_kernel(placenta.kernel[:, ::4])
    assert coarse_basis(small, 0.01).columns is small.columns
    large = coarse_basis(reduce_kernel(placenta.kernel), 0.01)
    assert len(large.columns) < 400
