"""``--dry-run`` of a fingerprinting series: what was found, what will be done, and what it costs."""

import numpy as np

from mrspec_prep.bids.nifti import COMPLEX, read_grid
from mrspec_prep.interfaces.derivatives import ANAT_MAPS
from mrspec_prep.interfaces.fingerprints import schedule_columns
from mrspec_prep.interfaces.maps import method_label
from mrspec_prep.workflows.planning.mrf import fingerprint_mem_gb, n_atoms

SECONDS_AROUND = 8.0  # start, saving, report
SECONDS_PER_VALUE = 4e-8  # reading and projection, per voxel of the images and frame
SECONDS_PER_PAIR_FRAME = 1.2e-6  # simulation of the dictionary
# processor seconds on one thread: at the start, per voxel mapped
COSTS = {"dictionary": (1.0, 2e-4), "scan-cnn": (30.0, 4e-3)}


def describe_fingerprinting(plan, n_masked, duration):
    """Lines of the preview on one fingerprinting series.

    Parameters
    ----------
    plan : SeriesPlan
    n_masked : int or None
        Voxels of the mask; None where it will be found automatically.
    duration : callable
        Seconds -> words.

    Returns
    -------
    list of str

    """
    series, mrf, schedule = plan.series, plan.options.mrf, plan.series.schedule
    shape = read_grid(series.images[0], COMPLEX).shape
    n_voxels = n_masked or int(np.prod(shape) * 0.3)
    seconds, kind = fingerprinting_cost(plan, n_voxels), "voxels of the mask" if n_masked else "voxels"
    inverted = int(np.isfinite(schedule.inversion_time).sum())
    rank = f"{mrf.rank:g} coefficients" if mrf.rank >= 1 else f"coefficients that hold {mrf.rank:.1%} of the energy"
    methods = ",".join(method_label(method) for method in mrf.methods)
    outputs = [f"desc-{{{methods}}}_{ANAT_MAPS[name]}" for name in ("t1", "t2", "m0")]
    outputs.append(f"model-mrf_param-{{match,phase,risk}}_desc-{{{methods}}}_dwimap")
    return [
        "",
        f"{series.datatype}/{series.suffix}: {len(schedule)} frames of {len(series.images)} file(s), "
        + "x".join(map(str, shape)),
        *(f"  {image.name}" for image in series.images),
        *(f"  {path.name} (sampling)" for path in (series.sampling.files if series.sampling else ())),
        f"  read: {series.joined}",
        *(f"  note: {note}" for note in (*series.notes, *plan.voxel_notes)),
        "",
        f"  schedule: flip angle {_span(schedule.flip_angle)} deg, TR {_span(schedule.repetition_time)} ms, "
        f"TE {_span(schedule.echo_time)} ms, {inverted} inversion(s), {schedule.duration / 1e3:.3g} s per slice",
        "",
        f"  workflow: {plan.workflow} ({plan.why})",
        f"  T1, T2 and M0 by {', '.join(mrf.methods)}{', the network as published' * (mrf.settings == 'paper')}",
        f"    dictionary: {n_atoms(mrf)} pairs, T1 {_span(mrf.t1)} ms, T2 {_span(mrf.t2)} ms, T2 < T1; {rank}",
        "",
        f"  mask: {', '.join(path.name for path in plan.masks) or 'automatic'}; noise: "
        + ("from the series" if plan.options.noise.method == "auto" else f"{plan.options.noise.method:g}"),
        f"  expected: about {duration(seconds)} with 1 thread(s), {fingerprint_mem_gb(plan):.1f} GB, for {n_voxels} "
        + kind,
        f"  outputs: sub-{series.subject}.html; {series.datatype}/: ROI, schedule, fingerprinting maps",
        *(f"           {name}" for name in outputs),
    ]


def fingerprinting_cost(plan, n_voxels):
    """Expected seconds (rough)."""
    grid, mrf = read_grid(plan.series.images[0], COMPLEX), plan.options.mrf
    reading = SECONDS_PER_VALUE * float(np.prod(grid.shape)) * grid.n_volumes
    dictionary = SECONDS_PER_PAIR_FRAME * mrf.points**2 * grid.n_volumes
    each = [start + n_voxels * voxel + dictionary + reading for start, voxel in (COSTS[m] for m in mrf.methods)]
    return SECONDS_AROUND + reading + sum(each)


def schedule_table(plan):
    """Columns of the table that is written beside the preview."""
    return schedule_columns(plan.series.schedule)


def _span(values):
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.4g}" if high - low < 1e-9 else f"{low:.4g} to {high:.4g}"
