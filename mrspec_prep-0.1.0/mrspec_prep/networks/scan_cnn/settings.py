"""Settings of ``scan-cnn``: ours, and as published."""

from dataclasses import dataclass

NETWORKS, LOSSES, STARTS, PLANES = ("ours", "paper"), ("recorrupted", "ssim"), ("shipped", "random"), ("slices", "all")


@dataclass(frozen=True)
class ScanCNNSettings:
    """How a network learns from a scan.

    Attributes
    ----------
    network : str
        ``ours`` (``network.ScanNetwork``) or ``paper`` (``paper_network.PaperNetwork``).
    loss : str
        ``recorrupted`` (``recorrupted.misfit``), or ``ssim``: 1 - similarity to the noisy images, as published.
    start : str
        ``shipped``: weights that were trained on simulated images; ``random``: this scan alone.
    n_steps : int
        Of ``n_pieces`` pieces of ``piece`` x ``piece`` voxels.
    n_pieces, piece : int
    learning_rate : float
        Largest of the cycle.
    strength : float
        a of ``recorrupted``.
    aside : float
        Share of the voxels that are not learned from and say when to stop (loss ``recorrupted``).
    every, patience : int
        Steps between two looks at them, and looks without a lower misfit after which learning stops.
    passes : int
        Mirrored and turned versions of the images whose estimates are averaged, 1 to 8.
    draws : int
        Simulated scans that tell the standard deviations; 0: none are given.
    level : float
        Width of the neighbourhoods in which maps are brought level with least squares [voxels]; 0: they are not.
    planes : str
        ``slices``: every slice by itself; ``all``: also the two planes across (voxels as long as wide), averaged.

    """

    network: str = "ours"
    loss: str = "recorrupted"
    start: str = "shipped"
    n_steps: int = 300
    n_pieces: int = 4
    piece: int = 64
    learning_rate: float = 1e-3
    strength: float = 0.5
    aside: float = 0.1
    every: int = 50
    patience: int = 3
    passes: int = 8
    draws: int = 4
    level: float = 3.0
    planes: str = "slices"

    def __post_init__(self):
        for name, known in (("network", NETWORKS), ("loss", LOSSES), ("start", STARTS), ("planes", PLANES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        least = {"n_steps": 0, "n_pieces": 1, "piece": 16, "every": 1, "patience": 1, "draws": 0, "level": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be >= {value}, got {getattr(self, name)}")
        if not 1 <= self.passes <= 8:
            raise ValueError(f"passes must be 1 to 8, got {self.passes}")
        if not 0 < self.aside < 0.5:
            raise ValueError(f"aside must lie between 0 and 0.5, got {self.aside}")
        for name in ("learning_rate", "strength"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.network == "paper" and self.start == "shipped":
            raise ValueError("no weights are shipped for network = paper: set start = random")


OURS = ScanCNNSettings()
PAPER = ScanCNNSettings(
    network="paper",
    loss="ssim",
    start="random",
    n_steps=500,
    learning_rate=2e-4,
    passes=1,
    draws=0,
    level=0.0,
    piece=96,
    n_pieces=2,
)
PRESETS = {"ours": OURS, "paper": PAPER}
