"""Series: all images of one session that together encode one signal, as one table of encodings."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_images
from mrspec_prep.bids.input.grouping import KEYS, check_together, describe_image, group_images, labels_of, why_joined
from mrspec_prep.bids.input.preprocessed import check_sessions, find_preprocessed, own_preprocessed, without_replaced
from mrspec_prep.bids.input.preprocessed_volumes import describe_preprocessed, joined_words
from mrspec_prep.bids.input.provenance import Origins
from mrspec_prep.bids.input.sidecars import Sidecars
from mrspec_prep.bids.input.splitting import named_by_echo_time, split_by_echo_time, split_images
from mrspec_prep.bids.layout import find_images
from mrspec_prep.bids.names import split_name
from mrspec_prep.physics import Encodings

#: entities that name the outputs of a series, where all its images have them equal
OUTPUT_ENTITIES = ("subject", "session", "acquisition", "reconstruction", "direction", "run", "space")
OTHER_PARTS = ("phase", "real", "imag")


@dataclass(frozen=True, eq=False)
class Series:
    """One series of encodings of one participant and session.

    Parameters
    ----------
    subject : str
        Label without ``sub-``.
    session : str or None
        Label without ``ses-``.
    datatype : str
        ``dwi`` or ``anat``.
    suffix : str
        ``dwi``, ``MESE``, ``MEGRE`` or ``IRT1``.
    entities : dict of str to str
        Entities of output names, pybids' long names.
    images : tuple of Path
        Files, in natural order of their names.
    volumes : (n_encodings, 2) int array
        File and volume in that file of each encoding.
    encodings : Encodings
        Internal units (s/mm2, ms).
    joined : str
        Why these files belong together, one sentence.
    notes : tuple of str
        What the user should know, in words.
    decay : str
        What the echo time weighs: ``t2`` or ``t2star``.
    origins : Origins, optional
        Of preprocessed images; None of raw ones.

    """

    subject: str
    session: str | None
    datatype: str
    suffix: str
    entities: dict[str, str]
    images: tuple[Path, ...]
    volumes: np.ndarray
    encodings: Encodings
    joined: str
    notes: tuple[str, ...]
    decay: str
    origins: Origins | None = None

    def to_json(self):
        """Plain values, for a JSON file."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        axes = {f.name: getattr(self.encodings, f.name) for f in fields(Encodings)}
        return plain | {
            "images": [str(path) for path in self.images],
            "volumes": self.volumes.tolist(),
            "encodings": {name: None if values is None else values.tolist() for name, values in axes.items()},
            "notes": list(self.notes),
            "origins": self.origins and self.origins.to_json(),
        }

    @property
    def raw_volumes(self):
        """Raw file and position in it of each encoding; None where the images are raw, or that is not recorded."""
        if self.origins is None or not any(self.origins.raw):
            return None
        return [self.origins.of_volume(int(image), int(volume)) for image, volume in self.volumes]

    @classmethod
    def from_json(cls, plain):
        """Series of the plain values of ``to_json``."""
        axes = {name: None if v is None else np.array(v, dtype=float) for name, v in plain["encodings"].items()}
        made = {
            "images": tuple(Path(path) for path in plain["images"]),
            "volumes": np.array(plain["volumes"], dtype=int).reshape(-1, 2),
            "encodings": Encodings(**axes),
            "notes": tuple(plain["notes"]),
            "origins": plain.get("origins") and Origins.from_json(plain["origins"]),
        }
        return cls(**(plain | made))


