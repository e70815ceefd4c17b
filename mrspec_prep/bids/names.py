"""BIDS file names: their entities, which labels they may hold, and that they agree with their folders."""

import re
from dataclasses import dataclass
from pathlib import Path

from mrspec_prep.bids.errors import InputError

#: entity keys of file names -> pybids' long names (others keep their key)
LONG_NAMES = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "mod": "modality",
}
NIFTI = (".nii", ".nii.gz")
#: what an entity may be called: letters, digits and +, as in BIDS; - is tolerated. Names of files, workflows and pages
#: are made of it.
LABEL = re.compile(r"(?:[^\W_]|[+-])+")


@dataclass(frozen=True)
class Name:
    """A BIDS file name taken apart: entities (long names -> values), suffix, extension, datatype."""

    entities: dict[str, str]
    suffix: str
    extension: str
    datatype: str


def split_name(path):
    """Name of a file; only the file name and its folder are looked at, never the path above them."""
    path = Path(path)
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = {}
    for pair in pairs:
        key, dash, value = pair.partition("-")
        if dash:
            entities[LONG_NAMES.get(key, key)] = value
    return Name(entities, suffix, dot + extension, path.parent.name)


def natural_key(text):
    """Sort key under which echo-2 comes before echo-10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(text)) if part]


def check_label(path, key, label):
    """Raise InputError where a label holds other signs than letters, digits and plus; minus is tolerated."""
    if not LABEL.fullmatch(label):
        raise InputError(
            f"the label of the {key} may hold letters, digits and + only",
            file=path,
            value=repr(label),
            remedy="rename it",
        )


def check_name(participant, path, images):
    """Raise InputError where a label is none, a name contradicts its folder, or one image is there twice."""
    entities = split_name(path).entities
    for key, label in entities.items():
        check_label(path, key, label)
    for key, prefix in (("subject", "sub-"), ("session", "ses-")):
        if entities.get(key) != folder_label(participant, path, prefix):
            raise InputError(
                f"the name and the folder disagree about the {key}",
                file=path,
                value=entities.get(key),
                remedy=f"give the file the {prefix} of its folder",
            )
    twin = path.with_name(path.name.partition(".")[0] + ".nii")
    if path.name.endswith(".gz") and twin in images:
        raise InputError(
            "the same image is there twice", file=path, value=f"also {twin.name}", remedy="remove one of them"
        )


def folder_label(participant, path, prefix):
    """Label of the first folder ``prefix<label>`` of a path, from the participant's folder down."""
    parts = (participant.name, *path.parent.relative_to(participant).parts)
    return next((part[len(prefix) :] for part in parts if part.startswith(prefix)), None)
