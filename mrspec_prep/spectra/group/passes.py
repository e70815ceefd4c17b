"""A pass of the E-step over members: what is sent to them, and the sums that come back.

Blocks of a member's voxels are read, brought to their units once and seen under every state. Sums are made block by
block within a piece, piece by piece within a member, and by whoever asked over members: always in this order, so
that they do not depend on how many threads or workers took part.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.clusters.em_blocks import TILE, e_step_block
from mrspec_prep.spectra.clusters.em_noise import student_block
from mrspec_prep.spectra.clusters.em_steps import responsibilities_block
from mrspec_prep.spectra.group.prepared import BLOCK, prepare_member
from mrspec_prep.threads import for_blocks, single_threaded_blas

PIECE = 16 * BLOCK  # voxels of a member that one thread takes at a time
N_LEADING = 16  # ranks from which the E-step judges which clusters a voxel may belong to; a multiple of 8


@dataclass(frozen=True, eq=False)
class Sent:
    """What members need to know of a state: a few kilobytes.

    Attributes
    ----------
    log_probs : (1, n_clusters) or (n_members, n_clusters) array
        Shared by all members, or one row for each.
    predicted : list of (n_clusters, r_p) arrays
        K F_m under each protocol, compressed.
    gains : (n_sites,) array

    """

    log_probs: np.ndarray
    predicted: list[np.ndarray]
    gains: np.ndarray

    def seen_by(self, index, member):
        """Log p_m, the clusters' signals and their squared norms for one member."""
        means = self.gains[member.site] * self.predicted[member.protocol]
        row = self.log_probs[index if len(self.log_probs) > 1 else 0]
        return np.ascontiguousarray(row), np.ascontiguousarray(means), (means**2).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Statistics:
    """What leaves a member: sums over its voxels, in its units and under its site's gain.

    Attributes
    ----------
    log_likelihood : float
        Unpenalised [nats of the signals in their own units].
    moments : (3, n_clusters) array
        sum w, sum w a, sum w a2, with a the voxel scale (1 when fixed).
    weights : (n_clusters,) array
        sum w a2 / sigma2 (Student-t: by the expected precision).
    sums : (n_clusters, r) array
        sum w a s / sigma2.

    """

    log_likelihood: float
    moments: np.ndarray
    weights: np.ndarray
    sums: np.ndarray


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Clusters of all states under way as one member sees them, one state's after the other's."""

    ends: np.ndarray
    log_probs: np.ndarray
    means: np.ndarray
    leading: np.ndarray
    rest_norms: np.ndarray
    norms: np.ndarray


def _clusters(prepared, index, sent):
    """``_Clusters`` of a list of ``Sent``."""
    views = [one.seen_by(index, prepared.member) for one in sent]
    log_probs, means, norms = (np.concatenate(parts) for parts in zip(*views, strict=True))
    n_leading = min(N_LEADING, means.shape[1])
    leading = np.zeros((len(means), N_LEADING))
    leading[:, :n_leading] = means[:, :n_leading]
    rest_norms = np.sqrt((means[:, n_leading:] ** 2).sum(axis=1))
    return _Clusters(np.cumsum([0] + [len(view[0]) for view in views]), log_probs, means, leading, rest_norms, norms)


def member_statistics(prepared, index, sent):
    """Sums of one member for each state.

    Parameters
    ----------
    prepared : PreparedMember
    index : int
        Of the member in the group: its row of ``log_probs``.
    sent : list of Sent

    Returns
    -------
    list of Statistics

    """
    clusters = _clusters(prepared, index, sent)
    pieces = [_piece(prepared, clusters, start) for start in range(0, prepared.member.n_voxels, PIECE)]
    return _joined(prepared, clusters.ends, pieces)


def _piece(prepared, clusters, start):
    """Moments, weights, sums and log mixture gains of one piece of a member, all states together."""
    member, ends = prepared.member, clusters.ends
    total = _nothing(ends[-1], member.signals.shape[1], len(ends) - 1)
    part = _nothing(ends[-1], member.signals.shape[1], len(ends) - 1)
    tiles = np.zeros((BLOCK // TILE, N_LEADING, TILE))
    gaussian = member.degrees_of_freedom is None
    for first in range(start, min(start + PIECE, member.n_voxels), BLOCK):
        block = prepared.block(first, min(first + BLOCK, member.n_voxels))
        if gaussian:
            _gaussian_block(prepared, block, tiles, clusters, *part)
        else:
            _student_block(prepared, block, clusters, *part)
        for place, values in zip(total, part, strict=True):
            place += values
    return total


def _nothing(n_clusters, n_ranks, n_states):
    """Moments, weights, sums and gains of no voxels."""
    return np.zeros((3, n_clusters)), np.zeros(n_clusters), np.zeros((n_clusters, n_ranks)), np.zeros(n_states)


def _joined(prepared, ends, pieces):
    """Sum the pieces of a member, in their order, and tell the states apart."""
    moments, weights, sums, gains = (sum(parts[1:], start=parts[0]) for parts in zip(*pieces, strict=True))
    return [
        Statistics(float(gain) + prepared.constant, moments[:, low:high], weights[low:high], sums[low:high])
        for gain, low, high in zip(gains, ends[:-1], ends[1:], strict=True)
    ]


def _gaussian_block(prepared, block, tiles, clusters, moments, weights, sums, gains):
    """Fill the sums of one block of voxels."""
    signals, variances, _, _ = block
    rest = np.empty(len(signals))
    to_tiles(signals, variances, tiles, rest)
    e_step_block(
        signals, variances, tiles, rest, clusters.ends, clusters.log_probs, clusters.means, clusters.leading,
        clusters.rest_norms, clusters.norms, prepared.scale_variance, True, moments, weights, sums, gains,
    )  # fmt: skip


@compiled
def to_tiles(signals, variances, tiles, rest):
    """Leading ranks of a block's signals over sigma2, tile by tile, and the norms of the others over sigma2."""
    n_voxels, n_ranks = signals.shape
    n_leading, size = min(tiles.shape[1], n_ranks), tiles.shape[2]
    for n in range(n_voxels):
        inverse, squared = 1.0 / variances[n], 0.0
        for k in range(n_leading):
            tiles[n // size, k, n % size] = signals[n, k] * inverse
        for k in range(n_leading, n_ranks):
            squared += signals[n, k] ** 2
        rest[n] = np.sqrt(squared) * inverse


def _student_block(prepared, block, clusters, moments, weights, sums, gains):
    """Fill the sums of one block of voxels whose sigma is uncertain."""
    signals, variances, energies, _ = block
    for i, (low, high) in enumerate(zip(clusters.ends[:-1], clusters.ends[1:], strict=True)):
        moment = np.empty((3, high - low))
        gains[i] = student_block(
            signals, energies, variances, clusters.log_probs[None, low:high], clusters.means[low:high],
            clusters.norms[low:high], prepared.scale_variance, float(prepared.member.degrees_of_freedom),
            float(prepared.n_encodings), moment, weights[low:high], sums[low:high],
            np.empty((0, high - low)), np.empty(0), np.empty(0),
        )  # fmt: skip
        moments[:, low:high] = moment


def member_responsibilities(prepared, index, sent, totals):
    """Responsibilities of every voxel of a member, and its expected scale times the clusters' totals.

    Parameters
    ----------
    prepared : PreparedMember
    index : int
    sent : Sent
    totals : (n_clusters,) array

    Returns
    -------
    responsibilities : (n_voxels, n_clusters) array
        Rows sum to one.
    scales : (n_voxels,) array
        [signal units per unit of the totals].

    """
    member = prepared.member
    log_probs, means, norms = sent.seen_by(index, member)
    responsibilities, scales = np.empty((member.n_voxels, len(log_probs))), np.empty(member.n_voxels)
    spare = _nothing(len(log_probs), member.signals.shape[1], 0)[:3]
    with single_threaded_blas():
        for start in range(0, member.n_voxels, BLOCK):
            part = slice(start, min(start + BLOCK, member.n_voxels))
            signals, variances, energies, units = prepared.block(part.start, part.stop)
            if member.degrees_of_freedom is None:
                responsibilities_block(
                    signals @ means.T, variances, log_probs, norms, prepared.scale_variance, totals,
                    responsibilities[part], scales[part],
                )  # fmt: skip
            else:
                student_block(
                    signals, energies, variances, log_probs[None], means, norms, prepared.scale_variance,
                    float(member.degrees_of_freedom), float(prepared.n_encodings), *spare,
                    responsibilities[part], scales[part], totals,
                )  # fmt: skip
            scales[part] *= units
    return responsibilities, scales


class ThreadExecutor:
    """Passes over members in this process, on threads; compiled code and BLAS release the interpreter.

    Another executor, on other machines, has the same ``levels`` and ``expect``.

    Parameters
    ----------
    members : list of Member
    protocols : list of Protocol
    scale : str
    n_threads : int, optional
        Default: ``available_threads()``.

    """

    def __init__(self, members, protocols, scale="profiled", n_threads=None):
        self.n_threads = n_threads

        def work(i, _):
            return prepare_member(members[i], protocols[members[i].protocol], scale, f"member {i}")

        self.prepared = for_blocks(len(members), 1, work, n_threads)
        sizes = [member.n_voxels for member in members]
        self.pieces = [(i, start) for i, size in enumerate(sizes) for start in range(0, size, PIECE)]

    def levels(self):
        """For each member what its units are: an object with ``typical``, ``norm_of_one`` and ``log_level``."""
        return self.prepared

    def expect(self, sent):
        """For each member a list over the states of ``Statistics``."""
        clusters = [_clusters(one, i, sent) for i, one in enumerate(self.prepared)]

        def work(k, _):
            i, start = self.pieces[k]
            return _piece(self.prepared[i], clusters[i], start)

        with single_threaded_blas():
            found = for_blocks(len(self.pieces), 1, work, self.n_threads)
        by_member = [[] for _ in self.prepared]
        for (i, _), piece in zip(self.pieces, found, strict=True):
            by_member[i].append(piece)
        return [
            _joined(one, seen.ends, pieces)
            for one, seen, pieces in zip(self.prepared, clusters, by_member, strict=True)
        ]
