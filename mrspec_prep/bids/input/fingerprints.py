"""Fingerprinting series: frames of one scan, complex or magnitude, and their schedule.

BIDS (1.11) has no suffix for fingerprinting. We read ``anat/sub-<label>_MRF.nii.gz``, frames along the fourth axis,
with BIDS's own ``part-`` for complex numbers in two files, and the schedule as a table; a dataset lists both in its
``.bidsignore``.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_images
from mrspec_prep.bids.input.images import filled_in
from mrspec_prep.bids.input.samplings import SamplingFiles, find_sampling
from mrspec_prep.bids.input.schedules import find_schedule, read_interleaves, read_schedule
from mrspec_prep.bids.input.series import OUTPUT_ENTITIES
from mrspec_prep.bids.input.sidecars import Sidecars
from mrspec_prep.bids.input.voxels import MANY_BAD_VOXELS, VoxelFinding, any_of
from mrspec_prep.bids.layout import find_images
from mrspec_prep.bids.names import split_name
from mrspec_prep.bids.nifti import COMPLEX, check_same_grid, iterate_volumes, open_image, read_grid
from mrspec_prep.physics.fingerprinting import Schedule

SUFFIX = "MRF"
PAIRS = (("real", "imag"), ("mag", "phase"))
PART_NAMES = {"mag": "magnitude", "phase": "phase", "real": "real part", "imag": "imaginary part"}
FULL_TURN = 2 * np.pi * 1.001  # rad: phases beyond are in other units


@dataclass(frozen=True, eq=False)
class FingerprintSeries:
    """One fingerprinting series of one participant and session.

    Parameters
    ----------
    subject : str
    session : str or None
    entities : dict of str to str
        Of output names, pybids' long names.
    images : tuple of Path
        One file, or two parts of complex numbers.
    parts : tuple of str
        ``complex``, ``mag``, or a pair of ``PAIRS``, as the images are.
    table : Path
        Of the schedule.
    schedule : Schedule
        Times [ms].
    sampling : SamplingFiles or None
        How frames were sampled, where files beside the series tell.
    notes : tuple of str
        What the user should know, in words.

    """

    subject: str
    session: str | None
    entities: dict[str, str]
    images: tuple[Path, ...]
    parts: tuple[str, ...]
    table: Path
    schedule: Schedule
    sampling: SamplingFiles | None = None
    notes: tuple[str, ...] = ()

    datatype, suffix = "anat", SUFFIX

    @property
    def sources(self):
        """Every file that was read."""
        return [*self.images, self.table, *(self.sampling.files if self.sampling else ())]

    @property
    def joined(self):
        """What was read, one sentence."""
        kind = {"complex": "complex numbers", "mag": "magnitudes"}.get(self.parts[0])
        kind = kind if len(self.parts) == 1 else " and ".join(PART_NAMES[part] for part in self.parts)
        sampled = f", sampling {self.sampling.spread[0].name}" if self.sampling else ""
        return f"{len(self.schedule)} frames as {kind}, schedule {self.table.name}{sampled}."

    def to_json(self):
        """Plain values, for a JSON file."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        columns = {f.name: getattr(self.schedule, f.name) for f in fields(Schedule)}
        return plain | {
            "images": [str(path) for path in self.images],
            "parts": list(self.parts),
            "table": str(self.table),
            "schedule": {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in columns.items()},
            "sampling": self.sampling.to_json() if self.sampling else None,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, plain):
        """Series of the plain values of ``to_json``."""
        columns = {name: np.array(v, float) if isinstance(v, list) else v for name, v in plain["schedule"].items()}
        made = {
            "images": tuple(Path(path) for path in plain["images"]),
            "parts": tuple(plain["parts"]),
            "table": Path(plain["table"]),
            "schedule": Schedule(**columns),
            "sampling": SamplingFiles.from_json(plain["sampling"]) if plain["sampling"] else None,
            "notes": tuple(plain["notes"]),
        }
        return cls(**(plain | made))


