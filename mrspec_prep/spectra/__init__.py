"""Spectra, clusters and noise from signals: arrays in, frozen results out."""

from mrspec_prep.physics.peaks import Peak, find_peaks
from mrspec_prep.spectra.clusters.inspect_em import InspectResult, fit_inspect
from mrspec_prep.spectra.clusters.selection import Selection, select_n_clusters
from mrspec_prep.spectra.components.inspect_map import InspectMapResult, fit_inspect_map
from mrspec_prep.spectra.compression.reduction import ReducedKernel, reduce_kernel
from mrspec_prep.spectra.design.identifiability import Identifiability, identify
from mrspec_prep.spectra.noise.estimate import NoiseEstimate, estimate_noise
from mrspec_prep.spectra.noise.image_noise import noise_mppca
from mrspec_prep.spectra.noise.likelihoods import NoiseModel
from mrspec_prep.spectra.noise.polarity import restore_polarity
from mrspec_prep.spectra.regions.integration import default_regions, integrate_regions, mean_parameters
from mrspec_prep.spectra.space.neighbours import Neighbours, neighbours_of
from mrspec_prep.spectra.space.sharing import SharedSignals, share_signals
from mrspec_prep.spectra.voxelwise.alpha import AlphaChoice, choose_alpha
from mrspec_prep.spectra.voxelwise.nnls import NNLSResult, fit_nnls

__all__ = [
    "AlphaChoice",
    "Identifiability",
    "InspectMapResult",
    "InspectResult",
    "NNLSResult",
    "Neighbours",
    "NoiseEstimate",
    "NoiseModel",
    "Peak",
    "ReducedKernel",
    "Selection",
    "SharedSignals",
    "choose_alpha",
    "default_regions",
    "estimate_noise",
    "find_peaks",
    "fit_inspect",
    "fit_inspect_map",
    "fit_nnls",
    "identify",
    "integrate_regions",
    "mean_parameters",
    "neighbours_of",
    "noise_mppca",
    "reduce_kernel",
    "restore_polarity",
    "select_n_clusters",
    "share_signals",
]
