"""Parameter maps and numbers of compartments: least squares, learned priors, networks. Arrays in, arrays out."""

from mrspec_prep.networks.compartments.classifier import CompartmentClassifier, NotCoveredError
from mrspec_prep.networks.fingerprinting.fingerprint import fit_fingerprint
from mrspec_prep.networks.fingerprinting.result import FingerprintResult
from mrspec_prep.networks.fingerprinting.sampling import Sampling
from mrspec_prep.networks.maps import METHODS, fit_maps
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.networks.scan_cnn.fit import fit_scan_cnn
from mrspec_prep.networks.scan_cnn.scan import ScanMaps

__all__ = [
    "METHODS",
    "CompartmentClassifier",
    "FingerprintResult",
    "MapsResult",
    "NotCoveredError",
    "Sampling",
    "ScanMaps",
    "fit_fingerprint",
    "fit_maps",
    "fit_scan_cnn",
]
