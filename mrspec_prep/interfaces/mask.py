"""Region of interest as a node."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import InputMultiObject, TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import check_values, load_mask, load_reference
from mrspec_prep.bids.input.voxels import first_reference
from mrspec_prep.interfaces.base import File, ImagesInputSpec, SimpleInterface, read_series
from mrspec_prep.spectra.noise.masking import automatic_mask


def find_roi(masks, series):
    """Voxels to fit.

    Parameters
    ----------
    masks : sequence of Path
        Several are intersected; none: an automatic mask.
    series : Series

    Returns
    -------
    (nx, ny, nz) bool array

    Raises
    ------
    InputError
        As ``load_mask`` and ``draw_mask``, or an image that cannot be read.

    """
    if masks:
        return load_mask(masks, series)
    image, _ = first_reference(series)
    return draw_mask(load_reference(series)[0], series.images[image])


def draw_mask(reference, image):
    """Automatic mask of a reference image, (nx, ny, nz); InputError, which names ``image``, where it shows nothing."""
    roi = automatic_mask(reference)
    if not roi.any():
        raise InputError(
            "no mask can be drawn on the reference image, which shows nothing that stands out",
            file=image,
            value=f"values from {reference.min():g} to {reference.max():g}, NaN and infinite ones taken as 0",
            remedy="repair the image, or give a mask with --mask or --derivatives",
        )
    return roi


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
        masks = [Path(mask) for mask in self.inputs.masks or []]
        source = "automatic mask: Otsu threshold of the median-filtered reference image"
        if masks:
            source = "mask: " + ", ".join(mask.name for mask in masks)
        roi = find_roi(masks, series)
        notes = check_values(series, roi)
        out = Path(runtime.cwd)
        np.save(out / "roi.npy", roi)
        (out / "notes.json").write_text(json.dumps({"source": source, "notes": list(notes)}))
        self._results["roi"] = str(out / "roi.npy")
        self._results["notes"] = str(out / "notes.json")
        return runtime
