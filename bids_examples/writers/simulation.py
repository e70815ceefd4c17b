"""Scans of simulated organs: the signal comes from ``mrspec_prep.physics``, the noise is Rician.

SNR: mean reference signal of the region of interest over sigma.
"""

from dataclasses import dataclass

import numpy as np

from bids_examples.writers.organs import coil_shading, component_fractions, tissue_fractions
from mrspec_prep.physics import KERNELS, Encodings, add_noise, simulate_signals

SEED = 20261120
SNR = 25.0
SIGNAL_AT_S0_1 = 8000.0  # stored units; leaves int16 room for noise and coil shading


@dataclass(frozen=True)
class Scan:
    """One simulated participant, all arrays over (x, y, z[, n])."""

    tissues: np.ndarray
    s0: np.ndarray
    parameters: dict[str, np.ndarray]
    mask: np.ndarray
    noise_std: float
    images: np.ndarray  # int16, as stored


def simulate(organ, encodings, participant):
    """Draw, mix, encode and add noise: one ``Scan``."""
    rng = np.random.default_rng([SEED, list(KERNELS).index(organ.kernel), int(participant)])
    tissues = tissue_fractions(organ, participant)
    components = component_fractions(organ, tissues)
    filled = components.sum(axis=-1)
    content = components.reshape(-1, len(organ.components))
    values = {
        axis: np.tile([component[axis] for component in organ.components.values()], (len(content), 1))
        for axis in KERNELS[organ.kernel]
    }
    full = SIGNAL_AT_S0_1 * coil_shading(organ.shape)
    signals = simulate_signals(organ.kernel, encodings, values, content, full.ravel())
    signals = np.abs(signals).reshape(*organ.shape, len(encodings))
    inside = tissues[..., [name in organ.region for name in organ.tissues]].sum(axis=-1) > 0.75
    noise_std = float(np.round(signals[inside][:, encodings.reference()].mean() / SNR, 1))
    noisy = add_noise(signals, noise_std, rng, kind="rician")
    share = components / np.maximum(filled, 1e-12)[..., None]
    means = {
        axis: np.exp(share @ np.log([component[axis] for component in organ.components.values()])) * (filled > 0)
        for axis in KERNELS[organ.kernel]
    }
    return Scan(tissues, full * filled, means, inside, noise_std, np.round(noisy).astype(np.int16))


def unit_vectors(n, rng):
    """(n, 3) directions spread at random, rounded as they are written."""
    vectors = rng.standard_normal((n, 3))
    return np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 6)


def diffusion_encodings(volumes_per_b, echo_times, repetition_time):
    """Every b-value [s/mm2] at every TE [ms]; direction differs per weighted volume, TE outermost."""
    bvalues = np.repeat(list(volumes_per_b), list(volumes_per_b.values())).astype(float)
    order = np.argsort(np.random.default_rng(SEED).random(len(bvalues)), kind="stable")
    order = np.concatenate([[0], order[order != 0]])  # a b=0 first, the rest interleaved as scanners do
    bvalues = bvalues[order]
    directions = unit_vectors(len(bvalues), np.random.default_rng(SEED + 1)) * (bvalues > 0)[:, None]
    n_echoes = len(echo_times)
    return Encodings(
        bvalue=np.tile(bvalues, n_echoes),
        echo_time=np.repeat(np.array(echo_times, float), len(bvalues)),
        repetition_time=repetition_time,
        direction=np.tile(directions, (n_echoes, 1)),
    )
