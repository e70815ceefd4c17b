"""Whether what was planned can be computed from the data at hand, asked before anything is computed."""

import math

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import load_mask, load_reference, load_signals
from mrspec_prep.bids.input.volumes import load_map
from mrspec_prep.bids.nifti import COMPLEX, REAL, in_words, read_grid
from mrspec_prep.bids.output.compressed_checks import LARGEST_KERNEL
from mrspec_prep.interfaces.noise import automatic_method, repeats_of
from mrspec_prep.physics import kernel_axes
from mrspec_prep.physics.encodings import B0_CEILING
from mrspec_prep.spectra.design.echo_decay import echo_decay
from mrspec_prep.spectra.noise.masking import automatic_mask
from mrspec_prep.workflows.planning.mrf import check_fingerprinting

VOLUME_BYTES = 24  # per voxel, while a reference image is averaged: as stored, in single and twice in double precision
COMPLEX_BYTES = 8  # per voxel and frame of a fingerprinting series, which is held whole


def check_feasible(plan):
    """Raise InputError where a plan asks for what its series cannot give.

    Parameters
    ----------
    plan : ParticipantPlan

    Raises
    ------
    InputError
        Fewer encodings than a fit needs, a mask or noise map that does not fit, noise from
        repeats without repeats or from residuals that cannot exist, a region outside the grid, preprocessed images
        whose decay with echo time was scaled away.

    """
    for series_plan in plan.series:
        if series_plan.options.mrf.wanted:
            check_fingerprinting(series_plan)
            continue
        if series_plan.masks:
            load_mask(series_plan.masks, series_plan.series)
        check_echo_decay(series_plan)
        if series_plan.noise_map:
            load_map(series_plan.noise_map, series_plan.series)
        _check_encodings(series_plan)
        _check_grid(series_plan)
        _check_noise(series_plan)
        _check_regions(series_plan)


def check_echo_decay(plan):
    """Raise InputError where preprocessed b=0 signals do not fall with echo time as relaxation makes them.

    What is recorded was refused when the images were found; here the images themselves are asked. Where it is recorded
    that nothing was scaled, only signals that rise as a whole are refused: then the echo times are wrong.
    """
    series, encodings = plan.series, plan.series.encodings
    if series.origins is None or plan.options.select.b0_scaling == "trusted":
        return
    if "echo_time" not in encodings.varying():
        return
    wanted = encodings.is_b0()
    if encodings.inversion_time is not None:
        wanted &= encodings.inversion_time >= 0.999 * encodings.inversion_time.max()
    wanted = np.flatnonzero(wanted)
    if not len(wanted):
        return
    reference = load_reference(series)[0]
    signals = load_signals(series, np.ones(reference.shape, bool), wanted)
    decay = echo_decay(signals, encodings.echo_time[wanted], automatic_mask(reference).ravel())
    if decay is None or not (decay.is_flat or decay.rises):
        return
    if series.origins.b0_scaling == "kept" and not decay.is_impossible:
        return
    raise InputError(
        "unweighted signals do not fall with echo time as they must: the preprocessing seems to have scaled its scans "
        "to one b=0 intensity, which takes that decay away, or the echo times are wrong",
        file=series.images[0],
        value=decay.in_words,
        remedy="preprocess again without it (QSIPrep: --no-b0-harmonization and --distortion-group-merge none); if you "
        "know that nothing was scaled, --set select.b0_scaling=trusted",
    )


def check_memory(plan, mem_gb):
    """Raise InputError where the images of a plan cannot be held by this job, as their headers alone tell.

    Parameters
    ----------
    plan : ParticipantPlan
    mem_gb : float
        Memory of the job.

    """
    for series_plan in plan.series:
        series = series_plan.series
        shape = read_grid(series.images[0], COMPLEX if series_plan.options.mrf.wanted else REAL).shape
        n_bytes = COMPLEX_BYTES * len(series.schedule) if series_plan.options.mrf.wanted else VOLUME_BYTES
        needed = math.prod(int(n) for n in shape) * n_bytes / 1e9
        if needed > mem_gb:
            raise InputError(
                f"reading this image needs at least {needed:.3g} GB of memory, and this job has {mem_gb:.3g} GB",
                file=series.images[0],
                value=f"{in_words(shape)} voxels",
                remedy="check its header, crop it, or give the job more memory (--mem)",
                unseen=True,
            )


