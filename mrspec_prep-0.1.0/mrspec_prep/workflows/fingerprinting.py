"""Graph of one fingerprinting series: region, schedule, one fit per method, and what is saved of them."""

from mrspec_prep.interfaces.fingerprints import FingerprintROI, FitFingerprint, SaveFingerprint, SaveSchedule
from mrspec_prep.workflows.spectral import UNKNOWN, Graph, add_method


def init_mrf_wf(plan, series_file, *, saving, name, omp_nthreads=1, memory=UNKNOWN):
    """Wire the steps of one fingerprinting series.

    Inputs
        plan : SeriesPlan; ``series_file``: its fingerprinting series as JSON.
        saving : dict of the inputs that every saving node shares.
    Outputs
        Derivatives below ``saving["out_dir"]``; the nodes whose names begin with ``save``.
    """
    graph = Graph(plan, str(series_file), saving, name, omp_nthreads, memory)
    options, masks = plan.options.mrf, [str(mask) for mask in plan.masks]
    graph.add("signals", FingerprintROI(series=graph.series_file, masks=masks))
    graph.save("save_acquisition", SaveSchedule, masks=masks)
    graph.connect("signals", "save_acquisition", reference="reference", roi_notes="notes")
    noise = {} if plan.options.noise.method == "auto" else {"noise_std": float(plan.options.noise.method)}
    for method in options.methods:
        fit = add_method(graph, FitFingerprint, SaveFingerprint, "mrf", options, method, "fingerprinting", **noise)
        graph.connect("signals", fit, roi="roi")
    return graph.workflow
