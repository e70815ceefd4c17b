"""Graph of one series: ROI, signals, noise, spectra, clusters, maps, compartments, and what is saved of them."""

from dataclasses import asdict, dataclass, field

from nipype.pipeline import engine as pe

from mrspec_prep.interfaces.compartments import FitClassifier, SaveClassifier, SteerAlpha
from mrspec_prep.interfaces.compressed import SaveCompressed
from mrspec_prep.interfaces.derivatives import SaveAcquisition, SaveInspect, SaveNNLS
from mrspec_prep.interfaces.efficiency import EstimateEfficiency
from mrspec_prep.interfaces.inspect_em import FitInspect
from mrspec_prep.interfaces.inspect_map import FitInspectMap, SaveInspectMap
from mrspec_prep.interfaces.magnitudes import FindRealSignals
from mrspec_prep.interfaces.maps import FitMaps, SaveMaps, method_label
from mrspec_prep.interfaces.mask import ComputeROI
from mrspec_prep.interfaces.nnls import FitNNLS
from mrspec_prep.interfaces.noise import EstimateNoise
from mrspec_prep.interfaces.scan_cnn import FitScanCNN
from mrspec_prep.interfaces.signals import ExtractSignals
from mrspec_prep.interfaces.uncertainty import EstimateUncertainty, SaveUncertainty
from mrspec_prep.options import MAGNITUDES
from mrspec_prep.workflows.planning.scan import kind_of
from mrspec_prep.workflows.running.measured_memory import StepMemory
from mrspec_prep.workflows.running.steps import Step

UNKNOWN = StepMemory(1.0)


@dataclass
class Graph:
    """The graph of one series while it grows: its nodes by name, and what they share."""

    plan: object
    series_file: str
    saving: dict
    name: str
    omp_nthreads: int
    memory: StepMemory
    workflow: pe.Workflow = field(init=False)
    nodes: dict = field(init=False, default_factory=dict)

    def __post_init__(self):
        self.workflow = pe.Workflow(self.name)
        options = self.plan.options
        self.options, self.magnitudes = options, options.noise.distribution in MAGNITUDES
        self.law = {"distribution": options.noise.distribution, "n_coils": options.noise.n_coils}
        self.regions = {region: {axis: list(box[axis]) for axis in box} for region, box in options.nnls.regions.items()}

    def fit(self, node, interface, **inputs):
        """Add a node that computes, with the threads of a step."""
        fitting = {"series": self.series_file, "num_threads": self.omp_nthreads}
        self.add(node, interface(**fitting, **inputs), self.omp_nthreads)

    def fit_kernel(self, node, interface, **inputs):
        """Add a node that computes with the kernel."""
        self.fit(node, interface, kernel=self.plan.kernel_settings, **inputs)

    def save(self, label, interface, **inputs):
        """Add a node that writes derivatives, on the voxels that were fitted."""
        self.add(label, interface(series=self.series_file, **self.saving, **inputs))
        self.connect("signals", label, roi="roi")

    def add(self, label, interface, threads=1):
        """Add a node; it is told when an image that it reads is replaced."""
        if hasattr(interface.inputs, "fingerprint"):
            interface.inputs.fingerprint = self.plan.fingerprint
        self.nodes[label] = Step(interface, label, n_procs=threads, mem_gb=self.memory.of(label))
        self.workflow.add_nodes([self.nodes[label]])

    def connect(self, source, target, **fields):
        """Connect two nodes; ``fields`` are input=output."""
        pairs = [(output, given) for given, output in fields.items()]
        self.workflow.connect([(self.nodes[source], self.nodes[target], pairs)])

    @property
    def real(self):
        """Node and output of real signals whose least-squares fit maximises the likelihood."""
        return ("real_signals", "signals") if self.magnitudes else ("signals", "signals")

    @property
    def scattering(self):
        """Node and output of real signals that scatter by sigma about their mean."""
        return ("real_signals", "standardised") if self.magnitudes else ("signals", "signals")


