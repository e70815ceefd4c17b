"""A pass of the E-step over members: what is sent to them, and the sums that come back.

Blocks of a member's voxels are read, brought to their units once and seen under every state. Sums are made block by
block within a piece, piece by piece within a member, and by whoever asked over members: always in this order, so
that they do not depend on how many threads or workers took part.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.clusters.em_noise import student_block
from mrspec_prep.spectra.clusters.em_steps import e_step_block, responsibilities_block
from mrspec_prep.spectra.compiled import for_blocks, single_threaded_blas
from mrspec_prep.spectra.group.prepared import BLOCK, prepare_member

PIECE = 16 * BLOCK  # voxels of a member that one thread takes at a time


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
    pieces = [_piece(prepared, index, sent, start) for start in range(0, prepared.member.n_voxels, PIECE)]
    return _joined(prepared, pieces)


def _piece(prepared, index, sent, start):
    """For each state the (gain, moments, weights, sums) of one piece of a member."""
    member = prepared.member
    views = [one.seen_by(index, member) for one in sent]
    ends = np.cumsum([0] + [len(log_probs) for log_probs, _, _ in views])
    means = np.ascontiguousarray(np.concatenate([means for _, means, _ in views]).T)
    totals = [_nothing(len(log_probs), member.signals.shape[1]) for log_probs, _, _ in views]
    parts = [_nothing(len(log_probs), member.signals.shape[1]) for log_probs, _, _ in views]
    for first in range(start, min(start + PIECE, member.n_voxels), BLOCK):
        block = prepared.block(first, min(first + BLOCK, member.n_voxels))
        products = block[0] @ means
        for i, (view, total, part) in enumerate(zip(views, totals, parts, strict=True)):
            total[0] += _block_sums(prepared, block, products[:, ends[i] : ends[i + 1]], view, *part[1:])
            for place, values in zip(total[1:], part[1:], strict=True):
                place += values
    return totals


def _nothing(n_clusters, n_ranks):
    """Gain, moments, weights and sums of no voxels."""
    return [0.0, np.zeros((3, n_clusters)), np.zeros(n_clusters), np.zeros((n_clusters, n_ranks))]


def _joined(prepared, pieces):
    """Sum the pieces of a member, in their order."""
    found = []
    for parts in zip(*pieces, strict=True):
        gain, moments, weights, sums = (sum(values[1:], start=values[0]) for values in zip(*parts, strict=True))
        found.append(Statistics(gain + prepared.constant, moments, weights, sums))
    return found


def _block_sums(prepared, block, products, view, moments, weights, sums):
    """E-step of one block under one state, into the arrays; returns the log mixture gains' sum."""
    signals, variances, energies, _ = block
    log_probs, means, norms = view
    if prepared.member.degrees_of_freedom is None:
        return e_step_block(
            signals, products, variances, log_probs, norms, prepared.scale_variance, True,
            moments, weights, sums,
        )  # fmt: skip
    empty = np.empty((0, len(log_probs)))
    return student_block(
        signals, energies, variances, log_probs[None], means, norms, prepared.scale_variance,
        float(prepared.member.degrees_of_freedom), float(prepared.n_encodings),
        moments, weights, sums, empty, np.empty(0), np.empty(0),
    )  # fmt: skip


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
    spare = _nothing(len(log_probs), member.signals.shape[1])[1:]
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
        """For each member what its units are: an object with ``typical``, ``strongest`` and ``log_level``."""
        return self.prepared

    def expect(self, sent):
        """For each member a list over the states of ``Statistics``."""

        def work(k, _):
            i, start = self.pieces[k]
            return _piece(self.prepared[i], i, sent, start)

        with single_threaded_blas():
            found = for_blocks(len(self.pieces), 1, work, self.n_threads)
        by_member = [[] for _ in self.prepared]
        for (i, _), piece in zip(self.pieces, found, strict=True):
            by_member[i].append(piece)
        return [_joined(one, pieces) for one, pieces in zip(self.prepared, by_member, strict=True)]
