"""Effect sizes: against scipy, by hand, and intervals that cover."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from mrspec_prep.spectra.group.effects import _rank_sum_counts, dominance, explained_ranks, rank_correlation, shift


@pytest.mark.parametrize(("n", "m"), [(3, 9), (9, 3), (5, 5), (1, 4)])
def test_rank_sum_is_counted_as_scipy_counts_it(n, m):
    counts = _rank_sum_counts(n, m)
    below = np.cumsum(counts) / counts.sum()
    for u in range(n * m // 2):
        first = np.arange(n, dtype=float)
        second = first[-1] + 0.5 + np.arange(m)  # all larger: U = 0; then lower some to raise it
        found = mannwhitneyu(first, second, method="exact", alternative="less")
        assert found.pvalue == pytest.approx(below[0])
        assert below[u] == pytest.approx(1 - below[n * m - u - 1])  # symmetric


def test_shift_by_hand():
    found = shift([0.0, 1.0, 2.0], [10.0, 11.0, 12.0])
    assert found[0] == 10 and found[1:3] == (8.0, 12.0)
    assert found[3] == pytest.approx(1 - 2 / 20)  # three against three reach 90 %


def test_interval_of_the_shift_covers_at_its_level():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        _, low, high, reached = shift(rng.gamma(2, 1, 9), rng.gamma(2, 1, 3) + 1.0)
        inside += low <= 1.0 <= high
    assert reached == pytest.approx(1 - 2 * 4 / 220)
    assert inside / 2000 == pytest.approx(reached, abs=0.015)


def test_many_pairs_use_the_normal_law_and_agree_with_counting():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=60), rng.normal(0.5, size=60)
    _, low, high, level = shift(first, second)
    assert level == 0.95 and low < 0.5 < high and high - low < 1


def test_dominance_and_ranks():
    assert dominance([1, 2], [3, 4]) == 1 and dominance([1, 2], [1, 2]) == 0
    assert explained_ranks(np.array([1.0, 2, 5, 6]), np.array([0, 0, 1, 1])) == pytest.approx(0.8)
    assert explained_ranks(np.ones(4), np.array([0, 0, 1, 1])) == 0


def test_rank_correlation_has_an_interval_that_covers_nothing_without_variation():
    assert rank_correlation(np.ones(8), np.arange(8))[0] == 0
    value, low, high = rank_correlation(np.arange(8.0), np.arange(8.0) ** 3)
    assert value == pytest.approx(1) and low > 0.9 and high <= 1
    assert rank_correlation(np.arange(4.0), np.arange(4.0))[1:] == (-1.0, 1.0)
