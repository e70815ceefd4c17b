"""``--dry-run``: what will be done about scan-specific T2 and T2* maps, and what it costs."""

import numpy as np

from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.interfaces.derivatives import ANAT_MAPS
from mrspec_prep.interfaces.maps import method_label
from mrspec_prep.networks.scan_cnn.fit import SCAN_CNN
from mrspec_prep.workflows.planning.maps import precision_in_words
from mrspec_prep.workflows.planning.scan import averages_of, kind_of

# processor seconds on one thread: at the start, per voxel of the images, per voxel mapped, the same times the echoes
COSTS = {
    "scan-cnn": (60.0, 5e-5, 2e-5, 1e-5),
    "varpro": (0.5, 0.0, 2e-5, 2e-6),
    "rician": (0.5, 0.0, 4e-5, 1.4e-5),
    "log-linear": (0.0, 0.0, 1e-6, 1e-7),
    "nlm-varpro": (1.0, 0.0, 2e-5, 6e-5),
}
PAPER = 8.5  # times longer with published settings: 500 steps of 1.5 s where ours takes 300 of .3 s
GB_PER_VALUE = {"scan-cnn": 250e-9, "nlm-varpro": 50e-9}  # of memory, per voxel of the images and echo
GB_PER_VALUE_VOXELWISE = 30e-9


def describe_scan(plan, snr):
    """Lines of the preview on scan-specific maps of one series; none where none are wanted."""
    options, encodings = plan.options.scan_cnn, plan.series.encodings
    if not options.wanted:
        return []
    kind, n_averages = kind_of(plan), averages_of(encodings)
    symbol = {"t2": "T2", "t2star": "T2*"}[kind]
    mean = f", means of {n_averages.min()} images or more" if n_averages.max() > 1 else ""
    paper = ", the network as published" * (options.settings == "paper")
    noise = "rician unless signals are negative" if options.distribution == "auto" else options.distribution
    return [
        "",
        f"  {symbol} and S0 of whole images, from {len(n_averages)} echoes{mean}",
        f"    methods: {', '.join(options.methods)}{paper}; noise: {noise}",
        f"    one voxel on its own at SNR {snr:g}: {precision_in_words(kind, encodings, snr)}",
    ]


def scan_cost(plan, n_voxels, threads):
    """Expected seconds of the methods one after another, and gigabytes of the largest (rough)."""
    options = plan.options.scan_cnn
    if not options.wanted:
        return 0.0, 0.0
    n_echoes, whole, seconds = len(averages_of(plan.series.encodings)), float(np.prod(series_shape(plan.series))), 0.0
    for method in options.methods:
        start, image_voxel, voxel, value = COSTS[method]
        longer = PAPER if method == SCAN_CNN and options.settings == "paper" else 1.0
        seconds += longer * start + whole * image_voxel + n_voxels * (voxel + n_echoes * value) / threads
    most = max(GB_PER_VALUE.get(method, GB_PER_VALUE_VOXELWISE) for method in options.methods)
    return seconds, whole * n_echoes * most


def scan_outputs(plan):
    """Names of the maps that will be written, without what all files of the series have in common."""
    options, kind = plan.options.scan_cnn, kind_of(plan)
    if not options.wanted:
        return []
    methods, kinds = ",".join(method_label(method) for method in options.methods), "{,std}" * options.std
    model = f"model-{kind}_param-{{residual,risk}}_desc-{{{methods}}}_dwimap"
    if plan.series.datatype == "anat":
        return [*(f"desc-{{{methods}}}{kinds}_{ANAT_MAPS[name]}" for name in (kind, "s0")), model]
    return [f"model-{kind}_param-{{{kind},s0}}_desc-{{{methods}}}{kinds}_dwimap", model]
