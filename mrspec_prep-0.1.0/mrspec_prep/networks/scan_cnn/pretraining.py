"""What a network learns before it sees a scan: decays of random images under random protocols and noise.

Everything is simulated: leaf images, partial volume, blurring, 2 to 32 echoes, noise of .3 to 20 % of the
largest signals, signed or magnitude. The truth of a voxel is the least-squares fit of its noise-free signals. Errors
count relative to the Cramer-Rao bound of one voxel: what the loss measures is the gain over a voxelwise fit.
"""

import math

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, conv2d, huber_loss, pad

from mrspec_prep.networks.scan_cnn.decays import fit_decay, least_errors
from mrspec_prep.networks.scan_cnn.leaf_images import FINE
from mrspec_prep.networks.scan_cnn.virtual_echoes import Protocol

NOISE = (0.003, 0.2)  #: sigma over the largest signals
N_ECHOES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
PATCH, BATCH = 48, 8  # voxels along a side, images of a step
SEEN = 0.03  # of the largest signals: voxels with less are not learned from
LOG_RATES = (-4.0, 2.5)  # of the truth; beyond, no protocol tells
RATE_BOUND, AMPLITUDE_BOUND = (0.02, 0.7), (0.1, 1.0)  # limits of the bounds; the second in sigma


def random_protocol(rng):
    """Echo times (one of ``N_ECHOES``, evenly spaced or not), noise, signed or magnitude."""
    n, step = int(rng.choice(N_ECHOES)), math.exp(rng.uniform(math.log(0.2), math.log(2)))
    times = 1 + step * np.arange(n)
    if rng.random() < 0.2:
        times = np.sort(np.exp(rng.uniform(0, math.log(times[-1] + 0.5), n))) + 0.02 * np.arange(n)
    return Protocol(times, math.exp(rng.uniform(*np.log(NOISE))), bool(rng.random() < 0.5))


def draw_batch(pool, rng, times, n_images=BATCH, size=PATCH):
    """Noise-free signals (n_images, e, size, size), the largest about 1.

    Parameters
    ----------
    pool : (n, 2, FINE m, FINE m) array
        Of ``leaf_images.leaf_image``.
    rng : numpy.random.Generator
    times : (e,) tensor
        Echo times over their mean.

    """
    fine = np.stack([_crop(pool[i], rng, size * FINE) for i in rng.integers(len(pool), size=n_images)])
    fine = torch.from_numpy(np.ascontiguousarray(fine, dtype=np.float32))
    shift = torch.tensor(rng.uniform(-1.5, 1.0, n_images), dtype=torch.float32)[:, None, None]
    rate = (shift - fine[:, 0]).clamp(-4.6, 2.9).exp()
    signals = avg_pool2d(fine[:, 1:] * torch.exp(-times[None, :, None, None] * rate[:, None]), FINE)
    if rng.random() < 0.5:
        signals = _blurred(signals, rng.uniform(0.3, 0.8))
    first = signals[:, 0].flatten(1)
    largest = torch.maximum(torch.quantile(first, 0.98, dim=1), 0.6 * first.amax(1)).clamp_min(0.02)
    return signals / largest[:, None, None, None]


def add_noise(signals, protocol, generator):
    """Signals with Gaussian noise, or magnitudes with Rician noise."""
    noise = protocol.noise_std * torch.randn((2, *signals.shape), generator=generator)
    return torch.hypot(signals + noise[0], noise[1]) if protocol.magnitude else signals + noise[0]


def loss_of(network, signals, noisy, protocol):
    """Loss of one batch, and mean absolute errors of log rate and amplitude over the bounds of one voxel."""
    times = protocol.times()
    log_rate, amplitude = fit_decay(signals, times)
    rate_bound, bound = least_errors(log_rate, amplitude, times, protocol.noise_std)
    rate_bound = rate_bound.clamp(*RATE_BOUND)
    bound = bound.clamp(*(protocol.noise_std * limit for limit in AMPLITUDE_BOUND))
    found = network.estimate(noisy, protocol)
    seen = signals[:, 0] > SEEN
    off_rate, off = (found.log_rate - log_rate.clamp(*LOG_RATES))[seen], (found.amplitude - amplitude)[seen]
    relative = off_rate / rate_bound[seen], off / bound[seen]
    loss = sum(huber_loss(values, torch.zeros_like(values), delta=2.0) for values in relative)
    return loss, [values.detach().abs().mean().item() for values in relative]


def _crop(image, rng, size):
    y, x = FINE * rng.integers(0, (image.shape[1] - size) // FINE + 1, 2)
    image = image[:, y : y + size, x : x + size]
    for axis in (1, 2):
        if rng.random() < 0.5:
            image = np.flip(image, axis)
    return image.transpose(0, 2, 1) if rng.random() < 0.5 else image


def _blurred(signals, width):
    """Signals blurred by a Gaussian of so many voxels."""
    line = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2) / (2 * width**2))
    plane = line[:, None] * line / line.sum() ** 2
    padded = pad(signals.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, plane[None, None])[:, 0].view_as(signals)


class Pretraining:
    """A network in training; AdamW, one cycle, exponential average of the weights.

    Parameters
    ----------
    network : ScanNetwork
    pool : array
        Leaf images.
    n_steps : int
    seed : int

    """

    RATE, DECAY, CLIP, AVERAGE = 5e-4, 1e-4, 1.0, 0.005

    def __init__(self, network, pool, n_steps, seed):
        self.network, self.pool, self.n_steps, self.step = network, pool, n_steps, 0
        self.optimiser = torch.optim.AdamW(network.parameters(), self.RATE, weight_decay=self.DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, self.RATE, total_steps=n_steps, pct_start=0.1
        )
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.rng, self.generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        self.history = []

    def run(self, until):
        """Train up to a step."""
        while self.step < min(until, self.n_steps):
            protocol = random_protocol(self.rng)
            signals = draw_batch(self.pool, self.rng, protocol.times())
            loss, watched = loss_of(self.network, signals, add_noise(signals, protocol, self.generator), protocol)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.CLIP)
            self.optimiser.step()
            self.schedule.step()
            share = max(self.AVERAGE, 1 / (self.step + 1))
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, share)
            if not math.isfinite(loss.item()):
                raise ValueError(f"the training diverged at step {self.step}: {protocol}")
            self.history.append((loss.item(), *watched))
            self.step += 1
