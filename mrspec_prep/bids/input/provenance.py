"""Where every volume of a preprocessed image comes from, by QSIPrep's confounds table: raw file, times, scaling.

QSIPrep may concatenate several scans into one image. Its ``*_desc-confounds_timeseries.tsv`` (``*_confounds.tsv``
before 0.24) has a row per volume: ``original_file`` (name of the raw image), ``bval`` and ``grad_x/y/z`` as acquired,
and ``series_b0_correction``, the factor that gave the scan the mean b=0 intensity of all (1 where that was off).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.input.grouping import KEYS, describe_image
from mrspec_prep.bids.input.sidecars import Metadata, Sidecars, VolumeTable, read_times
from mrspec_prep.bids.names import split_name

ENDINGS = ("desc-confounds_timeseries.tsv", "confounds.tsv")
UNSCALED = 1e-6  # how far from 1 a factor of a scan that was not scaled may be
BVALUE_TOLERANCE = {"rtol": 0.05, "atol": 20.0}  # s/mm2: rounding, and b=0 written as 5
MEAN_OF_TWO = re.compile(r"\.nii(\.gz)?\+")  # two file names in one; a label may hold a plus sign, too
RERUN = "run QSIPrep again with --no-b0-harmonization"
CONCATENATED = " and --distortion-group-merge none (groups that it concatenates are scaled in any case)"


@dataclass(frozen=True)
class Origin:
    """Where the volumes of one preprocessed image come from.

    Parameters
    ----------
    raw : tuple of str
        Name of the raw file of each volume; empty where that is not recorded.
    b0_scaling : str
        ``kept``: it is recorded that scans were not scaled to one b=0 intensity; ``unknown``; ``one-time``: they were,
        which harms nothing as their echo and inversion times are the same.

    """

    raw: tuple[str, ...] = ()
    b0_scaling: str = "unknown"


@dataclass(frozen=True)
class Origins:
    """Where the images of a preprocessed series come from.

    Parameters
    ----------
    dataset : str
        Name of the preprocessed dataset, as given with ``--derivatives``.
    root : Path
        Of that dataset.
    raw : tuple of tuple of str
        Per image, the name of the raw file of each volume; empty where that is not recorded.
    b0_scaling : str
        ``kept`` where every image is recorded to have its scans' own b=0 intensities, ``one-time`` where they were
        scaled and share their times, else ``unknown``.

    """

    dataset: str
    root: Path
    raw: tuple[tuple[str, ...], ...]
    b0_scaling: str

    def to_json(self):
        """Plain values."""
        return {"dataset": self.dataset, "root": str(self.root), "raw": self.raw, "b0_scaling": self.b0_scaling}

    @classmethod
    def from_json(cls, plain):
        """Origins of the plain values of ``to_json``."""
        return cls(plain["dataset"], Path(plain["root"]), tuple(map(tuple, plain["raw"])), plain["b0_scaling"])

    def of_volume(self, image, volume):
        """Raw file of a volume and the position in it; (None, None) where that is not recorded."""
        names = self.raw[image]
        return (names[volume], names[:volume].count(names[volume])) if names else (None, None)


class RawScans:
    """Raw images by file name, described when asked for.

    Parameters
    ----------
    roots : sequence of Path
        Datasets to look in.

    """

    def __init__(self, roots):
        self.roots = list(roots)
        self._sidecars = {root: Sidecars(root) for root in self.roots}
        self._described = {}

    def find(self, file_name):
        """``Described`` raw image of this name, or None."""
        if file_name not in self._described:
            entities = split_name(file_name).entities
            session = [f"ses-{entities['session']}"] if "session" in entities else []
            places = [root.joinpath(f"sub-{entities.get('subject')}", *session, "dwi") for root in self.roots]
            found = [
                (root, place / name)
                for root, place in zip(self.roots, places, strict=True)
                for name in (file_name, _twin(file_name))
                if (place / name).is_file()
            ]
            self._described[file_name] = describe_image(found[0][1], self._sidecars[found[0][0]]) if found else None
        return self._described[file_name]


def _twin(file_name):
    return file_name.removesuffix(".gz") if file_name.endswith(".gz") else file_name + ".gz"


def find_confounds(image):
    """Confounds table of a preprocessed image, or None; its name has all entities but ``space`` and ``desc``.

    Raises
    ------
    InputError
        There are two.

    """
    mine = _without(split_name(image).entities, "space", "desc", "resolution", "res")
    found = [
        path
        for path in sorted(image.parent.iterdir())
        if path.name.endswith(ENDINGS) and _without(split_name(path).entities, "desc") == mine
    ]
    if len(found) > 1:
        raise InputError("two tables of confounds", file=found[1], value=f"also {found[0].name}", remedy="keep one")
    return found[0] if found else None


def _without(entities, *keys):
    return {key: value for key, value in entities.items() if key not in keys}


def read_confounds(path, n_volumes):
    """Columns of a confounds table as text, a row per volume.

    Raises
    ------
    InputError
        Unreadable, rows of unequal length, or not one row per volume.

    """
    lines = [line.rstrip("\r").split("\t") for line in read_text(path, "the confounds table").split("\n") if line]
    if not lines or any(len(row) != len(lines[0]) for row in lines):
        raise InputError("not a table of tab-separated columns", file=path, remedy="run the preprocessing again")
    if len(lines) - 1 != n_volumes:
        raise InputError(
            f"the preprocessed image has {n_volumes} volumes, its confounds table {len(lines) - 1} rows",
            file=path,
            value=f"{len(lines) - 1} rows",
            remedy="run the preprocessing again: which volume comes from which raw file cannot be told",
        )
    return dict(zip(lines[0], zip(*lines[1:], strict=True), strict=True))


def trace_volumes(image, metadata, confounds, columns, raw):
    """Times of every volume, from the raw files that it comes from.

    Parameters
    ----------
    image : Path
        The preprocessed image.
    metadata : Metadata
        Its sidecar, whose ``SourceMetadata`` (from QSIPrep 1.0) stands in for raw files that are not at hand.
    confounds : Path
    columns : dict of str to tuple of str
        From ``read_confounds``, with ``original_file``.
    raw : RawScans

    Returns
    -------
    table : VolumeTable
        Times alone.
    origin : Origin
    metadata : Metadata
        Completed by what all raw scans say alike.

    Raises
    ------
    InputError
        A raw file is not there, does not have the volumes or b-values of the table, or tells no echo time where others
        do; the sidecar contradicts; or scans of different times were scaled to one b=0 intensity.

    """
    names = [Path(name).name for name in columns["original_file"]]
    rows = {name: np.flatnonzero([other == name for other in names]) for name in dict.fromkeys(names)}
    bvalues = numbers_of(columns, "bval", confounds)
    parts = {name: _scan_times(image, metadata, confounds, name, bvalues[rows[name]], raw) for name in rows}
    table = VolumeTable()
    for axis in ("echo_time", "inversion_time", "repetition_time"):
        setattr(table, axis, _gathered(axis, parts, rows, confounds, raw))
    table.notes += [note for part in parts.values() for note in part.notes]
    _check_sidecar(metadata, table, len(names))
    return table, Origin(tuple(names), _b0_scaling(columns, rows, table, confounds)), _shared(metadata, rows, raw)


def _shared(metadata, names, raw):
    """Sidecar of the image completed by what all its raw scans say alike; older QSIPrep wrote no sidecar."""
    scans = [scan.metadata for name in names if (scan := raw.find(name)) is not None]
    if not scans:
        return metadata
    times = ("EchoTime", "InversionTime", "RepetitionTime")
    alike = {
        key: value
        for key, value in scans[0].values.items()
        if not key.startswith(times) and all(scan.values.get(key) == value for scan in scans)
    }
    sources = {key: scans[0].where(key) for key in alike}
    return Metadata(alike | metadata.values, sources | metadata.sources, metadata.expected)


def _scan_times(image, metadata, confounds, name, bvalues, raw):
    """``VolumeTable`` of one raw scan, checked against its rows of the confounds table."""
    if MEAN_OF_TWO.search(name):
        raise InputError(
            "a volume is the mean of two raw ones",
            file=confounds,
            value=name,
            remedy="run QSIPrep again with --distortion-group-merge none",
        )
    scan, recorded = raw.find(name), metadata.values.get("SourceMetadata")
    if scan is None and isinstance(recorded, dict) and isinstance(recorded.get(name), dict):
        where = metadata.where("SourceMetadata")
        table = read_times(Metadata(recorded[name], dict.fromkeys(recorded[name], where), where), len(bvalues))
        table.notes.append(
            f"The raw image {name} is not at hand: its times are those that the sidecar of {image.name} records."
        )
        return table
    if scan is None:
        raise InputError(
            f"{len(bvalues)} volumes come from a raw image that is not there",
            file=confounds,
            value=name,
            remedy="give the raw dataset that was preprocessed as BIDS_DIR: its sidecars tell the echo times",
        )
    if scan.grid.n_volumes != len(bvalues):
        raise InputError(
            f"{name} has {scan.grid.n_volumes} volumes, and {len(bvalues)} preprocessed ones come from it",
            file=confounds,
            value=f"{len(bvalues)} rows",
            remedy="run the preprocessing again on this raw dataset: which volume is which cannot be told",
        )
    if not np.allclose(scan.table.bvalue, bvalues, **BVALUE_TOLERANCE):
        volume = int(np.argmax(np.abs(scan.table.bvalue - bvalues)))
        raise InputError(
            f"the b-values recorded for {name} are not those of the raw image",
            file=confounds,
            value=f"volume {volume}: {bvalues[volume]:g} and {scan.table.bvalue[volume]:g} s/mm2",
            remedy="run the preprocessing again on this raw dataset",
        )
    return scan.table


def numbers_of(columns, name, path):
    """(n,) numbers of a column, NaN for ``n/a``; InputError where it lacks or holds others."""
    if name not in columns:
        raise InputError(f"the confounds table lacks the column {name}", file=path, remedy="run QSIPrep 0.7 or newer")
    try:
        return np.array([float("nan" if cell == "n/a" else cell) for cell in columns[name]])
    except ValueError as error:
        raise InputError(
            f"the column {name} must hold numbers", file=path, value=error, remedy="run the preprocessing again"
        ) from error


def _gathered(axis, parts, rows, confounds, raw):
    """Times of all volumes from those of the scans; None where no scan tells, or a repetition time lacks."""
    lacking = [name for name, part in parts.items() if getattr(part, axis) is None]
    if axis == "repetition_time" and lacking:
        return None
    if len(lacking) == len(parts) and (axis != "echo_time" or len(parts) == 1):
        return None
    if lacking:
        gone = raw.find(lacking[0]) is None  # QSIPrep 1.1 keeps no time of the first scan where the others have others
        told = f"is not at hand, and no {KEYS[axis]} of it is recorded" if gone else f"tells no {KEYS[axis]}"
        raise InputError(
            f"the raw image {lacking[0]} {told}, and several scans are joined in the preprocessed one",
            file=confounds,
            value=f"{len(lacking)} of {len(parts)} scans",
            remedy="give the raw dataset: as BIDS_DIR, or with --derivatives unprocessed=PATH"
            if gone
            else f"add {KEYS[axis]} to the raw sidecars",
        )
    values = np.empty(sum(map(len, rows.values())))
    for name, part in parts.items():
        values[rows[name]] = getattr(part, axis)
    return values


def _check_sidecar(metadata, table, n_volumes):
    own = read_times(metadata, n_volumes).echo_time
    if own is None or table.echo_time is None or np.allclose(own, table.echo_time, rtol=1e-3):
        return
    volume = int(np.argmax(np.abs(own - table.echo_time)))
    raise InputError(
        "the sidecar of the preprocessed image and the raw sidecars contradict about EchoTime",
        file=metadata.where("EchoTime"),
        value=f"volume {volume}: {own[volume]:g} and {table.echo_time[volume]:g} ms",
        remedy="correct the one that is wrong",
    )


def _b0_scaling(columns, rows, table, confounds):
    """What the table records of scaling scans to one b=0 intensity; InputError where that took a decay away."""
    if "series_b0_correction" not in columns:
        return "unknown"
    factors = numbers_of(columns, "series_b0_correction", confounds)
    of_scan = {name: float(factors[where].mean()) for name, where in rows.items()}
    of_scan = {name: factor for name, factor in of_scan.items() if np.isfinite(factor)}  # a scan without b=0 is left
    if all(abs(factor - 1) <= UNSCALED for factor in of_scan.values()):
        return "kept"
    varying = [
        (axis, symbol)
        for axis, symbol in (("echo_time", "TE"), ("inversion_time", "TI"))
        if (values := getattr(table, axis)) is not None and np.ptp(values) > 1e-3 * values.max()
    ]
    if not varying:
        return "one-time"
    axis, symbol = varying[0]
    times = {name: float(getattr(table, axis)[where].mean()) for name, where in rows.items()}
    shown = ", ".join(f"{factor:.3f} at {symbol} {times[name]:g} ms" for name, factor in of_scan.items())
    raise InputError(
        "the preprocessing scaled all scans to one b=0 intensity, which takes the decay with "
        f"{'echo' if axis == 'echo_time' else 'inversion'} time away",
        file=confounds,
        value=f"series_b0_correction: {shown}",
        remedy=RERUN + CONCATENATED,
    )
