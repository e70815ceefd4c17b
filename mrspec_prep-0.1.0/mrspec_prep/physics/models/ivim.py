"""Intravoxel incoherent motion (Le Bihan et al. 1988): perfusion and diffusion."""

from mrspec_prep.physics.equations import diffusion_decay
from mrspec_prep.physics.models.model import Model, Parameter


def shape(e, perfusion_fraction, pseudo_diffusivity, diffusivity):
    """Signal f exp(-b D*) + (1 - f) exp(-b D)."""
    flowing = diffusion_decay(e.bvalue, pseudo_diffusivity)
    return perfusion_fraction * flowing + (1 - perfusion_fraction) * diffusion_decay(e.bvalue, diffusivity)


IVIM = Model(
    name="ivim",
    tissue=(
        Parameter("perfusion_fraction", "1", 0.0, 0.7, (0.03, 0.1, 0.25, 0.45)),
        Parameter("pseudo_diffusivity", "um2/ms", 5.0, 300.0, (8.0, 20.0, 60.0, 150.0), link="log"),
        Parameter("diffusivity", "um2/ms", 0.05, 4.0, (0.4, 0.8, 1.3, 2.0, 3.0), link="log"),
    ),
    needs=("bvalue",),
    shape=shape,
    reference="Le Bihan et al. 1988, Radiology 168:497",
)
