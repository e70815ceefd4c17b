"""Volume tables beside an image: ``*_acqparams.tsv`` and the InSpect toolbox's ``*_gradechoinv.txt``.

Columns gx gy gz b TE TI [TR]; b in s/mm2; times in ms or in s, recognised by their size.
"""

import numpy as np

from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.input.sidecars import LONGEST, MS_PER_S, VolumeTable, check_bvalues, unit_directions
from mrspec_prep.bids.names import natural_key, split_name
from mrspec_prep.physics.encodings import B0_CEILING

COLUMNS = ("gx", "gy", "gz", "b", "TE", "TI", "TR")
KINDS = {"TE": "EchoTime", "TI": "InversionTime", "TR": "RepetitionTime"}
#: per column: largest value [s] that is taken for seconds written among ms, and what tells the two apart
LARGEST_AMONG_MS = {"TE": 1.0, "TI": 5.0, "TR": 20.0}
MIXED_FACTOR = 50  # between the largest of the small values and the smallest of the large ones
ALIKE = 1.5  # small values, read as s, are times like the others within this factor of their range
NARROW = 10  # range of the others (a factor) in which a single value does not lie by chance
ENDINGS = ("acqparams.tsv", "gradechoinv.txt")
OTHER_NAMES = {"bval": "b", "bvalue": "b", "echotime": "TE", "inversiontime": "TI", "repetitiontime": "TR"}


def find_table(image):
    """Table beside ``image``, or None.

    A table belongs to an image when it lies in the same folder and has no entity that the
    image lacks or has otherwise; the most specific one counts.

    Raises
    ------
    InputError
        Two tables fit equally well.

    """
    fits = [
        (len(split_name(path).entities), path)
        for path in sorted(image.parent.iterdir(), key=natural_key)
        if path.name.endswith(ENDINGS) and _belongs_to(image, path)
    ]
    if not fits:
        return None
    most = max(count for count, _ in fits)
    best = [path for count, path in fits if count == most]
    if len(best) > 1:
        raise InputError(
            f"two tables describe {image.name}",
            file=best[1],
            value=f"also {best[0].name}",
            remedy="keep one, or give each the entities of its image",
        )
    return best[0]


def _belongs_to(image, table):
    """Whether a table names no entity and no suffix that the image has otherwise; never a hidden file."""
    mine, its = split_name(image), split_name(table)
    suffixes = [word for word in table.name.partition(".")[0].split("_")[:-1] if "-" not in word]
    return (
        not table.name.startswith(".")
        and its.entities.items() <= mine.entities.items()
        and set(suffixes) <= {mine.suffix}
    )


def read_table(path, n_volumes):
    """Encodings of each volume from a table.

    Parameters
    ----------
    path : Path
    n_volumes : int
        Volumes of the image.

    Returns
    -------
    VolumeTable
        None for a column that is missing or NaN throughout (not varied). Its notes say
        when the times were recognised as seconds.

    Raises
    ------
    InputError
        Unreadable, an unknown layout, a wrong number of rows, values missing for some
        volumes only, or times of mixed units.

    """
    columns = _columns(path)
    n_rows = len(columns["b"])
    if n_rows != n_volumes:
        raise InputError(
            f"the image has {n_volumes} volumes, the table {n_rows} rows",
            file=path,
            value=f"{n_rows} rows",
            remedy="one row per volume",
        )
    table = VolumeTable()
    if not np.isnan(columns["b"]).all():
        table.bvalue = check_bvalues(columns["b"], path)
        table.direction = unit_directions(_vectors(columns, table.bvalue), table.bvalue, path)
    times = {name: _complete(columns[name], name, path) for name in KINDS if name in columns}
    times = {name: values for name, values in times.items() if values is not None}
    for name, values in times.items():
        _refuse_mixed(values, name, path)
    in_seconds = _unit_is_seconds(times, path)
    factor = MS_PER_S if in_seconds else 1.0
    table.echo_time, table.inversion_time, table.repetition_time = (
        None if name not in times else times[name] * factor for name in KINDS
    )
    if in_seconds:
        table.notes.append(f"{path.name}: times {', '.join(times)} were recognised as seconds and converted to ms.")
    return table


