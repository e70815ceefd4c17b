"""A region of interest found from the image itself."""

import numpy as np
from scipy import ndimage

MEDIANS = 2  # passes of the filter over 3 x 3 voxels of a slice
LEAST_CONTRAST = 1e-6  # range over the largest value; less is rounding
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
    from dipy.segment.threshold import otsu  # slow to import

    smooth = np.where(np.isfinite(reference), reference, 0.0).clip(min=0).astype(float)
    for _ in range(MEDIANS):
        smooth = ndimage.median_filter(smooth, (3, 3, 1))
    smooth = smooth / (smooth.max() or 1.0)
    if np.ptp(smooth) < LEAST_CONTRAST:
        return np.zeros(smooth.shape, bool)
    mask = smooth > otsu(smooth)
    for k in range(mask.shape[2]):
        mask[..., k] = ndimage.binary_fill_holes(mask[..., k])
    parts, n_parts = ndimage.label(mask)
    if n_parts > 1:
        sizes = np.bincount(parts.ravel())[1:]
        mask = np.isin(parts, 1 + np.flatnonzero(sizes >= SMALLEST_PART * sizes.max()))
    return mask
