"""Decays of whole images as tensors: amplitude at a middle time and logarithm of the rate, the best known together.

S(TE) = a exp(-(TE / t - 1) x) with t the mean echo time of the protocol, a = S(t) and x = t / T2, unitless.
"""

import torch

LOG_RATES = (-5.0, 3.0)  #: of x: T2 from t / 20 to 148 t
STEPS = 6  # of Gauss and Newton
LARGEST = 20.0  # amplitude


def synthesise(log_rate, amplitude, times):
    """Signals (b, e, h, w) of maps (b, h, w); ``times`` (e,) are TE / t."""
    away = (times - 1)[None, :, None, None]
    return amplitude[:, None] * torch.exp(-away * log_rate.clamp(*LOG_RATES).exp()[:, None])


def rician_mean(signals, noise_std):
    """Expected magnitude of signals, sigma sqrt(pi/2) L_1/2(-S2 / (2 sigma2)) (Koay and Basser 2006)."""
    z = (signals / noise_std) ** 2 / 4
    series = (1 + 2 * z) * torch.special.i0e(z) + 2 * z * torch.special.i1e(z)
    return noise_std * (torch.pi / 2) ** 0.5 * series


def fit_decay(signals, times, n_steps=STEPS):
    """Least squares of images (b, e, h, w): log rate and amplitude, each (b, h, w)."""
    away = (times - 1)[None, :, None, None]
    floor = signals.clamp_min(1e-6)
    weight, logs = floor**2, floor.log()
    total = weight.sum(1)
    first, second = (weight * away).sum(1), (weight * away**2).sum(1)
    log_sum, log_first = (weight * logs).sum(1), (weight * away * logs).sum(1)
    determinant = (total * second - first**2).clamp_min(1e-20)
    rate = (-(total * log_first - first * log_sum) / determinant).clamp(0.005, 20)
    amplitude = ((second * log_sum - first * log_first) / determinant).clamp(-14, 2).exp()
    for _ in range(n_steps):
        shape = torch.exp(-away * rate[:, None])
        slope = -away * amplitude[:, None] * shape
        left = signals - amplitude[:, None] * shape
        aa, ax, xx = (shape * shape).sum(1), (shape * slope).sum(1), (slope * slope).sum(1)
        down_a, down_x = (shape * left).sum(1), (slope * left).sum(1)
        determinant = torch.maximum(aa * xx - ax**2, 1e-6 * aa * xx).clamp_min(1e-20)
        amplitude = (amplitude + (xx * down_a - ax * down_x) / determinant).clamp(0, LARGEST)
        step = (aa * down_x - ax * down_a) / determinant
        rate = (rate + torch.maximum(torch.minimum(step, rate), -rate / 2)).clamp(0.005, 20)
    return rate.log(), amplitude


def least_errors(log_rate, amplitude, times, noise_std):
    """Cramer-Rao bounds (standard deviations) of log rate and amplitude of one voxel, each (b, h, w)."""
    away, rate = (times - 1)[None, :, None, None], log_rate.exp()
    shape = torch.exp(-away * rate[:, None])
    slope = -away * (amplitude * rate)[:, None] * shape
    aa, ax, xx = (shape * shape).sum(1), (shape * slope).sum(1), (slope * slope).sum(1)
    determinant = (aa * xx - ax**2).clamp_min(1e-20)
    return noise_std * (aa / determinant).sqrt(), noise_std * (xx / determinant).clamp_min(0).sqrt()