def find_fingerprints(
    layout, subject, select, sessions=None, filters=None, *, table=None, inversion_efficiency=1.0, sampled=True
):
    """Fingerprinting series of one participant, headers and schedules checked.

    Parameters
    ----------
    layout : BIDSLayout
    subject : str
        Label without ``sub-``.
    select : mrspec_prep.options.SelectOptions
    sessions : sequence of str, optional
    filters : dict, optional
        Content of a BIDS filter file.
    table : str, optional
        Path of the schedule with ``{subject}`` and ``{session}``, in place of the one in the dataset.
    inversion_efficiency : float
    sampled : bool
        Whether to look for files that tell the sampling.

    Returns
    -------
    list of FingerprintSeries
        In order of their names; empty where there is none.

    Raises
    ------
    InputError
        Anything that is wrong or ambiguous: file, value, remedy.

    """
    images = find_images(layout, subject, replace(select, suffix="auto"), sessions, {"anat": (SUFFIX,)})
    images, notes = filter_images(images, filters or {})
    groups = {}
    for path in images:
        entities = split_name(path).entities
        kept = tuple(sorted(item for item in entities.items() if item[0] != "part"))
        groups.setdefault(kept, {})[entities.get("part")] = path
    root = Path(layout.root)
    return [_series(parts, root, notes, table, inversion_efficiency, sampled) for parts in groups.values()]


def _series(found, root, notes, pattern, inversion_efficiency, sampled):
    """Series of the parts of one image, {part or None: path}."""
    parts = _parts(found)
    images = [found[None] if None in found else found[part] for part in parts]
    first, grid = images[0], read_grid(images[0], COMPLEX)
    for path, part in zip(images, parts, strict=True):
        other = read_grid(path, COMPLEX)
        check_same_grid(path, other, first, grid)
        if other.n_volumes != grid.n_volumes:
            raise InputError(
                f"not as many frames as {first.name}",
                file=path,
                value=f"{other.n_volumes} against {grid.n_volumes}",
                remedy="convert both parts again",
            )
        _check_part(path, part, Sidecars(root))
    if len(images) == 1 and open_image(first, COMPLEX).get_data_dtype().kind == "c":
        parts = ("complex",)
    entities = split_name(first).entities
    table = filled_in(pattern, entities) if pattern else find_schedule(first, root)
    sampling = find_sampling(first, SUFFIX, read_interleaves(table), table) if sampled else None
    if parts == ("mag",):
        if sampling:
            raise InputError(
                "point spreads need complex frames, and these are magnitudes",
                file=first,
                value=sampling.spread[0].name,
                remedy="give the frames as complex numbers or in two parts, or set mrf.sampling=none",
            )
        notes = [*notes, "Magnitudes: the sign of the signal after inversion is lost, and aliasing does not cancel."]
    return FingerprintSeries(
        subject=entities["subject"],
        session=entities.get("session"),
        entities={key: entities[key] for key in OUTPUT_ENTITIES if key in entities},
        images=tuple(images),
        parts=tuple(parts),
        table=table,
        schedule=read_schedule(table, grid.n_volumes, inversion_efficiency),
        sampling=sampling,
        notes=tuple(notes),
    )


def _parts(found):
    """Parts that make up the series, real and imaginary first where both pairs are there."""
    if None in found:
        if len(found) > 1:
            other = next(path for part, path in found.items() if part is not None)
            raise InputError(
                "the series is there whole and in parts", file=other, value=found[None].name, remedy="keep one of them"
            )
        return ("mag",)
    for pair in PAIRS:
        if set(pair) <= set(found):
            return pair
    if set(found) == {"mag"}:
        return ("mag",)
    part, path = next((part, path) for part, path in found.items() if part != "mag")
    other = next((b if part == a else a for a, b in PAIRS if part in (a, b)), None)
    if other is None:
        raise InputError(
            "unknown part of complex numbers", file=path, value=f"part-{part}", remedy="part-real and part-imag, or "
            "part-mag and part-phase"
        )  # fmt: skip
    raise InputError(
        f"the {PART_NAMES[other]} is missing that goes with the {PART_NAMES[part]}",
        file=path,
        value=", ".join(f"part-{name}" for name in found),
        remedy=f"put part-{other} beside it",
    )


