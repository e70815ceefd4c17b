"""T2 and T2* maps of one scan as a node, by a network that this scan teaches or by a fit to hold it against."""

import json
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.volumes import load_series_image
from mrspec_prep.interfaces.base import (
    File,
    ImagesInputSpec,
    SimpleInterface,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.interfaces.maps import FitMapsOutputSpec, MethodInputSpec, as_json, history_arrays
from mrspec_prep.interfaces.noise import shared_noise
from mrspec_prep.interfaces.progress import SpokenProgress
from mrspec_prep.networks import fit_scan_cnn
from mrspec_prep.networks.scan_cnn.fit import SCAN_CNN
from mrspec_prep.options import ScanCNNOptions

LARGEST = np.finfo(np.float32).max  # standard deviations where a signal tells nothing may be larger
SAME_ECHO = 3  # decimals [ms] to which echo times are told apart


class _FitScanCNNInputSpec(MethodInputSpec, ImagesInputSpec):
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    kind = traits.Enum("t2", "t2star", mandatory=True, desc="what the decay is called")


class FitScanCNN(SimpleInterface):
    """T2 or T2* and S0 by one method, which sees whole images: neighbours beyond the region teach a network, too."""

    input_spec = _FitScanCNNInputSpec
    output_spec = FitMapsOutputSpec

    def _run_interface(self, runtime):
        series, options = read_series(self.inputs.series), ScanCNNOptions(**self.inputs.settings)
        roi = np.load(self.inputs.roi)
        noise, about = shared_noise(self.inputs.noise, self.inputs.noise_notes, self.inputs.noise_is_shared)
        images, echo_times, n_averages = averaged_echoes(series)
        progress = SpokenProgress(self.inputs.label)
        try:
            with within_threads(self.inputs.num_threads):
                found = fit_scan_cnn(
                    images,
                    echo_times,
                    self.inputs.seed,
                    self.inputs.device,
                    method=self.inputs.method,
                    kind=self.inputs.kind,
                    mask=roi,
                    noise_std=noise / np.sqrt(n_averages),
                    distribution=options.distribution,
                    settings=settings_of(options, self.inputs.method),
                    on_step=progress,
                )
        except ValueError as error:
            remedy = "another method in scan_cnn.methods, or other images"
            raise InputError(str(error), file=series.images[0], remedy=remedy) from error
        progress.done(f"{int(roi.sum())} voxels")
        out = Path(runtime.cwd)
        self._results["maps"] = save_arrays(out / "maps.npz", **arrays_of(found, options.std))
        about |= notes_of(found) | {"NEncodings": len(echo_times), "NVolumes": len(series.encodings)}
        (out / "maps.json").write_text(json.dumps(about, default=as_json))
        self._results["notes"] = str(out / "maps.json")
        return runtime


def settings_of(options, method):
    """Settings of a method for ``fit_scan_cnn``; None where it has none."""
    if method != SCAN_CNN:
        return None
    return "paper" if options.settings == "paper" else {"base": "ours", "start": options.start}


def averaged_echoes(series):
    """Whole images of each echo time, repeats averaged.

    Returns
    -------
    images : (x, y, z, n_echoes) float32 array
    echo_times : (n_echoes,) array
        Rising [ms].
    n_averages : int
        Images behind the mean of the echo that has fewest.

    """
    volumes = load_series_image(series)
    times, which = np.unique(np.round(series.encodings.echo_time, SAME_ECHO), return_inverse=True)
    images = np.stack([volumes[..., which == echo].mean(axis=-1) for echo in range(len(times))], axis=-1)
    return images, times, int(np.bincount(which).min())


def arrays_of(found, with_std=True):
    """What is saved of a scan's maps, by ``<kind>:<quantity>`` as ``interfaces.maps.arrays_of`` names them."""
    mask = found.mask
    values = {"value": {found.kind: found.t2, "s0": found.m0, "risk": found.risk, "residual": found.residual}}
    values["std"] = {found.kind: found.t2_std, "s0": found.m0_std} if with_std else {}
    arrays = {
        f"{kind}:{name}": np.minimum(volume[mask], LARGEST).astype(np.float32)
        for kind, named in values.items()
        for name, volume in named.items()
        if volume is not None
    }
    return arrays | history_arrays(found.history)


def notes_of(found):
    """What was done, for sidecars."""
    settings = dict(found.settings)
    return {
        "Model": found.kind,
        "Method": found.method,
        "Distribution": settings.pop("distribution", "gaussian"),
        "NoiseStd": found.noise_std,
        "NVoxels": int(found.mask.sum()),
        "Device": found.device,
        "MethodSettings": settings,
    }
