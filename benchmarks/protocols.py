"""Protocols that the benchmarks simulate, built from published numbers only."""

import numpy as np

from mrspec_prep.physics import Encodings

#: b-value [s/mm2] and number of volumes at every echo time (ZEBRA placenta protocol, Slator et al. 2019)
PLACENTA_WEIGHTINGS = (
    (0, 6), (5, 3), (10, 3), (18, 8), (25, 3), (36, 7), (50, 3), (100, 3), (200, 3), (400, 3), (600, 3), (800, 15),
    (1200, 3), (1600, 3),
)  # fmt: skip
PLACENTA_ECHO_TIMES = (78, 114, 150, 186, 222)  # ms


def placenta():
    """330 volumes, 70 distinct encodings: 66 diffusion weightings at each of 5 echo times."""
    bvalue = np.concatenate([np.full(count, b, dtype=float) for b, count in PLACENTA_WEIGHTINGS])
    n_weightings = len(bvalue)
    return Encodings(
        bvalue=np.tile(bvalue, len(PLACENTA_ECHO_TIMES)), echo_time=np.repeat(PLACENTA_ECHO_TIMES, n_weightings)
    )


def inversion_spin_echo(n_inversion, n_echo):
    """T1-T2 protocol with logarithmic inversion times 50-5000 ms and echo times 10-500 ms."""
    inversion, echo = np.meshgrid(np.geomspace(50, 5000, n_inversion), np.geomspace(10, 500, n_echo), indexing="ij")
    return Encodings(inversion_time=inversion.ravel(), echo_time=echo.ravel())


def multi_echo(n_echo=48, spacing=8.0):
    """Multi-echo spin echo: equally spaced echo times [ms]."""
    return Encodings(echo_time=spacing * np.arange(1, n_echo + 1))
