"""Fingerprinting as nodes: region, schedule, one fit per method, and what is saved of them."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.fingerprints import FingerprintSeries, load_frames, usable_fingerprints
from mrspec_prep.bids.input.images import common_mask
from mrspec_prep.bids.input.samplings import load_sampling
from mrspec_prep.bids.nifti import COMPLEX, read_grid
from mrspec_prep.bids.output.catalogue import model_entry, references_of
from mrspec_prep.bids.output.derivatives import bids_uri, write_table
from mrspec_prep.interfaces.base import File, ImagesInputSpec, SimpleInterface, save_arrays, traits, within_threads
from mrspec_prep.interfaces.derivatives import SaveDerivatives, SaveInputSpec
from mrspec_prep.interfaces.maps import FitMapsOutputSpec, SaveMaps, as_json, history_arrays
from mrspec_prep.interfaces.mask import ROIInputSpec, draw_mask
from mrspec_prep.interfaces.progress import SpokenProgress
from mrspec_prep.networks import Sampling, fit_fingerprint
from mrspec_prep.options import MRFOptions
from mrspec_prep.physics import Grid

MODEL = "mrf"  # of the files and sidecars


def read_fingerprints(path):
    """Fingerprinting series of a node's JSON file."""
    return FingerprintSeries.from_json(json.loads(Path(path).read_text()))


class _ROIOutputSpec(TraitedSpec):
    roi = File(exists=True, desc="boolean (x, y, z) array of the voxels that can be fitted")
    reference = File(exists=True, desc="(x, y, z) root mean square over the frames")
    notes = File(exists=True, desc="what was found (JSON)")


class FingerprintROI(SimpleInterface):
    """Mask of the voxels to fit, and the mean image that it is drawn on."""

    input_spec = ROIInputSpec
    output_spec = _ROIOutputSpec

    def _run_interface(self, runtime):
        series = read_fingerprints(self.inputs.series)
        frames = load_frames(series)
        reference = np.sqrt(np.mean(np.nan_to_num(np.abs(frames), posinf=0.0) ** 2, axis=-1, dtype=float))
        if self.inputs.masks:
            masks = [Path(mask) for mask in self.inputs.masks]
            roi = common_mask(masks, series.images[0], read_grid(series.images[0], COMPLEX))
            source = "mask: " + ", ".join(mask.name for mask in masks)
        else:
            roi = draw_mask(reference, series.images[0])
            source = "automatic mask: Otsu threshold of the median-filtered mean magnitude"
        roi, notes = usable_fingerprints(frames, roi, series.images)
        out = Path(runtime.cwd)
        np.save(out / "roi.npy", roi)
        np.save(out / "reference.npy", reference.astype(np.float32))
        (out / "notes.json").write_text(json.dumps({"source": source, "notes": notes}))
        self._results |= {name: str(out / f"{name}.npy") for name in ("roi", "reference")}
        self._results["notes"] = str(out / "notes.json")
        return runtime


class _FitInputSpec(ImagesInputSpec):
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    settings = traits.Dict(mandatory=True, desc="section [mrf] of the workflow file")
    method = traits.Str(mandatory=True, desc="one of its methods")
    noise_std = traits.Float(desc="sigma of the real part of one coefficient; default: from the series")
    seed = traits.Int(mandatory=True, desc="random seed")
    device = traits.Str("auto", usedefault=True, desc="of networks: auto, cpu or cuda")
    label = traits.Str("mrf", usedefault=True, nohash=True, desc="what messages about the progress begin with")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads over voxels")


class FitFingerprint(SimpleInterface):
    """T1, T2 and M0 of every voxel by one method."""

    input_spec = _FitInputSpec
    output_spec = FitMapsOutputSpec

    def _run_interface(self, runtime):
        series, options = read_fingerprints(self.inputs.series), MRFOptions(**_tuples(self.inputs.settings))
        progress, network = SpokenProgress(self.inputs.label), self.inputs.method != "dictionary"
        try:
            with within_threads(self.inputs.num_threads):
                found = fit_fingerprint(
                    load_frames(series),
                    series.schedule,
                    self.inputs.method,
                    int(options.rank) if options.rank >= 1 else float(options.rank),
                    mask=np.load(self.inputs.roi),
                    seed=self.inputs.seed,
                    device=self.inputs.device,
                    settings=({"base": options.settings} if network else {}) | {"window": options.window},
                    noise_std=self.inputs.noise_std or None,
                    grid=dictionary_grid(options),
                    **sampling_of(series),
                    on_step=progress,
                )
        except ValueError as error:
            remedy = "correct the schedule, or another mrf.methods, mrf.rank or mask"
            raise InputError(str(error), file=series.images[0], remedy=remedy) from error
        progress.done(f"{int(found.mask.sum())} voxels")
        out = Path(runtime.cwd)
        self._results["maps"] = save_arrays(out / "maps.npz", **arrays_of(found))
        (out / "maps.json").write_text(json.dumps(notes_of(found, series), default=as_json))
        self._results["notes"] = str(out / "maps.json")
        return runtime


