"""Input files read once before anything is computed: whole, what they hold, and whether what is asked for can be done.

What was found is remembered below ``OUT_DIR/logs``, so that the next run reads only what has changed.
"""

import contextlib
import ctypes
import hashlib
import json
import logging
import math
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from threading import Event

import numpy as np

from mrspec_prep import __version__
from mrspec_prep.bids.errors import without_frames
from mrspec_prep.bids.input.contents import InputRecord, digest_file, stamp_of, tally_image
from mrspec_prep.bids.input.fingerprints import check_frames, check_phase, find_frames, notes_on_frames
from mrspec_prep.bids.input.images import common_mask
from mrspec_prep.bids.input.volumes import check_noise_map, load_map
from mrspec_prep.bids.input.voxels import (
    ImageTally,
    check_finding,
    find_voxels,
    first_reference,
    images_judged,
    notes_on,
)
from mrspec_prep.bids.nifti import COMPLEX, REAL, read_grid
from mrspec_prep.interfaces.inspect_em import check_clusters
from mrspec_prep.interfaces.inspect_map import check_components
from mrspec_prep.interfaces.mask import draw_mask, find_roi
from mrspec_prep.workflows.running.trust import distrust

LOGGER = logging.getLogger("mrspec_prep")
#: per voxel of an image that is being read: a volume as stored, as numbers, and its tally
READER_BYTES = {REAL: 40, COMPLEX: 48}
SCAN_BYTES = 16  # per voxel of a series: its region, and what is at work when it is judged
TALLY_BYTES = 3 / 8  # per voxel of an image that was read
SUM_BYTES = 8  # per voxel of an image whose volumes a mask is drawn on, or by which voxels are judged dark
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
    scans = [_scan_of(series_plan) for plan in plans for series_plan in plan.series]
    reader = max((scan.reader_bytes for scan in scans), default=1)
    least = max((scan.n_bytes for scan in scans), default=0)
    two = n_threads > 1 and n_bytes >= MOST_PARTICIPANTS * (reader + least)
    n_participants = MOST_PARTICIPANTS if two else 1
    n_readers = int(max(1, min(n_threads, (n_bytes - n_participants * least) / reader)))
    return n_readers, n_participants, max(least, (n_bytes - n_readers * reader) / n_participants)


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
    scans = [_scan_of(series_plan) for series_plan in plan.series]
    files = list(dict.fromkeys(file for series_plan in plan.series for file in series_plan.files))
    images = {image for scan in scans for image in scan.images}
    known = reading.threads.map(lambda file: _known_digest(record, file, file in images, reading.stopped), files)
    digests = dict(zip(files, known, strict=True))
    for together in _fitting([scan for scan in scans if not scan.is_known(record, digests)], reading.room):
        _read(together, record, digests, reading)
    record.keep(files)
    checked = []
    for scan in scans:
        notes = scan.check(record.findings[scan.key(digests)])
        mine = tuple((str(file), digests[file]) for file in scan.plan.files)
        checked.append(replace(scan.plan, digests=mine, voxel_notes=tuple(notes)))
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


def _scan_of(plan):
    return _FingerprintScan(plan) if plan.options.mrf.wanted else _SpectralScan(plan)


