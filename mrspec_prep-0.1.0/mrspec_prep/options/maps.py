"""Settings of parameter maps from signal models."""

from dataclasses import dataclass

from mrspec_prep.options.checks import OptionsError, check_choice, check_methods, check_truth

MAP_DISTRIBUTIONS = ("auto", "gaussian", "rician")
MAP_SETTINGS = ("ours", "paper")


@dataclass(frozen=True)
class MapsOptions:
    """A signal model fitted to every voxel, by one method or several."""

    #: a model of ``mrspec_prep.physics.models.MODELS``; ``auto``: from what varies; empty: no parameter maps
    model: str = ""
    #: methods of ``mrspec_prep.networks.METHODS``, each gives maps of its own
    methods: tuple[str, ...] = ("lsq", "learned-prior")
    #: noise of the signals that are fitted: ``gaussian``, ``rician``, or ``auto``: as ``noise.distribution`` where
    #: that says so; else Rician for magnitudes (at most 1 % negative), but Gaussian for least squares of models
    #: without a direction
    distribution: str = "auto"
    settings: str = "ours"  #: of the networks: ``ours``, or ``paper`` (architecture and training as published)
    intervals: bool = True  #: ends of the 95 % interval beside every map, from methods that give them

    def __post_init__(self):
        if not isinstance(self.model, str):
            raise OptionsError(f"maps.model must be the name of a model, got {self.model!r}")
        check_methods("maps", self.methods, '["lsq", "learned-prior"]')
        check_choice("maps", "distribution", self.distribution, MAP_DISTRIBUTIONS)
        check_choice("maps", "settings", self.settings, MAP_SETTINGS)
        check_truth("maps", "intervals", self.intervals)

    @property
    def wanted(self):
        """Whether parameter maps are computed."""
        return bool(self.model)