def find_series(layout, subject, select, sessions=None, filters=None, derivatives=None):
    """Series of one participant, headers checked.

    Where derivatives hold preprocessed images (``desc-preproc``) of the participant, these are read instead of raw
    images of the same kind, and the raw ones tell what encodes them.

    Parameters
    ----------
    layout : BIDSLayout
        From ``open_layout``.
    subject : str
        Label without ``sub-``.
    select : mrspec_prep.options.SelectOptions
    sessions : sequence of str, optional
        All by default.
    filters : dict, optional
        Content of a BIDS filter file.
    derivatives : dict of str to path, optional
        Further datasets by name.

    Returns
    -------
    list of Series
        At least one; in order of session, datatype and name.

    Raises
    ------
    InputError
        Nothing to read, or anything in it that is wrong or ambiguous: file, value, remedy.

    """
    found = find_images(layout, subject, select, sessions)
    images, notes = filter_images(found, filters or {})
    preprocessed = find_preprocessed(derivatives or {}, subject, select, sessions, filters)
    own = own_preprocessed(layout.root, images, select, filters)
    if preprocessed and own:
        raise InputError(
            "BIDS_DIR is preprocessed itself, and other preprocessed images of the participant are given",
            file=own.images[0],
            value=preprocessed.images[0],
            remedy=f"give the raw dataset as BIDS_DIR, or leave --derivatives {preprocessed.name} out",
        )
    if preprocessed:
        check_sessions(found, preprocessed)
        images = without_replaced(images, preprocessed)
    elif own:
        images = _beside_own(images, own)
    images, parts = _without_other_parts(images)
    preprocessed = preprocessed or own
    if not images and not preprocessed:
        raise InputError(
            f"sub-{subject} has no image to read (datatype {select.datatype}, suffix {select.suffix})",
            file=Path(layout.root) / f"sub-{subject}",
            value=f"{len(found)} that the filters leave out: {found[0].name}, ..." if found else None,
            remedy="check [select], --session-label and --bids-filter-file; known are _dwi, _MESE, _MEGRE, _IRT1",
        )
    series = _series_of_preprocessed(preprocessed, layout, derivatives or {}, select) if preprocessed else []
    sidecars = Sidecars(layout.root)
    described = [describe_image(path, sidecars) for path in images]
    parts += _without_image({path.parent for path in images})
    return _named_apart(_with_encodings([*series, *_joined(described, [*notes, *parts], select)]))


def _beside_own(images, own):
    """Images of a dataset that are not its preprocessed ones; InputError where these are of the same kind."""
    others = [path for path in images if path not in own.images and "desc" not in split_name(path).entities]
    twins = [path for path in others if path not in without_replaced(others, own)]
    if twins:
        raise InputError(
            "the dataset holds raw and preprocessed images of one kind",
            file=twins[0],
            value=f"beside {own.images[0].name}",
            remedy='choose with --bids-filter-file, e.g. {"dwi": {"desc": "preproc"}}, or {"dwi": {"desc": null}}',
        )
    return others


def _series_of_preprocessed(preprocessed, layout, derivatives, select):
    """Series of preprocessed images, each volume traced back to its raw file where that is recorded."""
    others = [Path(root) for name, root in derivatives.items() if name != preprocessed.name]
    own = [Path(layout.root)] if preprocessed.root != Path(layout.root) else []
    described, origins, notes = describe_preprocessed(preprocessed, [*own, *others])
    notes = [*joined_words(preprocessed, described, origins), *notes]
    return [_from(preprocessed, origins, one) for one in _joined(described, notes, select)]


def _from(preprocessed, origins, series):
    """Series that knows where its images come from."""
    mine = [origins[path] for path in series.images]
    scalings = {origin.b0_scaling for origin in mine}
    scaling = scalings.pop() if len(scalings) == 1 else "unknown"
    raw = tuple(origin.raw for origin in mine)
    return replace(series, origins=Origins(preprocessed.name, preprocessed.root, raw, scaling))


def _joined(described, notes, select):
    """Series of images that are described."""
    groups = group_images(described)
    if select.split == "none":
        return [_join(group, notes) for group in groups]
    return _one_echo_time_each(groups, notes)


def _one_echo_time_each(groups, notes):
    """Series of groups of images, diffusion split by echo time."""
    series = []
    for group in groups:
        parts = split_images(group)
        joined = [_join(part, notes) for part in parts]
        series += [named_by_echo_time(one) for one in joined] if len(parts) > 1 else split_by_echo_time(joined[0])
    return series


def _without_other_parts(images):
    others = [path for path in images if split_name(path).entities.get("part") in OTHER_PARTS]
    notes = [f"{path.name}: phase, real and imaginary parts are not read." for path in others]
    return [path for path in images if path not in others], notes


def _without_image(folders):
    """Notes on b-value files whose image is not there: it may have been lost."""
    notes = []
    for folder in sorted(folders):
        images = [split_name(path).entities.items() for path in folder.glob("*_dwi.nii*") if path.is_file()]
        for path in sorted(folder.glob("*_dwi.bval")):
            if not any(split_name(path).entities.items() <= image for image in images):
                notes.append(f"{path.name} has no image beside it: is one missing?")
    return notes


