"""Continuous InSpect as a node, and the node that writes what it found."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.spectra_files import write_component_spectra
from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    SimpleInterface,
    grid_of,
    kernel_of,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.interfaces.derivatives import SaveDerivatives, SaveInputSpec, noise_law
from mrspec_prep.options import InspectMapOptions
from mrspec_prep.spectra import find_peaks, fit_inspect_map


class _InspectMapInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings)")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    settings = traits.Dict(mandatory=True, desc="section [inspect_map] of the workflow file")
    seed = traits.Int(0, usedefault=True, desc="of the starts")


class _InspectMapOutputSpec(TraitedSpec):
    fit = File(exists=True, desc="weights, component spectra and what they leave open (npz)")


class FitInspectMap(SimpleInterface):
    """Component spectra and their weight in every voxel (continuous InSpect)."""

    input_spec = _InspectMapInputSpec
    output_spec = _InspectMapOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        _, kernel = kernel_of(series, self.inputs.kernel)
        settings = InspectMapOptions(**self.inputs.settings)
        signals = np.load(self.inputs.signals)
        check_components(len(signals), settings.n_components, series.images[0])
        with within_threads(self.inputs.num_threads):
            fit = fit_inspect_map(
                signals,
                kernel,
                np.load(self.inputs.noise),
                settings.n_components,
                alpha=settings.alpha,
                seed=self.inputs.seed,
                scale=settings.scale,
                n_starts=settings.n_starts,
                max_steps=settings.max_steps,
            )
        self._results["fit"] = save_arrays(
            Path(runtime.cwd) / "fit.npz",
            weights=fit.weights.astype(np.float32),
            spectra=fit.spectra,
            residual=fit.residual.astype(np.float32),
            alternatives=fit.uniqueness.spectra,
            weight_spread=fit.weight_spread,
            signal_spread=fit.uniqueness.signal_spread,
            equivalent=fit.uniqueness.equivalent,
            unique=fit.unique,
            statements=np.array(fit.statements),
            n_steps=fit.n_steps,
            converged=fit.converged,
        )
        return runtime


class _SaveInspectMapInputSpec(SaveInputSpec):
    fit = File(exists=True, mandatory=True, desc="weights, component spectra and what they leave open (npz)")


class SaveInspectMap(SaveDerivatives):
    """Weights of the components as maps, and their spectra with the range of solutions that fit as well."""

    input_spec = _SaveInspectMapInputSpec

    def _run_interface(self, runtime):
        self._begin()
        kernel = self.inputs.kernel["name"]
        settings = self.inputs.settings["inspect_map"]
        fit = dict(np.load(self.inputs.fit))
        about = {
            "Kernel": kernel,
            "Alpha": settings["alpha"],
            "Scale": settings["scale"],
            **noise_law(self.inputs.settings),
            "Converged": bool(fit["converged"]),
            "Steps": int(fit["n_steps"]),
            "Starts": len(fit["equivalent"]),
            "StartsThatFitAsWell": int(fit["equivalent"].sum()),
            "Unique": bool(fit["unique"]),
            "Statements": fit["statements"].tolist(),
        }
        for j, weights in enumerate(fit["weights"].T):
            component = f"component{j + 1}"
            more = about | {"Component": component, "WeightSpread": float(fit["weight_spread"][j])}
            self._map(weights, "component", model="inspectmap", param=component, metadata=more)
        self._map(fit["residual"], "mixture", model="inspectmap", param="residual", metadata=about)
        grid = grid_of(self.series, self.inputs.kernel)
        path = self._path("spectra", ".h5", model=kernel, desc="inspectmap")
        peaks = [find_peaks(spectrum, grid) for spectrum in fit["spectra"]]
        write_component_spectra(
            path,
            fit["spectra"],
            grid,
            alternatives=fit["alternatives"],
            weights=fit["weights"].mean(axis=0, dtype=float),
            weight_spread=fit["weight_spread"],
            signal_spread=fit["signal_spread"],
            peaks=peaks,
            ranges=[main_peak_range(fit["alternatives"][:, j], peaks[j], grid) for j in range(len(peaks))],
            metadata=self._metadata(**about),
        )
        self.written.append(str(path))
        return self._end(runtime)


def main_peak_range(alternatives, peaks, grid):
    """Smallest and largest position of a component's largest peak over solutions that fit as well.

    Parameters
    ----------
    alternatives : (n_solutions, n_bins) array
    peaks : list of Peak
        Of the solution shown.
    grid : Grid

    Returns
    -------
    dict of str to (low, high)
        By axis [um2/ms, ms]; empty for a component without peaks.

    """
    found = [find_peaks(spectrum, grid) for spectrum in np.unique(alternatives, axis=0)]
    positions = [some[0].position for some in (peaks, *found) if some]
    if not positions:
        return {}
    return {axis: (min(p[axis] for p in positions), max(p[axis] for p in positions)) for axis in grid.names}


def check_components(n_voxels, n_components, image):
    """Raise InputError where there are fewer voxels than components asked for; ``image`` is named."""
    if n_voxels < n_components:
        raise InputError(
            f"{n_components} components need as many voxels",
            file=image,
            value=f"{n_voxels} voxels in the region of interest",
            remedy="give a larger mask, or --set inspect_map.n_components=0",
        )
