"""Passes over the members of a group on dask workers: each opens its share of the files once and keeps it.

A step sends the states (a few kilobytes) to every worker and gets the members' sums back; signals never travel.
Whoever asked adds the sums up in the order of the members, so the result has the same bytes however many workers
took part, which worker held what, and whether one died on the way: its members move to the others and the
unfinished part of the step is done again.
"""

import logging
import math
import pickle
import time
from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep import __version__
from mrspec_prep.interfaces.group.members import member_of, protocol_of
from mrspec_prep.spectra.group import Statistics, member_statistics, prepare_member
from mrspec_prep.threads import for_blocks, single_threaded_blas

LOGGER = logging.getLogger("mrspec_prep")
LOOK_SECONDS = 1.0  # between two looks for the first worker
NEWCOMER_SECONDS = 5.0  # between two looks for workers that joined
PATIENCE_SECONDS = 24 * 3600.0  # for the first worker: clusters have queues
GO_ON = "run the same command again; it goes on from the last checkpoint"
SLACK = 1.25  # of the mean load that a worker keeps before members move to a new one

_RESIDENT = {}  # on a worker: (group, member) -> PreparedMember
_PROTOCOLS = {}  # on a worker: (group, protocol) -> Protocol


@dataclass(frozen=True)
class Level:
    """Units of a member: what ``levels`` of the thread executor tells of it."""

    typical: float
    norm_of_one: float
    constant: float
    log_level: float


@dataclass(frozen=True)
class Share:
    """What a worker is asked for.

    Attributes
    ----------
    group : str
        Names the group and its settings; what was opened under another name is forgotten.
    version : str
        Of mrspec_prep here.
    scale : str
    opening : dict of int to dict
        Records of members the worker is not known to hold.
    protocols : dict of int to str
        Files that tell the protocols of those.
    like : str
        File whose grid is that of all.
    indices : tuple of int
        Members to pass over.
    states : bytes or None
        Pickled list of ``Sent``, with the rows of these members where members have their own; None: only levels.

    """

    group: str
    version: str
    scale: str
    opening: dict
    protocols: dict
    like: str
    indices: tuple
    states: bytes | None


def work_on(share):
    """On a worker: open what is new, and pass over the members of a share.

    Returns
    -------
    list of Level, (n,) array, or None
        Levels where there are no states; else the members' sums one after the other, state by state; None where
        the worker does not hold a member (it was started again).

    Raises
    ------
    RuntimeError
        The worker runs another version.
    InputError, ValueError
        A file is damaged or holds values no fit can use.

    """
    if share.version != __version__:
        raise RuntimeError(
            f"a dask worker runs mrspec_prep {__version__}, this process {share.version}. Remedy: install one"
        )
    _forget_others(share.group)
    n_threads = _threads_of_worker()
    with single_threaded_blas():
        _open(share, n_threads)
        held = [_RESIDENT.get((share.group, index)) for index in share.indices]
        if any(one is None for one in held):
            return None
        if share.states is None:
            return [Level(one.typical, one.norm_of_one, one.constant, one.log_level) for one in held]
        sent = pickle.loads(share.states)
        found = for_blocks(len(held), 1, lambda i, _: member_statistics(held[i], i, sent), n_threads)
    return np.concatenate([_packed(one) for states in found for one in states])


def _threads_of_worker():
    from distributed import get_worker

    return get_worker().state.nthreads


def _forget_others(group):
    for store in (_RESIDENT, _PROTOCOLS):
        for key in [key for key in store if key[0] != group]:
            del store[key]


def _open(share, n_threads):
    """Open and check the members of a share that the worker does not hold."""
    for number, path in share.protocols.items():
        if (share.group, number) not in _PROTOCOLS:
            _PROTOCOLS[share.group, number] = protocol_of(path, share.like)
    new = [index for index in share.opening if (share.group, index) not in _RESIDENT]

    def open_one(i, _):
        index = new[i]
        record = share.opening[index]
        member, _ = member_of(record, record["path"])
        protocol = _PROTOCOLS[share.group, member.protocol]
        _RESIDENT[share.group, index] = prepare_member(member, protocol, share.scale, f"member {index}")

    for_blocks(len(new), 1, open_one, n_threads)


def _packed(one):
    return np.concatenate([[one.log_likelihood], one.moments.ravel(), one.weights, one.sums.ravel()])


def _unpacked(values, position, n_clusters, n_ranks):
    """Statistics that begin at a position, and where the next ones begin."""
    sizes = (1, 3 * n_clusters, n_clusters, n_clusters * n_ranks)
    ends = position + np.cumsum(sizes)
    first, moments, weights, sums = np.split(values[position : ends[-1]], ends[:-1] - position)
    shapes = moments.reshape(3, n_clusters), weights, sums.reshape(n_clusters, n_ranks)
    return Statistics(float(first[0]), *shapes), ends[-1]


