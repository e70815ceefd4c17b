"""What a fit of InSpect works on: compressed signals, their noise, and the parameters under way."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrspec_prep.physics.checks import noise_of_voxels, real_number
from mrspec_prep.spectra.clusters.em_blocks import TILE
from mrspec_prep.spectra.clusters.em_noise import VoxelNoise, log_constant, voxel_noise
from mrspec_prep.spectra.compression.reduction import ReducedKernel, check_signals, reduce_kernel
from mrspec_prep.spectra.space.neighbours import Neighbours

MODES = ("exact", "paper")
SCALES = ("fixed", "profiled")
SCALE_VARIANCE = 0.25  # prior variance of a voxel's scale around 1
LEADING_SNR = 100.0  # singular value over noise from which on a rank is looked at first
MOST_LEADING = 24
PRIOR_VOXELS = 10.0  # measured on Figure 1: from 10 on the clusters that hardly differ are told apart as well as can be


@dataclass(frozen=True, eq=False)
class Problem:
    """Compressed signals and everything of a fit that does not change.

    ``signals`` (n_voxels, n_ranks) and ``variances`` are in units of ``units`` (n_voxels,);
    ``constant`` is the part of the log-likelihood that no parameter moves; ``noise`` is None
    where the noise is Gaussian.
    """

    reduced: ReducedKernel
    signals: np.ndarray
    variances: np.ndarray
    units: np.ndarray
    constant: np.ndarray
    n_encodings: int
    alpha: float
    mode: str
    scale_variance: float
    n_threads: int | None = None
    noise: VoxelNoise | None = None
    neighbours: Neighbours | None = None
    spatial_weight: float | None = None
    prior_voxels: float = 0.0

    @cached_property
    def leading(self):
        """Leading ranks of the signals over sigma2, in tiles (``em_blocks``), and the norm of the others over sigma2.

        Beyond them no mean signal shows much above the noise: what an E-step looks at first.
        """
        n_voxels, n_ranks = self.signals.shape
        shows = int((self.reduced.singular_values > np.sqrt(np.median(self.variances)) * LEADING_SNR).sum())
        n_leading = min(n_ranks, MOST_LEADING, max(shows, 1))
        leading = np.zeros((-(-n_voxels // TILE), -(-n_leading // 8) * 8, TILE))
        for tile, start in zip(leading, range(0, n_voxels, TILE), strict=True):
            part = slice(start, start + TILE)
            tile[:n_leading, : len(self.signals[part])] = self.signals[part, :n_leading].T / self.variances[part]
        beyond = self.signals[:, n_leading:]
        return leading, np.sqrt(np.einsum("nk,nk->n", beyond, beyond)) / self.variances, n_leading

    def take(self, index):
        """The same problem for some of the voxels, as if they had no neighbours."""
        return Problem(
            self.reduced, self.signals[index], self.variances[index], self.units[index], self.constant[index],
            self.n_encodings, self.alpha, self.mode, self.scale_variance, self.n_threads,
            None if self.noise is None else self.noise.take(index), prior_voxels=self.prior_voxels,
        )  # fmt: skip


@dataclass
class State:
    """Parameters of a fit under way; means are B F_m."""

    probs: np.ndarray
    spectra: np.ndarray
    duals: np.ndarray
    means: np.ndarray
    norms: np.ndarray


def make_problem(
    signals, kernel, noise_std, alpha=0.01, mode="exact", scale="fixed", n_threads=None, noise=None, neighbours=None,
    spatial_weight=None, prior_voxels=None, units=None,
):  # fmt: skip
    """Check and compress the input of a fit; ``noise``: a ``NoiseModel``, Gaussian by default.

    ``units`` (n_voxels,) replaces the units that ``scale`` would give the voxels.

    Raises
    ------
    ValueError
        Unknown mode or scale, wrong shapes, values not finite, noise not positive, alpha < 0,
        ``paper`` mode with noise that is not Gaussian, neighbours of other voxels.

    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    alpha = real_number(alpha, "alpha", 0)
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    if len(signals) == 0:
        raise ValueError("signals hold no voxel")
    noise_std = noise_of_voxels(noise_std, len(signals))
    if neighbours is not None and neighbours.n_voxels != len(signals):
        raise ValueError(f"neighbours are those of {neighbours.n_voxels} voxels, signals hold {len(signals)}")
    if spatial_weight is not None and not (np.isfinite(spatial_weight) and spatial_weight >= 0):
        raise ValueError(f"spatial_weight must be a finite number >= 0 or None, got {spatial_weight}")
    compressed, outside = reduced.compress(signals)
    energy = outside + np.einsum("nk,nk->n", compressed, compressed)
    if units is None:
        units = _voxel_units(signals, energy) if scale == "profiled" else np.ones(len(signals))
    variances = noise_std**2
    if noise is None or noise.distribution == "gaussian":
        details = None
        constant = -0.5 * energy / variances - 0.5 * reduced.n_encodings * np.log(2 * np.pi * variances)
    else:
        if mode != "exact":
            raise ValueError(f"mode paper is Gaussian; {noise.distribution} noise needs mode exact")
        details = voxel_noise(noise, signals, units, energy)
        constant = log_constant(noise, signals, variances, energy)
    return Problem(
        reduced, compressed / units[:, None], variances / units**2, units, constant, reduced.n_encodings,
        alpha, mode, SCALE_VARIANCE if scale == "profiled" else 0.0, n_threads, details,
        neighbours, spatial_weight, _checked_prior(prior_voxels, mode),
    )  # fmt: skip


def _checked_prior(prior_voxels, mode):
    """Voxels that each cluster is given beforehand: none in ``paper`` mode."""
    if prior_voxels is None:
        return PRIOR_VOXELS if mode == "exact" else 0.0
    if not (np.isfinite(prior_voxels) and prior_voxels >= 0) or (mode == "paper" and prior_voxels > 0):
        raise ValueError(f"prior_voxels must be a finite number >= 0, and 0 in mode paper; got {prior_voxels}")
    return float(prior_voxels)


def _voxel_units(signals, energy):
    """Unit of each voxel: its 2-norm, such that the strongest mean signal of the image is about 1."""
    norms = np.sqrt(energy)
    if not (norms > 0).any():
        raise ValueError("signals are zero everywhere")
    typical = np.median(norms[norms > 0])
    strongest = np.abs(np.mean(signals, axis=0, dtype=float)).max()
    return np.where(norms > 0, norms, typical) * (strongest / typical if strongest > 0 else 1.0)
