"""Some voxels of every member, held in memory, on which starts are tried."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.spectra.clusters.starts import START_VOXELS
from mrspec_prep.spectra.group.members import Member
from mrspec_prep.spectra.group.passes import Statistics, member_responsibilities, member_statistics
from mrspec_prep.spectra.group.steps import Places


def sample_members(prepared, rng, n_voxels=START_VOXELS):
    """Some voxels of every member, as many of each as there are.

    Parameters
    ----------
    prepared : list of PreparedMember
    rng : numpy.random.Generator
    n_voxels : int
        In all, at least one of each member.

    Returns
    -------
    list of PreparedMember
        In memory, in the units of the whole members.

    """
    sizes = np.array([one.member.n_voxels for one in prepared])
    wanted = _equal_shares(sizes, max(n_voxels, len(sizes)))
    samples = []
    for one, size, count in zip(prepared, sizes, wanted, strict=True):
        chosen = np.arange(size) if count == size else np.sort(rng.choice(size, count, replace=False))
        samples.append(replace(one, member=one.member.take(chosen), constant=0.0))
    return samples


def _equal_shares(sizes, total):
    """As equal numbers as the sizes allow, with this sum at most."""
    wanted = np.zeros(len(sizes), int)
    while (rest := total - wanted.sum()) > 0 and (left := np.flatnonzero(wanted < sizes)).size:
        share = max(1, rest // len(left))
        wanted[left[:rest]] = np.minimum(wanted + share, sizes)[left[:rest]]
    return wanted


@dataclass(frozen=True, eq=False)
class Held:
    """Voxels of members that share site, protocol and noise, in their units; serves passes as a prepared member."""

    member: Member
    n_encodings: int
    scale_variance: float
    variances: np.ndarray
    energies: np.ndarray
    constant: float = 0.0

    def block(self, start, stop):
        """Signals, variances, energies and units (ones) of some voxels."""
        part = slice(start, stop)
        signals = self.member.signals[part]
        return signals, self.variances[part], self.energies[part], np.ones(len(signals))


class Sample:
    """Sampled members as an executor; those that share site, protocol and noise count as one."""

    def __init__(self, prepared):
        groups = {}
        for one in prepared:
            member = one.member
            groups.setdefault((member.site, member.protocol, member.degrees_of_freedom), []).append(one)
        self.prepared = [_held(ones, *place) for place, ones in groups.items()]
        self.members = [one.member for one in self.prepared]
        self.places = Places(*(np.array([getattr(one, name) for one in self.members]) for name in _PLACES))

    def expect(self, sent):
        """For each group of members a list over the states of ``Statistics``."""
        return [member_statistics(one, i, sent) for i, one in enumerate(self.prepared)]

    def responsibilities(self, sent):
        """Of each group of members, (n_voxels, n_clusters)."""
        totals = np.ones(sent.log_probs.shape[1])
        return [member_responsibilities(one, i, sent, totals)[0] for i, one in enumerate(self.prepared)]

    def statistics(self, responsibilities):
        """``Statistics`` of each group of members from given responsibilities (voxel scales 1)."""
        found = []
        for one, shares in zip(self.prepared, responsibilities, strict=True):
            counts, weighted = shares.sum(axis=0), shares / one.variances[:, None]
            sums = weighted.T @ one.member.signals
            found.append(Statistics(0.0, np.stack([counts] * 3), weighted.sum(axis=0), sums))
        return found


_PLACES = ("protocol", "site", "n_voxels")


def _held(prepared, site, protocol, freedom):
    """One ``Held`` of sampled members."""
    blocks = [one.block(0, one.member.n_voxels) for one in prepared]
    signals, variances, energies = (np.concatenate([block[k] for block in blocks]) for k in range(3))
    member = Member(signals, np.sqrt(variances), energies, protocol, site, freedom)
    return Held(member, prepared[0].n_encodings, prepared[0].scale_variance, variances, energies)
