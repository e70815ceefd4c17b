"""A section of settings that says nothing of its key."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Undocumented:
    """Settings."""

    spoken: int = 1  #: what it is
    silent: int = 2
