"""Settings of every method: frozen, checked when made, TOML in and out.

One dataclass per section of a workflow file. Imports nothing of this package, so that
every room may read it.
"""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


class OptionsError(ValueError):
    """A setting that does not exist or has no allowed value; the message says which and what would do."""


def _choice(section, key, value, allowed):
    if value not in allowed:
        raise OptionsError(f"{section}.{key} must be one of {', '.join(allowed)}, got {value!r}")


def _number(section, key, value, low=None, low_open=False):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise OptionsError(f"{section}.{key} must be a finite number, got {value!r}")
    if low is not None and (value <= low if low_open else value < low):
        raise OptionsError(f"{section}.{key} must be {'>' if low_open else '>='} {low}, got {value}")


def _integer(section, key, value, low):
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise OptionsError(f"{section}.{key} must be a whole number >= {low}, got {value!r}")


def _bounds(section, key, value, low=-math.inf):
    """Refuse what is not two finite numbers, low < value[0] < value[1]."""
    numbers = isinstance(value, (tuple, list)) and all(
        isinstance(end, (int, float)) and not isinstance(end, bool) and math.isfinite(end) for end in value
    )
    if not numbers or len(value) != 2 or not low < value[0] < value[1]:
        shown = list(value) if isinstance(value, (tuple, list)) else value
        positive = "" if low < 0 else f", {low} < low < high"
        raise OptionsError(f"{section}.{key} must be two bounds [low, high]{positive}, got {shown!r}")


@dataclass(frozen=True)
class SelectOptions:
    """Which images of a participant are read."""

    datatype: str = "auto"  #: ``dwi``, ``anat`` or ``auto`` (every series that the kernel can describe)
    suffix: str = "auto"  #: ``dwi``, ``MESE``, ``MEGRE``, ``IRT1`` or ``auto``

    def __post_init__(self):
        _choice("select", "datatype", self.datatype, ("auto", "dwi", "anat"))
        _choice("select", "suffix", self.suffix, ("auto", "dwi", "MESE", "MEGRE", "IRT1"))


@dataclass(frozen=True)
class MaskOptions:
    """Where the region of interest comes from."""

    #: ``auto`` (a derivative mask where one is given, else automatic), ``derivative``, ``automatic``,
    #: or a NIfTI file name pattern with ``{subject}`` and ``{session}``
    source: str = "auto"

    def __post_init__(self):
        known = ("auto", "derivative", "automatic")
        if not isinstance(self.source, str) or not (self.source in known or self.source.endswith((".nii", ".nii.gz"))):
            close = difflib.get_close_matches(str(self.source), known, n=1)
            raise OptionsError(
                f"mask.source must be {', '.join(known)} or a pattern of .nii or .nii.gz files, got {self.source!r}"
                + (f"; did you mean {close[0]}?" if close else "")
            )


NOISE_METHODS = ("auto", "b0-repeats", "residual", "mppca")
NOISE_DISTRIBUTIONS = ("auto", "gaussian", "rician", "nc-chi", "student-t")
MAGNITUDES = ("rician", "nc-chi")


@dataclass(frozen=True)
class NoiseOptions:
    """How the noise standard deviation is found."""

    #: ``b0-repeats``, ``residual``, ``mppca``, ``auto`` (b0-repeats from 4 repeats on, else residual),
    #: a number [signal units], or the file name pattern of a map
    method: str | float = "auto"
    #: ``gaussian``; ``rician`` (magnitude of one channel) and ``nc-chi`` (root sum of squares of ``n_coils``
    #: channels), in spectra and InSpect; ``student-t`` (InSpect allows for the error of sigma itself);
    #: ``auto``: student-t where sigma comes from fewer than 50 repeats, else gaussian
    distribution: str = "auto"
    n_coils: int = 1  #: channels of the root sum of squares, for ``nc-chi``

    def __post_init__(self):
        _choice("noise", "distribution", self.distribution, NOISE_DISTRIBUTIONS)
        _integer("noise", "n_coils", self.n_coils, 1)
        if self.n_coils != 1 and self.distribution != "nc-chi":
            raise OptionsError(f"noise.n_coils = {self.n_coils} needs noise.distribution = nc-chi")
        if self.n_coils > 64:
            raise OptionsError(f"noise.n_coils must be <= 64, got {self.n_coils}")
        if isinstance(self.method, str):
            try:
                object.__setattr__(self, "method", float(self.method))
            except ValueError:
                looks_like_file = re.search(r"\.nii(\.gz)?$", self.method)
                if not looks_like_file:
                    _choice("noise", "method", self.method, (*NOISE_METHODS, "a number", "a NIfTI file pattern"))
                return
        _number("noise", "method", self.method, 0, low_open=True)


