"""Inversion efficiency of a series, as a node."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.voxels import usable_voxels
from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    ImagesInputSpec,
    SimpleInterface,
    read_series,
    traits,
    within_threads,
)
from mrspec_prep.spectra.noise.efficiency import estimate_inversion_efficiency
from mrspec_prep.spectra.noise.polarity import holds_signs


class _EfficiencyInputSpec(ComputeInputSpec, ImagesInputSpec):
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    notes = File(exists=True, mandatory=True, desc="notes of the mask (JSON)")
    polarity = traits.Enum("auto", "magnitude", "signed", usedefault=True, desc="of inversion recovery")


class _EfficiencyOutputSpec(TraitedSpec):
    series = File(exists=True, desc="the series with its inversion efficiency (JSON)")
    notes = File(exists=True, desc="notes of the mask, and what was estimated (JSON)")


class EstimateEfficiency(SimpleInterface):
    """Inversion efficiency from the mean signal of the strongest voxels; later nodes read it from the series."""

    input_spec = _EfficiencyInputSpec
    output_spec = _EfficiencyOutputSpec

    def _run_interface(self, runtime):
        series, polarity = read_series(self.inputs.series), self.inputs.polarity
        signals = load_signals(series, np.load(self.inputs.roi))
        signals = signals[usable_voxels(signals, series)[0]]
        magnitudes = polarity == "magnitude" or (polarity == "auto" and not holds_signs(signals))
        with within_threads(self.inputs.num_threads):
            found = estimate_inversion_efficiency(
                signals, self.inputs.kernel["name"], series.encodings, magnitudes=magnitudes
            )
        notes = json.loads(Path(self.inputs.notes).read_text())
        notes["inversion_efficiency"] = {
            "value": found.value,
            "interval": [found.low, found.high],
            "adopted": found.adopted,
        }
        notes["notes"].append(in_words(found))
        encodings = replace(series.encodings, inversion_efficiency=found.adopted)
        out = Path(runtime.cwd)
        (out / "series.json").write_text(json.dumps(replace(series, encodings=encodings).to_json()))
        (out / "notes.json").write_text(json.dumps(notes))
        self._results["series"], self._results["notes"] = str(out / "series.json"), str(out / "notes.json")
        return runtime


def in_words(found):
    """One sentence on an ``EfficiencyEstimate``."""
    text = (
        f"Inversion efficiency from the mean of {found.n_voxels} voxels: {found.value:.3f} "
        f"({found.level:.0%} interval {found.low:.3f} to {found.high:.3f})"
    )
    if found.high < 1:
        return f"{text}; the residual of that mean is {found.residual / found.residual_at_one:.2f} times that at 1."
    return f"{text}; a perfect inversion is not excluded, and 1 is used."
