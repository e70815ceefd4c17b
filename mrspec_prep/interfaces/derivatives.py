"""Nodes that write finished derivatives: names, units and sidecars come from ``data/maps.toml``."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.input.images import load_reference
from mrspec_prep.bids.output.catalogue import map_entry, references_of
from mrspec_prep.bids.output.derivative_dataset import known_datasets, name_labels, reference_path
from mrspec_prep.bids.output.derivatives import bids_uri, encodings_table, output_path, write_map, write_table
from mrspec_prep.bids.output.spectra_files import write_cluster_spectra, write_nnls_spectra
from mrspec_prep.interfaces.base import (
    File,
    ImagesInputSpec,
    SeriesInputSpec,
    SimpleInterface,
    grid_of,
    read_series,
    traits,
)
from mrspec_prep.interfaces.nnls import from_arrays
from mrspec_prep.spectra import default_regions, find_peaks, identify
from mrspec_prep.spectra.regions.myelin import myelin_box

ANAT_MAPS = {"t2": "T2map", "t2star": "T2starmap", "t1": "T1map", "s0": "S0map", "m0": "M0map"}


class SaveInputSpec(SeriesInputSpec):
    """Input that every saving node shares."""

    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    out_dir = traits.Str(mandatory=True, desc="derivatives folder")
    bids_dir = traits.Str(mandatory=True, desc="raw dataset, for BIDS URIs")
    workflow_name = traits.Str(mandatory=True, desc="name of the workflow file")
    why = traits.Str(mandatory=True, desc="why this workflow")
    settings = traits.Dict(mandatory=True, desc="the whole workflow file as resolved")
    options_hash = traits.Str(mandatory=True, desc="of the settings")
    kernel = traits.Dict(mandatory=True, desc="kernel name, grid points, spacing, bounds")
    seed = traits.Int(mandatory=True, desc="random seed")


class _SaveOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="derivatives written")


class SaveDerivatives(SimpleInterface):
    """Shared by the saving nodes: paths and metadata.

    A saving node runs whenever its participant does: the work directory cannot know whether
    what it wrote before is still there.
    """

    output_spec = _SaveOutputSpec
    _always_run = True
    _read = staticmethod(read_series)

    def _begin(self):
        self.series = self._read(self.inputs.series)
        self.roi = np.load(self.inputs.roi)
        self.written = []
        self.roots = known_datasets(self.inputs.out_dir, self.inputs.bids_dir)

    def _path(self, suffix, extension=".nii.gz", **entities):
        return output_path(
            self.inputs.out_dir,
            self.series.entities,
            datatype=self.series.datatype,
            suffix=suffix,
            extension=extension,
            **entities,
        )

    def _metadata(self, **more):
        return {
            "Sources": [bids_uri(image, self.roots) for image in self.series.images],
            "OptionsHash": self.inputs.options_hash,
            "Seed": self.inputs.seed,
            "Device": "cpu",
        } | more

    def _map(self, values, key, suffix="dwimap", metadata=None, **entities):
        path = self._path(suffix, **entities)
        write_map(path, values, self.roi, self.series.images[0], key=key, metadata=self._metadata(**(metadata or {})))
        self.written.append(str(path))

    def _reference(self, values, key):
        """The image behind the maps, over the whole field of view."""
        path = reference_path(self.inputs.out_dir, self.series.entities, datatype=self.series.datatype)
        write_map(path, values, self.roi, self.series.images[0], key=key, metadata=self._metadata())
        self.written.append(str(path))

    def _end(self, runtime):
        self._results["out_files"] = self.written
        return runtime


def noise_law(settings):
    """Distribution of the noise that the fits assumed, for sidecars."""
    law = {"NoiseDistribution": settings["noise"]["distribution"]}
    return law | ({"NoiseCoils": settings["noise"]["n_coils"]} if law["NoiseDistribution"] == "nc-chi" else {})


class _AcquisitionInputSpec(SaveInputSpec, ImagesInputSpec):
    roi_notes = File(exists=True, mandatory=True, desc="notes of mask and signals (JSON)")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    noise_notes = File(exists=True, mandatory=True, desc="method, degrees of freedom, SNR (JSON)")
    masks = traits.List(traits.Str(), value=[], usedefault=True, desc="masks given, whose intersection was fitted")


class SaveAcquisition(SaveDerivatives):
    """ROI, reference image, noise map, volume table and what the protocol can identify."""

    input_spec = _AcquisitionInputSpec

    def _run_interface(self, runtime):
        self._begin()
        roi_notes = json.loads(Path(self.inputs.roi_notes).read_text())
        noise_notes = json.loads(Path(self.inputs.noise_notes).read_text())
        kernel = self.inputs.kernel["name"]
        reference, _, _ = load_reference(self.series)
        sources = [bids_uri(path, self.roots) for path in [*self.series.images, *self.inputs.masks]]
        about_roi = {"MaskSource": roi_notes["source"], "Sources": sources}
        self._map(self.roi[self.roi], "roi", "mask", desc="roi", metadata=about_roi)
        self._reference(reference, "reference")
        noise_metadata = {
            "NoiseMethod": noise_notes["method"],
            "Repeats": noise_notes["n_repeats"],
            "DegreesOfFreedom": noise_notes["degrees_of_freedom"],
            "NoiseNote": noise_notes.get("note"),
            **noise_law(self.inputs.settings),
        }
        if noise_notes.get("between_neighbours"):
            noise_metadata["SigmaBetweenNeighbours"] = noise_notes["between_neighbours"]
        if papers := map_entry("noise")["papers"].get(noise_notes["method"]):
            noise_metadata["EstimationReference"] = references_of(papers)
        self._map(np.load(self.inputs.noise), "noise", desc="noise", metadata=noise_metadata)
        grid = grid_of(self.series, self.inputs.kernel)
        alpha = self.inputs.settings["nnls"]["alpha"]
        reading = identify(kernel, self.series.encodings, grid, noise_notes["snr"], alpha)
        names = [bids_uri(image, self.roots).removeprefix("bids:raw:") for image in self.series.images]
        path = self._path("axes", ".tsv", desc="encodings")
        write_table(
            path,
            encodings_table(self.series.encodings, names, self.series.volumes, self.series.raw_volumes),
            self._metadata(
                Description="The acquisition: one row per volume of the joined series.",
                Joined=self.series.joined,
                Notes=[*self.series.notes, *roi_notes["notes"]],
                Workflow=self.inputs.workflow_name,
                WhyWorkflow=self.inputs.why,
                Kernel=kernel,
                Settings=self.inputs.settings,
                Identifiability=list(reading.statements),
                ResolvedAxes=list(reading.resolved),
                NComponents=reading.n_components,
                **_limits(reading),
                SNR=noise_notes["snr"],
                NoiseMethod=noise_notes["method"],
                **noise_law(self.inputs.settings),
                Repeats=noise_notes["n_repeats"],
                MaskSource=roi_notes["source"],
                Polarity=roi_notes.get("polarity"),
                **_efficiency_facts(self.series.encodings, roi_notes.get("inversion_efficiency")),
                Suffix=self.series.suffix,
            ),
        )
        self.written.append(str(path))
        return self._end(runtime)


def _efficiency_facts(encodings, estimate):
    """The inversion efficiency in use for sidecars, and what was estimated; nothing without inversion times."""
    if encodings.inversion_time is None:
        return {}
    used = encodings.inversion_efficiency
    facts = {"InversionEfficiency": 1.0 if used is None else round(float(used[0]), 4)}
    if estimate is not None:
        facts["InversionEfficiencyEstimate"] = round(estimate["value"], 4)
        facts["InversionEfficiencyInterval"] = [round(end, 4) for end in estimate["interval"]]
    return facts


def _limits(reading):
    """Bounds, separable factors and widths of an identifiability as sidecar entries; n/a where nothing is known."""

    def plain(value):
        return round(float(value), 4) if np.isfinite(value) else "n/a"

    bounds = [
        {
            "Components": bound.n_components,
            "RelativeErrors": {axis: plain(errors.max()) for axis, errors in bound.position_errors.items()},
            "FractionError": plain(bound.fraction_errors.max()),
        }
        for bound in reading.bounds
    ]
    return {
        "CramerRaoBounds": bounds,
        "SeparableFactor": {axis: plain(factor) for axis, factor in reading.separable.items()},
        "ResolutionDecades": {axis: plain(width) for axis, width in reading.widths.items()},
    }


class _NNLSInputSpec(SaveInputSpec):
    spectra = File(exists=True, mandatory=True, desc="dual coefficients, basis, certificate (npz)")
    maps = File(exists=True, mandatory=True, desc="region fractions and mean parameters (npz)")
    steering = File(exists=True, desc="how the number of compartments chose the weight (JSON)")


class SaveNNLS(SaveDerivatives):
    """Voxelwise spectra, region fractions, mean parameters, residual and certificate."""

    input_spec = _NNLSInputSpec

    def _run_interface(self, runtime):
        self._begin()
        kernel = self.inputs.kernel["name"]
        arrays = dict(np.load(self.inputs.spectra))
        fit = {"Kernel": kernel, **_alpha_facts(arrays, self.inputs.settings), **noise_law(self.inputs.settings)}
        if self.inputs.steering:
            fit["AlphaSteering"] = json.loads(Path(self.inputs.steering).read_text())
        if self.inputs.settings["nnls"]["spatial"] > 0:
            fit["SpatialWeight"] = self.inputs.settings["nnls"]["spatial"]
        grid = grid_of(self.series, self.inputs.kernel)
        regions = self.inputs.settings["nnls"]["regions"] or default_regions(kernel, self.series.encodings, grid)
        for name, values in np.load(self.inputs.maps).items():
            if name.startswith("region-"):
                region = name.removeprefix("region-")
                about = fit | {"Region": region, "Bounds": regions[region]}
                self._map(values, "fraction", model=kernel, param=region, desc="nnls", metadata=about)
            elif name == "mwf":
                box = myelin_box(kernel, self.series.encodings, grid, self.inputs.settings["nnls"]["regions"])
                about = fit | {
                    "Bounds": box,
                    "Limits": _limits_in_words(box),
                    "NotCorrected": NOT_CORRECTED[next(iter(box))],
                }
                self._map(values, name, "MWFmap", desc="nnls", metadata=about)
            elif self.series.datatype == "anat" and name in ANAT_MAPS:
                self._map(values, name, ANAT_MAPS[name], desc="nnls", metadata=fit)
            elif name == "residual":
                freedom = {"ResidualDegreesOfFreedom": float(arrays["residual_freedom"])}
                self._map(values, name, model=kernel, param=name, desc="nnls", metadata=fit | freedom)
            else:
                self._map(values, name, model=kernel, param=name, desc="nnls", metadata=fit)
        peaks = find_peaks(arrays.pop("mean_spectrum"), grid)
        path = self._path("spectra", ".h5", model=kernel, desc="nnls")
        write_nnls_spectra(path, from_arrays(arrays), self.roi, grid, self._metadata(**fit), peaks)
        self.written.append(str(path))
        return self._end(runtime)


#: what the myelin water fraction of each axis takes for granted, for the map's description
NOT_CORRECTED = {
    "t2": "Refocusing is taken as perfect: no correction for B1 or stimulated echoes.",
    "t2star": "No correction for field gradients or for the phase of myelin water.",
}


def _limits_in_words(box):
    """Limits of myelin water on its one axis, for the map's description."""
    ((axis, (low, high)),) = box.items()
    symbol = {"t2": "T2", "t2star": "T2*"}[axis]
    return f"{symbol} below {high:g} ms" if low <= 0 else f"{symbol} from {low:g} to {high:g} ms"


