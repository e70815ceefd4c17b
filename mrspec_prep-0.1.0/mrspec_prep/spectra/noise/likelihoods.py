"""Noise distributions: Rician and non-central chi magnitudes, Student-t for an estimated sigma."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics.magnitudes import (
    bessel_ratio,
    bessel_table,
    expected_magnitude,
    knee,
    log_bessel,
    log_density,
    magnitude_variance,
    ratio,
    sum_log_bessel,
)

__all__ = [
    "DISTRIBUTIONS",
    "NoiseModel",
    "bessel_ratio",
    "bessel_table",
    "expected_magnitude",
    "knee",
    "log_bessel",
    "log_density",
    "magnitude_variance",
    "ratio",
    "sum_log_bessel",
]

DISTRIBUTIONS = ("gaussian", "rician", "nc-chi", "student-t")
MAX_COILS = 64


@dataclass(frozen=True)
class NoiseModel:
    """Distribution of the noise; sigma is that of each real channel.

    Attributes
    ----------
    distribution : str
        ``gaussian``; ``rician`` (magnitude of one complex channel); ``nc-chi`` (root sum of squares
        of ``n_coils`` complex channels); ``student-t`` (Gaussian noise whose sigma was itself
        estimated, with ``degrees_of_freedom``).
    n_coils : int
        L, for ``nc-chi``.
    degrees_of_freedom : float
        nu, for ``student-t``.

    Raises
    ------
    ValueError
        Unknown distribution, coils not between 1 and 64, degrees of freedom not positive.

    """

    distribution: str = "gaussian"
    n_coils: int = 1
    degrees_of_freedom: float = np.inf

    def __post_init__(self):
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"noise distribution must be one of {', '.join(DISTRIBUTIONS)}, got {self.distribution!r}")
        if not 1 <= self.n_coils <= MAX_COILS:
            raise ValueError(f"n_coils must be between 1 and {MAX_COILS}, got {self.n_coils}")
        if self.distribution == "rician" and self.n_coils != 1:
            raise ValueError(f"rician noise has one coil, got n_coils = {self.n_coils}; use nc-chi")
        if not self.degrees_of_freedom > 0:
            raise ValueError(f"degrees_of_freedom must be > 0, got {self.degrees_of_freedom}")
        if self.distribution == "student-t" and not np.isfinite(self.degrees_of_freedom):
            raise ValueError("student-t noise needs the degrees of freedom of sigma; a sigma given by hand is gaussian")

    @property
    def is_magnitude(self):
        """Whether the signals are magnitudes, which hold no sign."""
        return self.distribution in ("rician", "nc-chi")
