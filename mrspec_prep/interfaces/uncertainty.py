"""Uncertainty of voxelwise spectra as nodes: bootstrap and bounds, and the maps saved of them."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.output.catalogue import map_entry, uncertainty_entry
from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    SimpleInterface,
    kernel_of,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.interfaces.derivatives import ANAT_MAPS, SaveDerivatives, SaveInputSpec
from mrspec_prep.interfaces.nnls import from_arrays
from mrspec_prep.options import UncertaintyOptions
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.spectra import default_regions, integrate_regions, mean_parameters, reduce_kernel
from mrspec_prep.spectra.regions.integration import integrate_visible
from mrspec_prep.spectra.uncertainty.bootstrap import bootstrap
from mrspec_prep.spectra.uncertainty.bounds import bound_fractions
from mrspec_prep.spectra.uncertainty.main_peaks import main_peaks

FRACTIONS = {"fraction": "fraction inside the region {}", "visible": "visible fraction inside the region {}"}
MANY_VOLUMES = 30  # from here on a voxel's own residuals are a fair sample of its noise


class _UncertaintyInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings) that scatter by sigma about the fit")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    noise_notes = File(exists=True, mandatory=True, desc="method, degrees of freedom (JSON)")
    roi = File(exists=True, mandatory=True, desc="boolean (x, y, z) array: names the voxels for their random numbers")
    spectra = File(exists=True, mandatory=True, desc="the fit (npz)")
    regions = traits.Dict(mandatory=True, desc="regions of spectral integration; empty: defaults")
    settings = traits.Dict(mandatory=True, desc="section [uncertainty] of the workflow file")
    seed = traits.Int(mandatory=True, desc="random seed")


class _UncertaintyOutputSpec(TraitedSpec):
    maps = File(exists=True, desc="(n_voxels,) arrays named <kind>:<quantity> (npz)")
    notes = File(exists=True, desc="what was done, for sidecars (JSON)")


class EstimateUncertainty(SimpleInterface):
    """Bootstrap of fractions, parameters and main peak; bounds of the fractions."""

    input_spec = _UncertaintyInputSpec
    output_spec = _UncertaintyOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        settings = UncertaintyOptions(**self.inputs.settings)
        grid, kernel = kernel_of(series, self.inputs.kernel)
        name = self.inputs.kernel["name"]
        problem = {
            "series": series,
            "grid": grid,
            "kernel": reduce_kernel(kernel),
            "name": name,
            "regions": self.inputs.regions or default_regions(name, series.encodings, grid),
            "signals": np.load(self.inputs.signals),
            "noise": np.load(self.inputs.noise),
        }
        maps, notes = {}, {"Level": settings.level}
        with within_threads(self.inputs.num_threads):
            if settings.bootstrap:
                self._bootstrap(problem, settings, maps, notes)
            if settings.bounds and problem["regions"]:
                self._bounds(problem, settings, maps, notes)
        out = Path(runtime.cwd)
        self._results["maps"] = save_arrays(out / "uncertainty.npz", **maps)
        (out / "uncertainty.json").write_text(json.dumps(notes))
        self._results["notes"] = str(out / "uncertainty.json")
        return runtime

    def _bootstrap(self, problem, settings, maps, notes):
        grid, regions = problem["grid"], problem["regions"]
        series = problem["series"]

        def read(fit):
            found = {f"region-{key}": value for key, value in integrate_regions(fit, grid, regions).items()}
            found |= mean_parameters(fit, grid, problem["name"], series.encodings)
            return found | {f"peak{axis}": value for axis, value in main_peaks(fit, grid).items()}

        result = from_arrays(dict(np.load(self.inputs.spectra)))
        kind = settings.resampling
        if kind == "auto":
            kind = "residual" if len(series.encodings) >= MANY_VOLUMES else "parametric"
        found = bootstrap(
            problem["signals"],
            problem["kernel"],
            result,
            read,
            n_resamples=settings.bootstrap,
            kind=kind,
            noise_std=problem["noise"],
            limits={f"region-{key}": (0.0, 1.0) for key in regions},
            level=settings.level,
            seed=self.inputs.seed,
            voxel_ids=np.flatnonzero(np.load(self.inputs.roi)),
        )
        maps |= {f"value:{key}": value for key, value in read(result).items() if key.startswith("peak")}
        for part in ("std", "low", "high"):
            maps |= {f"{part}:{key}": value for key, value in getattr(found, part).items()}
        failed = int(found.n_failed.sum())
        notes |= {"Resamples": settings.bootstrap, "Resampling": kind, "ResamplesNotConverged": failed}

    def _bounds(self, problem, settings, maps, notes):
        found = self._bounds_of("region", problem, problem["kernel"], settings, maps)
        notes |= {
            "Simultaneous": settings.simultaneous,
            "ComparedNumbers": found.n_numbers,
            "VoxelsComparedInFull": int((found.compared_in_full & found.possible).sum()),
            "VoxelsWithoutBounds": int((~found.possible).sum()),
        }
        name, grid, encodings = problem["name"], problem["grid"], problem["series"].encodings
        result = from_arrays(dict(np.load(self.inputs.spectra)))
        estimates = integrate_visible(result, grid, problem["regions"], name, encodings)
        maps |= {f"value:visible-{key}": value for key, value in estimates.items()}
        kernel = kernel_matrix(name, encodings.from_first_echo(), grid)
        self._bounds_of("visible", problem, kernel, settings, maps)

    def _bounds_of(self, kind, problem, kernel, settings, maps):
        """Bounds of one kind of fraction, as maps."""
        degrees = json.loads(Path(self.inputs.noise_notes).read_text()).get("degrees_of_freedom")
        found = bound_fractions(
            problem["signals"],
            kernel,
            problem["noise"],
            problem["grid"],
            problem["regions"],
            level=settings.level,
            degrees_of_freedom=np.inf if degrees is None else float(degrees),
            joint=settings.simultaneous,
        )
        maps |= {f"min:{kind}-{key}": value for key, value in found.low.items()}
        maps |= {f"max:{kind}-{key}": value for key, value in found.high.items()}
        return found


class _SaveUncertaintyInputSpec(SaveInputSpec):
    maps = File(exists=True, mandatory=True, desc="(n_voxels,) arrays named <kind>:<quantity> (npz)")
    notes = File(exists=True, mandatory=True, desc="what was done (JSON)")


class SaveUncertainty(SaveDerivatives):
    """Maps of standard deviations, intervals and bounds, each beside the map it belongs to."""

    input_spec = _SaveUncertaintyInputSpec

    def _run_interface(self, runtime):
        self._begin()
        kernel = self.inputs.kernel["name"]
        notes = json.loads(Path(self.inputs.notes).read_text())
        for name, values in np.load(self.inputs.maps).items():
            kind, quantity = name.split(":")
            key, _, region = quantity.partition("-")
            key = "fraction" if key == "region" else key
            param = f"visible{region}" if key == "visible" else region or quantity
            about = notes | {"Kernel": kernel} | ({"Region": region} if region else {})
            desc = "nnls"
            if kind != "value":
                entry = uncertainty_entry(kind)
                what = FRACTIONS[key].format(region) if region else map_entry(key)["title"]
                about |= {
                    "Description": entry["description"].format(what=what, level=notes["Level"]),
                    "EstimationAlgorithm": entry["algorithm"],
                }
                desc = f"nnls{kind}"
            if self.series.datatype == "anat" and quantity in ANAT_MAPS:
                self._map(values, key, ANAT_MAPS[quantity], desc=desc, metadata=about)
            else:
                self._map(values, key, model=kernel, param=param, desc=desc, metadata=about)
        return self._end(runtime)