@dataclass
class _SpectralScan:
    """Images of one series, read for the voxels that can be fitted."""

    plan: object
    tallies: list = field(default_factory=list)
    takers: list = field(default_factory=list)
    powers: list = field(default_factory=list)  #: sums of squares of frames, on which a mask is drawn
    kinds = REAL

    @property
    def series(self):
        """What is read."""
        return self.plan.series

    @cached_property
    def region(self):
        """Voxels to fit, (nx, ny, nz) bool array; found where it is asked for."""
        return find_roi(self.plan.masks, self.series)

    @property
    def images(self):
        """Files to be read whole."""
        return self.series.images

    @property
    def n_sums(self):
        """Images whose volumes are summed."""
        return len(set(self.series.volumes[self.series.encodings.reference(), 0].tolist()))

    @property
    def reader_bytes(self):
        """Bytes that reading one of its images takes."""
        return READER_BYTES[self.kinds] * self._n_voxels(self.series.images[0])

    @property
    def n_bytes(self):
        """Bytes that are kept until it is judged, and that judging takes."""
        of_voxel = SCAN_BYTES + TALLY_BYTES * len(self.series.images) + SUM_BYTES * self.n_sums
        return of_voxel * self._n_voxels(self.series.images[0])

    def _n_voxels(self, image):
        return math.prod(map(int, read_grid(image, self.kinds).shape))

    def key(self, digests):
        """Of what is found: changes with every file, and with what is looked at; None where a digest is missing."""
        found = [digests[file] for file in self.plan.files]
        if None in found:
            return None
        return hashlib.sha256(json.dumps([__version__, found, *self._asked()]).encode()).hexdigest()

    def is_known(self, record, digests):
        """Whether a record tells what these files hold."""
        finding = record.findings.get(self.key(digests))
        return finding is not None and finding.fits(len(self.series.images))

    def _asked(self):
        encodings = self.series.encodings
        has_map = self.plan.noise_map is not None
        signed = encodings.inversion_time is not None
        counts = [len(self.series.images), len(self.plan.masks), has_map, signed]
        return [counts, self.series.volumes.tolist(), encodings.reference().tolist(), images_judged(self.series)]

    def prepare(self):
        """Make what takes the volumes."""
        encodings, n_voxels = self.series.encodings, int(self.region.sum())
        reference = set(encodings.reference().tolist())
        wanted = [{} for _ in self.series.images]
        for encoding, (image, volume) in enumerate(self.series.volumes.tolist()):
            wanted[image][volume] = encoding in reference
        signed = encodings.inversion_time is not None
        judged = images_judged(self.series)
        self.tallies = [ImageTally(n_voxels, signed, one) for one in judged]
        self.takers = [self._taker(tally, mine) for tally, mine in zip(self.tallies, wanted, strict=True)]

    def _taker(self, tally, wanted):
        def take(volume, values):
            if volume in wanted:
                tally.add(volume, values[self.region], wanted[volume])

        return take

    def let_go(self):
        """Hold nothing of what was read."""
        self.tallies, self.takers, self.powers = [], [], []
        self.__dict__.pop("region", None)

    def find(self):
        """VoxelFinding of what was read."""
        usable, finding = find_voxels(self.tallies, first_reference(self.series))
        if self.plan.noise_map is None:
            return finding
        noise = load_map(self.plan.noise_map, self.series)[self.region][usable]
        return replace(finding, n_bad_noise=int((~(noise > 0) | ~np.isfinite(noise)).sum()))

    def check(self, finding):
        """Notes on the voxels; InputError where they are too few for what is asked."""
        image, options = self.series.images[0], self.plan.options
        check_finding(finding, self.series.images, lambda: self.region)
        check_noise_map(self.plan.noise_map, finding.n_bad_noise)
        if options.inspect.wanted:
            check_clusters(finding.n_usable, options.inspect.candidates, image)
        check_components(finding.n_usable, options.inspect_map.n_components, image)
        return notes_on(finding, self.series.images)


class _FingerprintScan(_SpectralScan):
    """Frames of one fingerprinting series, and the files that tell how they were sampled."""

    kinds = COMPLEX

    @property
    def images(self):
        """Files to be read whole."""
        return (*self.series.images, *(self.series.sampling.files if self.series.sampling else ()))

    @property
    def n_sums(self):
        """Images whose frames are summed: a mask is drawn on them."""
        return 0 if self.plan.masks else len([part for part in self.series.parts if part != "phase"])

    @property
    def reader_bytes(self):
        """Bytes that reading one of its images, or of those that tell the sampling, takes."""
        return READER_BYTES[self.kinds] * max(map(self._n_voxels, self.images))

    def _asked(self):
        return [list(self.series.parts)]

    @cached_property
    def region(self):
        """Voxels to fit where masks tell, else all: what is to be drawn on is known when the frames were read."""
        image = self.series.images[0]
        grid = read_grid(image, self.kinds)
        return common_mask(self.plan.masks, image, grid) if self.plan.masks else np.ones(grid.shape, bool)

    def prepare(self):
        """Make what takes the frames; what tells the sampling is only read."""
        n_voxels = int(self.region.sum())
        self.tallies = [ImageTally(n_voxels, signed=True) for _ in self.series.images]
        self.powers = [np.zeros(n_voxels) for _ in range(self.n_sums)]
        images = zip(self.series.images, self.series.parts, self.tallies, strict=True)
        self.takers = [self._taker(*one, power) for one, power in zip_longest(images, self.powers)]

    def _taker(self, path, part, tally, power):
        def take(frame, values):
            if part == "phase":
                check_phase(values, frame, path)
            inside = values[self.region]
            amplitudes = np.abs(inside) if inside.dtype.kind == "c" else inside
            tally.add(frame, amplitudes)
            if power is not None:
                finite = np.nan_to_num(amplitudes, posinf=0.0, neginf=0.0)
                np.add(power, np.square(finite, dtype=float), out=power)

        return take

    def find(self):
        """VoxelFinding of the frames."""
        if self.plan.masks:
            return find_frames(self.tallies, self.series.parts)
        reference = np.sqrt(sum(self.powers) / self.tallies[0].n_volumes).reshape(self.region.shape)
        inside = draw_mask(reference, self.series.images[0])
        return find_frames(self.tallies, self.series.parts, inside.ravel())

    def check(self, finding):
        """Notes on the voxels; InputError where too few can be fitted."""
        check_frames(finding, self.series.images)
        return notes_on_frames(finding)
