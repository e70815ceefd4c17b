"""Schedule tables of fingerprinting: one row per frame, in BIDS units (degrees, s)."""

import difflib

import numpy as np

from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.input.sidecars import MS_PER_S
from mrspec_prep.bids.names import split_name
from mrspec_prep.physics.fingerprinting import Schedule
from mrspec_prep.physics.fingerprinting.tables import INTERLEAF, LONGEST, NEEDED, OPTIONAL, one_phase

ENDING = "schedule.tsv"
COLUMNS = "columns flip_angle [deg], repetition_time, echo_time, inversion_time [s, n/a where there is none]"


def find_schedule(image, root):
    """Schedule table of a fingerprinting image.

    A table applies as BIDS sidecars do: it lies in the image's folder or above and has no entity that the image
    lacks or has otherwise; the nearest folder counts, and in it the table with most entities.

    Parameters
    ----------
    image : Path
    root : Path
        Of the dataset.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        None applies, or two equally well.

    """
    mine = split_name(image)
    for folder in (image.parent, *image.parent.parents):
        found = {}
        for path in sorted(folder.glob(f"*{ENDING}")):
            its = split_name(path)
            if its.entities.items() <= mine.entities.items() and not path.name.startswith("."):
                found.setdefault(len(its.entities), []).append(path)
        if found:
            best = found[max(found)]
            if len(best) > 1:
                raise InputError(
                    f"two schedules describe {image.name}",
                    file=best[1],
                    value=f"also {best[0].name}",
                    remedy="keep one",
                )
            return best[0]
        if folder == root:
            break
    raise InputError(
        "a fingerprinting series needs a table of its schedule and has none",
        file=image,
        remedy=f"put sub-{mine.entities.get('subject')}_{ENDING} beside it, or {ENDING} at the top of the dataset, "
        f"one row per frame, {COLUMNS}; or name one with mrf.schedule",
    )


def read_schedule(path, n_frames, inversion_efficiency=1.0):
    """Schedule of a table.

    Parameters
    ----------
    path : Path
    n_frames : int
        Volumes of the image.
    inversion_efficiency : float

    Returns
    -------
    Schedule
        Times [ms].

    Raises
    ------
    InputError
        Columns missing, rows unlike frames, values that are no numbers, milliseconds where BIDS says seconds,
        radians, echo times beyond repetition times, or excitations of several phases.

    """
    columns = _columns(path)
    n_rows = len(columns["flip_angle"])
    if n_rows != n_frames:
        raise InputError(
            f"the series has {n_frames} frames and its schedule {n_rows} rows",
            file=path,
            value=f"{n_rows} rows",
            remedy="one row per frame, in the order of the volumes",
        )
    for name, longest in LONGEST.items():
        _check_seconds(path, name, columns.get(name), longest)
    _check_one_phase(path, columns.get("phase"))
    inversions = columns.get("inversion_time")
    times = [columns[name] * MS_PER_S for name in NEEDED[1:]]
    inverted = None if inversions is None or np.isnan(inversions).all() else inversions * MS_PER_S
    try:
        return Schedule(columns["flip_angle"], *times, inverted, inversion_efficiency)
    except ValueError as error:
        raise InputError(f"the schedule cannot be played: {error}", file=path, remedy="correct this column") from error


def read_interleaves(path):
    """Interleaf that each frame of a schedule was sampled by, (n_frames,) int from 0; None without that column.

    Raises
    ------
    InputError
        Numbers that are not whole, or below 0.

    """
    values = _columns(path).get(INTERLEAF)
    if values is None or np.isnan(values).all():
        return None
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values == np.round(values))))
    if len(wrong):
        raise InputError(
            f"the interleaf of frame {wrong[0]} is not a whole number from 0",
            file=path,
            value=f"{values[wrong[0]]:g}",
            remedy="count interleaves from 0",
        )
    return values.astype(int)


def _columns(path):
    """Column name -> float values; NaN for n/a, which only inversion times may be."""
    lines = [line.split("\t") for line in read_text(path, "the schedule").splitlines() if line.strip()]
    header, rows = [word.strip() for word in lines[0]] if lines else [], lines[1:]
    missing = [name for name in NEEDED if name not in header]
    if missing or not rows:
        close = [word for name in missing for word in difflib.get_close_matches(name, header, 1, 0.5)]
        found = f"{', '.join(header)}" + (f"; is {close[0]} meant?" if close else "")
        what = f"the column{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else "rows"
        raise InputError(f"the schedule lacks {what}", file=path, value=found or "nothing", remedy=f"give {COLUMNS}")
    columns = {name: np.empty(len(rows)) for name in (*NEEDED, *OPTIONAL) if name in header}
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"row {number + 1} of the schedule does not have {len(header)} values",
                file=path,
                value=f"{len(row)} values",
                remedy="separate values by tabs, n/a for what is absent",
            )
        for name in columns:
            columns[name][number] = _number(path, name, number, row[header.index(name)].strip())
    return columns


def _number(path, name, row, word):
    """One value of the table."""
    if word.lower() in ("n/a", "nan") and name in OPTIONAL:
        return np.nan
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(
            f"{name} of frame {row} is not a number", file=path, value=word, remedy="give the value of every frame"
        )
    return value


def _check_seconds(path, name, values, longest):
    """Raise InputError where times are in milliseconds."""
    known = values[np.isfinite(values)] if values is not None else ()
    if len(known) and np.median(known) > longest:
        raise InputError(
            f"{name} is in milliseconds where BIDS says seconds",
            file=path,
            value=f"{np.median(known):g} in most frames",
            remedy="divide the column by 1000",
        )


def _check_one_phase(path, phase):
    """Raise InputError where excitations differ in phase: the images must hold none of that."""
    if not one_phase(phase):
        raise InputError(
            "the excitations differ in phase, and the signal model (FISP) knows one phase",
            file=path,
            value=f"phase {np.nanmin(phase):g} to {np.nanmax(phase):g} degrees",
            remedy="leave the column out if the reconstruction undid it; balanced and RF-spoiled sequences are not "
            "modelled",
        )
