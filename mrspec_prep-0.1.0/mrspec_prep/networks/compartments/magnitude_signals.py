"""Magnitudes for a classifier of signed signals: the lost phase drawn again and again (data augmentation).

The magnitude v of x + complex noise of sigma has the real part v cos(theta), theta ~ von Mises(0, x v / sigma^2)
given x and v; over v it is Gaussian about x, which is what the classifier was trained for. x given the real parts is
drawn from its Gaussian posterior under the prior of ``any_protocol``. The probabilities of the classes are averaged
over the draws (Tanner and Wong 1987). Setting a floor aside instead would throw away what it tells: that nothing decays
slowly.
"""

import numpy as np

from mrspec_prep.networks.compartments.any_protocol import ProtocolMap

N_FIRST = 6  # draws before the first that counts
LEAST = 0.1  # of a magnitude that the first draw leaves
N_BETWEEN = 2  # draws from one that counts to the next


def signed_draws(signals, sigma, mapping: ProtocolMap, positive, n_draws, rng):
    """Signed signals that magnitudes may come from.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Magnitudes; those of inversion recovery with restored signs, which the first draw starts from.
    sigma : (n_voxels,) array
        Of each real channel [signal units].
    mapping : ProtocolMap
    positive : bool
        No signal is negative: nothing is inverted.
    n_draws : int
    rng : numpy.random.Generator

    Yields
    ------
    (n_voxels, n_encodings) array

    """
    magnitudes, sigma = np.abs(signals), sigma[:, None]
    drawn = np.sign(signals) * np.sqrt(np.maximum(magnitudes**2 - sigma**2, 0))
    for step in range(N_FIRST + N_BETWEEN * (n_draws - 1)):
        clean = _draw_clean(drawn, sigma, mapping, rng)
        if positive:
            clean = np.maximum(clean, 0)
        angle = rng.vonmises(0, np.abs(clean) * magnitudes / sigma**2)
        drawn = np.where(clean < 0, -1, 1) * magnitudes * np.cos(angle)
        if step >= N_FIRST - 1 and (step - N_FIRST + 1) % N_BETWEEN == 0:
            yield drawn


def pooled_draws(signals, sigma, mapping: ProtocolMap, positive, n_draws, rng, pool):
    """Averages of neighbours whose phase is drawn given what they say together.

    Parameters
    ----------
    signals, sigma, mapping, positive, n_draws, rng
        See ``signed_draws``.
    pool : callable
        (n_voxels, n_encodings) signed signals -> averages of unit 2-norm, their sigma, and what they are worth.

    Yields
    ------
    what ``pool`` gives

    """
    magnitudes, channel = np.abs(signals), sigma[:, None]
    drawn = np.sign(signals) * np.sqrt(np.maximum(magnitudes**2 - channel**2, (LEAST * magnitudes) ** 2))
    for step in range(N_FIRST + N_BETWEEN * (n_draws - 1) + 1):
        averages, spread, worth = pool(drawn)
        if step >= N_FIRST and (step - N_FIRST) % N_BETWEEN == 0:
            yield averages, spread, worth
        clean = _draw_clean(averages, spread[:, None], mapping, rng) * np.linalg.norm(drawn, axis=1, keepdims=True)
        if positive:
            clean = np.maximum(clean, 0)
        angle = rng.vonmises(0, np.abs(clean) * magnitudes / channel**2)
        drawn = np.where(clean < 0, -1, 1) * magnitudes * np.cos(angle)


def _draw_clean(signals, sigma, mapping, rng):
    """Noise-free signals given noisy ones, from their posterior; their norm tells the scale of the prior."""
    norm = np.linalg.norm(signals, axis=1, keepdims=True)
    known = mapping.strength**2 / (mapping.strength**2 + (sigma / norm) ** 2)
    mean = known * (signals @ mapping.project)
    return (mean + sigma * np.sqrt(known) * rng.standard_normal(mean.shape)) @ mapping.project.T