@dataclass(frozen=True)
class KernelOptions:
    """Which signal model, on which grid."""

    name: str = "auto"  #: a kernel of ``mrspec_prep.physics.KERNELS``, or ``auto``: from what varies
    points: tuple[int, ...] = ()  #: grid points per axis; empty: 200 in 1-D, 50 x 50, 20 x 20 x 20
    spacing: str = "log"  #: ``log`` or ``linear``
    diffusivity: tuple[float, ...] = ()  #: bounds [um2/ms]; empty: from the protocol
    t2: tuple[float, ...] = ()  #: bounds [ms]
    t2star: tuple[float, ...] = ()  #: bounds [ms]
    t1: tuple[float, ...] = ()  #: bounds [ms]
    kurtosis: tuple[float, ...] = ()  #: bounds, unitless
    #: inversion recovery: ``magnitude`` (polarity restored voxel by voxel), ``signed``, or
    #: ``auto`` (signed where negative values were stored)
    polarity: str = "auto"

    def __post_init__(self):
        _choice("kernel", "spacing", self.spacing, ("log", "linear"))
        _choice("kernel", "polarity", self.polarity, ("auto", "magnitude", "signed"))
        if not isinstance(self.points, (tuple, list)):
            raise OptionsError(f"kernel.points must be a list, one number per axis, got {self.points!r}")
        for point in self.points:
            _integer("kernel", "points", point, 2)
        for key, bounds in self.bounds.items():
            _bounds("kernel", key, bounds, low=0)

    @property
    def bounds(self):
        """Bounds given by hand, by axis."""
        axes = ("diffusivity", "t2", "t2star", "t1", "kurtosis")
        return {axis: getattr(self, axis) for axis in axes if getattr(self, axis)}


ALPHA_RULES = ("fixed", "gcv", "lcurve", "chi2", "discrepancy", "brd")


@dataclass(frozen=True)
class NNLSOptions:
    """Voxelwise regularised spectra (paper 1, Eq. 4)."""

    alpha: float = 0.01  #: Tikhonov weight of ||KF - S||2 + alpha ||F||2, unitless (paper: 0.01)
    #: ``fixed`` (``alpha`` as given), or chosen from the data: ``gcv`` (generalised cross-validation), ``lcurve``
    #: (greatest curvature), ``chi2`` (residual 1.02 times the unregularised one), ``discrepancy`` (residual =
    #: sigma2 times the encodings), ``brd`` (the same in the range of the kernel: Butler, Reeds and Dawson)
    alpha_rule: str = "fixed"
    #: ``voxel`` (each its own alpha) or ``image`` (one alpha: the rule on all voxels stacked, weighted by 1/sigma2)
    alpha_scope: str = "voxel"
    tolerance: float = 1e-9  #: relative excess of the objective allowed, certified per voxel
    #: weight of a neighbour's signal beside the voxel's own, unitless; it falls with distance and with the evidence
    #: that both differ. 0: voxels on their own; 1 halves errors of fractions where tissue is uniform
    spatial: float = 0.0
    #: regions of spectral integration: name -> {axis: [low, high]} [um2/ms, ms]; empty: defaults of the kernel
    regions: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self):
        _number("nnls", "alpha", self.alpha, 0)
        _choice("nnls", "alpha_rule", self.alpha_rule, ALPHA_RULES)
        _choice("nnls", "alpha_scope", self.alpha_scope, ("voxel", "image"))
        _number("nnls", "tolerance", self.tolerance, 0, low_open=True)
        _number("nnls", "spatial", self.spatial, 0)
        if not isinstance(self.regions, Mapping):
            raise OptionsError(f"nnls.regions must be a table of regions, got {self.regions!r}")
        for name, box in self.regions.items():
            if not re.fullmatch(r"[a-zA-Z0-9]+", name):
                raise OptionsError(f"nnls.regions: a region's name is letters and digits only (BIDS), got {name!r}")
            if not isinstance(box, Mapping):
                raise OptionsError(f"nnls.regions.{name} must be a table of axis = [low, high], got {box!r}")
            for axis, bounds in box.items():
                _choice(f"nnls.regions.{name}", "axis", axis, ("diffusivity", "t2", "t2star", "t1", "kurtosis"))
                _bounds(f"nnls.regions.{name}", axis, bounds)


