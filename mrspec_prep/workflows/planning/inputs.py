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
from concurrent.futures import ThreadPoolExecutor
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
READER_BYTES = 40  # per voxel of an image that is being read: a volume as stored, as numbers, and its tallies
MOST_PARTICIPANTS = 2  # at once, one of whom is read while the other is judged; each holds its tallies


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
        Memory for the images that are read at the same time.

    Returns
    -------
    list of ParticipantPlan or Exception
        As ``check_inputs`` returns or raises, in order.

    """
    stopped = Event()
    records = [record_of(out_dir, plan.subject) for plan in plans]
    n_readers = _readers_within(plans, n_threads, mem_gb)
    n_participants = min(n_readers, MOST_PARTICIPANTS)
    with ThreadPoolExecutor(n_readers) as readers, ThreadPoolExecutor(n_participants) as participants:
        try:
            pending = [
                participants.submit(check_inputs, plan, record, readers, stopped)
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


def _readers_within(plans, n_threads, mem_gb):
    """How many images may be read at once; one always: ``check_memory`` refuses what does not fit at all."""
    sizes = [math.prod(map(int, read_grid(image, kinds).shape)) for plan in plans for image, kinds in _grids_of(plan)]
    return int(max(1, min(n_threads, mem_gb * 1e9 / (READER_BYTES * max(sizes, default=1)))))


def _grids_of(plan):
    """One image of every grid of a participant, and what its values may be."""
    for series_plan in plan.series:
        series, kinds = series_plan.series, _kind_of(series_plan).kinds
        sampling = getattr(series, "sampling", None)
        yield from ((image, kinds) for image in (series.images[0], *(sampling.files if sampling else ())))


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


def check_inputs(plan, record, readers, stopped=None):
    """Plan of a participant whose inputs are known.

    Parameters
    ----------
    plan : ParticipantPlan
    record : InputRecord
    readers : concurrent.futures.Executor
        Its threads read the files.
    stopped : threading.Event, optional
        Once set, reading ends.

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
    known = readers.map(lambda file: _known_digest(record, file, file in images, stopped), files)
    digests = dict(zip(files, known, strict=True))
    todo = [scan for scan in scans if not scan.is_known(record, digests)]
    takers = {image: [] for scan in todo for image in scan.images}
    list(readers.map(lambda scan: scan.prepare(), todo))
    for scan in todo:
        for image, taker in zip(scan.images, scan.takers, strict=True):
            takers[image].append(taker)
    kinds = COMPLEX if any(scan.plan.options.mrf.wanted for scan in scans) else REAL
    read = readers.map(lambda image: tally_image(image, kinds, takers[image], stopped), takers)
    for image, (stamp, digest) in zip(takers, read, strict=True):
        record.remember(image, stamp, digest)
        digests[image] = digest
    for scan in todo:
        record.findings[scan.key(digests)] = scan.find()
    record.keep(files)
    checked = []
    for scan in scans:
        notes = scan.check(record.findings[scan.key(digests)])
        mine = tuple((str(file), digests[file]) for file in scan.plan.files)
        checked.append(replace(scan.plan, digests=mine, voxel_notes=tuple(notes)))
    return replace(plan, series=tuple(checked))


def _known_digest(record, file, is_image, stopped):
    """Digest of a file; None of an image that must be read to know it."""
    digest = record.digest_of(file)
    if digest is None and (not is_image or record.same_size(file)):
        stamp, digest = stamp_of(file), digest_file(file, stopped)
        record.remember(file, stamp, digest)
    return digest


def _kind_of(plan):
    return _FingerprintScan if plan.options.mrf.wanted else _SpectralScan


def _scan_of(plan):
    return _kind_of(plan)(plan)


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

    def _asked(self):
        return [list(self.series.parts)]

    @cached_property
    def region(self):
        """Voxels to fit where masks tell, else all: what is to be drawn on is known when the frames were read."""
        image = self.series.images[0]
        grid = read_grid(image, self.kinds)
        return common_mask(self.plan.masks, image, grid) if self.plan.masks else np.ones(grid.shape, bool)

    def prepare(self):
        """Make what takes the frames; those of the sampling are only read."""
        n_voxels = int(self.region.sum())
        self.tallies = [ImageTally(n_voxels, signed=True) for _ in self.series.images]
        self.powers = [] if self.plan.masks else [np.zeros(n_voxels) for part in self.series.parts if part != "phase"]
        images = zip(self.series.images, self.series.parts, self.tallies, strict=True)
        self.takers = [self._taker(*one, power) for one, power in zip_longest(images, self.powers)]
        self.takers += [lambda volume, values: None] * (len(self.images) - len(self.takers))

    def _taker(self, path, part, tally, power):
        def take(frame, values):
            if part == "phase":
                check_phase(values, frame, path)
            inside = values[self.region]
            amplitudes = np.abs(inside) if inside.dtype.kind == "c" else inside
            tally.add(frame, amplitudes)
            if power is not None:
                finite = np.nan_to_num(amplitudes, posinf=0.0, neginf=0.0)
                np.add(power, finite.astype(float) ** 2, out=power)

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