def dictionary_grid(options):
    """Grid of the dictionary, as of section ``[mrf]``."""
    return Grid(**{axis: np.geomspace(*getattr(options, axis), options.points) for axis in ("t1", "t2")})


def sampling_of(series):
    """How a series was sampled, as ``fit_fingerprint`` takes it; nothing where no file tells."""
    return {"sampling": Sampling(**load_sampling(series.sampling))} if series.sampling else {}


def _tuples(settings):
    """Settings whose lists are tuples again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def arrays_of(found):
    """What is saved of fingerprinting maps, by ``<kind>:<quantity>`` as ``interfaces.maps.arrays_of`` names them."""
    values = {"t1": found.t1, "t2": found.t2, "m0": np.abs(found.m0), "phase": np.angle(found.m0)}
    values |= {"match": found.match, "risk": found.risk}
    if found.settings.get("magnitude"):
        del values["phase"]
    arrays = {f"value:{name}": v[found.mask].astype(np.float32) for name, v in values.items() if v is not None}
    return arrays | history_arrays(found.history)


def notes_of(found, series):
    """What was done, for sidecars."""
    settings = dict(found.settings)
    return {
        "Model": MODEL,
        "Method": settings.pop("method"),
        "NFrames": len(series.schedule),
        "NVolumes": len(series.schedule),
        "NAtoms": settings.pop("n_atoms"),
        "Rank": found.rank,
        "SubspacePower": round(found.power, 6),
        "NoiseStd": float(found.noise_std) if np.isfinite(found.noise_std) else "n/a",
        "Magnitude": settings.pop("magnitude"),
        "NVoxels": int(found.mask.sum()),
        "Device": found.device,
        "MethodSettings": settings,
    }


class SaveFingerprint(SaveMaps):
    """T1, T2 and M0 of one method with match, risk and what was watched while it learned."""

    _read = staticmethod(read_fingerprints)

    def _sources(self):
        model = model_entry(MODEL)
        method = model["methods"][self.label]
        references = dict.fromkeys([*method["references"], *model["references"]])
        return {"EstimationAlgorithm": method["algorithm"], "EstimationReference": references_of(references)}


class _ScheduleInputSpec(SaveInputSpec, ImagesInputSpec):
    reference = File(exists=True, mandatory=True, desc="(x, y, z) mean image")
    roi_notes = File(exists=True, mandatory=True, desc="notes of the mask (JSON)")
    masks = traits.List(traits.Str(), value=[], usedefault=True, desc="masks given, whose intersection was fitted")


class SaveSchedule(SaveDerivatives):
    """ROI, mean image, and the schedule as it was read."""

    input_spec = _ScheduleInputSpec
    _read = staticmethod(read_fingerprints)

    def _run_interface(self, runtime):
        self._begin()
        notes, series = json.loads(Path(self.inputs.roi_notes).read_text()), self.series
        sources = [bids_uri(path, self.roots) for path in [*series.images, *self.inputs.masks]]
        about = {"MaskSource": notes["source"], "Sources": sources}
        self._map(self.roi[self.roi], "roi", "mask", desc="roi", metadata=about)
        self._reference(np.load(self.inputs.reference), "frames")
        path = self._path("axes", ".tsv", desc="encodings")
        metadata = self._metadata(
            Description="The schedule: one row per frame.",
            Sources=[bids_uri(path, self.roots) for path in series.sources],
            Joined=series.joined,
            Notes=[*series.notes, *notes["notes"]],
            Workflow=self.inputs.workflow_name,
            WhyWorkflow=self.inputs.why,
            Settings=self.inputs.settings,
            MaskSource=notes["source"],
            InversionEfficiency=series.schedule.inversion_efficiency,
            Suffix=series.suffix,
        )
        write_table(path, schedule_columns(series.schedule), metadata)
        self.written.append(str(path))
        return self._end(runtime)


def schedule_columns(schedule):
    """Columns of a schedule in BIDS units."""
    return {
        "index": list(range(len(schedule))),
        "flip_angle": schedule.flip_angle.tolist(),
        "TR": (schedule.repetition_time / 1e3).tolist(),
        "TE": (schedule.echo_time / 1e3).tolist(),
        "TI": (schedule.inversion_time / 1e3).tolist(),
    }
