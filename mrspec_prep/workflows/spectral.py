"""Graph of one series: ROI, signals, noise, spectra, clusters, and what is saved of them."""

from dataclasses import asdict

from nipype.pipeline import engine as pe

from mrspec_prep.interfaces.compressed import SaveCompressed
from mrspec_prep.interfaces.derivatives import SaveAcquisition, SaveInspect, SaveNNLS
from mrspec_prep.interfaces.efficiency import EstimateEfficiency
from mrspec_prep.interfaces.inspect_em import FitInspect
from mrspec_prep.interfaces.inspect_map import FitInspectMap, SaveInspectMap
from mrspec_prep.interfaces.magnitudes import FindRealSignals
from mrspec_prep.interfaces.mask import ComputeROI
from mrspec_prep.interfaces.nnls import FitNNLS
from mrspec_prep.interfaces.noise import EstimateNoise
from mrspec_prep.interfaces.signals import ExtractSignals
from mrspec_prep.interfaces.uncertainty import EstimateUncertainty, SaveUncertainty
from mrspec_prep.options import MAGNITUDES


def init_spectral_wf(plan, series_file, *, saving, name, omp_nthreads=1, mem_gb=1.0):
    """Wire the steps of one series.

    Inputs
        plan : SeriesPlan; ``series_file``: its series as JSON.
        saving : dict of the inputs that every saving node shares.
    Outputs
        Derivatives below ``saving["out_dir"]``; the nodes whose names begin with ``save``.
    """
    workflow = pe.Workflow(name)
    options = plan.options
    common = {"series": str(series_file)}
    fitting = common | {"kernel": plan.kernel_settings, "num_threads": omp_nthreads}

    def node(interface, label, threads=1):
        return pe.Node(interface, label, n_procs=threads, mem_gb=mem_gb)

    roi = node(ComputeROI(**common, masks=[str(mask) for mask in plan.masks], fingerprint=plan.fingerprint), "roi")
    magnitudes = options.noise.distribution in MAGNITUDES
    law = {"distribution": options.noise.distribution, "n_coils": options.noise.n_coils}
    signals = node(
        ExtractSignals(**fitting, polarity=options.kernel.polarity, magnitudes=magnitudes), "signals", omp_nthreads
    )
    noise = node(
        EstimateNoise(**fitting, method=_noise_method(plan), alpha=options.nnls.alpha, **law), "noise", omp_nthreads
    )
    if plan.noise_map:
        noise.inputs.noise_map = str(plan.noise_map)
    regions = {region: {axis: list(box[axis]) for axis in box} for region, box in options.nnls.regions.items()}
    nnls = node(
        FitNNLS(
            **fitting,
            alpha=options.nnls.alpha,
            alpha_rule=options.nnls.alpha_rule,
            alpha_scope=options.nnls.alpha_scope,
            tolerance=options.nnls.tolerance,
            regions=regions,
            spatial=float(options.nnls.spatial),
        ),  # fmt: skip
        "nnls",
        omp_nthreads,
    )
    inspect = node(
        FitInspect(**fitting, **law, settings=asdict(options.inspect), seed=plan.seed), "inspect_em", omp_nthreads
    )
    masks = [str(mask) for mask in plan.masks]
    save_acquisition = node(SaveAcquisition(**common, **saving, masks=masks), "save_acquisition")
    save_nnls = node(SaveNNLS(**common, **saving), "save_nnls")
    save_inspect = node(SaveInspect(**common, **saving), "save_inspect")
    save_compressed = node(SaveCompressed(**common, **saving, stand_ins=magnitudes), "save_compressed")

    workflow.connect([
        (roi, signals, [("roi", "roi")]),
        (signals, noise, [("signals", "signals"), ("roi", "roi")]),
        (noise, nnls, [("noise", "noise")]),
        (signals, nnls, [("roi", "roi")]),
        (signals, inspect, [("signals", "signals"), ("roi", "roi")]),
        (noise, inspect, [("noise", "noise"), ("notes", "noise_notes")]),
        (signals, save_acquisition, [("roi", "roi"), ("notes", "roi_notes")]),
        (noise, save_acquisition, [("noise", "noise"), ("notes", "noise_notes")]),
        (signals, save_nnls, [("roi", "roi")]),
        (nnls, save_nnls, [("spectra", "spectra"), ("maps", "maps")]),
        (signals, save_inspect, [("roi", "roi")]),
        (inspect, save_inspect, [("fit", "fit"), ("selection", "selection")]),
        (signals, save_compressed, [("roi", "roi"), ("notes", "roi_notes")]),
        (noise, save_compressed, [("noise", "noise"), ("notes", "noise_notes")]),
    ])  # fmt: skip
    if magnitudes:
        real = node(FindRealSignals(**fitting, **law, alpha=options.nnls.alpha), "real_signals", omp_nthreads)
        workflow.connect([
            (signals, real, [("signals", "signals")]),
            (noise, real, [("noise", "noise")]),
            (real, nnls, [("signals", "signals"), ("standardised", "residual_signals")]),
            (real, save_compressed, [("standardised", "signals")]),
        ])  # fmt: skip
    else:
        workflow.connect(signals, "signals", nnls, "signals")
        workflow.connect(signals, "signals", save_compressed, "signals")
    if options.uncertainty.wanted:
        settings = {"settings": asdict(options.uncertainty), "regions": regions, "seed": plan.seed}
        uncertainty = node(EstimateUncertainty(**fitting, **settings), "uncertainty", omp_nthreads)
        save_uncertainty = node(SaveUncertainty(**common, **saving), "save_uncertainty")
        scattering = (real, "standardised") if magnitudes else (signals, "signals")
        workflow.connect([
            (scattering[0], uncertainty, [(scattering[1], "signals")]),
            (signals, uncertainty, [("roi", "roi")]),
            (noise, uncertainty, [("noise", "noise"), ("notes", "noise_notes")]),
            (nnls, uncertainty, [("spectra", "spectra")]),
            (signals, save_uncertainty, [("roi", "roi")]),
            (uncertainty, save_uncertainty, [("maps", "maps"), ("notes", "notes")]),
        ])  # fmt: skip
    if options.inspect_map.n_components:
        mixing = FitInspectMap(**fitting, settings=asdict(options.inspect_map), seed=plan.seed)
        mixing = node(mixing, "inspect_map", omp_nthreads)
        save_mixing = node(SaveInspectMap(**common, **saving), "save_inspect_map")
        workflow.connect([
            (real if magnitudes else signals, mixing, [("signals", "signals")]),
            (noise, mixing, [("noise", "noise")]),
            (signals, save_mixing, [("roi", "roi")]),
            (mixing, save_mixing, [("fit", "fit")]),
        ])  # fmt: skip
    if plan.estimates_efficiency:
        efficiency = node(EstimateEfficiency(**fitting, polarity=options.kernel.polarity), "efficiency", omp_nthreads)
        for later in [workflow.get_node(label) for label in workflow.list_node_names() if label != "roi"]:
            workflow.connect(efficiency, "series", later, "series")
        workflow.connect(roi, "roi", efficiency, "roi")
        workflow.connect(roi, "notes", efficiency, "notes")
        workflow.connect(efficiency, "notes", signals, "notes")
    else:
        workflow.connect(roi, "notes", signals, "notes")
    return workflow


def _noise_method(plan):
    method = plan.options.noise.method
    return method if isinstance(method, str) else float(method)
