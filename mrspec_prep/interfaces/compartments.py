"""Number of compartments of every voxel as nodes: classification, what is saved of it, what it decides of spectra."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.derivative_dataset import NCOMP, name_labels
from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    SeriesInputSpec,
    SimpleInterface,
    kernel_of,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.interfaces.derivatives import SaveDerivatives, SaveInputSpec
from mrspec_prep.interfaces.noise import shared_noise
from mrspec_prep.interfaces.progress import SpokenProgress
from mrspec_prep.networks import CompartmentClassifier, NotCoveredError
from mrspec_prep.networks.compartments.coverage import LEVEL
from mrspec_prep.networks.compartments.expected import FALSE_ALARMS
from mrspec_prep.networks.compartments.own_training import N_STEPS
from mrspec_prep.networks.compartments.scan import SCAN_REASONS, classify_scan
from mrspec_prep.options import ClassifierOptions
from mrspec_prep.spectra.regions.steered_alpha import steer_alpha

DIGITS = 4  # of shares and probabilities in sidecars
LABELS = ("one", "two", "three", "four")
TRAIN = "--set classifier.train=true (a few minutes, once per protocol), or select other volumes"


class _FitClassifierInputSpec(SeriesInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings), signed after inversion")
    measured = File(exists=True, mandatory=True, desc="the same as measured")
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,) sigma of one volume")
    noise_notes = File(exists=True, mandatory=True, desc="method, degrees of freedom (JSON)")
    noise_is_shared = traits.Bool(False, usedefault=True, desc="sigma was drawn towards all voxels' already")
    settings = traits.Dict(mandatory=True, desc="section [classifier] of the workflow file")
    distribution = traits.Enum("auto", "gaussian", "rician", mandatory=True, desc="noise of the signals")
    seed = traits.Int(mandatory=True, desc="random seed")
    label = traits.Str("classifier", usedefault=True, nohash=True, desc="what messages about the progress begin with")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads over voxels")


class _FitClassifierOutputSpec(TraitedSpec):
    found = File(exists=True, desc="probabilities, n_compartments (npz)")
    notes = File(exists=True, desc="what was done and what to expect of it, for sidecars (JSON)")


class FitClassifier(SimpleInterface):
    """Voxels classified by their number of compartments, and the same of simulated signals."""

    input_spec = _FitClassifierInputSpec
    output_spec = _FitClassifierOutputSpec

    def _run_interface(self, runtime):
        series, options = read_series(self.inputs.series), ClassifierOptions(**self.inputs.settings)
        signals, measured = np.load(self.inputs.signals), np.load(self.inputs.measured)
        noise, about = shared_noise(self.inputs.noise, self.inputs.noise_notes, self.inputs.noise_is_shared)
        given, magnitudes = options.noise_level == "given", self.inputs.distribution == "rician"
        if self.inputs.distribution == "auto":
            magnitudes = given and not (measured < 0).any()
        with within_threads(self.inputs.num_threads):
            classifier = self._classifier(series, options)
            try:
                found = classify_scan(
                    classifier,
                    signals,
                    np.load(self.inputs.roi),
                    noise if given else None,
                    magnitudes=magnitudes,
                    pooling=options.pooling,
                    abstain_below=options.abstain_below,
                    seed=self.inputs.seed,
                )
            except ValueError as error:
                remedy = "another classifier.noise_level or classifier.distribution, or other signals"
                raise InputError(str(error), file=series.images[0], remedy=remedy) from error
        out = Path(runtime.cwd)
        arrays = {"probabilities": found.probabilities, "n_compartments": found.n_compartments.astype(np.uint8)}
        self._results["found"] = save_arrays(out / "found.npz", **arrays)
        how = {"NoiseLevelFrom": options.noise_level, "Distribution": "rician" if magnitudes else "gaussian"}
        notes = notes_of(found, options) | coverage_of(classifier) | about | how
        (out / "notes.json").write_text(json.dumps(notes))
        self._results["notes"] = str(out / "notes.json")
        return runtime

    def _classifier(self, series, options):
        """Classifier of the protocol; trained where that is asked for and needed."""
        progress = SpokenProgress(self.inputs.label)

        def said(step, _loss):
            progress(step, N_STEPS)

        try:
            return CompartmentClassifier.for_protocol(
                series.encodings,
                time_scale=options.time_scale,
                train=options.train,
                seed=self.inputs.seed,
                on_step=said,
            )
        except NotCoveredError as error:
            raise InputError(str(error), file=series.images[0], remedy=TRAIN) from error
        except OSError as error:
            remedy = "set XDG_CACHE_HOME to a folder that can be written"
            raise InputError(f"trained weights cannot be kept: {error}", remedy=remedy) from error


def coverage_of(classifier):
    """Where the weights come from and how the protocol lies within what they were trained for, for sidecars."""
    manifest, mapping = classifier.manifest, classifier.mapping
    covered = manifest.get("range", {})
    about = {
        "Weights": Path(classifier.source).name if "range" not in manifest else classifier.source,
        "WeightsSHA256": manifest["sha256"],
        "WeightsMadeBy": manifest.get("command", manifest.get("made_by")),
        "ProtocolNats": round(mapping.information(LEVEL), 2),
        "ProtocolNatsAtNoiseLevel": LEVEL,
        "NEncodings": mapping.n_encodings,
    }
    trained = {"TrainedNats": covered.get("information"), "TrainedNEncodings": covered.get("n_encodings")}
    return about | {name: value for name, value in trained.items() if value is not None}


def notes_of(found, options):
    """Settings, shares and expectations of a classified scan, for sidecars.

    Parameters
    ----------
    found : ScanClassification
    options : ClassifierOptions

    Returns
    -------
    dict

    """
    n = len(found.n_compartments)
    shares = np.bincount(found.n_compartments, minlength=len(LABELS) + 1) / n
    levels = found.noise_level[np.isfinite(found.noise_level)]
    notes = {
        "AbstainBelow": options.abstain_below,
        "Pooling": options.pooling,
        "TimeScale": options.time_scale,
        "NVoxels": n,
        "Shares": dict(zip(("undecided", *LABELS), _rounded(shares), strict=True)),
        "MeanProbabilities": _rounded(found.probabilities.mean(axis=0)),
        "Undecided": {name: int(np.sum(found.reason == code)) for code, name in enumerate(SCAN_REASONS) if code},
        "NoiseLevels": _rounded(np.quantile(levels, [0.05, 0.5, 0.95])),
    }
    if found.n_pooled is not None:
        notes["PooledVoxels"] = round(float(np.nanmedian(found.n_pooled)), 1)
    expected = found.expected
    notes["Expected"] = {
        "Signals": expected.n_signals,
        "NoiseLevels": _rounded(expected.levels),
        "Accuracy": _plain(expected.accuracy),
        "AccuracyDecided": _plain(expected.accuracy_decided),
        "Decided": _plain(expected.decided),
        "OneOrSeveral": _plain(expected.one_or_several),
        "AUC": _rounded(expected.auc),
        "ECE": _plain(expected.ece),
        "Confusion": expected.confusion.tolist(),
        "Decisions": expected.decisions.tolist(),
        "FalsePositiveRates": _rounded(FALSE_ALARMS),
        "TruePositiveRates": [_rounded(row) for row in expected.detections],
        "Reliability": [_rounded(row) for row in expected.reliability],
    }
    return notes


def _plain(value):
    """Number as JSON has it; n/a where there is none."""
    return round(float(value), DIGITS) if np.isfinite(value) else "n/a"


def _rounded(values):
    return [_plain(value) for value in values]


class _SteerAlphaInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings) that spectra are fitted to")
    found = File(exists=True, mandatory=True, desc="arrays of ``FitClassifier`` (npz)")


class _SteerAlphaOutputSpec(TraitedSpec):
    alpha = traits.Float(desc="Tikhonov weight")
    notes = File(exists=True, desc="how it was found, for sidecars (JSON)")


class SteerAlpha(SimpleInterface):
    """One weight for voxelwise spectra, at which they have as many peaks as compartments were found."""

    input_spec = _SteerAlphaInputSpec
    output_spec = _SteerAlphaOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        grid, kernel = kernel_of(series, self.inputs.kernel)
        number = np.load(self.inputs.found)["n_compartments"]
        try:
            with within_threads(self.inputs.num_threads):
                found = steer_alpha(np.load(self.inputs.signals), kernel, grid, number)
        except ValueError as error:
            remedy = "--set classifier.steer=none, or nnls.alpha_rule=brd"
            raise InputError(str(error), file=series.images[0], remedy=remedy) from error
        self._results["alpha"] = found.alpha
        path = Path(runtime.cwd) / "steering.json"
        about = {"Peaks": _plain(found.n_peaks), "Compartments": _plain(found.n_compartments)}
        path.write_text(json.dumps(about | {"Voxels": found.n_voxels, "Met": found.met}))
        self._results["notes"] = str(path)
        return runtime


class _SaveClassifierInputSpec(SaveInputSpec):
    found = File(exists=True, mandatory=True, desc="arrays of ``FitClassifier`` (npz)")
    notes = File(exists=True, mandatory=True, desc="what was done (JSON)")


class SaveClassifier(SaveDerivatives):
    """Number of compartments and the probabilities of 1 to 4 of them, with what to expect in the sidecar."""

    input_spec = _SaveClassifierInputSpec

    def _run_interface(self, runtime):
        self._begin()
        name_labels(self.inputs.out_dir, NCOMP)
        found, notes = np.load(self.inputs.found), json.loads(Path(self.inputs.notes).read_text())
        self._map(found["n_compartments"], "ncomp-dseg", "dseg", seg=NCOMP, metadata=notes)
        about = {name: value for name, value in notes.items() if name != "Expected"} | {"LabelMap": list(LABELS)}
        self._map(found["probabilities"], "ncomp-probseg", "probseg", seg=NCOMP, metadata=about)
        return self._end(runtime)
