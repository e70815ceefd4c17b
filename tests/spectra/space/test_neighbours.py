import numpy as np
import pytest

from mrspec_prep.spectra import neighbours_of


def pairs(neighbours):
    rows = np.repeat(np.arange(neighbours.n_voxels), np.diff(neighbours.starts))
    return {(int(n), int(m)): c for n, m, c in zip(rows, neighbours.index, neighbours.weight, strict=True)}


@pytest.mark.parametrize(
    ("n_neighbours", "degree"), [(6, 6), (18, 6 + 12 / 2**0.5), (26, 6 + 12 / 2**0.5 + 8 / 3**0.5)]
)
def test_inner_voxel_has_all_neighbours_and_the_farther_weigh_less(n_neighbours, degree):
    found = neighbours_of(np.ones((3, 3, 3), bool), n_neighbours=n_neighbours)
    assert found.starts[14] - found.starts[13] == n_neighbours
    np.testing.assert_allclose(found.degree[13], degree)


def test_pairs_are_mutual_and_inside_the_roi():
    roi = np.random.default_rng(0).random((6, 5, 4)) < 0.6
    places = np.argwhere(roi)
    found = pairs(neighbours_of(roi, (1, 2, 3)))
    assert found and all(found[m, n] == c for (n, m), c in found.items())
    for (n, m), c in found.items():
        shift = np.abs(places[n] - places[m])
        assert shift.max() == 1
        np.testing.assert_allclose(c, 1 / np.linalg.norm(shift * np.array([1, 2, 3])))
    brute = {(n, m) for n in range(len(places)) for m in range(len(places)) if abs(places[n] - places[m]).max() == 1}
    assert set(found) == brute


def test_thick_slices_couple_less_than_voxels_within_them():
    found = pairs(neighbours_of(np.ones((1, 2, 2), bool), (1, 1.5, 6), n_neighbours=6))
    assert found[0, 2] == pytest.approx(1 / 1.5) and found[0, 1] == pytest.approx(1 / 6)


@pytest.mark.parametrize("n_neighbours", [6, 18, 26])
def test_neighbours_never_share_a_colour(n_neighbours):
    roi = np.random.default_rng(1).random((5, 6, 7)) < 0.7
    found = neighbours_of(roi, n_neighbours=n_neighbours)
    color = np.full(found.n_voxels, -1)
    for number, members in enumerate(found.colors):
        color[members] = number
    assert (color >= 0).all() and sum(map(len, found.colors)) == found.n_voxels
    assert all(color[n] != color[m] for n, m in pairs(found))


def test_permuted_lists_describe_the_same_neighbours():
    found = neighbours_of(np.random.default_rng(2).random((4, 4, 4)) < 0.8)
    order = np.random.default_rng(3).permutation(found.n_voxels)
    moved = pairs(found.permuted(order))
    assert {(int(order[n]), int(order[m])): c for (n, m), c in moved.items()} == pairs(found)


def test_lonely_voxel_has_no_neighbour():
    roi = np.zeros((3, 3, 3), bool)
    roi[0, 0, 0] = roi[2, 2, 2] = True
    assert len(neighbours_of(roi).index) == 0


@pytest.mark.parametrize(
    ("roi", "size", "number", "words"),
    [
        (np.ones((2, 2), bool), (1, 1, 1), 6, "three-dimensional"),
        (np.zeros((2, 2, 2), bool), (1, 1, 1), 6, "hold a voxel"),
        (np.ones((2, 2, 2), bool), (1, 1, 0), 6, "voxel_size"),
        (np.ones((2, 2, 2), bool), (1, 1), 6, "voxel_size"),
        (np.ones((2, 2, 2), bool), (1, 1, 1), 8, "n_neighbours"),
    ],
)
def test_bad_input_is_refused(roi, size, number, words):
    with pytest.raises(ValueError, match=words):
        neighbours_of(roi, size, number)
