"""Which voxels of a region can be fitted: counted volume by volume, so that no image need be held."""

from dataclasses import asdict, dataclass, fields
from functools import reduce

import numpy as np

from mrspec_prep.bids.errors import InputError

MANY_BAD_VOXELS = 0.2  # of the region: beyond it the data are refused
BROKEN, LIT, LOW = range(3)  # marks of a voxel


class ImageTally:
    """What the volumes of one image hold in the voxels of a region; they are added one after the other.

    Parameters
    ----------
    n_voxels : int
        Of the region.
    signed : bool
        Negative values are signal: after inversion.
    judged : bool
        Voxels without signal are lost in it: it holds unweighted volumes. Where all are weighted, or there is one
        only, nothing may be left of the signal.

    """

    def __init__(self, n_voxels, signed=False, judged=True):
        self.signed = signed
        self.judged = judged
        self.n_volumes = 0
        self.zero_volumes = []
        self.first_broken = None  #: voxel, volume
        self.n_voxels = n_voxels
        self.marks = np.packbits(np.zeros((3, n_voxels), bool), axis=1)
        self.level = self.reference = None

    @property
    def broken(self):
        """(n_voxels,) bool array: NaN or infinite in some volume."""
        return self._marked(BROKEN)

    @property
    def lit(self):
        """(n_voxels,) bool array: signal, or values that differ."""
        return self._marked(LIT)

    @property
    def low(self):
        """(n_voxels,) bool array: no signal in some volume."""
        return self._marked(LOW)

    def _marked(self, mark):
        marks = self.marks[mark]
        return marks if marks.dtype == bool else np.unpackbits(marks, count=self.n_voxels).view(bool)

    def close(self):
        """Hold no more than has to be told: there are no more volumes. 3 bits of a voxel stay, and the reference."""
        if self.n_volumes:
            self.marks, self.level = np.packbits(self.marks, axis=1), None

    def add(self, volume, values, is_reference=False):
        """Count one volume.

        Parameters
        ----------
        volume : int
            Its place in the file.
        values : (n_voxels,) array
        is_reference : bool
            It is one of ``Encodings.reference``.

        """
        if not self.n_volumes:
            self.marks = np.zeros((3, self.n_voxels), bool)
        self.n_volumes += 1
        with np.errstate(invalid="ignore"):
            least, most = float(values.min()), float(values.max())  # NaN carries over
        if least == most == 0:
            self.zero_volumes.append(volume)
        if least > 0 and most < np.inf:
            self.marks[LIT] = True
        else:
            self._count(volume, values)
        if is_reference:
            self.reference = (0.0 if self.reference is None else self.reference) + values.astype(float)

    def _count(self, volume, values):
        finite = np.isfinite(values)
        if not finite.all():
            self.marks[BROKEN] |= ~finite
            voxel = int(np.argmin(finite))
            if self.first_broken is None or voxel < self.first_broken[0]:
                self.first_broken = voxel, volume
        signal = values != 0 if self.signed else values > 0
        self.level = values.copy() if self.level is None else self.level
        changed = values != self.level  # noise about zero changes; what was cut off or filled does not
        self.marks[LIT] |= signal | changed
        self.marks[LOW] |= ~signal