@dataclass(frozen=True)
class InspectOptions:
    """Canonical spectra and their clusters by EM (paper 1)."""

    mode: str = "exact"  #: ``exact`` (monotone) or ``paper`` (Eqs. 11, 13, 15-16 as printed)
    n_clusters: int | tuple[int, int] = (2, 10)  #: number of clusters, or the range to choose from
    criterion: str = "bic"  #: ``bic``, ``aic``, or ``held-out`` (likelihood of volumes left out)
    #: folds of volumes for the held-out likelihood, 2 or more; 0: it is not computed
    held_out_folds: int = 0
    alpha: float = 0.01  #: Tikhonov weight of the cluster spectra (paper: 0.01)
    scale: str = "profiled"  #: voxel scale: ``profiled`` (fitted), or ``fixed`` (signals already normalised)
    #: neighbouring voxels tend to share their cluster (Potts prior by mean field, its weight estimated from the image)
    spatial: bool = False
    n_starts: int = 20  #: short EM runs from which the best continues
    max_steps: int = 500  #: EM steps at most

    def __post_init__(self):
        _choice("inspect", "mode", self.mode, ("exact", "paper"))
        _choice("inspect", "criterion", self.criterion, ("bic", "aic", "held-out"))
        _integer("inspect", "held_out_folds", self.held_out_folds, 0)
        if self.held_out_folds == 1 or (self.criterion == "held-out" and self.held_out_folds == 0):
            raise OptionsError(
                f"inspect.held_out_folds must be 2 or more for held-out volumes, got {self.held_out_folds}"
            )
        _choice("inspect", "scale", self.scale, ("profiled", "fixed"))
        if not isinstance(self.spatial, bool):
            raise OptionsError(f"inspect.spatial must be true or false, got {self.spatial!r}")
        _number("inspect", "alpha", self.alpha, 0)
        _integer("inspect", "n_starts", self.n_starts, 1)
        _integer("inspect", "max_steps", self.max_steps, 1)
        if isinstance(self.n_clusters, tuple):
            if len(self.n_clusters) != 2 or self.n_clusters[0] > self.n_clusters[1]:
                raise OptionsError(f"inspect.n_clusters must be a number or [low, high], got {list(self.n_clusters)}")
            for value in self.n_clusters:
                _integer("inspect", "n_clusters", value, 1)
        else:
            _integer("inspect", "n_clusters", self.n_clusters, 1)

    @property
    def candidates(self):
        """Numbers of clusters to fit."""
        if isinstance(self.n_clusters, int):
            return (self.n_clusters,)
        return tuple(range(self.n_clusters[0], self.n_clusters[1] + 1))


LARGEST_N_COMPONENTS = 16  # as many as there are colours


@dataclass(frozen=True)
class InspectMapOptions:
    """Continuous InSpect: component spectra and their weights in every voxel."""

    n_components: int = 0  #: number of components; 0: not computed
    alpha: float = 0.01  #: Tikhonov weight of the component spectra, unitless
    scale: str = "profiled"  #: voxel scale: ``profiled`` (fitted), or ``fixed`` (signals already normalised)
    n_starts: int = 6  #: descents from anchor voxels; how far their ends differ is reported
    max_steps: int = 1000  #: steps of a descent at most

    def __post_init__(self):
        _choice("inspect_map", "scale", self.scale, ("profiled", "fixed"))
        _number("inspect_map", "alpha", self.alpha, 0)
        _integer("inspect_map", "n_components", self.n_components, 0)
        _integer("inspect_map", "n_starts", self.n_starts, 1)
        _integer("inspect_map", "max_steps", self.max_steps, 1)
        if self.n_components > LARGEST_N_COMPONENTS:
            raise OptionsError(f"inspect_map.n_components must be <= {LARGEST_N_COMPONENTS}, got {self.n_components}")


