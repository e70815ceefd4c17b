"""A region of interest found from the image itself."""

import numpy as np
from scipy import ndimage

SMALLEST_PART = 0.02  # of the largest connected part; smaller islands are dropped


def automatic_mask(reference):
    """Mask of the object in a reference image: Otsu threshold of the median-filtered image.

    Holes are filled slice by slice (the last axis) and islands below 2 % of the largest
    part dropped, so several vials or organs may stay.

    Parameters
    ----------
    reference : (x, y, z) array
        Mean unweighted image; not finite counts as background.

    Returns
    -------
    (x, y, z) bool array
        Empty where the image holds no contrast.

    """
    from dipy.segment.mask import multi_median
    from dipy.segment.threshold import otsu

    image = np.where(np.isfinite(reference), reference, 0.0).clip(min=0)
    if np.ptp(image) == 0:
        return np.zeros(image.shape, bool)
    smooth = np.stack([multi_median(image[..., k], 1, 2) for k in range(image.shape[2])], axis=2)
    mask = smooth > otsu(smooth)
    for k in range(mask.shape[2]):
        mask[..., k] = ndimage.binary_fill_holes(mask[..., k])
    parts, n_parts = ndimage.label(mask)
    if n_parts > 1:
        sizes = np.bincount(parts.ravel())[1:]
        mask = np.isin(parts, 1 + np.flatnonzero(sizes >= SMALLEST_PART * sizes.max()))
    return mask
