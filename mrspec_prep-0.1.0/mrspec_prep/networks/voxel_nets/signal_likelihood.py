"""Log-likelihood of predicted signals on tensors: that of ``fitting.likelihood``, with its slope."""

import math

import torch

FAR = 12.0  # signal over sigma beyond which the moments of a magnitude are series (float32 would cancel)


class LogBessel(torch.autograd.Function):
    """Logarithm of I0(z) exp(-z), z >= 0; its slope I1(z)/I0(z) - 1 from scaled functions never overflows."""

    @staticmethod
    def forward(ctx, z):
        """Value."""
        scaled = torch.special.i0e(z)
        ctx.save_for_backward(z, scaled)
        return scaled.log()

    @staticmethod
    def backward(ctx, gradient):
        """Slope."""
        z, scaled = ctx.saved_tensors
        return gradient * (torch.special.i1e(z) / scaled - 1)


def magnitude_moments(t):
    """Mean and variance of a Rician magnitude over sigma, at signals t >= 0 over sigma.

    sqrt(pi/2) L_{1/2}(-t2/2), the Laguerre function in scaled Bessel functions of t2/4; and 2 + t2 - mean2.
    """
    near, far = t.clamp(max=FAR), t.clamp(min=FAR)
    quarter = near**2 / 4
    bessel = (1 + 2 * quarter) * torch.special.i0e(quarter) + 2 * quarter * torch.special.i1e(quarter)
    mean = math.sqrt(math.pi / 2) * bessel
    series = far + 0.5 / far + 0.125 / far**3
    variance = torch.where(t < FAR, 2 + near**2 - mean**2, 1 - 0.5 / far**2 - 0.5 / far**4)
    return torch.where(t < FAR, mean, series), variance


def costs(predicted, signals, n_averages, distribution):
    """Minus log-likelihood of several predictions of each voxel, up to a constant of the voxel.

    Means over several volumes count as Gaussian with the mean and variance that magnitudes have.

    Parameters
    ----------
    predicted : (n, n_samples, n_encodings) tensor
        Over sigma, unitless.
    signals : (n, n_encodings) tensor
        Over sigma, unitless.
    n_averages : (n_encodings,) tensor
        Volumes behind each signal.
    distribution : str
        ``gaussian`` or ``rician``.

    Returns
    -------
    (n, n_samples) tensor
        [nats].

    """
    signals = signals[:, None]
    if distribution == "gaussian":
        return 0.5 * (n_averages * (signals - predicted) ** 2).sum(dim=-1)
    t, y, single = predicted.abs(), signals.clamp(min=0), n_averages == 1
    if bool(single.all()):
        return _single(t, y)
    if not bool(single.any()):
        return _averaged(t, y, n_averages)
    return _single(t[..., single], y[..., single]) + _averaged(t[..., ~single], y[..., ~single], n_averages[~single])


def _single(t, y):
    return (0.5 * (y - t) ** 2 - LogBessel.apply(t * y)).sum(dim=-1)


def _averaged(t, y, n_averages):
    mean, variance = magnitude_moments(t)
    return 0.5 * (n_averages * (y - mean) ** 2 / variance + variance.log()).sum(dim=-1)
