"""Parameter maps of signal models as nodes: one fit per method, and what is saved of it."""

import json
from itertools import zip_longest
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.catalogue import map_entry, method_entry, model_entry, references_of, uncertainty_entry
from mrspec_prep.bids.output.derivative_dataset import name_labels
from mrspec_prep.bids.output.derivatives import write_table
from mrspec_prep.interfaces.base import (
    File,
    SeriesInputSpec,
    SimpleInterface,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.interfaces.derivatives import ANAT_MAPS, SaveDerivatives, SaveInputSpec
from mrspec_prep.interfaces.noise import shared_noise
from mrspec_prep.interfaces.progress import SpokenProgress
from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.maps import is_network
from mrspec_prep.options import MapsOptions
from mrspec_prep.physics.models import model_named
from mrspec_prep.physics.models.model import S0

LEVEL = 0.95  # of the interval on disk
LOW, HIGH = 0, -1  # columns of ``MapsResult.intervals`` that are its ends
DIRECTION = ("direction_x", "direction_y", "direction_z")
LARGEST_ANGLE = np.pi / 2  # between two axes [rad]
UNCERTAINTIES = ("std", "low", "high")
FLAGS = ("converged", "valid")


class MethodInputSpec(SeriesInputSpec):
    """Input of a node that makes maps by one of several methods."""

    noise = File(exists=True, mandatory=True, desc="(n_voxels,) sigma of one volume")
    noise_notes = File(exists=True, mandatory=True, desc="method, degrees of freedom (JSON)")
    noise_is_shared = traits.Bool(False, usedefault=True, desc="sigma was drawn towards all voxels' already")
    settings = traits.Dict(mandatory=True, desc="section of the workflow file")
    method = traits.Str(mandatory=True, desc="one of its methods")
    seed = traits.Int(mandatory=True, desc="random seed")
    device = traits.Str("auto", usedefault=True, desc="of networks: auto, cpu or cuda")
    label = traits.Str("maps", usedefault=True, nohash=True, desc="what messages about the progress begin with")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads over voxels")


class _FitMapsInputSpec(MethodInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings) as measured")


class FitMapsOutputSpec(TraitedSpec):
    """Output of a node that makes maps by one of several methods."""

    maps = File(exists=True, desc="arrays named <kind>:<quantity>, see ``arrays_of`` (npz)")
    notes = File(exists=True, desc="what was done, for sidecars (JSON)")


class FitMaps(SimpleInterface):
    """A signal model fitted to every voxel by one method."""

    input_spec = _FitMapsInputSpec
    output_spec = FitMapsOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        options = MapsOptions(**self.inputs.settings)
        signals = np.load(self.inputs.signals)
        noise, about_noise = shared_noise(self.inputs.noise, self.inputs.noise_notes, self.inputs.noise_is_shared)
        model = model_named(options.model)
        if model.magnitude and "inversion_time" in model.needs and (signals < 0).any():
            raise InputError(
                f"the images hold signs, and model {options.model} describes magnitudes",
                file=series.images[0],
                value=f"{int((signals < 0).sum())} negative values",
                remedy=f"--set maps.model={options.model}-signed, or kernel.polarity=magnitude to ignore the signs",
            )
        progress = SpokenProgress(self.inputs.label)
        try:
            with within_threads(self.inputs.num_threads):
                result = fit_maps(
                    signals,
                    series.encodings,
                    options.model,
                    self.inputs.method,
                    noise,
                    self.inputs.seed,
                    self.inputs.device,
                    "paper" if options.settings == "paper" and is_network(self.inputs.method) else None,
                    distribution=options.distribution,
                    on_step=progress,
                )
        except ValueError as error:
            raise InputError(
                str(error),
                file=series.images[0],
                remedy=f"another maps.model or maps.methods, or other signals for {options.model}",
            ) from error
        progress.done(f"{len(result.converged)} voxels")
        out = Path(runtime.cwd)
        self._results["maps"] = save_arrays(out / "maps.npz", **arrays_of(result, options.intervals))
        (out / "maps.json").write_text(json.dumps(notes_of(result) | about_noise, default=as_json))
        self._results["notes"] = str(out / "maps.json")
        return runtime


def arrays_of(result, intervals=True):
    """What is saved of a result, by ``<kind>:<quantity>``.

    Parameters
    ----------
    result : MapsResult
    intervals : bool
        Whether the ends of the 95 % interval are, where the method gives them.

    Returns
    -------
    dict of str to array
        ``value:``, ``std:``, ``low:`` and ``high:`` of every parameter (float32). A direction is one (n_voxels, 3)
        array, its ``std:`` an angle [rad], its ``high:`` the angle of the 95 % cone. ``value:risk``, ``residual`` and
        ``latent`` where there are; ``value:converged`` and ``valid`` where some voxel is not; ``probs:components``;
        ``history:<what>``.

    """
    kinds = {"value": result.maps, "std": result.std or {}}
    if intervals and result.intervals:
        kinds |= {
            kind: {name: ends[:, column] for name, ends in result.intervals.items()}
            for kind, column in (("low", LOW), ("high", HIGH))
        }
    arrays = {}
    for kind, named in kinds.items():
        arrays |= {f"{kind}:{name}": values for name, values in named.items() if name not in DIRECTION}
    if set(DIRECTION) <= set(result.maps):
        arrays["value:direction"] = np.stack([result.maps[name] for name in DIRECTION], axis=1)
        if result.std:
            squares = sum(result.std[name] ** 2 for name in DIRECTION)
            arrays["std:direction"] = np.minimum(np.sqrt(squares), LARGEST_ANGLE)
        if intervals and result.cones is not None:
            arrays["high:direction"] = result.cones[:, HIGH]
    for name in ("risk", "residual", "latent"):
        if getattr(result, name) is not None:
            arrays[f"value:{name}"] = getattr(result, name)
    if result.cluster_probs is not None:
        arrays["probs:components"] = result.cluster_probs
    arrays = {name: np.asarray(values, dtype=np.float32) for name, values in arrays.items()}
    arrays |= {f"value:{name}": getattr(result, name) for name in FLAGS if not getattr(result, name).all()}
    return arrays | history_arrays(result.history)


def history_arrays(history):
    """What was watched step by step, as ``history:<what>``; what is no row of numbers is left out."""
    watched = {f"history:{name}": np.asarray(values) for name, values in history.items()}
    return {name: row for name, row in watched.items() if row.ndim == 1 and row.dtype.kind in "fiu" and len(row)}


def notes_of(result):
    """What was done, for sidecars."""
    settings = dict(result.settings)
    notes = {
        "Model": settings.pop("model"),
        "Method": settings.pop("method"),
        "Distribution": settings.pop("distribution"),
        "NEncodings": settings.pop("n_encodings"),
        "NVolumes": settings.pop("n_volumes"),
        "NVoxels": len(result.converged),
        "NVoxelsConverged": int(result.converged.sum()),
        "NVoxelsValid": int(result.valid.sum()),
        "Device": result.device,
    }
    settings.pop("noise", None)
    collapsed = settings.pop("collapsed", None)
    notes |= {"Collapsed": list(collapsed)} if collapsed else {}
    return notes | {"MethodSettings": settings}


def as_json(value):
    """Numbers and arrays of numpy as JSON has them."""
    return value.tolist()


class _SaveMapsInputSpec(SaveInputSpec):
    maps = File(exists=True, mandatory=True, desc="arrays of ``FitMaps`` or of a fit like it (npz)")
    notes = File(exists=True, mandatory=True, desc="what was done (JSON)")


class SaveMaps(SaveDerivatives):
    """Maps of one method with their uncertainty, components of its prior, and what was watched while it learned."""

    input_spec = _SaveMapsInputSpec

    def _run_interface(self, runtime):
        self._begin()
        arrays = dict(np.load(self.inputs.maps))
        notes = json.loads(Path(self.inputs.notes).read_text())
        self.model, self.method = notes["Model"], notes["Method"]
        self.label = self.method.replace("-", "")
        history = {name.partition(":")[2]: arrays.pop(name) for name in list(arrays) if name.startswith("history:")}
        about = notes | self._sources()
        if history:
            about["HistoryFinal"] = {name: float(values[-1]) for name, values in history.items()}
        if "probs:components" in arrays:
            self._components(arrays.pop("probs:components"), about)
        for name, values in arrays.items():
            self._quantity(*name.split(":"), values, about)
        if history:
            self._history(history, about)
        return self._end(runtime)

    def _sources(self):
        """Algorithm and references, of the method and the model."""
        method, model = method_entry(self.method), model_entry(self.model)
        references = dict.fromkeys([*method["references"], *model["references"]])
        return {"EstimationAlgorithm": method["algorithm"], "EstimationReference": references_of(references)}

    def _quantity(self, kind, name, values, about):
        """One map: a value, or one of its uncertainties."""
        key, desc, more = f"model-{name}", self.label, {"Parameter": name}
        if kind in UNCERTAINTIES:
            cone = name == "direction" and kind == "high"
            entry = uncertainty_entry("posteriorcone" if cone else f"posterior{kind}")
            words = {"what": map_entry(key)["title"], "level": LEVEL}
            of_method = method_entry(self.method)["std" if kind == "std" else "interval"]
            more |= {
                "Uncertainty": kind,
                "Description": entry["description"].format_map(words),
                "EstimationAlgorithm": of_method,
            }
            more |= {"Level": LEVEL} if kind != "std" else {}
            key, desc = "model-angle" if name == "direction" else key, f"{self.label}{kind}"
        if self.series.datatype == "anat" and name in ANAT_MAPS:
            self._map(values, key, ANAT_MAPS[name], desc=desc, metadata=about | more)
        else:
            self._map(values, key, model=self.model, param=name, desc=desc, metadata=about | more)

    def _components(self, probabilities, about):
        """Most probable component of the prior, and the probabilities of all."""
        name_labels(self.inputs.out_dir, self.label)
        labels = [f"component{number + 1}" for number in range(probabilities.shape[1])]
        self._map(probabilities.argmax(axis=1) + 1, "model-dseg", "dseg", seg=self.label, metadata=about)
        about = about | {"LabelMap": labels}
        self._map(probabilities, "model-probseg", "probseg", seg=self.label, metadata=about)

    def _history(self, history, about):
        """What was watched while the method learned, one row per step."""
        longest = range(1, max(map(len, history.values())) + 1)
        rows = zip_longest(*(values.tolist() for values in history.values()))
        columns = dict(zip(history, zip(*rows, strict=True), strict=True))
        path = self._path("history", ".tsv", model=self.model, desc=self.label)
        words = f"What was watched while {method_entry(self.method)['title'].lower()} learned; n/a after its last step."
        write_table(path, {"step": list(longest)} | columns, self._metadata(**about | {"Description": words}))
        self.written.append(str(path))


def method_label(method):
    """Name of a method in those of nodes and files."""
    return method.replace("-", "")


def maps_of_model(name):
    """Names of the maps that a model gives, the direction as one, S0 last."""
    names = [parameter.name for parameter in model_named(name).parameters]
    tissue = [name for name in names if name not in (*DIRECTION, S0)]
    return [*tissue, *["direction"] * (DIRECTION[0] in names), S0]
