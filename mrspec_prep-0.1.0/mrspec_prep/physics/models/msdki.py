"""Mean signal diffusion kurtosis (Henriques et al. 2019): the powder mean of each shell."""

import numpy as np

from mrspec_prep.physics.equations import MM2_PER_S, diffusion_kurtosis
from mrspec_prep.physics.models.model import Model, Parameter


def shape(e, diffusivity, kurtosis):
    """Signal exp(-b D + b2 D2 K / 6)."""
    return diffusion_kurtosis(e.bvalue, diffusivity, kurtosis)


def valid(e, diffusivity, kurtosis):
    """Return where the largest b-value stays below 3 / (D K), beyond which the model's signal rises again."""
    return np.max(e.bvalue) * MM2_PER_S * diffusivity * kurtosis <= 3


def log_design(e):
    """Design of log S = log S0 - b D + b2 D2 K / 6, linear in (log S0, D, D2 K)."""
    b = e.bvalue * MM2_PER_S
    return np.stack([np.ones_like(b), -b, b**2 / 6], axis=1)


def from_log(coefficients):
    """Return S0, D, K of (log S0, D, D2 K)."""
    log_s0, diffusivity, product = coefficients.T
    return np.stack(
        [np.exp(log_s0), diffusivity, product / np.where(diffusivity == 0, 1e-12, diffusivity) ** 2], axis=1
    )


MSDKI = Model(
    name="msdki",
    tissue=(
        Parameter("diffusivity", "um2/ms", 0.01, 5.0, (0.3, 0.6, 1.0, 1.5, 2.2, 3.0)),
        Parameter("kurtosis", "1", 0.0, 3.0, (0.0, 0.5, 1.0, 1.5, 2.2)),
    ),
    needs=("bvalue",),
    shape=shape,
    reference="Henriques et al. 2019, Magn Reson Med 81:3245",
    b_limit=3100.0,
    valid=valid,
    log_design=log_design,
    from_log=from_log,
)
