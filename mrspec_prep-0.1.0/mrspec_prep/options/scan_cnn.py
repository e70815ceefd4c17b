"""Settings of T2 and T2* maps by a network that the scan itself teaches, and of the fits to hold it against."""

from dataclasses import dataclass

from mrspec_prep.options.checks import check_choice, check_methods, check_truth

SCAN_DISTRIBUTIONS = ("auto", "gaussian", "rician")
SCAN_SETTINGS = ("ours", "paper")
SCAN_STARTS = ("shipped", "random")


@dataclass(frozen=True)
class ScanCNNOptions:
    """T2 (or T2*) and the signal at TE = 0 of images that differ in echo time."""

    wanted: bool = False  #: whether these maps are computed
    #: each gives maps of its own: ``scan-cnn`` (the network), ``varpro`` (least squares), ``rician`` (maximum
    #: likelihood of magnitudes), ``log-linear``, ``nlm-varpro`` (least squares after non-local means)
    methods: tuple[str, ...] = ("scan-cnn", "varpro")
    #: noise of the signals: ``gaussian``, ``rician``, or ``auto``: as ``noise.distribution`` where that says so; else
    #: Rician unless more than 1 % of the signals are negative. ``varpro`` and ``log-linear`` are least squares anyway
    distribution: str = "auto"
    #: of the network's weights: ``shipped`` (taught by simulated images, refined by this scan), or ``random`` (this
    #: scan alone; published settings always)
    start: str = "shipped"
    settings: str = "ours"  #: of the network: ``ours``, or ``paper`` (architecture, loss and training as published)
    std: bool = True  #: standard deviations beside the maps, from methods that give them

    def __post_init__(self):
        for key in ("wanted", "std"):
            check_truth("scan_cnn", key, getattr(self, key))
        check_methods("scan_cnn", self.methods, '["scan-cnn", "varpro"]')
        check_choice("scan_cnn", "distribution", self.distribution, SCAN_DISTRIBUTIONS)
        check_choice("scan_cnn", "start", self.start, SCAN_STARTS)
        check_choice("scan_cnn", "settings", self.settings, SCAN_SETTINGS)