def _alpha_facts(arrays, settings):
    """The regularisation weight for sidecars: its value, or the rule and what it gave."""
    alpha, rule, scope = arrays["alpha"], settings["nnls"]["alpha_rule"], settings["nnls"]["alpha_scope"]
    if rule == "fixed":
        return {"Alpha": float(alpha)}
    facts = {"AlphaRule": rule, "AlphaScope": scope, "AlphaUnmet": int(arrays["alpha_unmet"])}
    if scope == "image":
        return facts | {"Alpha": float(alpha), "AlphaVoxelsStacked": int(arrays["alpha_stacked"])}
    low, middle, high = np.quantile(alpha, [0.1, 0.5, 0.9]).tolist()
    return facts | {"AlphaMedian": middle, "AlphaTenthToNinetieth": [low, high]}


class _InspectInputSpec(SaveInputSpec):
    fit = File(exists=True, mandatory=True, desc="responsibilities, spectra, probabilities (npz)")
    selection = File(exists=True, mandatory=True, desc="table over the number of clusters (npz)")


class SaveInspect(SaveDerivatives):
    """Clusters, responsibilities, cluster spectra with named peaks, and the selection table."""

    input_spec = _InspectInputSpec

    def _run_interface(self, runtime):
        self._begin()
        kernel = self.inputs.kernel["name"]
        settings = self.inputs.settings["inspect"]
        fit = dict(np.load(self.inputs.fit))
        selection = dict(np.load(self.inputs.selection))
        best = int(selection.pop("best"))
        labels = [f"cluster{m + 1}" for m in range(best)]
        about = {
            "Kernel": kernel,
            "Alpha": settings["alpha"],
            "Mode": settings["mode"],
            "Scale": settings["scale"],
            **noise_law(self.inputs.settings),
            "Converged": bool(fit["converged"]),
            "Steps": int(fit["n_steps"]),
        }
        if np.isfinite(fit["shared_sigma"]):
            about["NoiseShared"] = {"Sigma": float(fit["shared_sigma"])}
        if settings["spatial"]:
            weight = float(fit["spatial_weight"])
            about |= {"SpatialPrior": "potts", "SpatialWeight": weight if np.isfinite(weight) else "n/a"}
        responsibilities = fit["responsibilities"]
        name_labels(self.inputs.out_dir, "inspect")
        self._map(responsibilities.argmax(axis=1) + 1, "dseg", "dseg", seg="inspect", metadata=about)
        self._map(responsibilities, "probseg", "probseg", seg="inspect", metadata=about | {"LabelMap": labels})
        grid = grid_of(self.series, self.inputs.kernel)
        selection.setdefault("held_out", np.full(len(selection["n_clusters"]), np.nan))  # n/a where not computed
        path = self._path("spectra", ".h5", model=kernel, desc="inspect")
        write_cluster_spectra(
            path,
            fit["spectra"],
            grid,
            weights=fit["cluster_probs"],
            peaks=[find_peaks(spectrum, grid) for spectrum in fit["spectra"]],
            metadata=self._metadata(**about),
        )
        table = self._path("selection", ".tsv", desc="inspect")
        write_table(
            table,
            selection,
            self._metadata(
                **about,
                Description="Fits over the number of clusters, and the one chosen.",
                Criterion=settings["criterion"],
                Chosen=best,
                Range=[int(selection["n_clusters"].min()), int(selection["n_clusters"].max())],
            ),
        )
        self.written += [str(path), str(table)]
        return self._end(runtime)
