"""What will be done, decided before anything is computed: series, workflow file, kernel, masks."""

import difflib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from mrspec_prep import __version__
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.contents import digest_file
from mrspec_prep.bids.input.fingerprints import FingerprintSeries
from mrspec_prep.bids.input.images import find_masks, masks_beside
from mrspec_prep.bids.input.series import Series, find_series
from mrspec_prep.interfaces.noise import automatic_method, repeats_of
from mrspec_prep.options import Options, load_options
from mrspec_prep.physics import KERNELS, default_grid, kernel_axes
from mrspec_prep.physics.encodings import B0_CEILING
from mrspec_prep.physics.kernels import NEEDS
from mrspec_prep.workflow_files import find_workflow, list_workflows
from mrspec_prep.workflows.planning.classifier import with_classifier
from mrspec_prep.workflows.planning.grid import checked_grid
from mrspec_prep.workflows.planning.maps import check_map_names, with_maps
from mrspec_prep.workflows.planning.mrf import (
    MRF_FILE,
    check_mrf_names,
    only_fingerprints,
    planned_fingerprints,
)
from mrspec_prep.workflows.planning.scan import check_scan_names, with_scan_cnn

MANY_REPEATS = 50  # degrees of freedom from which the error of the noise level no longer matters
CONTRAST_NAMES = {"bvalue": "b-value", "echo_time": "echo time", "inversion_time": "inversion time"}


@dataclass(frozen=True)
class SeriesPlan:
    """One series and everything that will be done to it."""

    series: Series | FingerprintSeries
    options: Options
    workflow: str  #: name of the workflow file
    why: str  #: why this workflow, in words
    kernel: str
    masks: tuple[Path, ...]
    noise_map: Path | None
    seed: int
    device: str = "auto"  #: of networks: ``auto``, ``cpu`` or ``cuda``
    digests: tuple[tuple[str, str], ...] = ()  #: files and SHA-256 of their content, once they were read
    voxel_notes: tuple[str, ...] = ()  #: on voxels that will be left out, in words
    n_usable: int | None = None  #: voxels that will be fitted, once the images were read

    @property
    def files(self):
        """Every file whose values are read."""
        read = self.series.sources if self.options.mrf.wanted else self.series.images
        return [*read, *self.masks, *([self.noise_map] if self.noise_map else [])]

    @property
    def fingerprint(self):
        """Changes with the content of an input file; a new date alone changes nothing."""
        known = dict(self.digests)
        prints = [(str(file), known.get(str(file)) or digest_file(file)) for file in self.files]
        return hashlib.sha256(json.dumps(prints).encode()).hexdigest()[:16]

    @property
    def key(self):
        """Changes when the result could: inputs, settings, seed or version."""
        parts = [self.fingerprint, self.options.hash(), self.kernel, self.seed, __version__, self.series.to_json()]
        options = self.options
        parts += [self.device] if options.maps.wanted or options.scan_cnn.wanted or options.mrf.wanted else []
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def kernel_settings(self):
        """Kernel name and what sets its grid as plain values for a node; empty of fingerprinting."""
        if self.options.mrf.wanted:
            return {}
        kernel = self.options.kernel
        bounds = {axis: list(b) for axis, b in kernel.bounds.items() if axis in kernel_axes(self.kernel)}
        settings = {"name": self.kernel, "points": list(kernel.points), "spacing": kernel.spacing, "bounds": bounds}
        return settings | {"grid": {axis: list(values) for axis, values in kernel.grid.items()}}

    @property
    def estimates_efficiency(self):
        """Whether the inversion efficiency is to be estimated from the images."""
        return "t1" in kernel_axes(self.kernel) and self.options.kernel.inversion_efficiency == "auto"

    @property
    def grid(self):
        """Grid of the spectra."""
        settings = self.kernel_settings
        return default_grid(
            kernel_axes(self.kernel),
            self.series.encodings,
            points=settings["points"] or None,
            bounds=settings["bounds"],
            spacing=settings["spacing"],
            values=settings["grid"],
        )


