"""Images to voxels x encodings, as a node."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.voxels import usable_voxels
from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    ImagesInputSpec,
    SimpleInterface,
    kernel_of,
    read_series,
    traits,
    within_threads,
)
from mrspec_prep.spectra import restore_polarity
from mrspec_prep.spectra.design.echo_decay import first_echo_deficit
from mrspec_prep.spectra.noise.polarity import holds_signs

SPIN_ECHOES = "MESE"
CLEAR_DEFICIT = 0.01  # of the first echo; noise of a mean over voxels is far below
STIMULATED = (
    "The first echo is {deficit:.0%} below the second: stimulated echoes, which the kernel does not describe. Short "
    "components of T2, the myelin water fraction among them, are not to be trusted."
)


class _SignalsInputSpec(ComputeInputSpec, ImagesInputSpec):
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    notes = File(exists=True, mandatory=True, desc="notes of the mask (JSON)")
    polarity = traits.Enum("auto", "magnitude", "signed", usedefault=True, desc="of inversion recovery")
    magnitudes = traits.Bool(False, usedefault=True, desc="noise is modelled as that of magnitudes")


class _SignalsOutputSpec(TraitedSpec):
    signals = File(exists=True, desc="(n_voxels, n_encodings) float32, voxels in C order of the ROI")
    measured = File(exists=True, desc="the same as measured, before magnitudes got a sign")
    roi = File(exists=True, desc="boolean (x, y, z) array of the voxels that can be fitted")
    notes = File(exists=True, desc="what was found (JSON)")


class ExtractSignals(SimpleInterface):
    """Signals of the ROI; voxels without signal leave it, magnitudes after inversion get their sign back."""

    input_spec = _SignalsInputSpec
    output_spec = _SignalsOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        roi = np.load(self.inputs.roi)
        notes = json.loads(Path(self.inputs.notes).read_text())
        signals = load_signals(series, roi)
        usable, found = usable_voxels(signals, series)
        notes["notes"] += [note for note in found if note not in notes["notes"]]
        roi[roi] = usable
        measured = signals = signals[usable]
        if self.inputs.kernel["name"] == "t2" and series.suffix == SPIN_ECHOES:
            deficit = first_echo_deficit(measured, series.encodings.echo_time)
            notes["notes"] += [STIMULATED.format(deficit=deficit)] * (deficit > CLEAR_DEFICIT)
        if "t1" in self.inputs.kernel["name"].split("-"):
            signals = self._signed(series, signals, notes)
        elif holds_signs(signals):
            notes["polarity"] = "signed"
        out = Path(runtime.cwd)
        np.save(out / "signals.npy", signals)
        self._results["measured"] = str(out / "signals.npy")
        if signals is not measured:
            np.save(out / "measured.npy", np.abs(measured))
            self._results["measured"] = str(out / "measured.npy")
        np.save(out / "roi.npy", roi)
        (out / "notes.json").write_text(json.dumps(notes))
        for name in ("signals.npy", "roi.npy", "notes.json"):
            self._results[name.partition(".")[0]] = str(out / name)
        return runtime

    def _signed(self, series, signals, notes):
        polarity = self.inputs.polarity
        if polarity == "auto":
            polarity = "signed" if holds_signs(signals) else "magnitude"
        notes["polarity"] = polarity
        if polarity == "signed":
            if self.inputs.magnitudes:
                raise InputError(
                    "the images hold signs, and Rician and nc-chi noise describe magnitudes",
                    file=str(series.images[0]),
                    value="negative values",
                    remedy="--set noise.distribution=gaussian, or kernel.polarity=magnitude to ignore the signs",
                )
            return signals
        _, kernel = kernel_of(series, self.inputs.kernel)
        with within_threads(self.inputs.num_threads):
            signed, _ = restore_polarity(signals, kernel, series.encodings)
        if self.inputs.magnitudes:
            note = "Magnitude inversion recovery: the sign is latent, found together with the spectrum."
        else:
            note = "Magnitude inversion recovery: the sign before the null was restored voxel by voxel."
        notes["notes"].append(note)
        return signed.astype(np.float32)
