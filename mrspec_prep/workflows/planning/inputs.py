"""Input files read once before anything is computed: whole, what they hold, and whether what is asked for can be done.

What was found is remembered below ``OUT_DIR/logs``, so that the next run reads only what has changed.
"""

import contextlib
import ctypes
import logging
import math
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from mrspec_prep.bids.errors import InputError, without_frames
from mrspec_prep.bids.input.contents import InputRecord, digest_file, stamp_of, tally_image
from mrspec_prep.workflows.planning.scans import scan_of
from mrspec_prep.workflows.running.trust import distrust

LOGGER = logging.getLogger("mrspec_prep")
MOST_PARTICIPANTS = 2  # at once, one of whom is read while the other is judged


def record_of(out_dir, subject):
    """What is remembered of a participant's inputs; nothing of a file that somebody else could have written.

    Its folder is the participant's alone: whoever writes looks through the folder for what killed runs left, and jobs
    of a whole study must not look through the files of one another.
    """
    path = Path(out_dir) / "logs" / "inputs" / f"sub-{subject}" / "files.json"
    return InputRecord(path, trusted=os.path.lexists(path) and distrust(path) is None)


def check_inputs_of(plans, out_dir, n_threads, mem_gb=math.inf):
    """Check the inputs of participants, files side by side.

    Parameters
    ----------
    plans : sequence of ParticipantPlan
    out_dir : path
    n_threads : int
    mem_gb : float
        Memory for what is read at the same time, and for what is kept of it until it is judged.

    Returns
    -------
    list of ParticipantPlan or Exception
        As ``check_inputs`` returns or raises, in order.

    """
    stopped = Event()
    records = [record_of(out_dir, plan.subject) for plan in plans]
    n_readers, n_participants, room = _shares(plans, n_threads, mem_gb * 1e9)
    with ThreadPoolExecutor(n_readers) as threads, ThreadPoolExecutor(n_participants) as participants:
        reading = Reading(threads, room, stopped)
        try:
            pending = [
                participants.submit(check_inputs, plan, record, reading)
                for plan, record in zip(plans, records, strict=True)
            ]
            checked = []
            for future, record in zip(pending, records, strict=True):
                error = future.exception()
                checked.append(without_frames(error) if error else future.result())
                _save(record)
            pending.clear()
        except BaseException:  # an interrupt must not wait for whole images
            stopped.set()
            participants.shutdown(cancel_futures=True)
            raise
    _give_back()
    return checked


@dataclass(frozen=True)
class Reading:
    """How the files of a participant are read.

    Attributes
    ----------
    threads : concurrent.futures.Executor
        They read the files.
    room : float
        Bytes for what is kept of images until they are judged.
    stopped : threading.Event
        Once set, reading ends.

    """

    threads: Executor
    room: float = math.inf
    stopped: Event = field(default_factory=Event)


def _shares(plans, n_threads, n_bytes):
    """How many images may be read at once, of how many participants, and bytes of each for what is kept of them.

    One image and one series always: ``check_memory`` refuses what does not fit at all.
    """
    sizes = [scan_bytes for plan in plans for series_plan in plan.series for scan_bytes in _sizes(scan_of(series_plan))]
    reader, least = map(max, zip(*sizes, strict=True)) if sizes else (1, 0)
    two = n_threads > 1 and n_bytes >= MOST_PARTICIPANTS * (reader + least)
    n_participants = MOST_PARTICIPANTS if two else 1
    n_readers = int(max(1, min(n_threads, (n_bytes - n_participants * least) / reader)))
    return n_readers, n_participants, max(least, (n_bytes - n_readers * reader) / n_participants)


def _sizes(scan):
    """Bytes of reading and of keeping a scan; of none whose files went away, which is for its participant to say."""
    with contextlib.suppress(InputError):
        yield scan.reader_bytes, scan.n_bytes


def _save(record):
    """Keep what was found of a participant where that is possible; otherwise the next run reads again."""
    try:
        record.save()
    except OSError as error:
        LOGGER.warning("What was read cannot be remembered in %s: %s", record.path, error.strerror or error)


def _give_back():
    """Give the memory of what was read back to the system, where the C library can: steps share what is left."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def check_inputs(plan, record, reading):
    """Plan of a participant whose inputs are known.

    Parameters
    ----------
    plan : ParticipantPlan
    record : InputRecord
    reading : Reading

    Returns
    -------
    ParticipantPlan
        With digests and notes.

    Raises
    ------
    InputError
        A file that cannot be read whole, or whose values do not support what is asked for.

    """
    scans = [scan_of(series_plan) for series_plan in plan.series]
    files = list(dict.fromkeys(file for series_plan in plan.series for file in series_plan.files))
    images = {image for scan in scans for image in scan.images}
    known = reading.threads.map(lambda file: _known_digest(record, file, file in images, reading.stopped), files)
    digests = dict(zip(files, known, strict=True))
    for together in _fitting([scan for scan in scans if not scan.is_known(record, digests)], reading.room):
        _read(together, record, digests, reading)
    record.keep(files)
    checked = []
    for scan in scans:
        finding = record.findings[scan.key(digests)]
        notes = scan.check(finding)
        mine = tuple((str(file), digests[file]) for file in scan.plan.files)
        checked.append(replace(scan.plan, digests=mine, voxel_notes=tuple(notes), n_usable=finding.n_usable))
    return replace(plan, series=tuple(checked))


def _fitting(scans, room):
    """Scans in order, as many together as the room has bytes for."""
    groups, left = [], 0.0
    for scan in scans:
        if not groups or scan.n_bytes > left:
            groups.append([])
            left = room
        groups[-1].append(scan)
        left -= scan.n_bytes
    return groups


def _read(scans, record, digests, reading):
    """Read every image of some scans once, and note what was found and the digests."""
    list(reading.threads.map(lambda scan: scan.prepare(), scans))
    takers = {image: [] for scan in scans for image in scan.images}
    for scan in scans:
        for image, *taker in zip(scan.images, scan.tallies, scan.takers, strict=False):
            takers[image].append(taker)
    kinds = scans[0].kinds

    def read(image):
        known = tally_image(image, kinds, [take for _, take in takers[image]], reading.stopped)
        for tally, _ in takers[image]:
            tally.close()
        return known

    for image, (stamp, digest) in zip(takers, reading.threads.map(read, takers), strict=True):
        record.remember(image, stamp, digest)
        digests[image] = digest
    for scan in scans:
        record.findings[scan.key(digests)] = scan.find()
        scan.let_go()


def _known_digest(record, file, is_image, stopped):
    """Digest of a file; None of an image that must be read to know it."""
    digest = record.digest_of(file)
    if digest is None and (not is_image or record.same_size(file)):
        stamp, digest = stamp_of(file), digest_file(file, stopped)
        record.remember(file, stamp, digest)
    return digest
