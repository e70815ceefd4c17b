"""What every method of parameter mapping is given: a model, prepared signals, measured noise."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import Model

DISTRIBUTIONS = ("gaussian", "rician")


@dataclass(frozen=True, eq=False)
class Problem:
    """Signals of many voxels and what they are explained by.

    Attributes
    ----------
    model : Model
    signals : (n_voxels, n) float array
        Means over the volumes of each encoding [signal units].
    encodings : Encodings
        n encodings.
    n_averages : (n,) array
        Volumes behind each mean.
    noise_std : (n_voxels,) array
        Sigma of one volume, of each real channel [signal units].
    distribution : str
        ``gaussian`` or ``rician``.

    """

    model: Model
    signals: np.ndarray
    encodings: Encodings
    n_averages: np.ndarray
    noise_std: np.ndarray
    distribution: str = "gaussian"

    @property
    def n_voxels(self):
        """Number of voxels."""
        return len(self.signals)

    def named(self, values):
        """Columns of a (n_voxels, n_parameters) array by parameter."""
        return {name: np.ascontiguousarray(values[:, p]) for p, name in enumerate(self.model.names)}


class PositiveSettings:
    """Base of settings that are all numbers above 0; ValueError names one that is not."""

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")


def settings_of(kind, given):
    """Settings of a method from None, a dict or an instance.

    Raises
    ------
    ValueError
        Unknown names; the message lists the known ones.

    """
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    names = kind.__dataclass_fields__
    if not isinstance(given, dict) or set(given) - set(names):
        raise ValueError(f"settings must be among {', '.join(names)}, got {given!r}")
    return kind(**given)


def chosen_settings(method, presets, given):
    """Settings of a network and the name of the preset they start from.

    Parameters
    ----------
    method : str
        In messages.
    presets : dict of str to settings
        ``ours`` and ``paper``.
    given : None, str, dict or settings
        None or ``ours``; ``paper``; a dict of changes to either, named by its entry ``base``; or settings of one of the
        presets' kinds.

    Returns
    -------
    settings : instance of a preset's class
    base : str

    Raises
    ------
    ValueError
        Unknown names or values.

    """
    for base, preset in presets.items():
        if isinstance(given, type(preset)):
            return given, base
    changes = {"base": given or "ours"} if given is None or isinstance(given, str) else given
    if not isinstance(changes, dict):
        raise ValueError(f"settings of {method} are {', '.join(presets)} or a dict, got {given!r}")
    base = changes.get("base", "ours")
    if base not in presets:
        raise ValueError(f"settings of {method} are {' or '.join(presets)}, got {base!r}")
    changes = {name: value for name, value in changes.items() if name != "base"}
    settings_of(type(presets[base]), changes)  # refuses unknown names
    return replace(presets[base], **changes), base
