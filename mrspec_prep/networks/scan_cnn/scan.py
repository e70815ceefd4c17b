"""Images of one scan over echo time, and the maps made of them."""

from dataclasses import dataclass, field

import numpy as np

from mrspec_prep.networks.problem import DISTRIBUTIONS
from mrspec_prep.networks.scan_cnn.noise import noise_of
from mrspec_prep.physics.checks import real_array

T2_LIMITS = (1.0, 4000.0)  #: of every method [ms]
KINDS = ("t2", "t2star")


@dataclass(frozen=True, eq=False)
class Scan:
    """Images of one scan.

    Attributes
    ----------
    images : (x, y, z, n_echoes) float array
        Zero outside the mask where they were not finite.
    echo_times : (n_echoes,) array
        Rising [ms].
    mask : (x, y, z) bool array
        Voxels that are mapped.
    noise_std : float
        Sigma of one image, of each real channel [signal units].
    distribution : str
        ``gaussian`` or ``rician``.
    kind : str
        ``t2`` or ``t2star``: what the decay is called.

    """

    images: np.ndarray
    echo_times: np.ndarray
    mask: np.ndarray
    noise_std: float
    distribution: str = "gaussian"
    kind: str = "t2"

    @property
    def signals(self):
        """(n_voxels, n_echoes) signals inside the mask."""
        return self.images[self.mask]

    def volume(self, values):
        """(x, y, z) float array of values inside the mask, zero outside."""
        found = np.zeros(self.mask.shape)
        found[self.mask] = values
        return found


@dataclass(frozen=True, eq=False)
class ScanMaps:
    """Maps of one scan; zero outside the mask.

    Attributes
    ----------
    t2 : (x, y, z) array
        T2, or T2* of gradient echoes [ms].
    m0 : (x, y, z) array
        Signal at TE = 0 [signal units].
    t2_std, m0_std : (x, y, z) array or None
        Standard deviations, same units.
    risk : (x, y, z) array or None
        How far the maps lie from the voxelwise fit, in units of what the noise explains (``networks.risk``); None
        for voxelwise fits.
    residual : (x, y, z) array or None
        Root mean square of data minus fit over its expectation from the noise; None of two echoes.
    mask : (x, y, z) bool array
    noise_std : float
        Sigma in use [signal units].
    history : dict of str to list
        What was watched while a network learned; empty where none did.
    method, kind, device : str
    seed : int
    settings : dict
        Every setting in use.

    """

    t2: np.ndarray
    m0: np.ndarray
    mask: np.ndarray
    noise_std: float
    t2_std: np.ndarray | None = None
    m0_std: np.ndarray | None = None
    risk: np.ndarray | None = None
    residual: np.ndarray | None = None
    history: dict = field(default_factory=dict)
    method: str = "scan-cnn"
    kind: str = "t2"
    device: str = "cpu"
    seed: int = 0
    settings: dict = field(default_factory=dict)


def make_scan(images, echo_times, mask=None, noise_std=None, distribution="auto", kind="t2"):
    """Scan of checked images.

    Parameters
    ----------
    images : (x, y, z, n_echoes) or (x, y, n_echoes) array
        Real; magnitudes or signed.
    echo_times : (n_echoes,) sequence
        [ms]; at least two, all different.
    mask : (x, y, z) bool array, optional
        Default: voxels whose images are not all zero.
    noise_std : float or array, optional
        A map counts by its median; default: the lower of what residuals of least squares (three echoes or more) and
        differences between neighbours tell (``noise``).
    distribution : str
        ``gaussian``, ``rician``, or ``auto``: Rician unless more than 1 % of the signals in the mask are negative.
    kind : str
        ``t2`` or ``t2star``.

    Returns
    -------
    Scan

    Raises
    ------
    ValueError
        Shapes that do not fit, echo times that are equal or not positive, signals that are not finite, an empty
        mask, sigma that is not positive.

    """
    images = real_array(images, "images")
    if images.ndim == 3:
        images = images[:, :, None, :]
    times = real_array(echo_times, "echo_times").astype(float)
    if images.ndim != 4 or times.ndim != 1 or images.shape[-1] != len(times):
        raise ValueError(f"images must be (x, y, z, n_echoes) for {times.size} echo times, got {images.shape}")
    if len(times) < 2 or not (np.isfinite(times).all() and (times > 0).all()) or len(set(times)) < len(times):
        raise ValueError(f"echo_times must be at least two different times > 0 [ms], got {times.tolist()}")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    order = np.argsort(times)
    images, times = np.asarray(images[..., order], dtype=float), times[order]
    mask = _mask(images, mask)
    broken = int((~np.isfinite(images[mask])).any(axis=-1).sum())
    if broken:
        raise ValueError(f"{broken} voxels of the mask are NaN or infinite: mask them out")
    images = np.where(np.isfinite(images), images, 0.0)
    given = None if noise_std is None else float(np.median(real_array(noise_std, "noise_std")))
    sigma = noise_of(images, times, mask, kind) if given is None else given
    if not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"noise_std must be finite and > 0, got {sigma}")
    if distribution == "auto":
        distribution = "rician" if np.mean(images[mask] < 0) <= 0.01 else "gaussian"
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution must be one of auto, {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
    return Scan(images, times, mask, sigma, distribution, kind)


def _mask(images, mask):
    """Mask as booleans, of the shape of the images, with at least one voxel."""
    mask = (images != 0).any(axis=-1) if mask is None else np.asarray(mask, dtype=bool)
    if mask.ndim == 2:
        mask = mask[:, :, None]
    if mask.shape != images.shape[:3]:
        raise ValueError(f"mask must have the shape of the images {images.shape[:3]}, got {mask.shape}")
    if not mask.any():
        raise ValueError("the mask holds no voxel")
    return mask