def _join(group, notes):
    """Series of one group of images."""
    check_together(group)
    first = group[0]
    axes = {axis: _joined_axis(group, axis) for axis in ("bvalue", "direction", "echo_time", "inversion_time")}
    notes = [*notes, *(note for image in group for note in image.table.notes)]
    axes["repetition_time"] = _joined_repetition(group, axes["inversion_time"], notes)
    if all(values is None for values in axes.values()):
        raise InputError("nothing is known of its encodings", file=first.path, remedy="give EchoTime or b-values")
    echoes = first.name.datatype == "dwi" and any("echo" in image.name.entities for image in group)
    if echoes:
        notes.append("echo- on a dwi is not BIDS; it was read. Valid names: one acq-<label> per echo time.")
    entities = {
        key: values.pop() for key in OUTPUT_ENTITIES if len(values := labels_of(group, key)) == 1 and values != {None}
    }
    return Series(
        subject=first.name.entities["subject"],
        session=first.name.entities.get("session"),
        datatype=first.name.datatype,
        suffix=first.name.suffix,
        entities=entities,
        images=tuple(image.path for image in group),
        volumes=np.array([(f, v) for f, image in enumerate(group) for v in range(image.grid.n_volumes)], dtype=int),
        encodings=Encodings(**axes),
        joined=why_joined(group),
        notes=tuple(dict.fromkeys(notes)),
        decay="t2star" if echoes or _is_gradient_echo(first) else "t2",
    )


def _joined_axis(group, axis):
    """Values of all volumes, or None where no image has them; InputError where only some have."""
    parts = [getattr(image.table, axis) for image in group]
    if all(part is None for part in parts):
        return None
    if any(part is None for part in parts):
        lacking = group[next(i for i, part in enumerate(parts) if part is None)]
        key = KEYS.get(axis, axis)
        raise InputError(
            f"{key} is missing, and images joined with this one have it",
            file=lacking.metadata.where(key),
            remedy=f"add {key}, or leave {lacking.path.name} out with --bids-filter-file",
        )
    return np.concatenate(parts)


def _joined_repetition(group, inversion_time, notes):
    """TR of all volumes, or None; a dwi has use for it only where TI varies."""
    inverted = inversion_time is not None and np.ptp(inversion_time) > 0
    parts = [image.table.repetition_time for image in group]
    known = np.concatenate([part for part in parts if part is not None] or [np.empty(0)])
    if not inverted:
        if len(known) and np.ptp(known) > 1e-3 * known.max():
            values = ", ".join(f"{value:g}" for value in np.unique(known.round(1)))
            notes.append(f"Repetition times differ between volumes ({values} ms): T1 weights them differently.")
        complete = all(part is not None for part in parts)
        return known if complete and group[0].name.datatype == "anat" else None
    times = _joined_axis(group, "repetition_time")
    if times is None:
        notes.append("No repetition time is given: full relaxation before each inversion is assumed.")
    if times is not None and (inversion_time > times * 1.001).any():
        volume = int(np.argmax(inversion_time - times))
        raise InputError(
            "an inversion time is longer than the repetition time",
            file=group[0].metadata.where("RepetitionTime"),
            value=f"TI {inversion_time[volume]:g} ms, TR {times[volume]:g} ms",
            remedy="give RepetitionTimePreparation, the time from one inversion to the next, in seconds",
        )
    return times


def _is_gradient_echo(image):
    if image.name.suffix == "MEGRE":
        return True
    sequence = image.metadata.values.get("ScanningSequence", "")
    words = sequence if isinstance(sequence, list) else [sequence]
    return image.name.suffix == "dwi" and any("GR" in str(word).upper() for word in words)


def _with_encodings(series):
    """Series in which something varies; InputError where none is left."""
    usable = [one for one in series if one.encodings.varying()]
    if not usable:
        raise InputError(
            "fewer encodings than a fit needs: neither b, TE nor TI varies",
            file=series[0].images[0],
            value=f"{len(series[0].encodings)} volumes alike",
            remedy="give the b-values, EchoTime or InversionTime of each volume",
        )
    left = [
        f"{', '.join(p.name for p in one.images)}: left out, nothing varies in it."
        for one in series
        if one not in usable
    ]
    return [replace(one, notes=(*one.notes, *left)) for one in usable]


def _named_apart(series):
    """Give series of one session and datatype different output entities."""
    for attempt in (lambda one, _: one.suffix.lower(), lambda one, number: f"{one.suffix.lower()}{number + 1}"):
        keys = [_output_key(one) for one in series]
        series = [
            one
            if keys.count(_output_key(one)) == 1
            else replace(one, entities=one.entities | {"acquisition": attempt(one, number)})
            for number, one in enumerate(series)
        ]
    return series


def _output_key(one):
    return (one.datatype, *sorted(one.entities.items()))
