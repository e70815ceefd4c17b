"""Whether what was planned can be computed from the data at hand, asked before anything is computed."""

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.images import load_mask
from mrspec_prep.bids.volumes import load_map
from mrspec_prep.interfaces.noise import automatic_method, repeats_of
from mrspec_prep.physics import kernel_axes
from mrspec_prep.workflows.mrf_planning import check_fingerprinting


def check_feasible(plan):
    """Raise InputError where a plan asks for what its series cannot give.

    Parameters
    ----------
    plan : ParticipantPlan

    Raises
    ------
    InputError
        Fewer encodings than a fit needs, a mask or noise map that does not fit, noise from
        repeats without repeats or from residuals that cannot exist, a region outside the grid.

    """
    for series_plan in plan.series:
        if series_plan.options.mrf.wanted:
            check_fingerprinting(series_plan)
            continue
        if series_plan.masks:
            load_mask(series_plan.masks, series_plan.series)
        if series_plan.noise_map:
            load_map(series_plan.noise_map, series_plan.series)
        _check_encodings(series_plan)
        _check_noise(series_plan)
        _check_regions(series_plan)


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


def _check_noise(plan):
    encodings, method = plan.series.encodings, plan.options.noise.method
    if method == "b0-repeats" and not repeats_of(encodings):
        raise InputError(
            "no unweighted encoding is repeated, so that b0-repeats cannot tell the noise",
            file=plan.series.images[0],
            value=f"{int(encodings.is_b0().sum())} volumes with b=0, all different",
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
