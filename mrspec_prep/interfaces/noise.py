"""Noise standard deviation as a node."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.volumes import check_noise_map, load_map, load_series_image
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
from mrspec_prep.networks.scan_cnn.noise import noise_between_neighbours
from mrspec_prep.options import MAGNITUDES
from mrspec_prep.spectra import NoiseModel, estimate_noise
from mrspec_prep.spectra.noise.estimate import ENOUGH_REPEATS
from mrspec_prep.spectra.noise.image_noise import noise_mppca
from mrspec_prep.spectra.noise.magnitude_noise import channel_variance
from mrspec_prep.spectra.noise.shared import share_noise

MOST_LOOKED_AT = 6  # unweighted volumes for the level between neighbours; its median rests on many blocks in each


class _NoiseInputSpec(ComputeInputSpec, ImagesInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings)")
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array")
    method = traits.Either(
        traits.Float, traits.Str, mandatory=True, desc="auto, b0-repeats, residual, mppca, neighbours, number, map"
    )
    noise_map = File(exists=True, desc="map of the noise standard deviation [signal units]")
    alpha = traits.Float(0.01, usedefault=True, desc="Tikhonov weight of the fit behind ``residual``")
    distribution = traits.Str("gaussian", usedefault=True, desc="of the noise; magnitudes: sigma of each real channel")
    n_coils = traits.Int(1, usedefault=True, desc="channels of nc-chi")


class _NoiseOutputSpec(TraitedSpec):
    noise = File(exists=True, desc="(n_voxels,) noise standard deviation [signal units]")
    notes = File(exists=True, desc="method, degrees of freedom, SNR (JSON)")


class EstimateNoise(SimpleInterface):
    """Noise standard deviation of every voxel, by the method asked for."""

    input_spec = _NoiseInputSpec
    output_spec = _NoiseOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        signals = np.load(self.inputs.signals)
        method = self.inputs.method
        n_repeats = repeats_of(series.encodings)
        if method == "auto":
            method = automatic_method(series.encodings)
        notes = {"method": str(method), "n_repeats": n_repeats}
        magnitudes = self.inputs.distribution in MAGNITUDES
        model = NoiseModel(self.inputs.distribution, self.inputs.n_coils) if magnitudes else NoiseModel()
        if self.inputs.noise_map:
            noise = load_map(Path(self.inputs.noise_map), series)[np.load(self.inputs.roi)]
            notes |= {"method": f"map {Path(self.inputs.noise_map).name}", "degrees_of_freedom": None}
            check_noise_map(self.inputs.noise_map, int((~(noise > 0) | ~np.isfinite(noise)).sum()))
        elif method == "mppca":
            roi = np.load(self.inputs.roi)
            noise = noise_mppca(load_series_image(series), roi)
            if model.is_magnitude:
                degrees = np.ones(signals.shape[1])
                squares = degrees.sum() * noise**2
                noise = np.sqrt(channel_variance(squares, signals.astype(float) ** 2, degrees, model.n_coils))
            notes["degrees_of_freedom"] = None
        elif method == "neighbours":
            noise = self._between_neighbours(series, len(signals))
            notes["degrees_of_freedom"] = None
        else:
            _, kernel = kernel_of(series, self.inputs.kernel)
            try:
                with within_threads(self.inputs.num_threads):
                    estimate = estimate_noise(
                        signals, series.encodings, method, kernel=kernel, alpha=self.inputs.alpha, model=model
                    )
            except ValueError as error:
                raise InputError(
                    str(error), file=series.images[0], remedy="--noise NUMBER, the standard deviation in image units"
                ) from error
            noise = estimate.noise_std
            if method == "b0-repeats":
                notes["between_neighbours"] = self._beside_repeats(series, signals)
            notes |= {"degrees_of_freedom": float(np.median(estimate.degrees_of_freedom)), "note": estimate.note}
        reference = signals[:, series.encodings.reference()].mean(axis=1)
        notes["snr"] = float(np.median(reference / noise))
        out = Path(runtime.cwd)
        np.save(out / "noise.npy", noise)
        (out / "noise.json").write_text(json.dumps(notes))
        self._results["noise"] = str(out / "noise.npy")
        self._results["notes"] = str(out / "noise.json")
        return runtime

    def _beside_repeats(self, series, signals):
        """Level between neighbours of unweighted volumes, which motion does not raise; None where it is not known."""
        roi = np.load(self.inputs.roi)
        chosen = np.flatnonzero(series.encodings.is_b0())[:MOST_LOOKED_AT]
        images = np.zeros((*roi.shape, len(chosen)), np.float32)
        images[roi] = signals[:, chosen]
        try:
            return float(noise_between_neighbours(images, roi))
        except ValueError:  # too small a region
            return None

    def _between_neighbours(self, series, n_voxels):
        """One level for all voxels, that of the quietest volume."""
        roi = np.load(self.inputs.roi)
        images = np.nan_to_num(load_series_image(series), posinf=0.0, neginf=0.0)
        try:
            return np.full(n_voxels, noise_between_neighbours(images, roi))
        except ValueError as error:
            raise InputError(
                str(error).partition(": give noise_std")[0],
                file=series.images[0],
                remedy="a larger mask, --noise residual, or --noise NUMBER",
            ) from error


def automatic_method(encodings):
    """Repeats where there are enough of them, else residuals."""
    return "b0-repeats" if repeats_of(encodings) >= ENOUGH_REPEATS - 1 else "residual"


def repeats_of(encodings):
    """Unweighted volumes beyond the first of their encoding: the degrees of freedom of their spread."""
    group_of, _ = encodings.groups()
    counts = np.bincount(group_of[encodings.is_b0()])
    return int((counts[counts > 0] - 1).sum())


def freedom_of(notes):
    """Degrees of freedom of sigma, from the notes of the noise; Student-t noise needs them.

    Raises
    ------
    InputError
        They are not known.

    """
    degrees = notes["degrees_of_freedom"]
    if degrees is None or not np.isfinite(degrees):
        raise InputError(
            "Student-t noise needs to know how uncertain the noise level is",
            value=f"noise.method = {notes['method']}, without degrees of freedom",
            remedy="--noise b0-repeats or --noise residual, or noise.distribution=gaussian",
        )
    return degrees


def shared_noise(noise_file, notes_file, is_shared=False):
    """Sigma of the voxels, drawn towards what all share where each rests on few repeats, and notes on that.

    Parameters
    ----------
    noise_file, notes_file : path
        Of ``EstimateNoise``.
    is_shared : bool
        Sigma was drawn towards all voxels' already.

    Returns
    -------
    noise : (n_voxels,) array
    about : dict
        For sidecars.

    """
    noise, notes = np.load(noise_file), json.loads(Path(notes_file).read_text())
    degrees = notes["degrees_of_freedom"]
    about = {"NoiseMethod": notes["method"]}
    if is_shared or degrees is None or not np.isfinite(degrees):
        return noise, about
    shared = share_noise(noise, degrees)
    common = shared.common_degrees if np.isfinite(shared.common_degrees) else "infinite"
    common = {"Sigma": shared.common_std, "DegreesOfFreedom": common}
    return shared.noise_std, about | {"NoiseOwnDegreesOfFreedom": degrees, "NoiseShared": common}


def sigma_for_clusters(noise_file, notes_file, distribution, mode):
    """Sigma of the voxels as the mixture of InSpect takes it for known, and notes on that.

    What a voxel's few residuals tell is drawn towards what those of all voxels tell: taken for known it makes clusters
    out of noise. It is no independent estimate either, as the fit has followed the noise in part, so that the
    likelihood of Student's t does not hold of it. Mode ``paper`` takes each voxel's own, as printed.

    Parameters
    ----------
    noise_file, notes_file : path
        Of ``EstimateNoise``.
    distribution : str
        Of the noise; sigma of magnitudes was drawn together already.
    mode : str
        ``inspect.mode``.

    Returns
    -------
    noise : (n_voxels,) array
    about : dict
        For sidecars; empty where sigma is each voxel's own.

    """
    method = json.loads(Path(notes_file).read_text())["method"]
    if method != "residual" or distribution != "gaussian" or mode != "exact":
        return np.load(noise_file), {}
    noise, about = shared_noise(noise_file, notes_file)
    return noise, {name: value for name, value in about.items() if name != "NoiseMethod"}
