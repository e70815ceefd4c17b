"""``--dry-run``: what will be done about parameter maps, what they can tell, and what they cost."""

from mrspec_prep.interfaces.derivatives import ANAT_MAPS
from mrspec_prep.interfaces.maps import maps_of_model, method_label
from mrspec_prep.physics.models import MODELS
from mrspec_prep.workflows.planning.maps import precision_in_words, used_encodings

LEARNING_VOXELS = 5000  # at most so many teach a prior
# processor seconds on one thread: at the start, per voxel that teaches a prior, the same times the encodings after
# averaging, per voxel mapped, the same times the encodings (MSDKI with 11, T2 with 30, ball and stick with 91)
COSTS = {
    "lsq": (0.0, 0.0, 0.0, 2e-6, 1e-6),
    "lsq-gmm": (0.0, 1.8e-3, 0.0, 1e-5, 1e-6),
    "learned-prior": (0.0, 3e-3, 3e-5, 6e-4, 1e-6),
    "selfsup": (3.0, 0.0, 0.0, 1.2e-3, 1e-6),
    "vae": (6.0, 0.0, 0.0, 5e-4, 1e-6),
    "gmm-vae": (12.0, 0.0, 0.0, 1.3e-3, 1e-6),
}
GB_PER_VALUE = 60e-9  # of memory, per voxel and encoding


def describe_maps(plan, snr):
    """Lines of the preview on the parameter maps of one series; none where none are wanted."""
    maps = plan.options.maps
    if not maps.wanted:
        return []
    encodings = plan.series.encodings
    n_volumes, n_distinct = used_encodings(maps.model, encodings)
    paper = ", networks as published" * (maps.settings == "paper")
    noise = (
        "rician for magnitudes, except least squares of models without a direction"
        if maps.distribution == "auto"
        else maps.distribution
    )
    return [
        "",
        f"  parameter maps: model {maps.model} ({MODELS[maps.model].reference})",
        f"    from {n_volumes} of {len(encodings)} volumes, {n_distinct} encodings once equal ones are averaged",
        f"    methods: {', '.join(maps.methods)}{paper}; noise: {noise}",
        f"    one voxel on its own at SNR {snr:g}: {precision_in_words(maps.model, encodings, snr)}",
    ]


def maps_cost(plan, n_voxels, threads):
    """Expected seconds of the methods one after another, and gigabytes of the largest (rough)."""
    maps = plan.options.maps
    if not maps.wanted:
        return 0.0, 0.0
    _, n_distinct = used_encodings(maps.model, plan.series.encodings)
    seconds = 0.0
    for method in maps.methods:
        start, teaching, teaching_value, voxel, value = COSTS[method]
        learning = min(n_voxels, LEARNING_VOXELS) * (teaching + n_distinct * teaching_value)
        seconds += start + (learning + n_voxels * (voxel + n_distinct * value)) / threads
    return seconds, n_voxels * n_distinct * GB_PER_VALUE


def map_outputs(plan):
    """Names of the maps that will be written, without what all files of the series have in common."""
    maps, series = plan.options.maps, plan.series
    if not maps.wanted:
        return []
    model, methods = maps.model.replace("-", ""), ",".join(method_label(method) for method in maps.methods)
    names = maps_of_model(maps.model)
    anat = [ANAT_MAPS[name] for name in names if series.datatype == "anat" and name in ANAT_MAPS]
    others = [name.replace("_", "") for name in names if not (series.datatype == "anat" and name in ANAT_MAPS)]
    kinds = "{,std,low,high}" if maps.intervals else "{,std}"
    lines = [f"desc-{{{methods}}}{kinds}_{suffix}" for suffix in anat]
    if others:
        lines.append(f"model-{model}_param-{{{','.join(others)}}}_desc-{{{methods}}}{kinds}_dwimap")
    return lines
