"""Exponential decays with diffusion weighting and echo time, alone and together."""

from mrspec_prep.physics.equations import diffusion_decay, transverse_decay
from mrspec_prep.physics.models.model import Model, Parameter

DIFFUSIVITY = Parameter("diffusivity", "um2/ms", 0.01, 5.0, (0.2, 0.5, 1.0, 2.0, 3.5), link="log")
T2_STARTS = (8.0, 20.0, 45.0, 90.0, 180.0, 500.0)
T2 = Parameter("t2", "ms", 1.0, 4000.0, T2_STARTS, link="log")
T2STAR = Parameter("t2star", "ms", 1.0, 2000.0, T2_STARTS, link="log")


def diffusion(e, diffusivity):
    """Signal exp(-b D)."""
    return diffusion_decay(e.bvalue, diffusivity)


def spin_echo(e, t2):
    """Signal exp(-TE/T2)."""
    return transverse_decay(e.echo_time, t2)


def gradient_echo(e, t2star):
    """Signal exp(-TE/T2*)."""
    return transverse_decay(e.echo_time, t2star)


def diffusion_spin_echo(e, diffusivity, t2):
    """Signal exp(-b D) exp(-TE/T2)."""
    return diffusion(e, diffusivity) * spin_echo(e, t2)


def diffusion_gradient_echo(e, diffusivity, t2star):
    """Signal exp(-b D) exp(-TE/T2*)."""
    return diffusion(e, diffusivity) * gradient_echo(e, t2star)


def two_spin_echoes(e, short_fraction, t2_short, t2_long):
    """Signal f exp(-TE/T2s) + (1 - f) exp(-TE/T2l)."""
    return short_fraction * transverse_decay(e.echo_time, t2_short) + (1 - short_fraction) * transverse_decay(
        e.echo_time, t2_long
    )


ADC = Model("adc", (DIFFUSIVITY,), ("bvalue",), diffusion, "Stejskal and Tanner 1965, J Chem Phys 42:288")
T2_DECAY = Model("t2", (T2,), ("echo_time",), spin_echo, "Carr and Purcell 1954, Phys Rev 94:630")
T2STAR_DECAY = Model("t2star", (T2STAR,), ("echo_time",), gradient_echo, "Chavhan et al. 2009, RadioGraphics 29:1433")
T2_BIEXP = Model(
    name="t2-biexp",
    tissue=(
        Parameter("short_fraction", "1", 0.0, 1.0, (0.1, 0.3, 0.6)),
        Parameter("t2_short", "ms", 5.0, 40.0, (10.0, 20.0, 35.0), link="logit"),
        Parameter("t2_long", "ms", 40.0, 4000.0, (60.0, 100.0, 200.0, 600.0), link="log"),
    ),
    needs=("echo_time",),
    shape=two_spin_echoes,
    reference="MacKay et al. 1994, Magn Reson Med 31:673",
)
ADC_T2 = Model(
    "adc-t2",
    (DIFFUSIVITY, T2),
    ("bvalue", "echo_time"),
    diffusion_spin_echo,
    "Stejskal and Tanner 1965, J Chem Phys 42:288; Carr and Purcell 1954, Phys Rev 94:630",
)
ADC_T2STAR = Model(
    "adc-t2star",
    (DIFFUSIVITY, T2STAR),
    ("bvalue", "echo_time"),
    diffusion_gradient_echo,
    "Hutter et al. 2018, Sci Rep 8:15138",
)
