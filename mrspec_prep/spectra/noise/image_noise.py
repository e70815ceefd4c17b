"""Noise standard deviation from the redundancy of neighbouring voxels."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from mrspec_prep.physics.checks import real_array


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
        Voxels in C order of the ROI [signal units]. Where no patch around a voxel of the ROI lies within the image, or
        none shows any scatter: the estimate of the nearest voxel that has one.

    Raises
    ------
    ValueError
        Wrong shapes, an empty ROI, one voxel per patch, or no patch of the ROI gave a positive estimate.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.spectra import noise_mppca
    >>> image = 100 + np.random.default_rng(0).normal(0, 5, (10, 10, 5, 12))
    >>> sigma = noise_mppca(image, np.ones((10, 10, 5), bool))
    >>> sigma.shape, bool(abs(np.median(sigma) - 5) < 0.5)
    ((500,), True)

    """
    from dipy.denoise.localpca import mppca

    image, roi = real_array(image, "image"), np.asarray(roi).astype(bool)
    if image.ndim != 4 or roi.shape != image.shape[:3]:
        raise ValueError(
            f"image must be (x, y, z, n_encodings) and roi (x, y, z), got shapes {image.shape} and {roi.shape}"
        )
    if not roi.any():
        raise ValueError("roi holds no voxel")
    radius = np.minimum(patch_radius, (np.array(image.shape[:3]) - 1) // 2)
    if not radius.any():
        raise ValueError(f"MP-PCA needs several voxels in a patch, and the image has {image.shape[:3]}")
    padded = np.where(np.isfinite(image), image, 0.0)
    with np.errstate(invalid="ignore"):  # dipy divides 0 by 0 in voxels that no patch reaches: NaN, replaced below
        _, sigma = mppca(padded, mask=roi, patch_radius=radius, return_sigma=True, suppress_warning=True)
    noise = np.asarray(sigma, dtype=float)
    known = roi & np.isfinite(noise) & (noise > 0)
    if not known.any():
        raise ValueError("MP-PCA found no noise in the region of interest: use --noise residual or a number")
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return noise[tuple(nearest)][roi]
