"""Region of interest as a node."""

import json
import logging
from pathlib import Path

import numpy as np
from nipype.interfaces.base import InputMultiObject, TraitedSpec

from mrspec_prep.bids.input.images import check_values, load_mask, load_reference
from mrspec_prep.interfaces.base import File, ImagesInputSpec, SimpleInterface, read_series
from mrspec_prep.spectra.noise.masking import automatic_mask

LOGGER = logging.getLogger("mrspec_prep")


class ROIInputSpec(ImagesInputSpec):
    """Input of a node that finds the voxels to fit."""

    masks = InputMultiObject(File(exists=True), desc="mask images; several are intersected; none: automatic")


class _ROIOutputSpec(TraitedSpec):
    roi = File(exists=True, desc="boolean (x, y, z) array")
    notes = File(exists=True, desc="what was found (JSON)")


class ComputeROI(SimpleInterface):
    """Mask of the voxels to fit, with every value inside it checked.

    Raises ``InputError`` for NaN, infinite or missing values inside the mask.
    """

    input_spec = ROIInputSpec
    output_spec = _ROIOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        reference, _, _ = load_reference(series)
        if self.inputs.masks:
            roi = load_mask([Path(mask) for mask in self.inputs.masks], series)
            source = "mask: " + ", ".join(Path(mask).name for mask in self.inputs.masks)
        else:
            roi = automatic_mask(reference)
            source = "automatic mask: Otsu threshold of the median-filtered reference image"
        notes = check_values(series, roi)
        if not self.inputs.masks:  # with masks, it was said before computing
            for note in notes:
                LOGGER.warning("sub-%s: %s", series.subject, note)
        out = Path(runtime.cwd)
        np.save(out / "roi.npy", roi)
        (out / "notes.json").write_text(json.dumps({"source": source, "notes": list(notes)}))
        self._results["roi"] = str(out / "roi.npy")
        self._results["notes"] = str(out / "notes.json")
        return runtime