RESAMPLING_KINDS = ("auto", "residual", "parametric")


@dataclass(frozen=True)
class UncertaintyOptions:
    """How well single voxels are known: bootstrap of the spectra, bounds of the fractions."""

    bootstrap: int = 0  #: resamples of every voxel, 100 is usual; 0: not computed
    #: noise of the resamples: the voxel's own ``residual``, ``parametric`` (normal, with the noise map), or
    #: ``auto`` (residual from 30 volumes on)
    resampling: str = "auto"
    #: smallest and largest fraction in each region among all non-negative spectra that explain the signal
    bounds: bool = False
    #: bounds that hold for all regions at once, with at least the level; false: each on its own, narrower
    simultaneous: bool = True
    level: float = 0.95  #: of intervals and bounds, a probability

    def __post_init__(self):
        _choice("uncertainty", "resampling", self.resampling, RESAMPLING_KINDS)
        _integer("uncertainty", "bootstrap", self.bootstrap, 0)
        if 0 < self.bootstrap < 20:
            raise OptionsError(f"uncertainty.bootstrap must be 0 (off) or >= 20, got {self.bootstrap}")
        for key in ("bounds", "simultaneous"):
            if not isinstance(getattr(self, key), bool):
                raise OptionsError(f"uncertainty.{key} must be true or false, got {getattr(self, key)!r}")
        _number("uncertainty", "level", self.level, 0, low_open=True)
        if self.level >= 1:
            raise OptionsError(f"uncertainty.level must be < 1, got {self.level}")

    @property
    def wanted(self):
        """Whether anything is computed."""
        return self.bootstrap > 0 or self.bounds


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
                raise OptionsError(f"unknown section [{section}]{_nearest(section, sections)}")
            if section == "description":
                made[section] = str(content)
                continue
            if not isinstance(content, Mapping):
                raise OptionsError(f"[{section}] must be a section with keys, got {content!r}")
            kind = sections[section].default_factory
            known = {f.name for f in fields(kind)}
            for key in content:
                if key not in known:
                    raise OptionsError(f"unknown key {section}.{key}{_nearest(key, known)}")
            try:
                made[section] = kind(**{key: _frozen(value) for key, value in content.items()})
            except TypeError as error:
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
            regions = content.pop("regions", {})
            lines += ["", f"[{section}]"] + [f"{key} = {_toml(value)}" for key, value in content.items()]
            for name, box in regions.items():
                lines += ["", f"[{section}.regions.{name}]"] + [f"{axis} = {_toml(b)}" for axis, b in box.items()]
        return "\n".join(lines) + "\n"

    def hash(self):
        """Twelve hexadecimal digits that change with any setting."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_options(path=None, overrides=()):
    """Options of a workflow file, with ``section.key=value`` overrides in TOML syntax.

    Without a file the defaults are overridden.

    Raises
    ------
    OptionsError
        Not TOML, an unknown key, or a value not allowed; names the file or the override.

    """
    values = {} if path is None else _read_toml(path)
    blamed = None
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or len(parts) < 2 or not all(parts):
            raise OptionsError(f"--set needs section.key=value, got {override!r}")
        try:
            value = tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        target = values
        for part in parts[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise OptionsError(f"--set {override}: {part} is a value, not a section")
        target[parts[-1]] = value
        try:
            Options.from_dict(values)
        except OptionsError as error:
            blamed = blamed or OptionsError(f"--set {override}: {error}")
    try:
        return Options.from_dict(values)  # settings that need one another may come in any order
    except OptionsError as error:
        raise blamed or error from error


def _read_toml(path):
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        Options.from_dict(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(f"{path} is not a TOML file: {error}") from error
    except OptionsError as error:
        raise OptionsError(f"{path}: {error}") from error
    return values


def _toml(value):
    """Text of a plain value: JSON is TOML here, but for its escapes beyond 16 bits and the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _frozen(value):
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _nearest(word, known):
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"
