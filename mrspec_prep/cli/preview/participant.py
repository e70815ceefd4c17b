"""``--dry-run``: what was found and what would be done, before anything is computed."""

import itertools
from pathlib import Path

import numpy as np

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.input.images import common_mask, load_mask
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.nifti import COMPLEX, read_grid
from mrspec_prep.bids.output.derivatives import encodings_table, table_text
from mrspec_prep.cli.preview.classifier import classifier_cost, classifier_outputs, describe_classifier
from mrspec_prep.cli.preview.maps import describe_maps, map_outputs, maps_cost
from mrspec_prep.cli.preview.mrf import describe_fingerprinting, schedule_table
from mrspec_prep.cli.preview.scan import describe_scan, scan_cost, scan_outputs
from mrspec_prep.physics import kernel_axes, possible_kernels
from mrspec_prep.spectra import identify
from mrspec_prep.workflows.participant import estimated_mem_gb

ASSUMED_SNR = 20.0
# processor seconds on one thread, of three real and simulated scans (12 to 55 distinct encodings)
SECONDS_AROUND = 15.0  # start, reading, saving, report
SECONDS_PER_VOXEL_BIN = 8e-8  # voxelwise spectra
SECONDS_PER_RESAMPLE_BIN = 5e-7  # bootstrap
SECONDS_PER_BOUNDED_BIN = 8e-6  # bounds
# InSpect, summed over the numbers of clusters tried: of voxels by the distribution of their noise, of spectra
SECONDS_PER_VOXEL_CLUSTER = {"gaussian": 1.5e-5, "student-t": 5e-5, "rician": 3e-5, "nc-chi": 3e-5}
SECONDS_PER_CLUSTER_BIN = 4e-5
MILLISECONDS = ("TE", "TI", "TR")  # times that are shown in ms; tables hold s
MASKED = 0.3  # share of the field of view that a mask usually holds


def describe_plan(plan, resources):
    """Preview of one participant as text."""
    lines = [f"sub-{plan.subject}", "=" * (4 + len(plan.subject))]
    for series_plan in plan.series:
        if series_plan.options.mrf.wanted:
            lines += describe_fingerprinting(series_plan, _n_masked(series_plan), _duration)
        else:
            lines += _describe_series(series_plan, resources)
    processes = f"{resources.nprocs} process(es), {resources.omp_nthreads} thread(s) a step"
    lines += ["", f"{processes}, {resources.memory_in_words}"]
    return "\n".join(lines) + "\n"


def _n_masked(plan):
    """Voxels of the masks of a fingerprinting series; None without any."""
    image = plan.series.images[0]
    return int(common_mask(plan.masks, image, read_grid(image, COMPLEX)).sum()) if plan.masks else None


def _session(series):
    return f"ses-{series.session}, " if series.session else ""


def _describe_series(plan, resources):
    series, encodings = plan.series, plan.series.encodings
    shape = series_shape(series)
    n_voxels = plan.n_usable or int(load_mask(plan.masks, series).sum() if plan.masks else np.prod(shape) * MASKED)
    seconds, memory = expected_cost(plan, n_voxels, resources)
    lines = [
        "",
        f"{_session(series)}{series.datatype}/{series.suffix}: {len(encodings)} volumes of {len(series.images)} "
        f"file(s), {'x'.join(map(str, shape))}",
    ]
    lines += _image_rows(series)
    lines += [f"  joined: {series.joined}"]
    lines += [f"  note: {note}" for note in (*series.notes, *plan.voxel_notes)]
    lines += ["", "  encodings (direction averaged):", *_encoding_rows(encodings)]
    lines += ["", "  volumes:", *_volume_rows(series)]
    lines += ["", f"  workflow: {plan.workflow} ({plan.why})"]
    if plan.options.wants_spectra:
        lines += _describe_spectra(plan)
    lines += describe_maps(plan, ASSUMED_SNR)
    lines += describe_scan(plan, ASSUMED_SNR)
    lines += describe_classifier(plan)
    lines += [
        "",
        f"  mask: {', '.join(path.name for path in plan.masks) or 'automatic'}; noise: {plan.options.noise.method}"
        + f", {plan.options.noise.distribution}" * plan.options.wants_spectra,
    ]
    voxels = f"{n_voxels} voxels of the mask" if plan.masks or plan.n_usable else f"some {n_voxels} voxels"
    time_and_space = f"{_duration(seconds)} with {resources.omp_nthreads} thread(s), {memory:.1f} GB"
    lines += [f"  expected: about {time_and_space}, for {voxels}"]
    lines += [f"  outputs: sub-{series.subject}.html; {series.datatype}/: {', '.join(_outputs(plan.options))}"]
    lines += [f"           {name}" for name in [*map_outputs(plan), *scan_outputs(plan), *classifier_outputs(plan)]]
    return lines


def _image_rows(series):
    """Images one per line; below a preprocessed one, the raw file that each run of its volumes comes from."""
    if series.origins is None:
        return [f"  {image.name}" for image in series.images]
    rows = []
    for number, image in enumerate(series.images):
        rows.append(f"  {image.name} (preprocessed; {series.origins.dataset}: {series.origins.root})")
        traced = [
            (volume, *series.origins.of_volume(number, volume))
            for file, volume in series.volumes.tolist()
            if file == number
        ]
        for raw, same in itertools.groupby(traced, key=lambda row: row[1]):
            volumes = [(volume, source) for volume, _, source in same]
            (first, start), (last, end) = volumes[0], volumes[-1]
            origin = f"volumes {start} to {end} of {raw}" if raw else "raw file not recorded; times from the sidecar"
            rows.append(f"    volumes {first} to {last}: {origin}")
    return rows