@dataclass(frozen=True)
class ParticipantPlan:
    """Everything that will be done to one participant."""

    subject: str
    series: tuple[SeriesPlan, ...]

    @property
    def key(self):
        """Changes when any result of the participant could."""
        return hashlib.sha256("".join(plan.key for plan in self.series).encode()).hexdigest()[:16]


def plan_participant(
    layout,
    subject,
    *,
    workflow=None,
    overrides=(),
    sessions=None,
    filters=None,
    derivatives=None,
    seed=0,
    device="auto",
):
    """Plan of one participant.

    Parameters
    ----------
    layout : BIDSLayout
    subject : str
        Label without ``sub-``.
    workflow : Path, optional
        Workflow file; default: by what varies in each series.
    overrides : sequence of str
        ``section.key=value``.
    sessions : sequence of str, optional
    filters : dict, optional
        Content of a ``--bids-filter-file``.
    derivatives : dict of str to Path, optional
        Further datasets: preprocessed images, masks, raw data behind a preprocessed dataset.
    seed : int
    device : str
        Of networks.

    Returns
    -------
    ParticipantPlan

    Raises
    ------
    InputError
        Nothing usable was found, or the data cannot support what was asked for.
    OptionsError
        A workflow file or override does not hold.

    """
    automatic = workflow is None and only_fingerprints(layout, subject, sessions)
    workflow = find_workflow(MRF_FILE) if automatic else workflow
    options = load_options(workflow, overrides)
    check_map_names(options.maps, device)
    check_scan_names(options.scan_cnn, device)
    check_mrf_names(options.mrf, device)
    if options.mrf.wanted:
        why = "the participant has fingerprinting series only" if automatic else "named by the user"
        about = {"options": options, "workflow": Path(workflow).stem, "why": why, "seed": seed, "device": device}
        found = planned_fingerprints(layout, subject, options, sessions, filters)
        return ParticipantPlan(subject, tuple(_plan_fingerprints(one, derivatives or {}, **about) for one in found))
    found = find_series(layout, subject, options.select, sessions, filters, derivatives)
    plans, refused = [], []
    for series in found:
        try:
            plans.append(replace(_plan_series(series, workflow, overrides, derivatives or {}, seed), device=device))
        except InputError as error:
            refused.append(error)
    if refused and (workflow is None or not plans):
        raise refused[0]
    return ParticipantPlan(subject, tuple(plans))


def _plan_fingerprints(series, derivatives, options, **about):
    masks, notes = _masks(series, options, derivatives)
    series = replace(series, notes=(*series.notes, *notes))
    return SeriesPlan(series, options, kernel="", masks=tuple(masks), noise_map=None, **about)


def _plan_series(series, workflow, overrides, derivatives, seed):
    if workflow is None:
        wanted = load_options(None, overrides).kernel.name
        kernel = wanted if wanted != "auto" else kernel_for(series)
        _check_kernel_name(kernel)
        workflow = workflow_for(kernel)
        why = (
            f"{varied_in_words(series)}: the kernel is {kernel}"
            if wanted == "auto"
            else f"kernel {kernel} was asked for"
        )
        options = load_options(workflow, overrides)
    else:
        options = load_options(workflow, overrides)
        kernel = options.kernel.name if options.kernel.name != "auto" else kernel_for(series)
        why = "named by the user"
    _check_kernel_name(kernel)
    series = restrict_to_kernel(series, kernel)
    series = with_efficiency(series, kernel, options.kernel.inversion_efficiency)
    masks, notes = _masks(series, options, derivatives)
    noise_map = None
    if isinstance(options.noise.method, str) and options.noise.method.endswith((".nii", ".nii.gz")):
        noise_map = find_masks(series, [], pattern=options.noise.method)[0]
    said = [*_unweighted_notes(series.encodings), *_noise_notes(series, options.noise.method)]
    series = replace(series, notes=(*series.notes, *notes, *said))
    options = with_scan_cnn(with_classifier(options, series), series)
    wanted, options = options.maps.model, with_maps(options, series)
    if wanted != options.maps.model:
        chosen = f"{varied_in_words(series)}: the model of the parameter maps is {options.maps.model}."
        series = replace(series, notes=(*series.notes, chosen))
    options = replace(
        options,
        kernel=replace(options.kernel, name=kernel),
        noise=replace(options.noise, distribution=distribution_for(options, series.encodings)),
    )
    options = replace(options, kernel=checked_grid(options.kernel, kernel, workflow, overrides))
    return SeriesPlan(series, options, Path(workflow).stem, why, kernel, tuple(masks), noise_map, seed)


