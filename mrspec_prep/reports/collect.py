"""What a participant's folder holds, read into one object per series; a missing file is a gap, not an error."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrspec_prep.bids.output.catalogue import load_catalogue
from mrspec_prep.bids.output.derivative_dataset import FIGURES, NCOMP
from mrspec_prep.bids.output.derivatives import MapFile, is_group_file, parse_name, read_map, read_table
from mrspec_prep.bids.output.spectra_files import ClusterSpectra, read_cluster_spectra, read_mean_spectrum
from mrspec_prep.reports.maps.collect import sorted_methods, take_history, take_map

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zlib.error)
SINGLE_MAPS = {"roi": ("mask", "roi"), "noise": ("dwimap", "noise")}
UNCERTAINTIES = ("nnlsstd", "nnlslow", "nnlshigh", "nnlsmin", "nnlsmax")
NAME_ENTITIES = ("acquisition", "ceagent", "reconstruction", "direction", "run", "space")
SHORT_NAMES = {"acquisition": "acq", "ceagent": "ce", "reconstruction": "rec", "direction": "dir"}


@dataclass(eq=False)
class SeriesResults:
    """Everything finished about one series of one participant.

    Maps have their axes to the right, front and up, in the units of the package.
    """

    key: tuple  #: session, datatype and further entities: what its files share
    roi: MapFile | None = None
    reference: MapFile | None = None
    noise: MapFile | None = None
    fractions: dict = field(default_factory=dict)  #: region -> MapFile
    parameters: dict = field(default_factory=dict)  #: key of maps.toml -> MapFile
    visible: dict = field(default_factory=dict)  #: ``visible<region>`` -> MapFile
    uncertainty: dict = field(default_factory=dict)  #: std, low, high, min, max -> region or key -> MapFile
    labels: MapFile | None = None
    responsibilities: MapFile | None = None
    columns: dict = field(default_factory=dict)  #: volume table
    acquisition: dict = field(default_factory=dict)  #: its sidecar
    mean_spectrum: ClusterSpectra | None = None
    cluster_spectra: ClusterSpectra | None = None
    components: dict = field(default_factory=dict)  #: component1, ... -> MapFile of its weights
    component_spectra: ClusterSpectra | None = None
    mixture_residual: MapFile | None = None
    methods: dict = field(default_factory=dict)  #: (model, method) -> MethodMaps
    n_compartments: MapFile | None = None  #: 0 undecided, 1 to 4
    n_compartments_probs: MapFile | None = None  #: four volumes
    selection: dict = field(default_factory=dict)  #: table
    selection_facts: dict = field(default_factory=dict)  #: its sidecar
    paths: dict = field(default_factory=dict)  #: roi, nnls -> Path, for what is read only when it is needed
    unreadable: list = field(default_factory=list)  #: (file name, what is wrong)

    @property
    def title(self):
        """Session, kind and further entities in words."""
        session, datatype, *rest = self.key
        parts = [f"session {session}"] if session else []
        more = [f"{SHORT_NAMES.get(n, n)}-{v}" for n, v in zip(NAME_ENTITIES, rest, strict=True) if v]
        return " · ".join([*parts, {"dwi": "diffusion", "anat": "relaxometry"}.get(datatype, datatype), *more])

    @property
    def slug(self):
        """Letters and digits that tell its files and anchors from those of other series."""
        session, datatype, *rest = self.key
        named = zip(("ses", *NAME_ENTITIES), (session, *rest), strict=True)
        parts = [f"{SHORT_NAMES.get(name, name)}-{value}" for name, value in named if value]
        return "_".join([*parts, datatype])

    @property
    def kernel(self):
        """Name of the kernel, or None."""
        nnls = self.mean_spectrum.metadata if self.mean_spectrum else {}
        inspect = self.cluster_spectra.metadata if self.cluster_spectra else {}
        return self.acquisition.get("Kernel") or nnls.get("Kernel") or inspect.get("Kernel")

    @property
    def grid(self):
        """Grid of the spectra, or None."""
        spectra = self.mean_spectrum or self.cluster_spectra
        return spectra.grid if spectra else None

    @property
    def n_voxels(self):
        """Voxels fitted; 0 where no region was written."""
        return int(self.roi.data.astype(bool).sum()) if self.roi else 0

    @property
    def clusters(self):
        """Weight, colour and peaks of each cluster; empty where there are none."""
        return self.cluster_spectra.clusters if self.cluster_spectra else []

    def values(self, name):
        """(n_voxels,) values of a parameter map in the region, or None."""
        found = self.parameters.get(name)
        if found is None or self.roi is None or found.data.shape[:3] != self.roi.data.shape:
            return None
        return found.data[self.roi.data.astype(bool)]

    def _mapped(self):
        """Methods that have maps, as in ``desc``."""
        return {method for (_, method), found in self.methods.items() if found.maps}

    def missing_steps(self):
        """Names of the steps that were asked for and whose results are not there."""
        settings = self.acquisition.get("Settings", {})
        present = {
            "acquisition": bool(self.columns),
            "mask": self.roi is not None,
        }
        if settings.get("mrf", {}).get("wanted"):
            present["mrf"] = set(_labels(settings["mrf"]["methods"])) <= self._mapped()
            return [step for step, there in present.items() if not there]
        present["noise"] = self.noise is not None
        if settings.get("nnls", {}).get("wanted", True):
            present["nnls"] = bool(self.parameters) and self.mean_spectrum is not None
        if settings.get("inspect", {}).get("wanted", True):
            present["inspect"] = self.labels is not None and self.cluster_spectra is not None
        if settings.get("inspect_map", {}).get("n_components"):
            present["inspect_map"] = bool(self.components) and self.component_spectra is not None
        if settings.get("maps", {}).get("model"):
            present["maps"] = set(_labels(settings["maps"].get("methods", ["lsq"]))) <= self._mapped()
        if settings.get("scan_cnn", {}).get("wanted"):
            present["scan_cnn"] = set(_labels(settings["scan_cnn"]["methods"])) <= self._mapped()
        if settings.get("classifier", {}).get("wanted"):
            present["classifier"] = self.n_compartments is not None and self.n_compartments_probs is not None
        return [step for step, there in present.items() if not there]


def _labels(methods):
    """Names of methods as in ``desc``."""
    return [name.replace("-", "") for name in methods]


def collect_series(out_dir, subject):
    """Results of every series of a participant, sorted by session and name.

    Parameters
    ----------
    out_dir : path
    subject : str
        Label without ``sub-``.

    Returns
    -------
    list of SeriesResults

    """
    found = {}
    folder = Path(out_dir) / f"sub-{subject}"
    files = [path for kind in ("dwi", "anat") for path in folder.glob(f"**/{kind}/sub-{subject}_*")]
    files += folder.glob(f"{FIGURES}/sub-{subject}_*_desc-reference_*.nii.gz")
    files += folder.glob(f"{FIGURES}/sub-{subject}_desc-reference_*.nii.gz")
    for path in sorted(files):
        if path.name.startswith(".") or path.suffix == ".json" or is_group_file(path):
            continue
        entities = parse_name(path)
        key = (entities.get("session"), entities["datatype"], *(entities.get(name) for name in NAME_ENTITIES))
        series = found.setdefault(key, SeriesResults(key))
        try:
            _take(series, path, entities)
        except UNREADABLE as error:
            problem = str(error).replace(f"{path.parent}/", "") or type(error).__name__
            series.unreadable.append((path.name, problem))
    for series in found.values():
        series.methods = sorted_methods(series.methods)
    return [found[key] for key in sorted(found, key=lambda k: tuple(part or "" for part in k))]


def _take(series, path, entities):
    """Read one file into its place."""
    suffix, extension, desc = entities["suffix"], entities["extension"], entities.get("desc")
    if extension == ".tsv" and suffix == "axes":
        series.columns, series.acquisition = read_table(path)
    elif extension == ".tsv" and suffix == "selection":
        series.selection, series.selection_facts = read_table(path)
    elif extension == ".tsv" and suffix == "history":
        take_history(series.methods, read_table(path)[0], entities)
    elif extension == ".h5" and suffix == "spectra" and desc == "nnls":
        series.mean_spectrum = read_mean_spectrum(path)
        series.paths["nnls"] = path
    elif extension == ".h5" and suffix == "spectra" and desc == "inspect":
        series.cluster_spectra = read_cluster_spectra(path)
    elif extension == ".h5" and suffix == "spectra" and desc == "inspectmap":
        series.component_spectra = read_cluster_spectra(path)
    elif extension == ".nii.gz":
        found = read_map(path)
        if (suffix, desc) == SINGLE_MAPS["roi"]:
            series.paths["roi"] = path
        if not take_map(series.methods, found, entities):
            _take_map(series, found.canonical(), entities)


def _take_map(series, found, entities):
    suffix, desc, segmentation = entities["suffix"], entities.get("desc"), entities.get("segmentation")
    if desc == "reference":
        series.reference = found
        return
    for name, place in SINGLE_MAPS.items():
        if (suffix, desc) == place:
            setattr(series, name, found)
            return
    if segmentation == "inspect" and suffix == "dseg":
        series.labels = found
    elif segmentation == "inspect" and suffix == "probseg":
        data = found.data[..., None] if found.data.ndim == 3 else found.data
        series.responsibilities = MapFile(data, found.affine, found.metadata, found.key)
    elif segmentation == NCOMP:
        setattr(series, {"dseg": "n_compartments", "probseg": "n_compartments_probs"}[suffix], found)
    elif desc in UNCERTAINTIES:
        name = entities.get("param") if found.key in ("fraction", "visible") else found.key
        series.uncertainty.setdefault(desc.removeprefix("nnls"), {})[name] = found
    elif found.key == "mixture":
        series.mixture_residual = found
    elif found.key == "component":
        series.components[entities.get("param") or found.metadata.get("Component", "component")] = found
    elif found.key == "fraction":
        series.fractions[entities.get("param") or found.metadata.get("Region", "region")] = found
    elif found.key == "visible":
        series.visible[entities.get("param")] = found
    elif found.key in load_catalogue()["maps"] and desc == "nnls":
        series.parameters[found.key] = found


def snr_map(series):
    """Reference image over noise in the region, 0 outside; None where either is missing.

    Parameters
    ----------
    series : SeriesResults

    Returns
    -------
    (x, y, z) float array or None

    """
    maps = (series.roi, series.reference, series.noise)
    if any(part is None for part in maps) or len({part.data.shape for part in maps}) > 1:
        return None
    inside = series.roi.data.astype(bool) & (series.noise.data > 0)
    snr = np.zeros(inside.shape)
    snr[inside] = series.reference.data[inside] / series.noise.data[inside]
    return snr