class DaskExecutor:
    """Executor of ``fit_group`` and ``select_group`` on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    plan : dict
        ``members``: records with ``path``, ``protocol``, ``site``; ``protocols``: a file of each.
    sizes : list of (int, int)
        Voxels and ranks of each member.
    scale : str
    group : str
        A name that changes with members and settings.

    """

    def __init__(self, client, plan, sizes, scale, group):
        self.client, self.plan, self.scale, self.group = client, plan, scale, group
        self.n_voxels, self.n_ranks = (list(column) for column in zip(*sizes, strict=True))
        self._held = {}  # worker -> members it is to hold, in order
        self._known = {}  # worker -> members it has said it holds
        self._looked = -math.inf
        self._levels = None

    def levels(self):
        """For each member its units."""
        if self._levels is None:
            found = self._everywhere(lambda indices: None)
            self._levels = [found[index] for index in range(len(self.n_voxels))]
        return self._levels

    def expect(self, sent):
        """For each member a list over the states of ``Statistics``."""
        own = any(len(one.log_probs) > 1 for one in sent)
        shared = None if own else pickle.dumps(sent, protocol=5)

        def states_for(indices):
            if shared is not None:
                return shared
            rows = list(indices)
            own_rows = [replace(s, log_probs=s.log_probs[rows if len(s.log_probs) > 1 else [0]]) for s in sent]
            return pickle.dumps(own_rows, protocol=5)

        numbers = [one.log_probs.shape[1] for one in sent]
        found = self._everywhere(states_for, numbers)
        return [found[index] for index in range(len(self.n_voxels))]

    def _everywhere(self, states_for, numbers=None):
        """What the workers found, by member; repeats the shares of workers that died."""
        found = {}
        while len(found) < len(self.n_voxels):
            self._assign()
            asked, futures = {}, {}
            for worker, members in self._held.items():
                asked[worker] = tuple(index for index in members if index not in found)
                if asked[worker]:
                    share = self._share(worker, asked[worker], states_for(asked[worker]))
                    futures[worker] = self.client.submit(
                        work_on, share, workers=[worker], allow_other_workers=True, pure=False
                    )
            for worker, result in self._gathered(futures).items():
                if result is None:
                    self._known[worker].clear()
                    self._looked = -math.inf
                    continue
                self._known[worker].update(asked[worker])
                found.update(zip(asked[worker], self._by_member(result, asked[worker], numbers), strict=True))
        return found

    def _gathered(self, futures):
        """Results by worker. The share of a worker that dies moves to another, which opens it or answers None."""
        from distributed import CancelledError, KilledWorker

        try:
            return self.client.gather(futures)
        except KilledWorker as error:
            raise RuntimeError(
                "several dask workers died one after the other over the same participants, most often for lack of "
                f"memory. Remedy: give workers more memory, then {GO_ON}"
            ) from error
        except (CancelledError, OSError) as error:
            raise self._no_scheduler(error) from error

    def _no_scheduler(self, error):
        return RuntimeError(
            f"the dask scheduler does not answer any more ({type(error).__name__}). Remedy: start it and its workers, "
            f"then {GO_ON}"
        )

    def _share(self, worker, indices, states):
        records = {i: self.plan["members"][i] for i in indices if i not in self._known[worker]}
        opening = {i: {key: record[key] for key in ("path", "protocol", "site")} for i, record in records.items()}
        numbers = sorted({record["protocol"] for record in opening.values()})
        protocols = {number: str(self.plan["protocols"][number]) for number in numbers}
        like = str(self.plan["protocols"][0])
        return Share(self.group, __version__, self.scale, opening, protocols, like, indices, states)

    def _by_member(self, result, indices, numbers):
        if numbers is None:
            return result
        position, found = 0, []
        for index in indices:
            states = []
            for n_clusters in numbers:
                one, position = _unpacked(result, position, n_clusters, self.n_ranks[index])
                states.append(one)
            found.append(states)
        return found

    def _alive(self):
        """Addresses of the workers the scheduler knows."""
        try:
            return sorted(self.client.nthreads())
        except OSError as error:  # distributed's errors of communication are of this kind
            raise self._no_scheduler(error) from error

    def _assign(self):
        """Spread the members over the workers there are; each stays where it is unless that is gone or overloaded."""
        if self._held and time.monotonic() - self._looked < NEWCOMER_SECONDS:
            return
        self._looked = time.monotonic()
        workers = self._alive() or self._wait_for_one()
        if workers == sorted(self._held):
            return
        gone = len(set(self._held) - set(workers))
        if gone:
            LOGGER.warning("group: %d dask worker(s) died; their members move to others", gone)
        target = sum(self.n_voxels) / len(workers)
        held, load, homeless = {worker: [] for worker in workers}, dict.fromkeys(workers, 0), []
        where = {index: worker for worker, members in self._held.items() for index in members}
        for index, size in enumerate(self.n_voxels):
            worker = where.get(index)
            if worker in held and (load[worker] == 0 or load[worker] + size <= SLACK * target):
                held[worker].append(index)
                load[worker] += size
            else:
                homeless.append(index)
        for index in sorted(homeless, key=lambda index: -self.n_voxels[index]):
            worker = min(workers, key=lambda worker: load[worker])
            held[worker].append(index)
            load[worker] += self.n_voxels[index]
        self._held = {worker: sorted(members) for worker, members in held.items()}
        self._known = {worker: self._known.get(worker, set()) & set(held[worker]) for worker in workers}
        LOGGER.info("group: %d member(s) on %d dask worker(s)", len(self.n_voxels), len(workers))

    def _wait_for_one(self):
        """Workers, once there is one."""
        LOGGER.info("group: waiting for the first dask worker")
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            workers = self._alive()
            if workers:
                return workers
            time.sleep(LOOK_SECONDS)
        raise RuntimeError("no dask worker came in a day. Remedy: look at the queue, then run the same command again")
