"""Signal equations, each written once, for numpy arrays and torch tensors alike.

Units inside the package: times in ms, b-values in s/mm2, diffusivities in um2/ms
(1 um2/ms = 1e-3 mm2/s). All arguments broadcast.
"""

import numpy as np

MM2_PER_S = 1e-3  # one um2/ms in mm2/s


def exp(x):
    """Exponential of an array or of any tensor that brings its own ``exp`` (torch)."""
    return x.exp() if hasattr(x, "exp") else np.exp(x)


def transverse_decay(echo_time, t2):
    """Transverse relaxation exp(-TE/T2), unitless; TE, T2 (or T2*) [ms]."""
    return exp(-echo_time / t2)


def inversion_recovery(inversion_time, t1, repetition_time=None):
    """Longitudinal recovery after inversion, 1 - 2 exp(-TI/T1) [+ exp(-TR/T1)], unitless.

    TI, T1, TR [ms]. Without TR the magnetisation is taken as fully relaxed before
    each inversion. The result is signed.
    """
    recovered = 1 - 2 * exp(-inversion_time / t1)
    return recovered if repetition_time is None else recovered + exp(-repetition_time / t1)


def diffusion_decay(bvalue, diffusivity):
    """Gaussian diffusion exp(-b D), unitless; b [s/mm2], D [um2/ms]."""
    return exp(-bvalue * diffusivity * MM2_PER_S)


def diffusion_kurtosis(bvalue, diffusivity, kurtosis):
    """Kurtosis signal exp(-b D + b2 D2 K / 6), unitless; b [s/mm2], D [um2/ms], K unitless.

    It turns upward for b > 3 / (D K), where it no longer describes diffusion
    (Jensen 2005; Henriques 2019, eq. for the powder mean).
    """
    attenuation = bvalue * diffusivity * MM2_PER_S
    return exp(-attenuation + attenuation**2 * kurtosis / 6)
