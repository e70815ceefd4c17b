"""Spiral acquisition of a fingerprinting series by non-uniform Fourier transform (finufft, extra ``simulation``)."""

from dataclasses import dataclass

import finufft
import numpy as np

from mrspec_prep.networks.fingerprinting.sampling import Sampling

N_INTERLEAVES = 6
ACCURACY = 1e-4  # relative, of the transforms
OVERSAMPLING = 1.6  # samples along the spiral per cycle of the field of view


@dataclass(frozen=True, eq=False)
class Spirals:
    """Interleaves that sample the disc of an n x n matrix together.

    Attributes
    ----------
    n : int
    points : (n_interleaves, n_samples) complex array
        kx + i ky [radians per voxel].
    weights : (n_samples,) array
        Area of k-space per sample, over that of the n x n samples of a Cartesian scan.

    """

    n: int
    points: np.ndarray
    weights: np.ndarray

    def forward(self, images, interleaf):
        """(m, n, n) images to (m, n_samples) samples of one interleaf."""
        return self._transform(finufft.nufft2d2, np.asarray(images), interleaf)

    def adjoint(self, samples, interleaf):
        """(m, n_samples) samples, weighted by the caller, to (m, n, n) images."""
        return self._transform(finufft.nufft2d1, np.asarray(samples), interleaf, (self.n, self.n))

    def _transform(self, function, values, interleaf, *shape):
        k = self.points[interleaf].astype(complex)
        x, y = np.ascontiguousarray(k.real), np.ascontiguousarray(k.imag)
        sign = -1 if function is finufft.nufft2d2 else 1
        values = np.ascontiguousarray(values, dtype=complex)
        return function(x, y, values, *shape, eps=ACCURACY, isign=sign, nthreads=1)


def make_spirals(n, n_interleaves=N_INTERLEAVES):
    """Archimedean spirals, r = theta n_interleaves / (2 pi) cycles per field of view, sampled evenly along them.

    Weights are exact for a continuum of rotations: r (dr/ds) ds 2 pi / n_interleaves.
    """
    pitch = n_interleaves / (2 * np.pi)  # cycles per field of view and radian
    theta = np.linspace(0, n / 2 / pitch, 40 * n * n // n_interleaves)
    length = np.concatenate([[0], np.cumsum(np.diff(theta) * pitch * np.sqrt(1 + theta[1:] ** 2))])
    n_samples = int(length[-1] * OVERSAMPLING)
    even = (np.arange(n_samples) + 0.5) * length[-1] / n_samples
    t = np.interp(even, length, theta)
    r = pitch * t
    slope = 1 / np.sqrt(1 + t**2)  # dr/ds
    weights = r * slope * length[-1] / n_samples * 2 * np.pi / n_interleaves / n**2
    turns = np.exp(2j * np.pi * np.arange(n_interleaves) / n_interleaves)
    return Spirals(n, turns[:, None] * (r * np.exp(1j * t)) * 2 * np.pi / n, weights)


def coil_sensitivities(n, n_coils):
    """(n_coils, n, n) smooth complex sensitivities around the head, their squares summing to one."""
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1] * 2, indexing="ij")
    if n_coils == 1:
        return np.ones((1, n, n), complex)
    places = 1.3 * np.exp(2j * np.pi * np.arange(n_coils) / n_coils)
    away = x + 1j * y - places[:, None, None]
    maps = np.exp(1j * np.angle(away)) / (0.4 + np.abs(away) ** 2)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))


@dataclass(frozen=True, eq=False)
class Scan:
    """Samples of a series.

    Attributes
    ----------
    spirals : Spirals
    coils : (n_coils, n, n) complex array
    samples : (n_frames, n_coils, n_samples) complex array
        Frame t by interleaf t modulo their number.

    """

    spirals: Spirals
    coils: np.ndarray
    samples: np.ndarray

    @property
    def n_interleaves(self):
        """Number of interleaves."""
        return len(self.spirals.points)

    def sampling(self):
        """What ``fit_fingerprint`` wants to know of the interleaves: the gridded image of samples that are all one."""
        double = Spirals(2 * self.spirals.n, self.spirals.points, self.spirals.weights)
        ones = self.n_interleaves * self.spirals.weights[None]
        spread = np.concatenate([double.adjoint(ones, i) for i in range(self.n_interleaves)])
        coils = None if len(self.coils) == 1 else self.coils[..., None]
        return Sampling(spread, np.arange(len(self.samples)) % self.n_interleaves, coils)

    def gridded(self):
        """(n, n, 1, n_frames) images, each of its one interleaf: sum over coils s* F'(w y), times the interleaves."""
        n_frames, n = len(self.samples), self.spirals.n
        series = np.empty((n_frames, n, n), np.complex64)
        for interleaf in range(self.n_interleaves):
            frames = np.arange(interleaf, n_frames, self.n_interleaves)
            for c, sensitivity in enumerate(self.coils):
                weighted = self.samples[frames, c] * self.spirals.weights * self.n_interleaves
                part = self.spirals.adjoint(weighted, interleaf) * sensitivity.conj()
                series[frames] = part if c == 0 else series[frames] + part
        return np.moveaxis(series, 0, -1)[:, :, None]


def acquire(coefficients, basis, spirals, coils, noise_std, rng, all_interleaves=False):
    """Scan of images that a basis describes; with ``all_interleaves``, every interleaf in every frame.

    Parameters
    ----------
    coefficients : (n, n, rank) complex array
        Of the truth, with a rank at which nothing is lost.
    basis : (rank, n_frames) array
    spirals : Spirals
    coils : (n_coils, n, n) complex array
    noise_std : float
        Sigma of the real and imaginary part of one voxel of the gridded image of one frame with all interleaves.
    rng : numpy.random.Generator
    all_interleaves : bool

    Returns
    -------
    Scan or list of Scan
        Of the list, each begins with another interleaf.

    """
    n_frames, n_all = basis.shape[1], len(spirals.points)
    images = np.moveaxis(coefficients, -1, 0)
    n_samples = len(spirals.weights)
    # an image voxel sums w2 sigma2 over all samples of all interleaves
    sigma = noise_std / np.sqrt(n_all * (spirals.weights**2).sum())
    pure = np.empty((n_all, len(coils), len(images), n_samples), complex)
    for interleaf in range(n_all):
        for c, sensitivity in enumerate(coils):
            pure[interleaf, c] = spirals.forward(images * sensitivity, interleaf)
    scans = []
    for first in range(n_all if all_interleaves else 1):
        samples = np.empty((n_frames, len(coils), n_samples), np.complex64)
        for t in range(n_frames):
            samples[t] = np.tensordot(pure[(first + t) % n_all], basis[:, t], axes=([1], [0]))
        samples += sigma * rng.standard_normal((*samples.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        order = (first + np.arange(n_all)) % n_all
        scans.append(Scan(Spirals(spirals.n, spirals.points[order], spirals.weights), coils, samples))
    return scans if all_interleaves else scans[0]
