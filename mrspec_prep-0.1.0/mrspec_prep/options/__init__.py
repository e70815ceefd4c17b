"""Settings of every method: frozen, checked when made, TOML in and out.

One dataclass per section of a workflow file. Imports nothing of this package, so that
every room may read it.
"""

from mrspec_prep.options.checks import LARGEST_N_COMPONENTS, OptionsError
from mrspec_prep.options.classifier import ClassifierOptions
from mrspec_prep.options.group import GroupOptions
from mrspec_prep.options.maps import MapsOptions
from mrspec_prep.options.mrf import MRFOptions
from mrspec_prep.options.scan_cnn import ScanCNNOptions
from mrspec_prep.options.sections import (
    ALPHA_RULES,
    MAGNITUDES,
    NOISE_DISTRIBUTIONS,
    NOISE_METHODS,
    RESAMPLING_KINDS,
    InspectMapOptions,
    InspectOptions,
    KernelOptions,
    MaskOptions,
    NNLSOptions,
    NoiseOptions,
    SelectOptions,
    UncertaintyOptions,
)
from mrspec_prep.options.whole import Options, load_options

__all__ = [
    "ALPHA_RULES",
    "LARGEST_N_COMPONENTS",
    "MAGNITUDES",
    "NOISE_DISTRIBUTIONS",
    "NOISE_METHODS",
    "RESAMPLING_KINDS",
    "ClassifierOptions",
    "GroupOptions",
    "InspectMapOptions",
    "InspectOptions",
    "KernelOptions",
    "MRFOptions",
    "MapsOptions",
    "MaskOptions",
    "NNLSOptions",
    "NoiseOptions",
    "Options",
    "OptionsError",
    "ScanCNNOptions",
    "SelectOptions",
    "UncertaintyOptions",
    "load_options",
]
