"""Slices: the right ones, the right way up, nothing of the region cut off."""

from dataclasses import replace

import numpy as np
import pytest

from mrspec_prep.reports.mosaic import GAP, choose_view, columns_for, corner, cut, stitch


def ball(shape, thickness=1.0):
    x, y, z = np.meshgrid(*(np.linspace(-1.2, 1.2, n) if n > 1 else [0.0] for n in shape), indexing="ij")
    return x**2 + y**2 + z**2 < thickness


@pytest.mark.parametrize("shape", [(20, 24, 1), (20, 24, 2), (20, 24, 40), (20, 1, 24), (6, 6, 2)])
def test_view_holds_slices_of_the_region(shape):
    roi = np.ones(shape, bool) if min(shape) <= 2 else ball(shape)
    view = choose_view(roi, np.eye(4))
    assert 1 <= len(view.slices) <= 12 and len(set(view.slices)) == len(view.slices)
    for index in range(len(view.slices)):
        whole = np.take(roi, view.slices[index], axis=view.axis).sum()
        assert whole > 0 and cut(roi, view, index).sum() == whole


def test_slices_are_cut_across_thick_voxels_or_thin_stacks():
    assert choose_view(np.ones((20, 20, 20), bool), np.diag([1, 4.0, 1, 1])).axis == 1
    assert choose_view(np.ones((3, 30, 30), bool), np.eye(4)).axis == 0
    assert choose_view(np.ones((30, 30, 30), bool), np.eye(4)).axis == 2


def test_an_empty_region_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        choose_view(np.zeros((4, 4, 4), bool), np.eye(4))


def test_left_is_left_and_front_is_up():
    volume = np.zeros((9, 11, 3))
    volume[8, 10, :] = 1  # right and front
    view = choose_view(np.ones(volume.shape, bool), np.diag([1, 1, 3.0, 1]))
    image = cut(volume, view, 1)
    assert image[0, -1] == 1 and image.sum() == 1
    assert view.sides == ("L", "R")


def test_positions_are_millimetres_of_the_world():
    affine = np.diag([2.0, 2, 5, 1])
    affine[:3, 3] = 10, 20, -30
    view = choose_view(np.ones((8, 8, 3), bool), affine)
    assert view.positions == (-30.0, -25.0, -20.0) and view.labels[0] == "z = -30 mm"
    assert replace(view, positions=(-2.5, -0.04, 7.26)).labels == ["z = -2.5 mm", "z = 0 mm", "z = 7.3 mm"]


def test_stitched_slices_lie_where_the_corners_say():
    volume = np.random.default_rng(0).random((7, 8, 5))
    view = choose_view(np.ones(volume.shape, bool), np.diag([1, 1, 3.0, 1]))
    image = stitch(volume, view, 2)
    assert image.shape == (3 * (8 + GAP) - GAP, 2 * (7 + GAP) - GAP)
    for index in range(5):
        left, top = corner(view, index, 2)
        assert np.array_equal(image[top : top + 8, left : left + 7], cut(volume, view, index))
    assert np.isnan(image[-1, -1])


def test_columns_use_the_space():
    view = choose_view(np.ones((20, 20, 12), bool), np.diag([1, 1, 3.0, 1]))
    assert columns_for(view, 6.0, 2.0) == 6 and columns_for(view, 6.0, 100.0) == 1