def _check_part(path, part, sidecars):
    """Raise InputError where a phase is said to be in other units than rad."""
    units = sidecars.metadata(path).values.get("Units")
    if part == "phase" and units not in (None, "rad"):
        raise InputError("the phase is not in rad", file=path, value=f"Units {units}", remedy="rescale it to -pi to pi")


def load_frames(series):
    """All frames of a series.

    Returns
    -------
    (nx, ny, nz, n_frames) array
        complex64, or float32 of magnitudes.

    Raises
    ------
    InputError
        An image that cannot be read, or phases that are not in rad.

    """
    shape = (*read_grid(series.images[0], COMPLEX).shape, len(series.schedule))
    frames = np.empty(shape, np.float32 if series.parts == ("mag",) else np.complex64)
    for frame, volumes in enumerate(zip(*(iterate_volumes(path, COMPLEX) for path in series.images), strict=True)):
        if series.parts == ("real", "imag"):
            frames[..., frame] = volumes[0] + 1j * volumes[1]
        elif series.parts == ("mag", "phase"):
            check_phase(volumes[1], frame, series.images[1])
            frames[..., frame] = volumes[0] * np.exp(1j * volumes[1])
        else:
            frames[..., frame] = volumes[0]
    return frames


def check_phase(values, frame, path):
    """Raise InputError where phases, an array, are beyond a turn: in other units than rad."""
    largest = float(np.abs(values).max(initial=0, where=np.isfinite(values)))
    if largest > FULL_TURN:
        raise InputError(
            f"the phase of frame {frame} is not in rad",
            file=path,
            value=f"up to {largest:g}",
            remedy="rescale it to -pi to pi",
        )


def usable_fingerprints(frames, roi, images):
    """Region without the voxels that cannot be fitted, and a note on these.

    Parameters
    ----------
    frames : (nx, ny, nz, n_frames) array
    roi : (nx, ny, nz) bool array
    images : sequence of Path
        For the message.

    Returns
    -------
    roi : (nx, ny, nz) bool array
    notes : list of str

    Raises
    ------
    InputError
        As ``check_frames``.

    """
    signals = np.abs(frames[roi]).max(axis=1)  # NaN and infinity carry over
    finite = np.isfinite(signals)
    finding = _finding(finite, signals > 0)
    check_frames(finding, images)
    kept = roi.copy()
    kept[roi] = finite & (signals > 0)
    return kept, notes_on_frames(finding)


def find_frames(tallies, parts, inside=slice(None)):
    """VoxelFinding of frames that were read one after the other.

    Parameters
    ----------
    tallies : sequence of ImageTally
        Of each image of the series, signed.
    parts : sequence of str
        As of the series.
    inside : (n_voxels,) bool array, optional
        Those of the voxels that lie in the region.

    Returns
    -------
    VoxelFinding

    """
    amplitudes = tallies[:1] if parts == ("mag", "phase") else tallies
    finite = ~any_of(tally.broken for tally in tallies)
    return _finding(finite[inside], any_of(tally.lit for tally in amplitudes)[inside])


def _finding(finite, lit):
    n_usable = int((finite & lit).sum())
    return VoxelFinding(len(finite), n_unusable=len(finite) - n_usable, n_not_finite=len(finite) - int(finite.sum()))


def check_frames(finding, images):
    """Raise InputError where too few voxels can be fitted.

    Parameters
    ----------
    finding : VoxelFinding
    images : sequence of Path
        For the message.

    Raises
    ------
    InputError
        A fifth of the region and more is NaN, infinite, or zero in every frame.

    """
    share = finding.n_unusable / finding.n_voxels
    if share >= MANY_BAD_VOXELS:
        n_zero = finding.n_unusable - finding.n_not_finite
        raise InputError(
            f"{share:.0%} of the region's voxels have NaN or infinite values, or no signal",
            file=images[0],
            value=f"{finding.n_not_finite} not finite, {n_zero} zero in every frame",
            remedy="give a mask that holds tissue only, or repair the image",
        )


def notes_on_frames(finding):
    """Note on voxels that are left out, where there are any; in a list."""
    if not finding.n_unusable:
        return []
    left_out = f"{finding.n_unusable} of {finding.n_voxels} voxels were left out"
    return [f"{left_out}: not finite, or zero in every frame."]
