"""Automatic masks of images as scanners, and strangers, make them."""

import numpy as np
import pytest

from mrspec_prep.spectra.noise.masking import automatic_mask


def disc(low, high):
    """Image of a disc, two slices, and where it lies."""
    x, y = np.meshgrid(np.arange(24), np.arange(24), indexing="ij")
    inside = np.repeat(((x - 12) ** 2 + (y - 11) ** 2 < 60)[..., None], 2, axis=2)
    return np.where(inside, high, low).astype(np.float32), inside


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e36])
def test_the_object_is_found_whatever_the_unit(scale):
    image, inside = disc(0.05 * scale, scale)
    assert (automatic_mask(image) == inside).mean() > 0.99


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (7, 7), (1e30, np.nextafter(np.float32(1e30), np.float32(np.inf))), (0, 1e-45), (-5, 0)]
)
def test_an_image_without_contrast_has_no_mask_or_one_and_no_error(low, high):
    image, inside = disc(low, high)
    mask = automatic_mask(image)
    assert not mask.any() or (mask == inside).mean() > 0.99