@dataclass(frozen=True)
class VoxelFinding:
    """What was found in the voxels of a region; images are numbered as in the series."""

    n_voxels: int
    n_unusable: int = 0
    n_not_finite: int = 0
    n_dark: int = 0  #: without positive reference signal
    n_lost: tuple[int, ...] = ()  #: of each image: zero, or one negative value, in all its volumes
    n_low: tuple[int, ...] = ()  #: of each image: usable, zero or negative in some volumes
    zero_volumes: tuple[tuple[int, int], ...] = ()  #: image and volume of those that are zero throughout
    first: tuple[int, int, int] = (0, 0, 0)  #: unusable voxel, and the image and volume that tell
    n_bad_noise: int = 0  #: usable voxels where a given noise map is not positive

    def to_json(self):
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain):
        """Finding of plain values; ValueError, TypeError or KeyError where they are none."""
        kinds = {f.name: type(f.default) if f.name != "n_voxels" else int for f in fields(cls)}
        if set(plain) != set(kinds):
            raise KeyError("not the entries of a finding")
        made = {name: _checked(plain[name], kind) for name, kind in kinds.items()}
        made["zero_volumes"] = tuple(_checked(pair, tuple) for pair in plain["zero_volumes"])
        numbers = [*made["n_lost"], *made["n_low"], *made["first"], *sum(made["zero_volumes"], ())]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise TypeError("not the numbers of a finding")
        return cls(**made)

    def fits(self, n_images):
        """Whether it can be one of a series of so many images."""
        counts = {len(self.n_lost), len(self.n_low)} <= {0, n_images}
        places = len(self.first) == 3 and all(len(pair) == 2 for pair in self.zero_volumes)
        images = [image for image, _ in self.zero_volumes] if places else []
        within = places and self.first[0] < self.n_voxels and max(images, default=0) < n_images > self.first[1]
        return counts and within and self.n_unusable <= self.n_voxels

    @property
    def n_usable(self):
        """Voxels that can be fitted."""
        return self.n_voxels - self.n_unusable


def _checked(value, kind):
    value = tuple(value) if kind is tuple and isinstance(value, list) else value
    if type(value) is not kind or (kind is int and value < 0):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def find_voxels(tallies, reference):
    """Voxels that can be fitted: finite, with positive reference signal, and cut off in no image.

    Cut off is a voxel that has one and the same value, zero or below, in all volumes of an image with unweighted ones.
    A value that is not positive proves nothing in an image of a single volume (noise, or the null of an inversion) or
    of weighted volumes only; several that differ are noise about a signal that is gone.

    Parameters
    ----------
    tallies : sequence of ImageTally
        One per image.
    reference : (image, volume)
        The first reference volume.

    Returns
    -------
    usable : (n_voxels,) bool array
    finding : VoxelFinding

    """
    broken = any_of(tally.broken for tally in tallies)
    with np.errstate(invalid="ignore"):
        dark = ~broken & ~(sum(t.reference for t in tallies if t.reference is not None) > 0)
    usable, n_lost = ~broken & ~dark, []
    for tally in tallies:
        lost = usable & ~tally.lit if tally.n_volumes > 1 and tally.judged else np.zeros(usable.shape, bool)
        n_lost.append(int(lost.sum()))
        usable = usable & ~lost
    first = int(np.argmin(usable))
    finding = VoxelFinding(
        n_voxels=len(usable),
        n_unusable=int((~usable).sum()),
        n_not_finite=int(broken.sum()),
        n_dark=int(dark.sum()),
        n_lost=tuple(n_lost),
        n_low=tuple(int((usable & tally.low).sum()) for tally in tallies),
        zero_volumes=_zero_volumes(tallies),
        first=(first, *_witness(tallies, first, broken, dark, reference)),
    )
    return usable, finding


def any_of(marks):
    """Where any of some boolean arrays is true; they are taken one after the other."""
    return reduce(np.bitwise_or, marks)


def _witness(tallies, voxel, broken, dark, reference):
    """Image and volume that show why the first unusable voxel is none."""
    for image, tally in enumerate(tallies):
        if broken[voxel] and tally.first_broken is not None and tally.first_broken[0] == voxel:
            return image, tally.first_broken[1]
    if dark[voxel]:
        return reference
    return next(((image, 0) for image, tally in enumerate(tallies) if not tally.lit[voxel]), reference)


def _zero_volumes(tallies):
    return tuple((image, volume) for image, tally in enumerate(tallies) for volume in tally.zero_volumes)