def _describe_spectra(plan):
    """What the protocol can tell of spectra."""
    encodings = plan.series.encodings
    reading = identify(plan.kernel, encodings, plan.grid, ASSUMED_SNR, plan.options.nnls.alpha)
    kernels = [name for name in possible_kernels(encodings) if "kurtosis" not in kernel_axes(name)]  # in Python only
    return [
        f"  kernels this protocol could use: {', '.join(kernels) or 'none'}",
        f"  kernel: {plan.kernel} on {' x '.join(map(str, plan.grid.shape))} bins",
        "",
        f"  what this protocol can tell, at an assumed SNR of {ASSUMED_SNR:g}:",
        *(f"    - {statement}" for statement in reading.statements),
    ]


def _outputs(options):
    """Kinds of files that will be written."""
    kinds = ["ROI", "noise"]
    kinds += ["spectra", "regions"] * options.nnls.wanted + ["clusters", "selection"] * options.inspect.wanted
    kinds += ["components"] * bool(options.inspect_map.n_components) + ["uncertainty"] * options.uncertainty.wanted
    kinds += ["parameter maps"] * options.maps.wanted + ["scan-specific maps"] * options.scan_cnn.wanted
    return kinds + ["number of compartments"] * options.classifier.wanted


def _encoding_rows(encodings):
    group_of, first = encodings.groups()
    counts = np.bincount(group_of)
    columns = [("b [s/mm2]", encodings.bvalue), ("TE [ms]", encodings.echo_time), ("TI [ms]", encodings.inversion_time),
               ("TR [ms]", encodings.repetition_time)]  # fmt: skip
    known = [(name, values) for name, values in columns if values is not None]
    rows = ["    " + "".join(f"{name:>12}" for name, _ in known) + f"{'volumes':>10}"]
    times = [values for values in (encodings.inversion_time, encodings.echo_time) if values is not None]
    keys = [*times, *([encodings.bvalue] if encodings.bvalue is not None else [])]
    for group, volume in sorted(enumerate(first), key=lambda row: [values[row[1]] for values in keys]):
        rows.append("    " + "".join(f"{values[volume]:12.5g}" for _, values in known) + f"{counts[group]:10d}")
    return rows


def _volume_rows(series):
    """One row per volume: where it comes from and what encodes it; what does not vary in kind is left out."""
    names = [image.name for image in series.images]
    table = encodings_table(series.encodings, names, series.volumes, series.raw_volumes)
    known = {name: values for name, values in table.items() if not all(v is None or v != v for v in values)}
    columns = []
    for name, values in known.items():
        if name in MILLISECONDS:
            name, values = f"{name} [ms]", [1e3 * value for value in values]
        name = "b [s/mm2]" if name == "b" else name
        words = [name, *(_cell(value) for value in values)]
        width = max(map(len, words))
        columns.append([word.ljust(width) if isinstance(values[0], str) else word.rjust(width) for word in words])
    return ["    " + "  ".join(row) for row in zip(*columns, strict=True)]


def _cell(value):
    if value is None or isinstance(value, float) and not np.isfinite(value):
        return "n/a"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def expected_cost(plan, n_voxels, resources):
    """Expected seconds and gigabytes of one series (rough; the run itself is the measure)."""
    options, threads = plan.options, resources.omp_nthreads
    n_clusters = sum(options.inspect.candidates) * options.inspect.wanted
    per_bin = SECONDS_PER_VOXEL_BIN * options.nnls.wanted
    per_bin += options.uncertainty.bootstrap * SECONDS_PER_RESAMPLE_BIN
    per_bin += options.uncertainty.bounds * SECONDS_PER_BOUNDED_BIN
    per_voxel = plan.grid.n_bins * per_bin + n_clusters * SECONDS_PER_VOXEL_CLUSTER[options.noise.distribution]
    clustering = n_clusters * plan.grid.n_bins * SECONDS_PER_CLUSTER_BIN
    mapping, of_maps = maps_cost(plan, n_voxels, threads)
    scanning, of_scan = scan_cost(plan, n_voxels, threads)
    seconds = SECONDS_AROUND + n_voxels * per_voxel / threads + clustering + mapping + scanning
    seconds += classifier_cost(plan, n_voxels)
    return seconds, estimated_mem_gb(plan) + max(of_maps, of_scan)


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def write_preview(plan, out_dir, resources):
    """Write the preview and the volume table of every series below ``logs``.

    Returns
    -------
    Path
        The text file.

    """
    folder = Path(out_dir) / "logs"
    for number, series_plan in enumerate(plan.series):
        series = series_plan.series
        if series_plan.options.mrf.wanted:
            table = schedule_table(series_plan)
        else:
            names = [image.name for image in series.images]
            table = encodings_table(series.encodings, names, series.volumes, series.raw_volumes)
        write_atomically(folder / f"sub-{plan.subject}_series-{number}_volumes.tsv", table_text(table))
    return write_atomically(folder / f"sub-{plan.subject}_preview.txt", describe_plan(plan, resources))
