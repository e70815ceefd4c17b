import numpy as np

from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.starts import (
    START_VOXELS,
    adjusted_rand_index,
    partition_stability,
    spread_seeds,
    start_problem,
)
from tests.spectra.conftest import placenta_problem


def test_seeds_find_groups_far_apart_even_small_ones():
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0], [30, 0], [0, 30], [30, 30]])
    truth = np.repeat(np.arange(4), [200, 100, 50, 3])
    signals = centers[truth] + rng.standard_normal((353, 2))
    owner = spread_seeds(signals, np.ones(353), 4, rng)
    assert all(len(np.unique(owner[truth == group])) == 1 for group in range(4))
    assert len(np.unique(owner)) == 4


def test_equal_voxels_are_no_trouble():
    owner = spread_seeds(np.ones((5, 2)), np.ones(5), 3, np.random.default_rng(0))
    assert set(owner) == {0}


def test_the_smaller_problem_keeps_what_shows_above_the_noise():
    fine = placenta_problem((25, 25), 40)
    problem = make_problem(fine.signals, fine.kernel, fine.noise_std)
    sample, small = start_problem(problem, np.random.default_rng(0))
    assert sample is problem
    assert small.reduced.n_ranks < problem.reduced.n_ranks and small.reduced.n_bins < problem.reduced.n_bins
    lost = problem.reduced.singular_values[small.reduced.n_ranks :]
    assert (lost < fine.noise_std).all()
    np.testing.assert_array_equal(small.signals, problem.signals[:, : small.reduced.n_ranks])


def test_large_images_are_sampled(placenta):
    many = np.repeat(placenta.signals, 100, axis=0)
    sample, _ = start_problem(make_problem(many, placenta.kernel, 0.05), np.random.default_rng(0))
    assert len(sample.signals) == START_VOXELS < len(many)


def test_rand_index_knows_the_same_partition_under_other_names_and_chance():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 4000)
    assert adjusted_rand_index(first, (first + 1) % 4) == 1
    assert abs(adjusted_rand_index(first, rng.integers(0, 4, 4000))) < 0.01
    half = np.where(rng.random(4000) < 0.5, first, rng.integers(0, 4, 4000))
    assert 0.1 < adjusted_rand_index(first, half) < 0.9


def test_stability_of_one_partition_or_one_cluster_is_one():
    assert partition_stability([np.zeros(5, int)]) == 1
    assert partition_stability([np.zeros(5, int), np.zeros(5, int)]) == 1
