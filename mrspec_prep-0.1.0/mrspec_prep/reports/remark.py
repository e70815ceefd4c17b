"""One sentence of a verdict."""

from dataclasses import dataclass

GOOD, CAUTION, PROBLEM = "good", "caution", "problem"


@dataclass(frozen=True)
class Remark:
    """One sentence of the verdict, its weight, and where to look."""

    text: str
    weight: str = GOOD
    look: str | None = None
