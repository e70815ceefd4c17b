"""Noise standard deviation from the redundancy of neighbouring voxels."""

import numpy as np


def noise_mppca(image, roi, patch_radius=2):
    """Noise standard deviation by Marchenko-Pastur PCA of local patches (Veraart 2016), as in dipy.

    Parameters
    ----------
    image : (x, y, z, n_encodings) array
        Signals before any interpolation; the method needs the noise of neighbours to be independent.
    roi : (x, y, z) bool array
        Voxels whose estimate is wanted.
    patch_radius : int
        Half size of the patch, cut to the image along thin axes.

    Returns
    -------
    (n_voxels,) array
        Voxels in C order of the ROI; smallest positive estimate where a patch gave none.

    Raises
    ------
    ValueError
        No patch of the ROI gave a positive estimate.

    """
    from dipy.denoise.localpca import mppca

    radius = np.minimum(patch_radius, (np.array(image.shape[:3]) - 1) // 2)
    padded = np.where(np.isfinite(image), image, 0.0)
    _, sigma = mppca(padded, mask=roi, patch_radius=radius, return_sigma=True, suppress_warning=True)
    noise = np.asarray(sigma, dtype=float)[roi]
    seen = noise[np.isfinite(noise) & (noise > 0)]
    if not len(seen):
        raise ValueError("MP-PCA found no noise in the region of interest: use --noise residual or a number")
    return np.where(np.isfinite(noise) & (noise > 0), noise, seen.min())
