"""Signal models of parameter maps: one small file each, and one line in this table.

A new model is a file with its ``shape`` (built from ``physics.equations``) and a ``Model``; then its
name goes into the tuple below. Nothing else needs to know it.
"""

from mrspec_prep.physics.models.ball_stick import BALL_STICK
from mrspec_prep.physics.models.decays import ADC, ADC_T2, ADC_T2STAR, T2_BIEXP, T2_DECAY, T2STAR_DECAY
from mrspec_prep.physics.models.inversion_recovery import IR_T1, IR_T1_SIGNED
from mrspec_prep.physics.models.ivim import IVIM
from mrspec_prep.physics.models.model import Model, Parameter
from mrspec_prep.physics.models.msdki import MSDKI
from mrspec_prep.physics.models.prepare import Prepared, prepare

_TABLE = (MSDKI, BALL_STICK, ADC, ADC_T2, ADC_T2STAR, IVIM, T2_DECAY, T2STAR_DECAY, T2_BIEXP, IR_T1, IR_T1_SIGNED)
MODELS = {model.name: model for model in _TABLE}


def model_named(name):
    """Model of a name.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones.

    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name]


__all__ = ["MODELS", "Model", "Parameter", "Prepared", "model_named", "prepare"]
