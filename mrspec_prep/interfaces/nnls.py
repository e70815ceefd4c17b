"""Voxelwise spectra as a node."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec
from scipy.sparse import csr_array

from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    SimpleInterface,
    kernel_of,
    neighbours_in,
    read_series,
    save_arrays,
    traits,
    within_threads,
)
from mrspec_prep.options import ALPHA_RULES
from mrspec_prep.spectra import choose_alpha, default_regions, fit_nnls, integrate_regions, mean_parameters
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.noise.residuals import residual_freedom, residual_in_sigmas
from mrspec_prep.spectra.regions.myelin import REGION, myelin_box
from mrspec_prep.spectra.space.sharing import SharedSignals, share_signals
from mrspec_prep.spectra.voxelwise.nnls import NNLSResult
from mrspec_prep.spectra.voxelwise.storage import storable

N_NEIGHBOURS = 26  # whose signals may be shared


class _NNLSInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings)")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    roi = File(exists=True, desc="boolean (x, y, z) array of these voxels; for spatial fits")
    spatial = traits.Float(0.0, usedefault=True, desc="weight of a neighbour's signal; 0: voxels on their own")
    residual_signals = File(exists=True, desc="signals that scatter by sigma about the fit; default: ``signals``")
    alpha = traits.Float(mandatory=True, desc="Tikhonov weight, where the rule is fixed")
    alpha_rule = traits.Enum(*ALPHA_RULES, usedefault=True, desc="how the weight is chosen")
    alpha_scope = traits.Enum("voxel", "image", usedefault=True, desc="a weight per voxel, or one")
    tolerance = traits.Float(mandatory=True, desc="certified relative excess of the objective")
    regions = traits.Dict(mandatory=True, desc="regions of spectral integration; empty: defaults")


class _NNLSOutputSpec(TraitedSpec):
    spectra = File(exists=True, desc="dual coefficients, basis, certificate (npz)")
    maps = File(exists=True, desc="region fractions and mean parameters, (n_voxels,) each (npz)")


class FitNNLS(SimpleInterface):
    """Regularised non-negative spectrum of every voxel, integrated in regions (paper 1, Eq. 4)."""

    input_spec = _NNLSInputSpec
    output_spec = _NNLSOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        grid, kernel = kernel_of(series, self.inputs.kernel)
        name = self.inputs.kernel["name"]
        signals, noise = np.load(self.inputs.signals), np.load(self.inputs.noise)
        regions = self.inputs.regions or default_regions(name, series.encodings, grid)
        with within_threads(self.inputs.num_threads):
            shared = self._shared(series, signals, kernel, noise)
            reduced, tolerance = reduce_kernel(kernel), self.inputs.tolerance
            choice = choose_alpha(
                shared.signals, reduced, self.inputs.alpha_rule, shared.noise_std, self.inputs.alpha_scope,
                alpha=self.inputs.alpha,
            )  # fmt: skip
            fitted = fit_nnls(shared.signals, reduced, choice, tolerance)
            result = storable(fitted, shared.signals, reduced, tolerance)
            maps = {f"region-{key}": value for key, value in integrate_regions(result, grid, regions).items()}
            if series.datatype == "anat" and (box := myelin_box(name, series.encodings, grid, self.inputs.regions)):
                maps["mwf"] = integrate_regions(result, grid, {REGION: box})[REGION]
            maps |= mean_parameters(result, grid, name, series.encodings)
            group_of, _ = series.encodings.groups()
            compared = np.load(self.inputs.residual_signals) if self.inputs.residual_signals else signals
            maps["residual"] = residual_in_sigmas(result, compared, kernel, noise, group_of)
            freedom = np.median(residual_freedom(result, group_of))
            maps["gap"] = result.gap
            if self.inputs.spatial > 0:
                maps["shared"] = shared.n_shared
            if choice.rule != "fixed":
                maps["alpha"] = np.full(len(signals), result.alpha)
            mean_spectrum = sum(block.sum(axis=0) for _, block in result.blocks()) / len(signals)
        out = Path(runtime.cwd)
        self._results["maps"] = save_arrays(out / "maps.npz", **maps)
        self._results["spectra"] = save_arrays(
            out / "spectra.npz",
            mean_spectrum=mean_spectrum,
            residual_freedom=freedom,
            alpha_unmet=len(signals) - np.full(len(signals), choice.met).sum(),
            alpha_stacked=choice.n_stacked,
            **to_arrays(result),
        )
        return runtime

    def _shared(self, series, signals, kernel, noise):
        """Signals to fit: the voxels' own, or means over those neighbours that may share a spectrum."""
        if self.inputs.spatial == 0:
            return SharedSignals(signals, noise, np.ones(len(signals)))
        neighbours = neighbours_in(series, np.load(self.inputs.roi), N_NEIGHBOURS)
        return share_signals(signals, kernel, noise, neighbours, self.inputs.spatial)


def to_arrays(result):
    """Named arrays of an NNLSResult, for the next node."""
    arrays = {name: getattr(result, name) for name in ("basis", "alpha", "gap", "converged", "n_steps")}
    if result.sparse is None:
        return arrays | {"dual": result.dual}
    sparse = result.sparse
    return arrays | {"data": sparse.data, "indices": sparse.indices, "indptr": sparse.indptr}


def from_arrays(arrays):
    """NNLSResult of the arrays that ``to_arrays`` gave."""
    common = {name: arrays[name] for name in ("basis", "gap", "converged", "n_steps")}
    common["alpha"] = arrays["alpha"] if np.ndim(arrays["alpha"]) else float(arrays["alpha"])
    if "dual" in arrays:
        return NNLSResult(dual=arrays["dual"], **common)
    shape = (len(arrays["gap"]), arrays["basis"].shape[1])
    sparse = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    return NNLSResult(dual=None, sparse=sparse, **common)
