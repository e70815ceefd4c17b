"""Sidecars, b-values and directions of an image, and their translation from BIDS units.

On disk: s and s/mm2. Inside: ms and s/mm2. This is the only place that converts.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError, read_text, unreadable
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.names import split_name
from mrspec_prep.physics.encodings import B0_CEILING, UNIT_TOLERANCE

MS_PER_S = 1e3
#: the largest value [s] that a sequence can have; above it milliseconds were written
LONGEST = {"EchoTime": 1.0, "InversionTime": 20.0, "RepetitionTime": 100.0}
SMALLEST_TOP_BVALUE = 10.0  # s/mm2: a series whose largest b lies below was written in ms/um2
LARGEST_NUMBER = 1e300  # JSON may hold whole numbers that no float can


@dataclass
class VolumeTable:
    """What is known of each volume of one image, in internal units; None where nothing is.

    ``bvalue`` (n,) [s/mm2], ``direction`` (n, 3), ``echo_time``, ``inversion_time``,
    ``repetition_time`` (n,) [ms], and ``notes`` in words.
    """

    bvalue: np.ndarray | None = None
    direction: np.ndarray | None = None
    echo_time: np.ndarray | None = None
    inversion_time: np.ndarray | None = None
    repetition_time: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Metadata:
    """Merged sidecars of one image: values, and the file each came from."""

    values: dict
    sources: dict[str, Path]
    expected: Path

    def where(self, key):
        """File that holds ``key``, or the sidecar that should."""
        return self.sources.get(key, self.expected)


class Sidecars:
    """Finds the files that describe an image by the BIDS inheritance principle.

    Parameters
    ----------
    root : path
        Root of the dataset.

    """

    def __init__(self, root):
        self.root = Path(root)
        self._listed = {}
        self._read = {}

    def find(self, image, extension):
        """Files of one extension that apply to ``image``, the one that counts most last.

        A file applies when it lies in the image's folder or above, has its suffix, and
        has no entity that the image lacks or has otherwise.

        Raises
        ------
        InputError
            Two files of one folder apply and neither is more specific.

        """
        name = split_name(image)
        found = []
        for folder in self._folders(image):
            here = [
                (len(other.entities), path)
                for path, other in self._list(folder)
                if other.extension == extension
                and other.suffix == name.suffix
                and other.entities.items() <= name.entities.items()
            ]
            here.sort(key=lambda item: item[0])
            for (n_low, low), (n_high, high) in zip(here[:-1], here[1:], strict=True):
                if n_low == n_high:
                    raise InputError(
                        f"two files of one folder describe {image.name}, and neither is more specific",
                        file=high,
                        value=f"also {low.name}",
                        remedy="merge them or give them more entities",
                    )
            found += [path for _, path in here]
        return found

    def metadata(self, image):
        """Metadata of ``image``, from all its sidecars.

        Raises
        ------
        InputError
            A sidecar that is unreadable or not JSON, or two that contradict in one folder.

        """
        values, sources = {}, {}
        for path in self.find(image, ".json"):
            if path not in self._read:
                self._read[path] = read_json(path)
            values |= self._read[path]
            sources |= dict.fromkeys(self._read[path], path)
        return Metadata(values, sources, image.with_name(image.name.partition(".")[0] + ".json"))

    def _folders(self, image):
        below = image.parent.relative_to(self.root).parts
        return [self.root.joinpath(*below[:depth]) for depth in range(len(below) + 1)]

    def _list(self, folder):
        if folder not in self._listed:
            try:
                names = [(path, split_name(path)) for path in sorted(folder.iterdir()) if "." in path.name]
            except OSError as error:
                raise unreadable(folder, error) from error
            self._listed[folder] = names
        return self._listed[folder]


def read_numbers(path, what):
    """Rows of numbers of a text file, separated by blanks, tabs or commas.

    Raises
    ------
    InputError
        Unreadable, empty, not numeric, or rows of different length.

    """
    rows = []
    for line in read_text(path, what).splitlines():
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append([float("nan" if word.lower() == "n/a" else word) for word in words])
        except ValueError as error:
            raise InputError(
                f"{what} must hold numbers only", file=path, value=line[:60], remedy="correct it"
            ) from error
    if not rows:
        raise InputError(f"{what} is empty", file=path, remedy="write one value per volume")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"rows of {what} differ in length",
            file=path,
            value=sorted(lengths),
            remedy="one value per volume in each row",
        )
    return np.array(rows)


def read_bvalues(path, n_volumes):
    """(n_volumes,) b-values [s/mm2] of a ``.bval`` file.

    Raises
    ------
    InputError
        Wrong length, NaN or negative values, or values that are in ms/um2.

    """
    numbers = read_numbers(path, "the b-value file")
    if 1 not in numbers.shape or numbers.size != n_volumes:
        raise InputError(
            f"the image has {n_volumes} volumes, the b-value file {numbers.size} values",
            file=path,
            value=f"{numbers.shape[0]} x {numbers.shape[1]}",
            remedy="one b-value per volume in one row",
        )
    return check_bvalues(numbers.ravel(), path)


def check_bvalues(bvalues, path):
    """``bvalues`` [s/mm2] as given; InputError where they are not finite, negative, or in ms/um2."""
    wrong = ~np.isfinite(bvalues) | (bvalues < 0)
    if wrong.any():
        volume = int(np.argmax(wrong))
        raise InputError(
            f"b-value of volume {volume} is not a number >= 0",
            file=path,
            value=bvalues[volume],
            remedy="write b in s/mm2, 0 for unweighted volumes",
        )
    if 0 < bvalues.max() < SMALLEST_TOP_BVALUE:
        raise InputError(
            "b-values look like ms/um2 where BIDS says s/mm2",
            file=path,
            value=f"largest {bvalues.max():g}",
            remedy="multiply them by 1000",
        )
    return bvalues


def read_directions(path, bvalues):
    """(n_volumes, 3) unit directions of a ``.bvec`` file of three rows; zero at b=0.

    Raises
    ------
    InputError
        Not three rows of one value per volume, or a direction that is not of unit length.

    """
    numbers = read_numbers(path, "the direction file")
    if numbers.shape != (3, len(bvalues)):
        raise InputError(
            f"the direction file must have 3 rows of {len(bvalues)} values",
            file=path,
            value=f"{numbers.shape[0]} x {numbers.shape[1]}",
            remedy="one column x y z per volume",
        )
    return unit_directions(numbers.T, bvalues, path)


def unit_directions(directions, bvalues, path):
    """(n, 3) directions of length 1 where b > 50 s/mm2, of length 1 or 0 below, 0 at b=0.

    Raises
    ------
    InputError
        A weighted volume without direction, or a length that is not 1 within 5 %.

    """
    length = np.linalg.norm(directions, axis=1)
    weighted = bvalues > B0_CEILING
    wrong = weighted & ~(np.abs(length - 1) <= UNIT_TOLERANCE)
    if wrong.any():
        volume = int(np.argmax(wrong))
        raise InputError(
            f"direction of volume {volume} (b = {bvalues[volume]:g} s/mm2) is not a unit vector",
            file=path,
            value=f"{directions[volume].tolist()}, length {length[volume]:.3g}",
            remedy="write unit vectors; if their length scales b, write the scaled b-values instead",
        )
    usable = (bvalues > 0) & (np.abs(length - 1) <= UNIT_TOLERANCE)
    unit = np.zeros_like(directions)
    unit[usable] = directions[usable] / length[usable, None]
    return unit


def read_times(metadata, n_volumes):
    """Echo, inversion and repetition times of each volume from the sidecars.

    ``EchoTime``, ``InversionTime`` and ``RepetitionTimePreparation`` or ``RepetitionTime``
    may be one number or one per volume; ``InversionTimes`` and ``RepetitionTimes`` are
    one per volume.

    Returns
    -------
    VolumeTable
        Times [ms]; None where the sidecars do not say.

    Raises
    ------
    InputError
        Not numbers, not > 0, milliseconds where BIDS says seconds, or a wrong length.

    """
    table = VolumeTable()
    table.echo_time = _times(metadata, ("EchoTime",), "EchoTime", n_volumes)
    table.inversion_time = _times(metadata, ("InversionTimes", "InversionTime"), "InversionTime", n_volumes)
    keys = ("RepetitionTimes", "RepetitionTimePreparation", "RepetitionTime")
    table.repetition_time = _times(metadata, keys, "RepetitionTime", n_volumes)
    for key in ("InversionTime", "RepetitionTime"):
        if isinstance(metadata.values.get(key), list):
            where = metadata.where(key).name
            table.notes.append(
                f"{where}: {key} holds one value per volume; BIDS knows that only as {key}s. It was read."
            )
    return table


def _times(metadata, keys, kind, n_volumes):
    """(n_volumes,) ms from the first of ``keys`` that is there, or None."""
    present = [key for key in keys if key in metadata.values]
    if not present:
        return None
    key = present[0]
    seconds = _seconds(metadata, key, kind)
    if np.ndim(seconds) == 0:
        return np.full(n_volumes, seconds * MS_PER_S)
    if len(seconds) != n_volumes:
        raise InputError(
            f"{key} holds {len(seconds)} values, the image has {n_volumes} volumes",
            file=metadata.where(key),
            value=f"{len(seconds)} values",
            remedy="one value per volume",
        )
    for other in present[1:] if key == f"{kind}s" else []:
        single = _seconds(metadata, other, kind)
        if kind == "InversionTime" and not np.isclose(seconds, np.max(single), rtol=1e-3).any():
            raise InputError(
                f"{other} and {key} contradict", file=metadata.where(key), value=single, remedy=f"remove {other}"
            )
    return seconds * MS_PER_S


def _seconds(metadata, key, kind):
    value, where = metadata.values[key], metadata.where(key)
    items = value if isinstance(value, list) else [value]
    if not items or not all(_is_number(item) for item in items):
        raise InputError(
            f"{key} must be a number or a list of numbers",
            file=where,
            value=repr(value)[:60],
            remedy="write it in seconds",
        )
    numbers = np.array(items, dtype=float)
    wrong = ~(np.isfinite(numbers) & (numbers > 0))
    if wrong.any():
        raise InputError(
            f"{key} must be > 0", file=where, value=numbers[wrong][0], remedy="write it in seconds, or drop it"
        )
    if numbers.max() > LONGEST[kind]:
        raise InputError(
            f"{key} is in milliseconds where BIDS says seconds",
            file=where,
            value=f"{numbers.max():g}",
            remedy=f"divide by 1000: {numbers.max():g} ms = {numbers.max() / MS_PER_S:g} s",
        )
    return numbers if isinstance(value, list) else numbers[0]


def _is_number(item):
    return isinstance(item, (int, float)) and not isinstance(item, bool) and not abs(item) > LARGEST_NUMBER