def _columns(path):
    """Column name -> values of a table with or without a header line."""
    lines = [line.split() for line in read_text(path, "the table").splitlines() if line.strip()]
    if not lines:
        raise InputError("the table is empty", file=path, remedy=f"columns {' '.join(COLUMNS)}, one row per volume")
    header = None
    if not _is_number(lines[0][0]):
        header = [_column_name(word.lstrip("#")) for word in lines.pop(0) if word != "#"]
    for number, words in enumerate(lines):
        bad = [word for word in words if not _is_number(word)]
        expected = len(header) if header else len(lines[0])
        if bad or len(words) != expected:
            raise InputError(
                f"row {number + 1} of the table does not hold {expected} numbers",
                file=path,
                value=bad[0] if bad else f"{len(words)} values",
                remedy="numbers, or NaN for what is not varied",
            )
    values = np.array([[float("nan") if word.lower() == "n/a" else float(word) for word in words] for words in lines])
    if header is None:
        if values.ndim != 2 or values.shape[1] not in (6, 7):
            raise InputError(
                "a table without header needs 6 or 7 columns",
                file=path,
                value=f"{values.shape[-1]} columns",
                remedy=f"columns {' '.join(COLUMNS)}, one row per volume",
            )
        header = COLUMNS[: values.shape[1]]
    missing = [name for name in COLUMNS[:4] if name not in header]
    if missing or not len(lines):
        raise InputError(
            f"the table lacks {', '.join(missing) or 'rows'}", file=path, remedy=f"columns {' '.join(COLUMNS)}"
        )
    return dict(zip(header, values.T, strict=True))


def _column_name(word):
    known = {name.lower(): name for name in COLUMNS} | OTHER_NAMES
    return known.get(word.lower().replace("_", ""), word)


def _is_number(word):
    try:
        float("nan" if word.lower() == "n/a" else word)
    except ValueError:
        return False
    return True


def _vectors(columns, bvalues):
    vectors = np.stack([columns[name] for name in COLUMNS[:3]], axis=1)
    vectors[(bvalues <= B0_CEILING) & np.isnan(vectors).any(axis=1)] = 0.0
    return vectors


def _complete(values, name, path):
    """``values``, or None where all are NaN; InputError where only some are, or one is not > 0."""
    missing = np.isnan(values)
    if missing.all():
        return None
    wrong = missing | ~(values > 0) | np.isinf(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"column {name} must be > 0 in every row, or NaN in every row",
            file=path,
            value=f"{values[row]} in row {row + 1}",
            remedy="give the time of each volume",
        )
    return values


def _refuse_mixed(values, name, path):
    """Raise InputError where one column seems to hold seconds in some rows and milliseconds in others.

    So it seems where values that are hardly milliseconds (``LARGEST_AMONG_MS``) lie far below the others, and read as
    seconds lie among them (``ALIKE``). Among others that span more than a factor ``NARROW``, two distinct values must:
    one ultrashort echo (0.03 ms before 2.2 to 32 ms) lies there by chance. The rule misses seconds that end outside
    the range of the others (0.06 s beside 120 ms), and one value of seconds beside a wide range; it refuses two
    ultrashort echo times, both below 1/50 of the next, that a thousandfold lie among later ones.
    """
    if values.max() <= LONGEST[KINDS[name]]:
        return
    small = values <= LARGEST_AMONG_MS[name]
    if not small.any() or small.all():
        return
    lowest, highest = values[~small].min(), values[~small].max()
    apart = lowest >= MIXED_FACTOR * values[small].max()
    as_seconds = MS_PER_S * values[small]
    slack = ALIKE * (1 + 1e-9)
    alike = lowest <= slack * as_seconds.min() and as_seconds.max() <= slack * highest
    telling = highest <= NARROW * lowest or len(np.unique(as_seconds)) > 1
    if apart and alike and telling:
        row = int(np.argmax(small))
        raise InputError(
            f"column {name} seems to mix seconds and milliseconds",
            file=path,
            value=f"{values[row]:g} in row {row + 1} and {int(small.sum()) - 1} more so small, the others {lowest:g} "
            f"to {highest:g}",
            remedy=f"write all times in ms; if {values[row]:g} ms is meant, NaN here and times in s in the sidecar",
        )


def _unit_is_seconds(times, path):
    """Whether the times are seconds, the unit being one for the table.

    TE and TI tell: in ms they exceed what any sequence can last in s. TR tells only where
    it stands alone, but must in that unit not be shorter than TE and TI.
    """
    telling = {name: values for name, values in times.items() if name != "TR"} or times
    votes = {name: bool(values.max() <= LONGEST[KINDS[name]]) for name, values in telling.items()}
    agreed = len(set(votes.values())) <= 1
    in_seconds = all(votes.values()) and bool(votes)
    if "TR" in times and agreed:
        too_long = in_seconds and times["TR"].max() > LONGEST["RepetitionTime"]
        agreed = not too_long and all((times["TR"] >= values).all() for values in telling.values())
    if not agreed:
        raise InputError(
            "the columns seem to mix seconds and milliseconds, or TR is shorter than TE or TI",
            file=path,
            value=", ".join(f"{name} up to {values.max():g}" for name, values in times.items()),
            remedy="write all times in ms",
        )
    return in_seconds
