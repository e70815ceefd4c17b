"""Settings of MR fingerprinting."""

from dataclasses import dataclass

from mrspec_prep.options.checks import (
    OptionsError,
    check_bounds,
    check_choice,
    check_integer,
    check_methods,
    check_number,
    check_truth,
)

MRF_SETTINGS = ("ours", "paper")
SAMPLINGS = ("auto", "none")


@dataclass(frozen=True)
class MRFOptions:
    """T1, T2 and M0 of a fingerprinting series (FISP) with a table of its schedule."""

    wanted: bool = False  #: whether fingerprinting series are mapped, and nothing else is
    #: table of the schedule: ``auto`` (``*_schedule.tsv`` beside the images or above), or the path of a TSV with
    #: ``{subject}`` and ``{session}``
    schedule: str = "auto"
    #: each gives maps of its own: ``dictionary`` (every voxel on its own), ``scan-cnn`` (subspace coefficients by a
    #: network that this scan teaches)
    methods: tuple[str, ...] = ("scan-cnn", "dictionary")
    #: coefficients of the subspace: a whole number, or below 1 the least number that holds this share of the energy
    rank: float = 6
    t1: tuple[float, float] = (50.0, 5000.0)  #: range of the dictionary [ms]
    t2: tuple[float, float] = (5.0, 2500.0)  #: range of the dictionary [ms]; atoms have T2 < T1
    points: int = 83  #: values of each, evenly spaced in the logarithm
    inversion_efficiency: float = 1.0  #: what the inversion pulse leaves is -e times the magnetisation; 0 to 1
    window: int = 1  #: frames that the reconstruction averaged (sliding window), as the dictionary then is; 1: none
    #: ``auto``: least squares of the samples where point spreads lie beside the series (``*_MRFspread``), which undoes
    #: aliasing; ``none``: frames as they are
    sampling: str = "auto"
    settings: str = "ours"  #: of the network: ``ours``, or ``paper`` (as published)

    def __post_init__(self):
        check_truth("mrf", "wanted", self.wanted)
        check_methods("mrf", self.methods, '["scan-cnn", "dictionary"]')
        if self.schedule != "auto" and not (isinstance(self.schedule, str) and self.schedule.endswith(".tsv")):
            raise OptionsError(f"mrf.schedule must be auto or a path of .tsv files, got {self.schedule!r}")
        check_number("mrf", "rank", self.rank, 0, low_open=True)
        if self.rank >= 1 and int(self.rank) != self.rank:
            raise OptionsError(f"mrf.rank must be a whole number, or a share of the energy below 1, got {self.rank}")
        for key in ("t1", "t2"):
            check_bounds("mrf", key, getattr(self, key), low=0)
        if self.t2[0] >= self.t1[1]:
            raise OptionsError(f"mrf.t2 must begin below the end of mrf.t1 = {list(self.t1)}, got {list(self.t2)}")
        check_integer("mrf", "points", self.points, 2)
        check_integer("mrf", "window", self.window, 1)
        check_number("mrf", "inversion_efficiency", self.inversion_efficiency, 0)
        if self.inversion_efficiency > 1:
            raise OptionsError(f"mrf.inversion_efficiency must be <= 1, got {self.inversion_efficiency}")
        check_choice("mrf", "settings", self.settings, MRF_SETTINGS)
        check_choice("mrf", "sampling", self.sampling, SAMPLINGS)