def _check_kernel_name(kernel):
    if kernel not in KERNELS:
        close = difflib.get_close_matches(kernel, KERNELS, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"known kernels: {', '.join(KERNELS)}"
        raise InputError("unknown kernel", value=kernel, remedy=remedy)


def varied_in_words(series):
    """Which contrasts vary, for example ``b-value (14 values) and echo time (5 values) vary``."""
    names = series.encodings.varying()
    counts = [f"{CONTRAST_NAMES[n]} ({len(set(getattr(series.encodings, n).round(3)))} values)" for n in names]
    return f"{' and '.join(counts)} {'varies' if len(counts) == 1 else 'vary'}"


def kernel_for(series):
    """Kernel that uses every contrast the series varies.

    Raises
    ------
    InputError
        Nothing varies.

    """
    varying = set(series.encodings.varying())
    decay = series.decay
    by_contrast = {
        frozenset({"bvalue"}): "adc",
        frozenset({"echo_time"}): decay,
        frozenset({"inversion_time"}): "t1",
        frozenset({"bvalue", "echo_time"}): f"adc-{decay}",
        frozenset({"inversion_time", "echo_time"}): "t1-t2",
        frozenset({"inversion_time", "bvalue"}): "t1-adc",
        frozenset({"inversion_time", "bvalue", "echo_time"}): "t1-t2-adc",
    }
    if not varying:
        raise InputError(
            "no contrast varies over the volumes: neither b-value, echo time nor inversion time",
            file=series.images[0],
            value=f"{len(series.encodings)} volume(s)",
            remedy="give EchoTime / InversionTime in the sidecars, or select other files with --bids-filter-file",
        )
    return by_contrast[frozenset(varying)]


def workflow_for(kernel):
    """Workflow file whose kernel is the one named.

    Raises
    ------
    InputError
        No installed file has this kernel.

    """
    matching = [path for path in list_workflows() if load_options(path).kernel.name == kernel]
    if not matching:
        raise InputError(
            "no installed workflow file has this kernel",
            value=kernel,
            remedy="copy the nearest file of workflows/, set kernel.name, and pass it with --workflow",
        )
    return min(matching, key=lambda path: not path.stem.endswith("_inspect"))


def distribution_for(options, encodings):
    """Noise distribution that ``auto`` stands for.

    A noise level from few repeats is itself uncertain; taken for known, it makes clusters
    out of noise (``benchmarks.noise_models``). Mode ``paper`` is Gaussian as printed.
    """
    noise = options.noise
    if noise.distribution != "auto":
        return noise.distribution
    method = automatic_method(encodings) if noise.method == "auto" else noise.method
    few = method == "b0-repeats" and repeats_of(encodings) < MANY_REPEATS
    return "student-t" if few and options.inspect.mode == "exact" else "gaussian"


def restrict_to_kernel(series, kernel):
    """Series that a kernel can describe.

    A contrast that varies but is no axis of the kernel is held at its most sensitive
    value: shortest TE, b=0, longest TI; the volumes left out are said.

    Raises
    ------
    InputError
        The kernel needs a contrast that the series does not vary.

    """
    needed = {NEEDS[axis] for axis in kernel_axes(kernel)}
    varying = set(series.encodings.varying())
    for contrast in sorted(needed - varying):
        values = getattr(series.encodings, contrast)
        found = "none given" if values is None else f"{len(set(values))} value(s)"
        raise InputError(
            f"kernel {kernel} needs the {CONTRAST_NAMES[contrast]} to vary over the volumes, and it does not",
            file=series.images[0],
            value=found,
            remedy=f"choose a workflow without {CONTRAST_NAMES[contrast]}"
            + (f" (here: {workflow_for(kernel_for(series)).stem})" if varying else "")
            + ", or add the missing value to the sidecars",
        )
    keep = slice(None)
    for contrast in sorted(varying - needed):
        values = getattr(series.encodings.take(keep), contrast)
        if contrast == "bvalue":
            index = series.encodings.take(keep).is_b0()
            if not index.any():
                raise InputError(
                    f"kernel {kernel} has no diffusion, and no volume is unweighted (b <= {B0_CEILING:g} s/mm2)",
                    file=series.images[0],
                    value=f"lowest b {values.min():g} s/mm2",
                    remedy=f"choose a workflow with diffusion (here: {workflow_for(kernel_for(series)).stem})",
                )
        else:
            index = values == (values.min() if contrast == "echo_time" else values.max())
        positions = index.nonzero()[0] if isinstance(keep, slice) else keep[index]
        counts = f"{len(positions)} of {len(series.encodings)} volumes are used"
        note = f"{CONTRAST_NAMES[contrast]} is no axis of {kernel}: {counts}."
        series = replace(series, notes=(*series.notes, note))
        keep = positions
    if not isinstance(keep, slice):
        series = replace(series, volumes=series.volumes[keep], encodings=series.encodings.take(keep))
    return series


def with_efficiency(series, kernel, efficiency):
    """Series whose encodings hold the inversion efficiency that was given; ``auto`` leaves it to be estimated."""
    if "t1" not in kernel_axes(kernel) or efficiency in ("auto", 1):
        return series
    return replace(series, encodings=replace(series.encodings, inversion_efficiency=float(efficiency)))


def _unweighted_notes(encodings):
    """What the user should know where no volume is unweighted."""
    if encodings.is_b0().any():
        return []
    return [
        f"No volume is unweighted (b <= {B0_CEILING:g} s/mm2): S0 is extrapolated from b >= {encodings.bvalue.min():g} "
        "s/mm2, and volumes of the lowest b stand for b=0 in the reference image, mask and SNR."
    ]


def _noise_notes(series, method):
    """What the user should know of a noise level of preprocessed images."""
    if series.origins is None or method not in ("mppca", "neighbours"):
        return []
    return [
        f"Noise by {method} takes voxels for independent; preprocessed images were interpolated, so that it may be too "
        "low. --noise b0-repeats is not misled by that."
    ]


def _masks(series, options, derivatives):
    source = options.mask.source
    if source == "automatic":
        return [], []
    if source not in ("auto", "derivative"):
        return find_masks(series, [], pattern=source), []
    origins = getattr(series, "origins", None)
    others = [root for name, root in derivatives.items() if origins is None or name != origins.dataset]
    masks = find_masks(series, others) if others else []
    if masks:
        return masks, []
    if origins and (masks := masks_beside(series)):
        named = ", ".join(path.name for path in masks)
        return masks, [f"Mask: {named}, found beside the preprocessed images."]
    where = ", ".join(f"{name}={path}" for name, path in derivatives.items()) or "no --derivatives given"
    if source == "derivative":
        raise InputError(
            "no derivative mask was found for this series",
            file=series.images[0],
            value=where,
            remedy="pass --derivatives NAME=PATH of a dataset with a *_mask.nii.gz, or --mask automatic",
        )
    return [], [f"No mask was found ({where}): an automatic mask is used."] if derivatives else []
