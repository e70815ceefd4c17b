"""T1 from inversion recovery with an inversion pulse that need not be perfect (Barral et al. 2010)."""

from mrspec_prep.physics.equations import partial_inversion
from mrspec_prep.physics.models.model import Model, Parameter

TISSUE = (
    Parameter("t1", "ms", 20.0, 6000.0, (100.0, 250.0, 500.0, 800.0, 1200.0, 1800.0, 3000.0, 4500.0), link="log"),
    Parameter("inversion_efficiency", "1", 0.5, 1.0, (0.75, 0.9, 1.0)),
)
REFERENCE = "Barral et al. 2010, Magn Reson Med 64:1057"


def signed(e, t1, inversion_efficiency):
    """Signal 1 - 2 e exp(-TI/T1) [+ (2 e - 1) exp(-TR/T1)], with its sign."""
    return partial_inversion(e.inversion_time, t1, inversion_efficiency, e.repetition_time)


def magnitude(e, t1, inversion_efficiency):
    """Magnitude of ``signed``."""
    return abs(signed(e, t1, inversion_efficiency))


IR_T1 = Model("ir-t1", TISSUE, ("inversion_time",), magnitude, REFERENCE)
IR_T1_SIGNED = Model("ir-t1-signed", TISSUE, ("inversion_time",), signed, REFERENCE, magnitude=False)
