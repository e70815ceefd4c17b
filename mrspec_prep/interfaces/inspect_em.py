"""InSpect as a node."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.errors import InputError
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
from mrspec_prep.interfaces.noise import freedom_of, sigma_for_clusters
from mrspec_prep.interfaces.progress import SpokenProgress
from mrspec_prep.options import InspectOptions
from mrspec_prep.spectra import NoiseModel, select_n_clusters

N_NEIGHBOURS = 6  # for the Potts prior: faces; more couple the mean field too tightly (benchmarks.figure1_spatial)


class _InspectInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings)")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    roi = File(exists=True, desc="boolean (x, y, z) array of these voxels; for spatial fits")
    noise_notes = File(exists=True, mandatory=True, desc="degrees of freedom of the noise (JSON)")
    settings = traits.Dict(mandatory=True, desc="section [inspect] of the workflow file")
    distribution = traits.Str("gaussian", usedefault=True, desc="of the noise")
    n_coils = traits.Int(1, usedefault=True, desc="channels of nc-chi")
    seed = traits.Int(0, usedefault=True, desc="of the EM starts")
    label = traits.Str("clusters", usedefault=True, nohash=True, desc="before each line on how far the fit is")


class _InspectOutputSpec(TraitedSpec):
    fit = File(exists=True, desc="responsibilities, spectra, probabilities of the chosen fit (npz)")
    selection = File(exists=True, desc="table over the number of clusters (npz)")


class FitInspect(SimpleInterface):
    """Canonical spectra and their maps, number of clusters chosen by AIC or BIC (paper 1, section 2)."""

    input_spec = _InspectInputSpec
    output_spec = _InspectOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        _, kernel = kernel_of(series, self.inputs.kernel)
        settings = InspectOptions(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in self.inputs.settings.items()}
        )
        signals = np.load(self.inputs.signals)
        check_clusters(len(signals), settings.candidates, series.images[0])
        sigma, about_sigma = sigma_for_clusters(
            self.inputs.noise, self.inputs.noise_notes, self.inputs.distribution, settings.mode
        )
        neighbours = None
        if settings.spatial:
            neighbours = neighbours_in(series, np.load(self.inputs.roi), N_NEIGHBOURS)
        progress = SpokenProgress(self.inputs.label)
        with within_threads(self.inputs.num_threads):
            selection = select_n_clusters(
                signals,
                kernel,
                sigma,
                candidates=settings.candidates,
                alpha=settings.alpha,
                seed=self.inputs.seed,
                mode=settings.mode,
                scale=settings.scale,
                criterion=settings.criterion,
                held_out_folds=settings.held_out_folds,
                n_starts=settings.n_starts,
                max_steps=settings.max_steps,
                noise=self._noise_model(),
                neighbours=neighbours,
                on_step=progress.words,
            )
        best = selection.fits[selection.best]
        out = Path(runtime.cwd)
        self._results["selection"] = save_arrays(out / "selection.npz", best=selection.best, **selection.table)
        self._results["fit"] = save_arrays(
            out / "fit.npz",
            responsibilities=best.responsibilities.astype(np.float32),
            cluster_probs=best.cluster_probs,
            spectra=best.spectra,
            scale=best.scale,
            log_likelihood=best.log_likelihood,
            n_steps=best.n_steps,
            converged=best.converged,
            shared_sigma=about_sigma["NoiseShared"]["Sigma"] if about_sigma else np.nan,
            spatial_weight=np.nan if best.spatial is None else best.spatial.weight,
        )
        return runtime

    def _noise_model(self):
        if self.inputs.distribution != "student-t":
            return NoiseModel(self.inputs.distribution, self.inputs.n_coils)
        notes = json.loads(Path(self.inputs.noise_notes).read_text())
        return NoiseModel("student-t", degrees_of_freedom=freedom_of(notes))


def check_clusters(n_voxels, candidates, image):
    """Raise InputError where there are fewer voxels than clusters asked for; ``image`` is named."""
    if n_voxels < max(candidates):
        raise InputError(
            f"{max(candidates)} clusters need as many voxels",
            file=image,
            value=f"{n_voxels} voxels in the region of interest",
            remedy=f"give a larger mask, or --set inspect.n_clusters={max(1, min(n_voxels, 2))}",
        )