def check_finding(finding, images, region):
    """Raise InputError where too little can be fitted.

    Parameters
    ----------
    finding : VoxelFinding
    images : sequence of Path
        Of the series.
    region : callable
        Gives the region, (nx, ny, nz) bool array, to tell where the first voxel lies.

    Raises
    ------
    InputError
        A volume that is zero throughout, or 20 % of the region's voxels without usable signal.

    """
    if finding.zero_volumes:
        image, volume = finding.zero_volumes[0]
        raise InputError(
            f"volume {volume} is zero in the whole region",
            file=images[image],
            value=f"{len(finding.zero_volumes)} such volumes",
            remedy="repair the image, or leave it out with --bids-filter-file",
        )
    share = finding.n_unusable / finding.n_voxels
    if share >= MANY_BAD_VOXELS:
        voxel, image, volume = finding.first
        place = np.argwhere(region())[voxel].tolist()
        raise InputError(
            f"{share:.0%} of the region's voxels have NaN, infinite or non-positive signal (the first: voxel {place}, "
            f"volume {volume})",
            file=images[image],
            value=f"{finding.n_unusable} of {finding.n_voxels}: {', '.join(_reasons(finding, images))}",
            remedy="give a mask that holds tissue only, or repair the image",
        )


def notes_on(finding, images):
    """What the user should know of a region's voxels, in words.

    Returns
    -------
    list of str
        Voxels that are left out, and why; values that are not positive in voxels that stay.

    """
    notes = []
    if finding.n_unusable:
        reasons = ", ".join(_reasons(finding, images))
        notes.append(f"{finding.n_unusable} of {finding.n_voxels} voxels were left out: {reasons}.")
    low = [f"{n_low} of {image.name}" for image, n_low in zip(images, finding.n_low, strict=False) if n_low]
    if low:
        notes.append(f"Voxels that stay, although they are zero or negative in some volumes: {', '.join(low)}.")
    return notes


def _reasons(finding, images):
    reasons = [f"{finding.n_not_finite} with NaN or infinite values"] * bool(finding.n_not_finite)
    reasons += [f"{finding.n_dark} without positive reference signal"] * bool(finding.n_dark)
    return reasons + [
        f"{n_lost} at zero, or one negative value, in all volumes of {image.name}"
        for image, n_lost in zip(images, finding.n_lost, strict=False)
        if n_lost
    ]


def tally_signals(signals, series):
    """ImageTally of every image of a series, of signals (n_voxels, n_encodings) that are loaded already."""
    signed = series.encodings.inversion_time is not None
    tallies = [ImageTally(len(signals), signed, judged=judged) for judged in images_judged(series)]
    reference = set(series.encodings.reference().tolist())
    for image, tally in enumerate(tallies):
        for encoding in np.flatnonzero(series.volumes[:, 0] == image).tolist():
            values = np.ascontiguousarray(signals[:, encoding])
            tally.add(int(series.volumes[encoding, 1]), values, encoding in reference)
        tally.close()
    return tallies


def images_judged(series):
    """Whether voxels can be lost in each image of a series: it holds unweighted volumes."""
    image, unweighted = series.volumes[:, 0], series.encodings.is_b0()
    return [bool(unweighted[image == number].any()) for number in range(len(series.images))]


def first_reference(series):
    """Image and volume of the first reference volume of a series."""
    image, volume = series.volumes[series.encodings.reference()[0]].tolist()
    return image, volume


def usable_voxels(signals, series):
    """Voxels whose signals are finite, positive in the mean reference, and cut off in no image.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    series : Series

    Returns
    -------
    usable : (n_voxels,) bool array
    notes : list of str
        How many are left out, and why; values that are not positive in those that stay.

    """
    usable, finding = find_voxels(tally_signals(signals, series), first_reference(series))
    return usable, notes_on(finding, series.images)


def check_signals(series, signals, roi):
    """Notes on the voxels of a region, (nx, ny, nz) bool, whose signals (n_voxels, n_encodings) are loaded.

    Raises
    ------
    InputError
        As ``check_finding``.

    """
    _, finding = find_voxels(tally_signals(signals, series), first_reference(series))
    check_finding(finding, series.images, lambda: roi)
    return notes_on(finding, series.images)
