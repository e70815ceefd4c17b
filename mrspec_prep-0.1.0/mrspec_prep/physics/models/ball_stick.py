"""Ball and stick (Behrens et al. 2003): one fibre direction and free isotropic water."""

from mrspec_prep.physics.equations import diffusion_decay, stick_decay
from mrspec_prep.physics.models.model import Model, Parameter


def shape(e, stick_fraction, stick_diffusivity, ball_diffusivity, direction_x, direction_y, direction_z):
    """Signal f exp(-b D_stick (g.n)^2) + (1 - f) exp(-b D_ball)."""
    g = e.direction
    length = (direction_x**2 + direction_y**2 + direction_z**2) ** 0.5
    cosine = (direction_x * g[:, 0] + direction_y * g[:, 1] + direction_z * g[:, 2]) / length
    stick = stick_decay(e.bvalue, stick_diffusivity, cosine)
    return stick_fraction * stick + (1 - stick_fraction) * diffusion_decay(e.bvalue, ball_diffusivity)


BALL_STICK = Model(
    name="ball-stick",
    tissue=(
        Parameter("stick_fraction", "1", 0.0, 1.0, (0.1, 0.4, 0.7)),
        Parameter("stick_diffusivity", "um2/ms", 0.1, 4.0, (1.0, 2.0)),
        Parameter("ball_diffusivity", "um2/ms", 0.1, 4.0, (0.6, 1.2, 2.4)),
    ),
    needs=("bvalue", "direction"),
    shape=shape,
    reference="Behrens et al. 2003, Magn Reson Med 50:1077",
    oriented=True,
    b_limit=3100.0,
)
