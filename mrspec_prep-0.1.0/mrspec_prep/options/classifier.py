"""Settings of the classifier of the number of compartments."""

from dataclasses import dataclass

from mrspec_prep.options.checks import OptionsError, check_choice, check_number, check_truth

POOLINGS = ("off", "neighbours")
CLASSIFIER_DISTRIBUTIONS = ("auto", "gaussian", "rician")
NOISE_LEVELS = ("given", "signal")
STEERED = ("none", "alpha")


@dataclass(frozen=True)
class ClassifierOptions:
    """How many compartments, 1 to 4, each voxel's signal holds."""

    wanted: bool = False  #: whether voxels are classified
    #: probability; voxels whose largest one is smaller stay undecided (0: all are decided that the noise allows)
    abstain_below: float = 0.5
    #: ``off``, or ``neighbours``: signals are averaged over those of the 3 x 3 x 3 voxels around that do not differ
    #: beyond noise
    pooling: str = "off"
    #: factor of the T1 and T2 that tissue may have (T1 50 to 5000 ms, T2 5 to 500 ms at 1); 0.1 suits rocks
    time_scale: float = 1.0
    #: a network is trained for a protocol that no shipped weights cover (minutes, kept in the user's cache);
    #: false: such a protocol is refused before anything is computed
    train: bool = False
    #: ``given`` (sigma of the noise map), or ``signal`` (what is left of each signal, 1 to 5 % of its RMS)
    noise_level: str = "given"
    #: noise of the signals that are classified: ``gaussian``, ``rician``, or ``auto``: as ``noise.distribution`` where
    #: that says so; else Rician where sigma is given and no signal is negative
    distribution: str = "auto"
    #: what the numbers of compartments decide about spectra: ``none``, or ``alpha`` (one weight for the image, at which
    #: voxelwise spectra along one axis have as many peaks as compartments were found, on average)
    steer: str = "none"

    def __post_init__(self):
        for key in ("wanted", "train"):
            check_truth("classifier", key, getattr(self, key))
        check_number("classifier", "abstain_below", self.abstain_below, 0)
        if self.abstain_below > 1:
            raise OptionsError(f"classifier.abstain_below must be <= 1, a probability, got {self.abstain_below}")
        check_choice("classifier", "pooling", self.pooling, POOLINGS)
        check_number("classifier", "time_scale", self.time_scale, 0, low_open=True)
        check_choice("classifier", "noise_level", self.noise_level, NOISE_LEVELS)
        check_choice("classifier", "distribution", self.distribution, CLASSIFIER_DISTRIBUTIONS)
        check_choice("classifier", "steer", self.steer, STEERED)
        if self.steer != "none" and not self.wanted:
            raise OptionsError(f"classifier.steer = {self.steer} needs classifier.wanted = true")
        for key, needs in (("pooling", self.pooling != "off"), ("distribution", self.distribution == "rician")):
            if needs and self.noise_level == "signal":
                raise OptionsError(
                    f"classifier.{key} = {getattr(self, key)} needs to know sigma: set classifier.noise_level = given"
                )