def init_spectral_wf(plan, series_file, *, saving, name, omp_nthreads=1, memory=UNKNOWN):
    """Wire the steps of one series.

    Inputs
        plan : SeriesPlan; ``series_file``: its series as JSON.
        saving : dict of the inputs that every saving node shares.
    Outputs
        Derivatives below ``saving["out_dir"]``; the nodes whose names begin with ``save``.
    """
    graph = Graph(plan, str(series_file), saving, name, omp_nthreads, memory)
    options = plan.options
    _add_signals(graph)
    if options.wants_spectra:
        _add_compressed(graph)
    if options.nnls.wanted:
        _add_nnls(graph)
    if options.inspect.wanted:
        _add_inspect(graph)
    if options.uncertainty.wanted:
        _add_uncertainty(graph)
    if options.inspect_map.n_components:
        _add_inspect_map(graph)
    if options.maps.wanted:
        _add_maps(graph)
    if options.scan_cnn.wanted:
        _add_scan_cnn(graph)
    if options.classifier.wanted:
        _add_classifier(graph)
    _add_efficiency(graph)
    return graph.workflow


def _add_signals(graph):
    """ROI, signals, noise, and the acquisition as it is saved."""
    plan, options = graph.plan, graph.options
    masks = [str(mask) for mask in plan.masks]
    graph.add("roi", ComputeROI(series=graph.series_file, masks=masks))
    graph.fit_kernel("signals", ExtractSignals, polarity=options.kernel.polarity, magnitudes=graph.magnitudes)
    graph.connect("roi", "signals", roi="roi")
    noise_map = {"noise_map": str(plan.noise_map)} if plan.noise_map else {}
    graph.fit_kernel(
        "noise", EstimateNoise, method=_noise_method(plan), alpha=options.nnls.alpha, **graph.law, **noise_map
    )
    graph.connect("signals", "noise", signals="signals", roi="roi")
    graph.save("save_acquisition", SaveAcquisition, masks=masks)
    graph.connect("signals", "save_acquisition", roi_notes="notes")
    graph.connect("noise", "save_acquisition", noise="noise", noise_notes="notes")
    if graph.magnitudes and options.wants_spectra:
        graph.fit_kernel("real_signals", FindRealSignals, **graph.law, alpha=options.nnls.alpha)
        graph.connect("signals", "real_signals", signals="signals")
        graph.connect("noise", "real_signals", noise="noise")


def _add_compressed(graph):
    """Signals for the group level."""
    graph.save("save_compressed", SaveCompressed, stand_ins=graph.magnitudes)
    graph.connect("signals", "save_compressed", roi_notes="notes")
    graph.connect("noise", "save_compressed", noise="noise", noise_notes="notes")
    source, output = graph.scattering
    graph.connect(source, "save_compressed", signals=output)


def _add_nnls(graph):
    """Voxelwise spectra."""
    options = graph.options.nnls
    graph.fit_kernel(
        "nnls",
        FitNNLS,
        alpha=options.alpha,
        alpha_rule=options.alpha_rule,
        alpha_scope=options.alpha_scope,
        tolerance=options.tolerance,
        regions=graph.regions,
        spatial=float(options.spatial),
    )
    graph.connect("signals", "nnls", roi="roi")
    graph.connect("noise", "nnls", noise="noise")
    graph.connect(graph.real[0], "nnls", signals=graph.real[1])
    if graph.magnitudes:
        graph.connect("real_signals", "nnls", residual_signals="standardised")
    graph.save("save_nnls", SaveNNLS)
    graph.connect("nnls", "save_nnls", spectra="spectra", maps="maps")


def _add_inspect(graph):
    """Tissue clusters."""
    plan, settings = graph.plan, asdict(graph.options.inspect)
    label = f"sub-{plan.series.subject} {plan.series.datatype} clusters"
    graph.fit_kernel("inspect_em", FitInspect, **graph.law, settings=settings, seed=plan.seed, label=label)
    graph.connect("signals", "inspect_em", signals="signals", roi="roi")
    graph.connect("noise", "inspect_em", noise="noise", noise_notes="notes")
    graph.save("save_inspect", SaveInspect)
    graph.connect("inspect_em", "save_inspect", fit="fit", selection="selection")


