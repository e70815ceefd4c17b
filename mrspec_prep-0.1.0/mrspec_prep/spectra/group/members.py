"""Participants of a group: compressed signals, their protocol and site."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.clusters.em_problem import SCALES
from mrspec_prep.spectra.compression.reduction import ReducedKernel


@dataclass(frozen=True, eq=False)
class Protocol:
    """Encodings of one way to scan, as their compressed kernel.

    Attributes
    ----------
    reduced : ReducedKernel
        On the grid that all protocols of a group share; of r ranks.
    n_encodings : int
        Volumes, which count as data; by default the rows of ``reduced.projection``.

    Raises
    ------
    ValueError
        Not a ReducedKernel, or fewer volumes than ranks.

    """

    reduced: ReducedKernel
    n_encodings: int | None = None

    def __post_init__(self):
        if not isinstance(self.reduced, ReducedKernel):
            raise ValueError(f"reduced must be a ReducedKernel (reduce_kernel makes one), got {type(self.reduced)}")
        if self.n_encodings is None:
            object.__setattr__(self, "n_encodings", self.reduced.n_encodings)
        if self.n_encodings < self.reduced.n_ranks:
            raise ValueError(f"{self.n_encodings} encodings cannot have {self.reduced.n_ranks} ranks")


@dataclass(frozen=True, eq=False)
class Member:
    """One participant: a series of voxels with compressed signals. Memory maps are read in blocks, never as a whole.

    Attributes
    ----------
    signals : (n_voxels, r) float array
        S @ projection of the protocol [signal units].
    noise_std : (n_voxels,) float array
        sigma of a volume [signal units].
    outside : (n_voxels,) float array
        ||S||2 - ||signals||2.
    protocol, site : int
        Index of each.
    degrees_of_freedom : float or None
        Of sigma, where it was estimated (Student-t noise); None: sigma is known (Gaussian).

    Raises
    ------
    ValueError
        Shapes that do not belong together, no voxel, a negative index, degrees of freedom not positive.

    """

    signals: np.ndarray
    noise_std: np.ndarray
    outside: np.ndarray
    protocol: int = 0
    site: int = 0
    degrees_of_freedom: float | None = None

    def __post_init__(self):
        if self.signals.ndim != 2 or len(self.signals) == 0:
            raise ValueError(f"signals of a member must be (n_voxels, n_ranks), got shape {self.signals.shape}")
        for name in ("noise_std", "outside"):
            shape = getattr(self, name).shape
            if shape != (len(self.signals),):
                raise ValueError(f"{name} of a member must be (n_voxels,) = ({len(self.signals)},), got shape {shape}")
        if self.protocol < 0 or self.site < 0:
            raise ValueError(f"protocol and site are indices >= 0, got {self.protocol} and {self.site}")
        if self.degrees_of_freedom is not None and not 0 < self.degrees_of_freedom < np.inf:
            raise ValueError(
                f"degrees_of_freedom must be finite and > 0, or None for a known sigma; got {self.degrees_of_freedom}"
            )

    @property
    def n_voxels(self):
        """Number of voxels."""
        return len(self.signals)

    def take(self, index):
        """The same for some of the voxels, in memory."""
        return Member(
            np.asarray(self.signals[index]), np.asarray(self.noise_std[index]), np.asarray(self.outside[index]),
            self.protocol, self.site, self.degrees_of_freedom,
        )  # fmt: skip


def truncated(reduced, n_ranks):
    """The leading ranks of a compressed kernel: what a participant's file holds."""
    if n_ranks >= reduced.n_ranks:
        return reduced
    return ReducedKernel(
        reduced.basis[:n_ranks], reduced.projection[:, :n_ranks], reduced.singular_values[:n_ranks],
        np.ascontiguousarray(reduced.columns[:, :n_ranks]),
    )  # fmt: skip


def check_group(members, protocols, scale):
    """Whether members and protocols belong together.

    Raises
    ------
    ValueError
        No member, a protocol or site that is not there, other ranks than the protocol's, grids of different size,
        an unknown scale.

    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    if not members or not protocols:
        raise ValueError("a group needs at least one member and one protocol")
    n_bins = protocols[0].reduced.n_bins
    for p, protocol in enumerate(protocols):
        if protocol.reduced.n_bins != n_bins:
            raise ValueError(
                f"protocol {p} has a grid of {protocol.reduced.n_bins} bins, protocol 0 one of {n_bins}: "
                "fit all participants on one grid"
            )
    for i, member in enumerate(members):
        if member.protocol >= len(protocols):
            raise ValueError(f"member {i} refers to protocol {member.protocol}, there are {len(protocols)}")
        n_ranks = protocols[member.protocol].reduced.n_ranks
        if member.signals.shape[1] != n_ranks:
            raise ValueError(
                f"member {i} has {member.signals.shape[1]} compressed signals per voxel, protocol {member.protocol} "
                f"has {n_ranks}"
            )
    sites = sorted({member.site for member in members})
    if sites != list(range(len(sites))):
        raise ValueError(f"sites must be numbered 0, 1, ... without a gap, got {sites}")
