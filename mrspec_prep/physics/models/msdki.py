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
)
