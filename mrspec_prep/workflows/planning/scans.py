"""Images of one series as they are read before anything is computed: what is kept of them, and how it is judged."""

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest

import numpy as np

from mrspec_prep import __version__
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

#: per voxel of an image that is being read: a volume as stored, as numbers, and its tally
READER_BYTES = {REAL: 40, COMPLEX: 48}
SCAN_BYTES = 16  # per voxel of a series: its region, and what is at work when it is judged
TALLY_BYTES = 3 / 8  # per voxel of an image that was read
SUM_BYTES = 8  # per voxel of an image whose volumes a mask is drawn on, or by which voxels are judged dark


@dataclass
class SpectralScan:
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


class FingerprintScan(SpectralScan):
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


def scan_of(plan):
    """Scan of the plan of a series."""
    return FingerprintScan(plan) if plan.options.mrf.wanted else SpectralScan(plan)
