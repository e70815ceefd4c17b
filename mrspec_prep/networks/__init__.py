"""Parameter maps from signal models: least squares, learned priors, networks. Arrays in, arrays out."""

from mrspec_prep.networks.maps import METHODS, fit_maps
from mrspec_prep.networks.result import MapsResult

__all__ = ["METHODS", "MapsResult", "fit_maps"]
