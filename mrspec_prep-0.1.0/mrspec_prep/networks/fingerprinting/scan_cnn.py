"""Method ``scan-cnn``: coefficients by a network that learns from this one scan."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.device import device_of, one_thread
from mrspec_prep.networks.fingerprinting.frame_sets import make_frame_sets
from mrspec_prep.networks.fingerprinting.paper_network import PaperSettings, paper_coefficients
from mrspec_prep.networks.fingerprinting.reconstruction import N_ITERATIONS, coefficients_of, leaks, noise_of_halves
from mrspec_prep.networks.fingerprinting.result import FingerprintResult
from mrspec_prep.networks.fingerprinting.scan_training import AlignedImages, average, train
from mrspec_prep.networks.fingerprinting.voxelwise import fit_voxels
from mrspec_prep.networks.voxel_nets.randomness import Randomness


@dataclass(frozen=True)
class ScanCnnSettings:
    """Settings of the network of this package.

    Attributes
    ----------
    radius : int
        Neighbours within a square of 2 radius + 1 voxels in the slice.
    bandwidth : float
        To start with: distance of fingerprints, in units of its noise, at which weights fall to 1/e.
    n_blocks, n_channels, n_features : int
        Residual blocks, their width, features that neighbours are compared by.
    n_splits : int
        Ways of halving the frames.
    n_steps : int
        At most.
    learning_rate : float
        Highest of a one-cycle schedule.
    clip : float
        Largest norm of the gradient.
    crop : int
        Side of the squares trained on [voxels].
    judge_every, patience : int
        Steps between judgements; training ends when this many were all worse than one before.
    n_iterations : int
        Conjugate gradients, where the sampling is known.
    window : int
        Frames that the reconstruction averaged (sliding window); 1: none.

    """

    radius: int = 4
    bandwidth: float = 2.0
    n_blocks: int = 3
    n_channels: int = 32
    n_features: int = 6
    n_splits: int = 4
    n_steps: int = 200
    learning_rate: float = 3e-3
    clip: float = 5.0
    crop: int = 64
    judge_every: int = 20
    patience: int = 5
    n_iterations: int = N_ITERATIONS
    window: int = 1

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")
            if name not in ("bandwidth", "learning_rate", "clip") and int(value) != value:
                raise ValueError(f"{name} must be a whole number, got {value}")


PRESETS = {"ours": ScanCnnSettings(), "paper": PaperSettings()}


def fit_scan_cnn(problem, settings, seed=0, device="auto", on_step=None):
    """Return the method ``scan-cnn``: coefficients of a network, matched (``fit_fingerprint``).

    Parameters
    ----------
    problem : FingerprintProblem
    settings : ScanCnnSettings or PaperSettings
    seed : int
    device : str
    on_step : callable, optional

    Returns
    -------
    FingerprintResult

    """
    if problem.series.mask.ndim != 3:
        raise ValueError("scan-cnn learns from neighbours: give the series as (x, y, z, n_frames), or use dictionary")
    device = device_of(device)
    find = paper_coefficients if isinstance(settings, PaperSettings) else likeness_coefficients
    with one_thread():
        coefficients, history = find(problem, settings, Randomness(seed, device), np.random.default_rng(seed), on_step)
    fit = fit_voxels(coefficients, problem.dictionary)
    to_maps = problem.series.to_maps
    return FingerprintResult(
        to_maps(fit.t1),
        to_maps(fit.t2),
        to_maps(fit.m0),
        to_maps(coefficients),
        to_maps(fit.match),
        to_maps(risk_of(problem, fit)),
        problem.series.mask,
        problem.noise_std,
        problem.dictionary.power,
        problem.dictionary.rank,
        history,
        device,
        seed,
        dict(vars(settings)) | {"base": "paper" if isinstance(settings, PaperSettings) else "ours"},
    )


def risk_of(problem, fit):
    """Distance of a fit from dictionary matching of the voxel alone, in units of what noise explains.

    sqrt(2 (l_max - l) / 2), l the log-likelihood, M0 free, two parameters; l_max - l = (p_max2 - p2) / (2 sigma2),
    p the inner products of the voxel's own coefficients with the unit signals of both fits.

    Returns
    -------
    (n_voxels,) array

    """
    alone = fit_voxels(problem.coefficients, problem.dictionary)
    unit = fit.signals / np.linalg.norm(fit.signals, axis=1, keepdims=True)
    product2 = np.abs((unit * problem.coefficients).sum(axis=1)) ** 2
    return np.sqrt(np.maximum(alone.product**2 - product2, 0) / (2 * problem.noise_std**2))


def likeness_coefficients(problem, settings, randomness, rng, on_step=None):
    """Coefficients whose direction is an average over like neighbours and whose size and phase are the voxel's own.

    Returns
    -------
    coefficients : (n_voxels, rank) complex array
    history : dict of str to list

    """
    series, dictionary, own = problem.series, problem.dictionary, problem.coefficients
    alone = fit_voxels(own, dictionary)
    size = np.abs(alone.m0)
    turn = np.where(size > 0, alone.m0.conj(), 1.0) / np.where(size > 0, size, 1.0)
    sets = make_frame_sets(len(dictionary.schedule), dictionary.rank, settings.n_splits, rng)
    masks = np.concatenate([sets.halves.reshape(-1, sets.halves.shape[-1]), [sets.training, sets.judging]])
    found = list(_of_sets(problem, alone, masks, settings.n_iterations, str(randomness.device)))
    sigma = np.median([noise_of_halves(a, b) for a, b in zip(found[:-2:2], found[1:-2:2], strict=True)])
    sigma = max(sigma, 1e-9 * np.linalg.norm(own, axis=1).max()) * np.sqrt(sets.training.sum())  # of one frame alone

    def images(coefficients, frames):
        gram = dictionary.subspace[:, frames] @ dictionary.subspace[:, frames].T * len(frames) / frames.sum()
        whiten = np.linalg.cholesky(gram).T
        return AlignedImages(coefficients, turn, series.mask, sigma / np.sqrt(frames.sum()), whiten, randomness.device)

    aligned = [images(c, frames) for c, frames in zip(found, masks, strict=True)]
    pairs = list(zip(aligned[:-2:2], aligned[1:-2:2], strict=True))
    network, history = train(pairs, aligned[-2:], settings, randomness, on_step)
    averaged = average(network, images(own, np.ones(masks.shape[1], bool)))
    directions = averaged.permute(2, 3, 0, 1).cpu().numpy()[series.mask].astype(float)
    return directions * (directions * own).sum(axis=1, keepdims=True), history


def _of_sets(problem, alone, masks, n_iterations, device):
    """Coefficients of sets of frames, without what the subspace leaks into them."""
    dictionary = problem.dictionary
    found = coefficients_of(problem.series, dictionary.subspace, masks, problem.sampling, n_iterations, device)
    for coefficients, leak in zip(found, leaks(dictionary, alone.atoms, masks), strict=True):
        yield (coefficients - alone.m0[:, None] * leak).astype(np.complex64)
