"""Simulated MSDKI voxels of three tissues (Xu et al. 2024), and how a method's maps are scored against them."""

from dataclasses import dataclass

import numpy as np

from benchmarks.maps_coverage import coverage
from mrspec_prep.networks.priors.mixture import Mixture
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

CLUSTERS = ("white", "grey", "CSF")
WEIGHTS = np.array([0.5, 0.4, 1.0]) / 1.9
TISSUE = {  # means and standard deviations of D [um2/ms] and K
    "narrow": (np.array([[1.0, 1.5], [1.5, 1.0], [2.6, 0.05]]), np.full((3, 2), 0.12)),
    "paper": (np.array([[1.0, 1.5], [1.5, 1.0], [3.0, 0.0]]), np.sqrt([[0.1, 0.1], [0.1, 0.1], [0.01, 0.01]])),
}
PARAMETERS = ("diffusivity", "kurtosis")
PROTOCOLS = {  # volumes: b-values [s/mm2]
    11: np.linspace(0, 2500, 11),
    288: np.repeat(np.linspace(0, 2500, 11), [18] + 10 * [27]),
}
NARROW_S0 = 1e-3  # of log S0 in the true prior: S0 is 1 in every voxel


@dataclass(frozen=True, eq=False)
class Simulation:
    """Voxels whose tissue is known.

    Attributes
    ----------
    truth : (n_voxels, 2) array
        D [um2/ms] and K.
    cluster : (n_voxels,) int array
        Place in ``CLUSTERS``.
    signals : (n_voxels, n_volumes) array
        S0 = 1.
    encodings : Encodings
    noise_std : float
    prior : Mixture
        What the tissue was drawn from, over log S0, D and K.

    """

    truth: np.ndarray
    cluster: np.ndarray
    signals: np.ndarray
    encodings: Encodings
    noise_std: float
    prior: Mixture


def simulate(spread, snr, seed, n_voxels, n_volumes=11) -> Simulation:
    """Voxels of three clusters with Rician noise."""
    rng = np.random.default_rng(seed)
    means, stds = TISSUE[spread]
    cluster = rng.choice(3, n_voxels, p=WEIGHTS)
    truth = means[cluster] + stds[cluster] * rng.standard_normal((n_voxels, 2))
    truth = np.stack([np.clip(truth[:, 0], 0.05, 5.0), np.maximum(truth[:, 1], 0.0)], axis=1)
    tissue = {"s0": np.ones(n_voxels), "diffusivity": truth[:, 0], "kurtosis": truth[:, 1]}
    encodings = Encodings(bvalue=PROTOCOLS[n_volumes])
    signals = add_noise(MODELS["msdki"].signal(encodings, tissue), 1 / snr, rng, "rician")
    covariances = np.stack([np.diag([NARROW_S0, *std]) ** 2 for std in stds])
    prior = Mixture(WEIGHTS, np.insert(means, 0, 0.0, axis=1), covariances)
    return Simulation(truth, cluster, signals, encodings, 1 / snr, prior)


def scores(simulation, mean, std, intervals=None):
    """Score a method's maps.

    Parameters
    ----------
    simulation : Simulation
    mean, std : (n_voxels, 2) array
        D [um2/ms] and K; ``std`` may be None.
    intervals : (n_voxels, 2, 4) array, optional
        Quantiles 2.5, 15.87, 84.13 and 97.5 %; by default mean and multiples of ``std``.

    Returns
    -------
    (3, 2, 4) array
        RMSE, correlation within the cluster, coverage of the 68 and the 95 % interval (``maps_coverage``), by cluster
        and parameter.

    """
    if intervals is None and std is not None:
        steps = np.array([-1.95996, -0.99982, 0.99982, 1.95996])
        intervals = mean[..., None] + np.maximum(std, 1e-12)[..., None] * steps
    table = np.full((3, 2, 4), np.nan)
    for c in range(3):
        rows = simulation.cluster == c
        for p in range(2):
            truth, guess = simulation.truth[rows, p], mean[rows, p]
            table[c, p, 0] = np.sqrt(np.mean((guess - truth) ** 2))
            table[c, p, 1] = np.corrcoef(guess, truth)[0, 1] if guess.std() > 0 else 0.0
            if intervals is not None:
                parameter = MODELS["msdki"].tissue[p]
                table[c, p, 2:] = coverage(truth, intervals[rows, p], parameter.low, parameter.high)
    return table


def stacked(named):
    """(n_voxels, 2, ...) array of D and K of a dict by parameter, None of None."""
    return None if named is None else np.stack([named[key] for key in PARAMETERS], axis=1)
