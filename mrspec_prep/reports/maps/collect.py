"""Parameter maps of signal models, read into one object per model and method; a missing file is a gap."""

import re
from dataclasses import dataclass, field

import numpy as np

from mrspec_prep.bids.output.catalogue import load_catalogue
from mrspec_prep.bids.output.derivatives import MapFile
from mrspec_prep.physics.models import MODELS

#: ``desc`` of each method, in the order of columns and tables
METHODS = ("lsq", "lsqgmm", "learnedprior", "selfsup", "vae", "gmmvae", "loglinear", "varpro", "rician", "nlmvarpro")
METHODS += ("dictionary", "scancnn")  # of fingerprinting; of whole images
AMPLITUDES = ("s0", "m0")  # of signals: no property of tissue
EXTRAS = ("risk", "latent", "residual", "match", "phase", "valid", "converged")  # maps that are no parameter of a model
_DESC = re.compile(rf"({'|'.join(METHODS)})(std|low|high)?")
FINGERPRINT = "mrf"  # model of fingerprinting, beside those of ``physics.models``
_MODELS = {name.replace("-", ""): name for name in (*MODELS, FINGERPRINT)}
UNITS = {"um2/ms": "µm²/ms", "ms": "ms", "1": "", "signal": "a.u."}


@dataclass(eq=False)
class MethodMaps:
    """What one method answered for one model.

    Maps have their axes to the right, front and up, in the units of the package.
    """

    method: str  #: as in ``desc``: lsq, learnedprior, ...
    model: str  #: key of ``physics.models.MODELS``; empty where no file says it
    maps: dict = field(default_factory=dict)  #: parameter -> MapFile
    std: dict = field(default_factory=dict)  #: parameter -> MapFile
    low: dict = field(default_factory=dict)  #: parameter -> MapFile
    high: dict = field(default_factory=dict)  #: parameter -> MapFile
    extras: dict = field(default_factory=dict)  #: of ``EXTRAS``, direction, direction_std, dseg, probseg -> MapFile
    history: dict = field(default_factory=dict)  #: step and what was watched while learning -> one value per step

    @property
    def metadata(self):
        """What the sidecars of its files say together."""
        merged = {}
        for found in (*self.extras.values(), *self.maps.values()):
            merged |= found.metadata
        return merged

    @property
    def tissue(self):
        """Parameters of the tissue that have a map."""
        return [parameter for parameter in self.order if parameter not in AMPLITUDES]

    @property
    def about_model(self):
        """Entry of the table of models, or None."""
        return MODELS.get(self.model)

    @property
    def order(self):
        """Parameters that have a map: tissue first, as in the model's table, S0 or M0 and unknown ones last."""
        known = [p.name for p in self.about_model.tissue] if self.about_model else []
        return sorted(self.maps, key=lambda p: (p in AMPLITUDES, known.index(p) if p in known else len(known), p))


def take_map(methods, found, entities):
    """Put one map where it belongs, if it is one of a parameter-mapping method.

    Parameters
    ----------
    methods : dict
        (model, method) -> MethodMaps; grows.
    found : MapFile
        As on disk: axes not yet turned.
    entities : dict
        Of the file's name.

    Returns
    -------
    bool
        Whether it was one.

    """
    segmentation, param = entities.get("segmentation"), entities.get("param")
    match = _DESC.fullmatch(segmentation or entities.get("desc") or "")
    if match is None or (segmentation and match[2]):
        return False
    method, part = match.groups()
    model = _MODELS.get(entities.get("model", ""), found.metadata.get("Model", ""))
    place = methods.setdefault((model, method), MethodMaps(method, model))
    if segmentation:
        place.extras[entities["suffix"]] = _volumes(found.canonical())
    elif param == "direction" and part is None:
        place.extras["direction"] = _to_world(found).canonical()
    elif param == "direction":
        place.extras[f"direction_{part}"] = found.canonical()
    elif param in EXTRAS:
        place.extras[param] = _volumes(found.canonical()) if param == "latent" else found.canonical()
    else:
        name = _parameter(model, param or (found.key or entities["suffix"]).removeprefix("model-"), found)
        getattr(place, part or "maps")[name] = found.canonical()
    return True


def take_history(methods, columns, entities):
    """Put the table of what was watched while a method learned where it belongs."""
    model, method = _MODELS.get(entities.get("model", ""), ""), entities.get("desc")
    if method in METHODS:
        methods.setdefault((model, method), MethodMaps(method, model)).history = columns


def entry_of(found, parameter, model=None):
    """How a map is drawn and called: its entry of ``maps.toml``, else what the model's table says."""
    entries = load_catalogue()["maps"]
    if found.key in entries:
        return entries[found.key]
    known = {p.name: p for p in model.parameters} if model else {}
    unit = UNITS.get(known[parameter].unit, known[parameter].unit) if parameter in known else ""
    title = parameter.replace("_", " ").capitalize()
    return {"title": title, "symbol": title, "unit": unit, "colormap": "viridis", "range": "percentile",
            "description": f"{title}."}  # fmt: skip


def sorted_methods(methods):
    """Models in order of their names, methods in the order of ``METHODS``."""
    return {key: methods[key] for key in sorted(methods, key=lambda key: (key[0], METHODS.index(key[1])))}


def _parameter(model, written, found):
    """Parameter's name in the model's table."""
    known = {p.name.replace("_", ""): p.name for p in MODELS[model].parameters} if model in MODELS else {}
    told = found.metadata.get("Parameter")
    return told if told in known.values() else known.get(written.replace("_", "").lower(), written)


def _volumes(found):
    """Map with a fourth axis, as a single volume of several is stored without."""
    if found.data.ndim == 4 or found.key == "dseg" or found.data.dtype.kind in "iu":
        return found
    return MapFile(found.data[..., None], found.affine, found.metadata, found.key)


def _to_world(found):
    """Directions as unit vectors to the right, front and up, from those of the bvec file."""
    return MapFile(found.data @ bvec_axes(found.affine).T, found.affine, found.metadata, found.key)


def bvec_axes(affine):
    """(3, 3) array whose columns are the axes of a bvec file, to the right, front and up.

    They follow the axes of the image, the first one flipped where these are right-handed.
    """
    turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return turn * np.array([-1, 1, 1]) if np.linalg.det(turn) > 0 else turn