def n_distinct(encodings):
    """Number of encodings that differ in more than direction."""
    return len(encodings.groups()[1])


def _check_encodings(plan):
    encodings, n_axes = plan.series.encodings, len(kernel_axes(plan.kernel))
    if n_distinct(encodings) <= n_axes:
        raise InputError(
            f"fewer encodings than a fit needs: kernel {plan.kernel} has {n_axes} axes and an amplitude",
            file=plan.series.images[0],
            value=f"{n_distinct(encodings)} different encodings",
            remedy=f"give at least {n_axes + 1}, or choose a kernel with fewer axes",
        )


def _check_grid(plan):
    kernel, n_encodings = plan.options.kernel, len(plan.series.encodings)
    points = list(kernel.points) or [2] * len(kernel_axes(plan.kernel))
    points = [len(kernel.grid.get(axis, range(n))) for axis, n in zip(kernel_axes(plan.kernel), points, strict=True)]
    if math.prod(points) * n_encodings > LARGEST_KERNEL:
        by_hand = " and kernel.grid" if kernel.grid else ""
        raise InputError(
            "the kernel would be too large to compute",
            value=f"kernel.points{by_hand} = {points}, {n_encodings} encodings",
            remedy="give fewer points",
        )


def _check_noise(plan):
    encodings, method = plan.series.encodings, plan.options.noise.method
    if method == "b0-repeats" and not repeats_of(encodings):
        raise InputError(
            "no unweighted encoding is repeated, so that b0-repeats cannot tell the noise",
            file=plan.series.images[0],
            value=_unweighted_in_words(encodings),
            remedy="--noise residual, or a number",
        )
    if method == "auto":
        method = automatic_method(encodings)
    n_parameters = len(kernel_axes(plan.kernel)) + 1
    if method == "residual" and len(encodings) <= n_parameters:
        raise InputError(
            f"a fit of {n_parameters} parameters leaves no residual to tell the noise from",
            file=plan.series.images[0],
            value=f"{len(encodings)} volumes",
            remedy="--noise NUMBER, the standard deviation in units of the image, or --noise neighbours",
        )


def _unweighted_in_words(encodings):
    unweighted = int(encodings.is_b0().sum())
    if unweighted:
        return f"{unweighted} volumes with b=0, all different"
    return f"no volume with b <= {B0_CEILING:g} s/mm2, the lowest b is {encodings.bvalue.min():g}"


def _check_regions(plan):
    bins = plan.grid.bins()
    for region, box in plan.options.nnls.regions.items():
        unknown = [axis for axis in box if axis not in bins]
        if unknown:
            raise InputError(
                f"the region {region} names the axis {unknown[0]}, which kernel {plan.kernel} does not have",
                value=f"nnls.regions.{region}.{unknown[0]}",
                remedy=f"its axes are {', '.join(bins)}",
            )
        inside = np.ones(plan.grid.n_bins, bool)
        for axis, (low, high) in box.items():
            inside &= (bins[axis] >= low) & (bins[axis] <= high)
        if not inside.any():
            spans = ", ".join(f"{axis} {values.min():.3g} to {values.max():.3g}" for axis, values in bins.items())
            raise InputError(
                f"the region {region} holds no bin of the grid",
                value=", ".join(f"{axis} {low:g} to {high:g}" for axis, (low, high) in box.items()),
                remedy=f"the grid reaches: {spans} (um2/ms, ms); widen kernel.<axis> or correct the region",
            )
