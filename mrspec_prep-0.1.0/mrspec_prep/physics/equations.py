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


def inversion_recovery(inversion_time, t1, repetition_time=None, efficiency=1.0):
    """Longitudinal recovery after inversion, 1 - (1 + e) exp(-TI/T1) [+ e exp(-TR/T1)], unitless.

    TI, T1, TR [ms]. The result is signed. The readout at TI leaves nothing along z, so that the magnetisation
    before the next inversion is M = 1 - exp(-(TR - TI)/T1). A pulse of flip angle theta leaves -e M,
    e = -cos(theta) (Barral 2010, Eq. 1), and what recovers until TI is 1 - (1 + e M) exp(-TI/T1): the formula
    above. Without TR, M = 1. The efficiency e is 1 for a perfect inversion and 0 for saturation
    recovery, from which TR drops out. In perfusion imaging (1 + e)/2 bears the same name.
    """
    recovered = 1 - (1 + efficiency) * exp(-inversion_time / t1)
    return recovered if repetition_time is None else recovered + efficiency * exp(-repetition_time / t1)


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


def stick_decay(bvalue, diffusivity, cosine):
    """Diffusion inside a stick, exp(-b D (g.n)^2), unitless; b [s/mm2], D [um2/ms] along the stick.

    ``cosine`` is g.n, the cosine between gradient and stick (Behrens et al. 2003).
    """
    return exp(-bvalue * diffusivity * MM2_PER_S * cosine**2)


def partial_inversion(inversion_time, t1, efficiency, repetition_time=None):
    """Longitudinal recovery after an incomplete inversion, unitless; TI, T1, TR [ms].

    1 - 2 e exp(-TI/T1) [+ (2 e - 1) exp(-TR/T1)], with e = (1 - cos theta) / 2 of the inversion pulse:
    1 for a perfect inversion, 1/2 for a saturation (Barral et al. 2010, a + b exp(-TI/T1)).
    """
    recovered = 1 - 2 * efficiency * exp(-inversion_time / t1)
    return recovered if repetition_time is None else recovered + (2 * efficiency - 1) * exp(-repetition_time / t1)
