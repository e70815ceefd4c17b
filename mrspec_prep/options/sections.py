"""Settings of the methods that work on one participant: one dataclass per section of a workflow file."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mrspec_prep.options.checks import (
    OptionsError,
    candidates_of,
    check_axis_values,
    check_bounds,
    check_candidates,
    check_choice,
    check_integer,
    check_n_components,
    check_number,
    check_truth,
    nearest,
)

AXES = ("diffusivity", "t2", "t2star", "t1", "kurtosis")  # of spectra


@dataclass(frozen=True)
class SelectOptions:
    """Which images of a participant are read."""

    datatype: str = "auto"  #: ``dwi``, ``anat`` or ``auto`` (every series that the kernel can describe)
    suffix: str = "auto"  #: ``dwi``, ``MESE``, ``MEGRE``, ``IRT1`` or ``auto``
    #: ``none`` (diffusion images that belong together are one series), or ``echo-time``: one series per echo time
    split: str = "none"
    #: of preprocessed images: ``check`` (b=0 signals that do not fall with echo time are refused), or ``trusted`` (you
    #: know that scans were not scaled to one intensity)
    b0_scaling: str = "check"

    def __post_init__(self):
        check_choice("select", "datatype", self.datatype, ("auto", "dwi", "anat"))
        check_choice("select", "suffix", self.suffix, ("auto", "dwi", "MESE", "MEGRE", "IRT1"))
        check_choice("select", "split", self.split, ("none", "echo-time"))
        check_choice("select", "b0_scaling", self.b0_scaling, ("check", "trusted"))


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


NOISE_METHODS = ("auto", "b0-repeats", "residual", "mppca", "neighbours")
NOISE_DISTRIBUTIONS = ("auto", "gaussian", "rician", "nc-chi", "student-t")
MAGNITUDES = ("rician", "nc-chi")


@dataclass(frozen=True)
class NoiseOptions:
    """How the noise standard deviation is found."""

    #: ``b0-repeats``, ``residual``, ``mppca``, ``neighbours`` (one level, from differences between neighbouring
    #: voxels), ``auto`` (b0-repeats from 4 repeats on, else residual), a number [signal units], or the file name
    #: pattern of a map
    method: str | float = "auto"
    #: ``gaussian``; ``rician`` (magnitude of one channel) and ``nc-chi`` (root sum of squares of ``n_coils``
    #: channels), in spectra and InSpect; ``student-t`` (InSpect allows for the error of sigma itself);
    #: ``auto``: student-t where sigma comes from fewer than 50 repeats, else gaussian
    distribution: str = "auto"
    n_coils: int = 1  #: channels of the root sum of squares, for ``nc-chi``

    def __post_init__(self):
        check_choice("noise", "distribution", self.distribution, NOISE_DISTRIBUTIONS)
        check_integer("noise", "n_coils", self.n_coils, 1)
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
                    check_choice("noise", "method", self.method, (*NOISE_METHODS, "a number", "a NIfTI file pattern"))
                return
        check_number("noise", "method", self.method, 0, low_open=True)


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
    #: values of axes by hand: axis -> rising list [um2/ms, ms], as ``{t2 = [10, 20, 40, 80]}``; they stand in place of
    #: the bounds, the ``points`` and the ``spacing`` of that axis
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    #: inversion recovery: ``magnitude`` (polarity restored voxel by voxel), ``signed``, or
    #: ``auto`` (signed where negative values were stored)
    polarity: str = "auto"
    #: what the inversion pulse leaves of the magnetisation, with its sign changed: a number between 0 (saturation)
    #: and 1 (perfect), or ``auto``: from the strongest voxels, 1 unless they exclude it
    inversion_efficiency: str | float = 1.0

    def __post_init__(self):
        if self.inversion_efficiency != "auto":
            check_number("kernel", "inversion_efficiency", self.inversion_efficiency, 0)
            if self.inversion_efficiency > 1:
                raise OptionsError(f"kernel.inversion_efficiency must be <= 1, got {self.inversion_efficiency}")
        check_choice("kernel", "spacing", self.spacing, ("log", "linear"))
        check_choice("kernel", "polarity", self.polarity, ("auto", "magnitude", "signed"))
        if not isinstance(self.points, (tuple, list)):
            raise OptionsError(f"kernel.points must be a list, one number per axis, got {self.points!r}")
        for point in self.points:
            check_integer("kernel", "points", point, 2)
        for key, bounds in self.bounds.items():
            check_bounds("kernel", key, bounds, low=0)
        self._check_grid()

    def _check_grid(self):
        if not isinstance(self.grid, Mapping):
            raise OptionsError(f"kernel.grid must be a table of axis = [values], got {self.grid!r}")
        for axis, values in self.grid.items():
            if axis not in AXES:
                raise OptionsError(f"kernel.grid has the axes {', '.join(AXES)}, not {axis}{nearest(axis, AXES)}")
            check_axis_values("kernel.grid", axis, values, low_open=axis != "kurtosis")
            if axis in self.bounds:
                raise OptionsError(
                    f"kernel.grid.{axis} gives the values of the axis and kernel.{axis} its bounds: leave one out"
                )

    @property
    def bounds(self):
        """Bounds given by hand, by axis."""
        return {axis: getattr(self, axis) for axis in AXES if getattr(self, axis)}


ALPHA_RULES = ("fixed", "gcv", "lcurve", "chi2", "discrepancy", "brd")


@dataclass(frozen=True)
class NNLSOptions:
    """Voxelwise regularised spectra (paper 1, Eq. 4)."""

    wanted: bool = True  #: whether voxelwise spectra are computed
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
        check_truth("nnls", "wanted", self.wanted)
        check_number("nnls", "alpha", self.alpha, 0)
        check_choice("nnls", "alpha_rule", self.alpha_rule, ALPHA_RULES)
        check_choice("nnls", "alpha_scope", self.alpha_scope, ("voxel", "image"))
        check_number("nnls", "tolerance", self.tolerance, 0, low_open=True)
        check_number("nnls", "spatial", self.spatial, 0)
        if not isinstance(self.regions, Mapping):
            raise OptionsError(f"nnls.regions must be a table of regions, got {self.regions!r}")
        for name, box in self.regions.items():
            if not re.fullmatch(r"[a-zA-Z0-9+]+", name):
                raise OptionsError(f"nnls.regions: a region's name is letters, digits and + only (BIDS), got {name!r}")
            if not isinstance(box, Mapping):
                raise OptionsError(f"nnls.regions.{name} must be a table of axis = [low, high], got {box!r}")
            for axis, bounds in box.items():
                check_choice(f"nnls.regions.{name}", "axis", axis, AXES)
                check_bounds(f"nnls.regions.{name}", axis, bounds)


@dataclass(frozen=True)
class InspectOptions:
    """Canonical spectra and their clusters by EM (paper 1)."""

    wanted: bool = True  #: whether clusters are computed
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
        check_truth("inspect", "wanted", self.wanted)
        check_choice("inspect", "mode", self.mode, ("exact", "paper"))
        check_choice("inspect", "criterion", self.criterion, ("bic", "aic", "held-out"))
        check_integer("inspect", "held_out_folds", self.held_out_folds, 0)
        if self.held_out_folds == 1 or (self.criterion == "held-out" and self.held_out_folds == 0):
            raise OptionsError(
                f"inspect.held_out_folds must be 2 or more for held-out volumes, got {self.held_out_folds}"
            )
        check_choice("inspect", "scale", self.scale, ("profiled", "fixed"))
        check_truth("inspect", "spatial", self.spatial)
        check_number("inspect", "alpha", self.alpha, 0)
        check_integer("inspect", "n_starts", self.n_starts, 1)
        check_integer("inspect", "max_steps", self.max_steps, 1)
        check_candidates("inspect", self.n_clusters)

    @property
    def candidates(self):
        """Numbers of clusters to fit."""
        return candidates_of(self.n_clusters)


@dataclass(frozen=True)
class InspectMapOptions:
    """Continuous InSpect: component spectra and their weights in every voxel."""

    n_components: int = 0  #: number of components; 0: not computed
    alpha: float = 0.01  #: Tikhonov weight of the component spectra, unitless
    scale: str = "profiled"  #: voxel scale: ``profiled`` (fitted), or ``fixed`` (signals already normalised)
    n_starts: int = 6  #: descents from anchor voxels; how far their ends differ is reported
    max_steps: int = 1000  #: steps of a descent at most

    def __post_init__(self):
        check_choice("inspect_map", "scale", self.scale, ("profiled", "fixed"))
        check_number("inspect_map", "alpha", self.alpha, 0)
        check_integer("inspect_map", "n_starts", self.n_starts, 1)
        check_integer("inspect_map", "max_steps", self.max_steps, 1)
        check_n_components("inspect_map", self.n_components)


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
        check_choice("uncertainty", "resampling", self.resampling, RESAMPLING_KINDS)
        check_integer("uncertainty", "bootstrap", self.bootstrap, 0)
        if 0 < self.bootstrap < 20:
            raise OptionsError(f"uncertainty.bootstrap must be 0 (off) or >= 20, got {self.bootstrap}")
        for key in ("bounds", "simultaneous"):
            check_truth("uncertainty", key, getattr(self, key))
        check_number("uncertainty", "level", self.level, 0, low_open=True)
        if self.level >= 1:
            raise OptionsError(f"uncertainty.level must be < 1, got {self.level}")

    @property
    def wanted(self):
        """Whether anything is computed."""
        return self.bootstrap > 0 or self.bounds