def _add_uncertainty(graph):
    """Bootstrap and bounds of voxelwise spectra."""
    settings = {"settings": asdict(graph.options.uncertainty), "regions": graph.regions, "seed": graph.plan.seed}
    graph.fit_kernel("uncertainty", EstimateUncertainty, **settings)
    source, output = graph.scattering
    graph.connect(source, "uncertainty", signals=output)
    graph.connect("signals", "uncertainty", roi="roi")
    graph.connect("noise", "uncertainty", noise="noise", noise_notes="notes")
    graph.connect("nnls", "uncertainty", spectra="spectra")
    graph.save("save_uncertainty", SaveUncertainty)
    graph.connect("uncertainty", "save_uncertainty", maps="maps", notes="notes")


def _add_inspect_map(graph):
    """Component spectra and their weights."""
    graph.fit_kernel("inspect_map", FitInspectMap, settings=asdict(graph.options.inspect_map), seed=graph.plan.seed)
    graph.connect(graph.real[0], "inspect_map", signals=graph.real[1])
    graph.connect("noise", "inspect_map", noise="noise")
    graph.save("save_inspect_map", SaveInspectMap)
    graph.connect("inspect_map", "save_inspect_map", fit="fit")


def _add_maps(graph):
    """Parameter maps of a signal model, one fit per method."""
    options = graph.options.maps
    for method in options.methods:
        fit = add_method(graph, FitMaps, SaveMaps, "maps", options, method, options.model, **_shared(graph))
        graph.connect("signals", fit, signals="measured")
        graph.connect("noise", fit, noise="noise", noise_notes="notes")


def _add_scan_cnn(graph):
    """T2 or T2* of whole images, one fit per method."""
    for method in graph.options.scan_cnn.methods:
        how = {"kind": kind_of(graph.plan)} | _shared(graph)
        fit = add_method(graph, FitScanCNN, SaveMaps, "scan", graph.options.scan_cnn, method, "T2", **how)
        graph.connect("signals", fit, roi="roi")
        graph.connect("noise", fit, noise="noise", noise_notes="notes")


def _shared(graph):
    """Whether the noise was drawn towards all voxels' already, as input of a fit."""
    return {"noise_is_shared": graph.magnitudes}


def add_method(graph, interface, saver, stem, options, method, what, **more):
    """Add the fit of one method and what is saved of it; name of the fit."""
    plan, label = graph.plan, f"{stem}_{method_label(method)}"
    settings = asdict(options) | {"methods": [method]}  # another method more redoes none of these
    said = f"sub-{plan.series.subject} {plan.series.datatype} {what} {method}"
    how = {"settings": settings, "method": method, "seed": plan.seed, "device": plan.device, "label": said}
    graph.fit(label, interface, **how, **more)
    graph.save(f"save_{label}", saver)
    graph.connect(label, f"save_{label}", maps="maps", notes="notes")
    return label


def _add_classifier(graph):
    """Number of compartments of every voxel."""
    plan, options = graph.plan, graph.options.classifier
    label = f"sub-{plan.series.subject} {plan.series.datatype} number of compartments"
    how = {"settings": asdict(options), "distribution": options.distribution, "seed": plan.seed, "label": label}
    graph.fit("classifier", FitClassifier, **how, noise_is_shared=graph.magnitudes)
    graph.connect("signals", "classifier", signals="signals", measured="measured", roi="roi")
    graph.connect("noise", "classifier", noise="noise", noise_notes="notes")
    graph.save("save_classifier", SaveClassifier)
    graph.connect("classifier", "save_classifier", found="found", notes="notes")
    if options.steer == "alpha":
        graph.fit_kernel("steer_alpha", SteerAlpha)
        graph.connect(graph.real[0], "steer_alpha", signals=graph.real[1])
        graph.connect("classifier", "steer_alpha", found="found")
        graph.connect("steer_alpha", "nnls", alpha="alpha")
        graph.connect("steer_alpha", "save_nnls", steering="notes")


def _add_efficiency(graph):
    """Inversion efficiency from the images, where that was asked for, before all that use it."""
    if not graph.plan.estimates_efficiency:
        graph.connect("roi", "signals", notes="notes")
        return
    later = [label for label in graph.nodes if label != "roi"]
    graph.fit_kernel("efficiency", EstimateEfficiency, polarity=graph.options.kernel.polarity)
    for label in later:
        graph.connect("efficiency", label, series="series")
    graph.connect("roi", "efficiency", roi="roi", notes="notes")
    graph.connect("efficiency", "signals", notes="notes")


def _noise_method(plan):
    method = plan.options.noise.method
    return method if isinstance(method, str) else float(method)
