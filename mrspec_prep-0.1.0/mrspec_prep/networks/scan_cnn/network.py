"""The network: virtual echoes of an image and their least-squares fit in, log rate and amplitude out."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle, silu, softplus

from mrspec_prep.networks.scan_cnn.decays import LOG_RATES, fit_decay, least_errors
from mrspec_prep.networks.scan_cnn.virtual_echoes import MIDDLE, N_CONSTANTS, VIRTUAL_TIMES

BLOCK = 2  # voxels along each side that become channels (Zhang et al. 2018, FFDNet)
COARSEST = 2 * BLOCK
N_MAPS = len(VIRTUAL_TIMES) + 2  # corrections of the virtual echoes, of the log rate and of the amplitude
N_FITTED = 2  # channels with the least-squares fit
FEW_STEPS, PRECISE, LARGEST_AMPLITUDE = 3, 0.05, 2.0  # of that fit; its error of the log rate that is precise
SOFT, FLOOR = 0.01, 1e-3  # of virtual echoes, before their logarithm is taken
NARROW = 1e-3  # variance of the times, below which a slope counts as none
TOLD = (0.003, 0.25)  # noise over the largest signals
LEAST_RATE, SOFT_RATE = 0.007, 0.02  # mean echo time over T2: least, and where it bends towards that


class Estimate(NamedTuple):
    """Maps (b, h, w) as ``decays`` has them."""

    log_rate: torch.Tensor
    amplitude: torch.Tensor


def convolution(n_in, n_out):
    """3 x 3 convolution; borders continue."""
    return nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="replicate")


class Residual(nn.Module):
    """x + conv(silu(conv(x))), the second convolution zero at first."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = convolution(width, width), convolution(width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x):
        """(b, width, h, w) to the same."""
        return x + self.second(silu(self.first(x)))


class ScanNetwork(nn.Module):
    """Two scales of residual blocks on blocks of 2 x 2 voxels.

    Parameters
    ----------
    fine, coarse : int
        Channels at half and at a quarter of the resolution.
    n_fine, n_coarse : int
        Residual blocks before and after, and between.

    """

    def __init__(self, fine=48, coarse=80, n_fine=2, n_coarse=3):
        super().__init__()
        self.enter = convolution(BLOCK**2 * (len(VIRTUAL_TIMES) + N_FITTED) + N_CONSTANTS, fine)
        self.before = nn.Sequential(*[Residual(fine) for _ in range(n_fine)])
        self.down = nn.Conv2d(fine, coarse, 2, 2)
        self.middle = nn.Sequential(*[Residual(coarse) for _ in range(n_coarse)])
        self.up = nn.ConvTranspose2d(coarse, fine, 2, 2)
        self.after = nn.Sequential(*[Residual(fine) for _ in range(n_fine)])
        self.leave = convolution(fine, BLOCK**2 * N_MAPS)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, channels):
        """Maps (b, N_MAPS, h, w) of channels (b, 6 + 14 + 2, h, w): virtual echoes, constants, the fit."""
        height, width = channels.shape[2:]
        channels = pad(channels, (0, -width % COARSEST, 0, -height % COARSEST), mode="replicate")
        virtual, constants, fit = channels.split([len(VIRTUAL_TIMES), N_CONSTANTS, N_FITTED], 1)
        seen = pixel_unshuffle(torch.cat([virtual, fit], 1), BLOCK)
        fine = self.before(self.enter(torch.cat([seen, constants[:, :, ::BLOCK, ::BLOCK]], 1)))
        fine = self.after(fine + self.up(self.middle(self.down(fine))))
        return pixel_shuffle(self.leave(fine), BLOCK)[:, :, :height, :width]

    def estimate(self, images, protocol):
        """Estimate of images (b, e, h, w) whose largest signals are about 1.

        The network corrects the virtual echoes; the slope of their logarithms, each weighted by signal over error, is
        the rate. Where least squares of a voxel is precise already it takes the place of both; the network is told it
        everywhere, and corrects what came out. Noise outside ``TOLD`` it is told as the nearest that it knows.
        """
        protocol = replace(protocol, noise_std=min(max(protocol.noise_std, TOLD[0]), TOLD[1]))
        channels, times = protocol.channels(images), protocol.times(images)
        with torch.no_grad():
            fitted, height = fit_decay(images, times, FEW_STEPS)
            fitted, height = fitted.clamp(*LOG_RATES), height.clamp(max=LARGEST_AMPLITUDE)
            bound = least_errors(fitted, height.clamp_min(protocol.noise_std), times, protocol.noise_std)[0]
            trust = 1 / (1 + (bound / PRECISE) ** 2)
        found = self(torch.cat([channels, fitted[:, None] / 4, height[:, None]], 1))
        n = len(VIRTUAL_TIMES)
        virtual = channels[:, :n] + 0.5 * protocol.noise_std**0.5 * found[:, :n]
        rate = _slope(softplus(virtual / SOFT) * SOFT + FLOOR, protocol.virtual_errors)
        log_rate = (softplus(rate / SOFT_RATE) * SOFT_RATE + LEAST_RATE).log()
        log_rate = log_rate + trust * (fitted - log_rate) + found[:, n]
        amplitude = virtual[:, MIDDLE] + trust * (height - virtual[:, MIDDLE])
        return Estimate(log_rate, amplitude + protocol.noise_std * found[:, n + 1])


def _slope(virtual, errors):
    """Minus slope of log virtual echoes (b, 6, h, w) over time, weighted by (signal / error)^2."""
    weight = (virtual / virtual.new_tensor(np.hypot(errors, FLOOR))[:, None, None]) ** 2
    weight = weight / weight.sum(1, keepdim=True)
    times, logs = virtual.new_tensor(VIRTUAL_TIMES)[:, None, None], virtual.log()
    away = times - (weight * times).sum(1, keepdim=True)
    return -(weight * away * logs).sum(1) / ((weight * away**2).sum(1) + NARROW)


def new_network(seed, **sizes):
    """Network with weights drawn from a seed; torch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ScanNetwork(**sizes)
