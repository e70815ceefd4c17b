"""What signals a classifier of compartments is trained on and judged by (Endt et al., MIDL 2024): every choice."""

from dataclasses import asdict, dataclass, fields

import numpy as np

#: what 1 % of noise is a per cent of
NOISES = {
    "rms": "root mean square of the noise-free signal over its encodings",
    "m0": "signal without any weighting (sum of the fractions, 1)",
    "maximum": "largest magnitude of the noise-free signal",
    "mean": "mean magnitude of the noise-free signal",
    "first": "magnitude of the noise-free signal at the shortest TE, lowest b and longest TI",
    "multiplicative": "each noise-free value itself, encoding by encoding",
}
#: how the fractions are drawn, each >= smallest_fraction with sum 1
FRACTIONS = {
    "simplex": "uniform over all such fractions",
    "normalised": "uniform numbers divided by their sum, drawn again until none is too small",
}


@dataclass(frozen=True)
class Recipe:
    """Law of tissue and noise.

    Parameters
    ----------
    t1, t2, diffusivity : (first, last, step)
        Values a compartment may have, all equally likely [ms, ms, um2/ms]. An axis that the protocol does not
        weight is not drawn.
    smallest_fraction : float
        Every compartment holds at least this part, 0 <= f < 1 / n_classes.
    n_classes : int
        1 to n_classes compartments, each equally often.
    noise : str
        Key of ``NOISES``: what the noise level multiplies.
    noise_range : (float, float)
        Least and greatest noise level, as fractions (.01 is 1 %).
    noise_steps : int
        Number of levels in the range, equally likely; 0: uniform over the range.
    fractions : str
        Key of ``FRACTIONS``.
    t2_below_t1 : bool
        Compartments with T2 > T1 do not occur. False in the paper.

    Raises
    ------
    ValueError
        An unknown name or a range that is empty; the message says which.

    """

    t1: tuple = (50.0, 5000.0, 50.0)
    t2: tuple = (5.0, 500.0, 5.0)
    diffusivity: tuple = (0.1, 3.0, 0.1)
    smallest_fraction: float = 0.05
    n_classes: int = 4
    noise: str = "rms"
    noise_range: tuple = (0.01, 0.05)
    noise_steps: int = 5
    fractions: str = "simplex"
    t2_below_t1: bool = False

    def __post_init__(self):
        for name, known in (("noise", NOISES), ("fractions", FRACTIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("t1", "t2", "diffusivity"):
            first, last, step = (float(value) for value in getattr(self, name))
            if not 0 < first <= last or not step > 0:
                raise ValueError(
                    f"{name} must be (first, last, step) with 0 < first <= last, step > 0; got {first, last, step}"
                )
            object.__setattr__(self, name, (first, last, step))
        if not self.n_classes >= 2:
            raise ValueError(f"n_classes must be >= 2, got {self.n_classes}")
        if not 0 <= self.smallest_fraction < 1 / self.n_classes:
            raise ValueError(f"smallest_fraction must be >= 0 and < 1/{self.n_classes}, got {self.smallest_fraction}")
        low, high = (float(value) for value in self.noise_range)
        if not 0 < low <= high:
            raise ValueError(f"noise_range must be 0 < least <= greatest, got {low, high}")
        object.__setattr__(self, "noise_range", (low, high))
        if self.noise_steps < 0:
            raise ValueError(f"noise_steps must be >= 0, got {self.noise_steps}")

    def values(self, axis):
        """(n,) values of ``t1``, ``t2`` or ``diffusivity`` [ms, ms, um2/ms]."""
        first, last, step = getattr(self, axis)
        return first + step * np.arange(round((last - first) / step) + 1)

    def noise_levels(self):
        """(noise_steps,) levels, as fractions; ValueError where they are continuous."""
        if self.noise_steps == 0:
            raise ValueError("the noise levels of this recipe are continuous: noise_steps is 0")
        return (
            np.linspace(*self.noise_range, self.noise_steps) if self.noise_steps > 1 else np.array(self.noise_range[:1])
        )

    def as_dict(self):
        """Plain dict, to be written beside weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Read what ``as_dict`` wrote; ValueError names an unknown key."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown setting of a recipe: {', '.join(sorted(unknown))}")
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
