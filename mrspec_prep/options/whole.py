"""A whole workflow file: its sections, TOML in and out."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from mrspec_prep.options.checks import OptionsError, nearest
from mrspec_prep.options.classifier import ClassifierOptions
from mrspec_prep.options.group import GroupOptions
from mrspec_prep.options.maps import MapsOptions
from mrspec_prep.options.mrf import MRFOptions
from mrspec_prep.options.scan_cnn import ScanCNNOptions
from mrspec_prep.options.sections import (
    AXES,
    MAGNITUDES,
    InspectMapOptions,
    InspectOptions,
    KernelOptions,
    MaskOptions,
    NNLSOptions,
    NoiseOptions,
    SelectOptions,
    UncertaintyOptions,
)


@dataclass(frozen=True)
class Options:
    """A whole workflow file."""

    description: str = ""  #: one sentence for the preview and the report
    select: SelectOptions = field(default_factory=SelectOptions)
    mask: MaskOptions = field(default_factory=MaskOptions)
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    kernel: KernelOptions = field(default_factory=KernelOptions)
    nnls: NNLSOptions = field(default_factory=NNLSOptions)
    inspect: InspectOptions = field(default_factory=InspectOptions)
    uncertainty: UncertaintyOptions = field(default_factory=UncertaintyOptions)
    inspect_map: InspectMapOptions = field(default_factory=InspectMapOptions)
    maps: MapsOptions = field(default_factory=MapsOptions)
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    scan_cnn: ScanCNNOptions = field(default_factory=ScanCNNOptions)
    mrf: MRFOptions = field(default_factory=MRFOptions)
    group: GroupOptions = field(default_factory=GroupOptions)

    def __post_init__(self):
        if self.inspect.mode == "paper" and self.noise.distribution not in ("auto", "gaussian"):
            raise OptionsError(
                f"inspect.mode = paper is Gaussian as printed: noise.distribution = {self.noise.distribution} "
                "needs inspect.mode = exact"
            )
        if self.nnls.alpha_rule != "fixed" and self.noise.distribution in MAGNITUDES:
            raise OptionsError(
                f"nnls.alpha_rule = {self.nnls.alpha_rule} reads residuals of Gaussian scatter, which magnitudes under "
                f"noise.distribution = {self.noise.distribution} do not leave: set nnls.alpha_rule = fixed"
            )
        if self.nnls.spatial > 0 and self.uncertainty.wanted:
            raise OptionsError(
                f"nnls.spatial = {self.nnls.spatial:g} lets neighbours share signals, for which [uncertainty] has no "
                "intervals: set nnls.spatial = 0, or uncertainty.bootstrap = 0 and uncertainty.bounds = false"
            )
        if self.kernel.polarity == "signed" and self.noise.distribution in MAGNITUDES:
            raise OptionsError(
                f"noise.distribution = {self.noise.distribution} describes magnitudes, and kernel.polarity = signed "
                "says that signs were stored: signed signals are gaussian"
            )
        self._check_what_is_wanted()

    def _check_what_is_wanted(self):
        of_encodings = self.wants_spectra or self.maps.wanted or self.classifier.wanted or self.scan_cnn.wanted
        if not (of_encodings or self.mrf.wanted):
            raise OptionsError(
                "nothing would be computed: nnls.wanted and inspect.wanted are false, inspect_map.n_components is 0, "
                "maps.model is empty, scan_cnn.wanted and mrf.wanted are false and classifier.wanted is false: set one "
                "of them"
            )
        if self.mrf.wanted:
            self._check_fingerprinting(of_encodings)
        if self.uncertainty.wanted and not self.nnls.wanted:
            raise OptionsError(
                "[uncertainty] is of voxelwise spectra, and nnls.wanted is false: set nnls.wanted = true, or "
                "uncertainty.bootstrap = 0 and uncertainty.bounds = false"
            )
        if self.maps.wanted and self.noise.distribution == "nc-chi" and self.maps.distribution == "auto":
            raise OptionsError(
                "parameter maps know gaussian and rician noise, and noise.distribution is nc-chi: set maps.distribution"
            )
        if self.classifier.steer == "alpha":
            if not self.nnls.wanted:
                raise OptionsError("classifier.steer = alpha is of voxelwise spectra: set nnls.wanted = true")
            if self.nnls.alpha_rule != "fixed" or self.nnls.spatial > 0:
                raise OptionsError(
                    "classifier.steer = alpha chooses the weight itself, for voxels on their own: set "
                    "nnls.alpha_rule = fixed and nnls.spatial = 0"
                )
        others = {"classifier": "the classifier knows", "scan_cnn": "scan-specific maps know"}
        for section, who in others.items():
            options = getattr(self, section)
            if options.wanted and self.noise.distribution == "nc-chi" and options.distribution == "auto":
                raise OptionsError(
                    f"{who} gaussian and rician noise, and noise.distribution is nc-chi: set {section}.distribution"
                )

    def _check_fingerprinting(self, others):
        """Refuse what a fingerprinting series cannot give beside its maps."""
        if others:
            raise OptionsError(
                "mrf.wanted = true is of fingerprinting series alone: take --workflow mrf_subspace, or set "
                "nnls.wanted, inspect.wanted, scan_cnn.wanted and classifier.wanted to false, "
                "inspect_map.n_components to 0 and maps.model to empty"
            )
        if isinstance(self.noise.method, str) and self.noise.method != "auto":
            raise OptionsError(
                "fingerprinting takes noise.method = auto (from the series itself) or a number, the standard "
                f"deviation of the real part of one coefficient [signal units], got {self.noise.method!r}"
            )

    @property
    def wants_spectra(self):
        """Whether any spectra are computed, so that compressed signals are kept for the group level."""
        return self.nnls.wanted or self.inspect.wanted or self.inspect_map.n_components > 0

    @classmethod
    def from_dict(cls, values):
        """Options from nested plain values (the content of a TOML file).

        Raises
        ------
        OptionsError
            Unknown section or key (the nearest one is suggested), or a value not allowed.

        """
        sections = {f.name: f for f in fields(cls)}
        made = {}
        for section, content in values.items():
            if section not in sections:
                raise OptionsError(f"unknown section [{section}]{nearest(section, sections)}")
            if section == "description":
                made[section] = str(content)
                continue
            if not isinstance(content, Mapping):
                raise OptionsError(f"[{section}] must be a section with keys, got {content!r}")
            kind = sections[section].default_factory
            known = {f.name for f in fields(kind)}
            for key in content:
                if key not in known:
                    raise OptionsError(f"unknown key {section}.{key}{nearest(key, known)}")
            try:
                made[section] = kind(**{key: _frozen(value) for key, value in content.items()})
            except (TypeError, RecursionError) as error:
                raise OptionsError(f"[{section}] holds a value of the wrong type: {error}") from error
        return cls(**made)

    def to_dict(self):
        """Nested plain values, lists for tuples."""
        return json.loads(json.dumps(asdict(self)))

    def to_toml(self):
        """Text of a workflow file that makes these options again."""
        plain = self.to_dict()
        lines = [f"description = {_toml(plain.pop('description'))}"]
        for section, content in plain.items():
            regions, grid = content.pop("regions", {}), content.pop("grid", {})
            lines += ["", f"[{section}]"] + [f"{key} = {_toml(value)}" for key, value in content.items()]
            tables = {"grid": grid} if grid else {}
            tables |= {f"regions.{_key(name)}": box for name, box in regions.items()}
            for name, table in tables.items():
                lines += ["", f"[{section}.{name}]"] + [f"{axis} = {_toml(values)}" for axis, values in table.items()]
        return "\n".join(lines) + "\n"

    def hash(self):
        """Twelve hexadecimal digits that change with any setting of the participants."""
        return _digits({name: content for name, content in self.to_dict().items() if name != "group"})

    def group_hash(self):
        """Twelve hexadecimal digits that change with any setting that decides a result of the group."""
        plain = self.to_dict()
        plain["group"].pop("checkpoint_steps")
        return _digits({"select": plain["select"], "kernel": plain["kernel"]["name"], "group": plain["group"]})


def _digits(plain):
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def load_options(path=None, overrides=()):
    """Options of a workflow file, with ``section.key=value`` overrides in TOML syntax.

    Without a file the defaults are overridden.

    Raises
    ------
    OptionsError
        Not TOML, an unknown key, or a value not allowed; names the file or the override.

    """
    values = {} if path is None else _read_toml(path)
    blamed, named = None, set()
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or len(parts) < 2 or not all(parts):
            raise OptionsError(f"--set needs section.key=value, got {override!r}")
        try:
            value = tomllib.loads(f"value = {text.strip()}")["value"]
        except (ValueError, RecursionError):  # not TOML, or numbers and nests that nobody means
            value = text.strip()
        target = values
        for part in parts[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise OptionsError(f"--set {override}: {part} is a value, not a section")
        target[parts[-1]] = value
        named.add(tuple(parts[:2]))
        if parts[:2] == ["kernel", "grid"]:
            _replace_bounds(values["kernel"], named)
        try:
            Options.from_dict(values)
        except OptionsError as error:
            blamed = blamed or OptionsError(f"--set {override}: {error}")
    try:
        return Options.from_dict(values)  # settings that need one another may come in any order
    except OptionsError as error:
        raise blamed or error from error


def _replace_bounds(kernel, named):
    """Take out the bounds that a workflow file gives an axis whose values an override gives."""
    for axis in kernel["grid"] if isinstance(kernel["grid"], dict) else ():
        if axis in AXES and ("kernel", axis) not in named:
            kernel.pop(axis, None)


def _read_toml(path):
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        Options.from_dict(values)
    except OptionsError as error:
        raise OptionsError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise OptionsError(f"{path} is not a TOML file: {error}") from error
    return values


def _toml(value):
    """Text of a plain value: JSON is TOML here, but for its escapes beyond 16 bits and the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name):
    """Key of a TOML table, quoted where it holds a plus sign."""
    return name if name.isalnum() else _toml(name)


def _frozen(value):
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value
