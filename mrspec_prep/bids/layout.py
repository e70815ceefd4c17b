"""Which files a BIDS dataset holds: participants, sessions, images, and the entities of their names."""

import difflib
import json
import os
import re
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bids.layout import BIDSLayout, BIDSLayoutIndexer
from bids.layout.models import BIDSFile
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from mrspec_prep.bids.errors import InputError, read_text, unreadable

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
SUFFIXES = {"dwi": ("dwi",), "anat": ("MESE", "MEGRE", "IRT1")}
#: what an entity may be called: letters, digits and +, as in BIDS; - is tolerated. Names of files, workflows and pages
#: are made of it.
LABEL = re.compile(r"(?:[^\W_]|[+-])+")
LOCK_TIMEOUT = 600  # s to wait for another job that builds the same database


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


def list_participants(bids_dir, validate=True):
    """Labels of all participants (folders ``sub-*``), without ``sub-``, sorted.

    ``validate=False`` asks for no ``dataset_description.json``.

    Raises
    ------
    InputError
        Not a readable BIDS dataset, or one without participants.

    """
    root = check_dataset(bids_dir, validate)
    try:
        labels = [p.name[4:] for p in root.iterdir() if p.name.startswith("sub-") and p.is_dir()]
    except OSError as error:
        raise unreadable(root, error) from error
    if not labels:
        raise InputError("the dataset holds no participant folder (sub-*)", file=root, remedy="give the dataset's root")
    return sorted(labels, key=natural_key)


def select_participants(bids_dir, labels=None, validate=True):
    """Labels asked for, without ``sub-`` and without duplicates; all of them when none is named.

    ``validate=False`` asks for no ``dataset_description.json``.

    Raises
    ------
    InputError
        A label that is not in the dataset; the valid ones are listed.

    """
    valid = list_participants(bids_dir, validate)
    if not labels:
        return valid
    return select_labels([str(label).removeprefix("sub-") for label in labels], valid, "participant", Path(bids_dir))


def select_labels(wanted, valid, what, where):
    """Labels asked for without duplicates; InputError that lists the valid ones where one is not among them."""
    missing = [label for label in dict.fromkeys(wanted) if label not in valid]
    if missing:
        same = [label for label in valid if label.isdigit() and missing[0].isdigit() and int(label) == int(missing[0])]
        close = [*same, *difflib.get_close_matches(missing[0], valid, n=1)]
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"no {what} {', '.join(missing)} in the dataset",
            file=where,
            remedy=f"{hint}choose from: {', '.join(valid)}" if valid else f"leave the {what} out: the data have none",
        )
    return list(dict.fromkeys(wanted))


def check_dataset(bids_dir, validate=True):
    """Absolute path of a BIDS dataset.

    Raises
    ------
    InputError
        No such folder, no permission, or, unless ``validate`` is false, no valid
        ``dataset_description.json`` in it.

    """
    root = Path(os.path.abspath(bids_dir))  # noqa: PTH100 - resolve() would leave the folder the user named
    try:
        is_folder = root.stat() and root.is_dir()
    except FileNotFoundError as error:
        raise InputError("BIDS_DIR does not exist", file=root, remedy="give the folder that holds sub-*") from error
    except OSError as error:
        raise unreadable(root, error) from error
    if not is_folder:
        raise InputError("BIDS_DIR is not a folder", file=root, remedy="give the folder that holds sub-*")
    description = root / "dataset_description.json"
    if not os.access(root, os.R_OK | os.X_OK):
        raise unreadable(root, PermissionError())
    if not validate:
        return root
    if not description.exists() and not description.is_symlink():
        raise InputError(
            "not a BIDS dataset: dataset_description.json is missing",
            file=root,
            remedy='write {"Name": "...", "BIDSVersion": "1.10.0"} there, give the dataset\'s root, '
            "or pass --skip-bids-validation",
        )
    read_json(description)
    return root


def read_json(path):
    """Content of a JSON file that holds an object.

    Raises
    ------
    InputError
        Unreadable, not JSON (line and column are named), text that cannot be stored again, or not an object.

    """
    text = read_text(path, "the JSON file")
    try:
        content = json.loads(text)
        if "\\ud" in text.lower():  # escapes of halves of characters, which no file can hold
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"not valid JSON: {error.msg}", file=path, value=place, remedy="correct the file") from error
    except UnicodeEncodeError as error:
        raise InputError(
            "half of a character is escaped", file=path, value=error.object[error.start], remedy="correct the file"
        ) from error
    except ValueError as error:
        raise InputError("a number with thousands of digits", file=path, remedy="correct the file") from error
    except RecursionError as error:
        raise InputError("the JSON file is nested too deeply", file=path, remedy="correct the file") from error
    if not isinstance(content, dict):
        raise InputError(
            "the JSON file must hold an object", file=path, value=type(content).__name__, remedy="use {...}"
        )
    return content


def open_layout(bids_dir, participants=None, database_dir=None, validate=True):
    """Pybids layout of a dataset that holds only the participants asked for.

    File names are indexed, metadata are not (sidecars are read when needed).

    Parameters
    ----------
    bids_dir : path
    participants : sequence of str, optional
        Labels with or without ``sub-``; all by default.
    database_dir : path, optional
        Folder of a database that several jobs share: it holds the whole dataset, is built
        once, under a lock, and again when a participant asked for is not in it.
    validate : bool
        Whether ``dataset_description.json`` must be there.

    Returns
    -------
    bids.layout.BIDSLayout

    Raises
    ------
    InputError
        Not a BIDS dataset, an unknown participant, or a database folder that cannot be
        read or written.

    """
    root = check_dataset(bids_dir, validate)
    labels = select_participants(root, participants, validate)
    if database_dir is None:
        return _index(root, labels)
    return _shared_index(root, labels, list_participants(root, validate), Path(database_dir))


def _index(root, labels, **database):
    """Index of the participants whose folders can be walked; ``find_images`` refuses the others by name."""
    wanted = "|".join(re.escape(label) for label in labels if _walkable(root, label)) or "(?!)"
    ignore = [re.compile(rf"^/sub-(?!(?:{wanted})(?:/|$))"), re.compile(r"^/(?!sub-)[^/.]+(?:/|$)")]
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
    return BIDSLayout(str(root), validate=False, indexer=indexer, **database)


def _shared_index(root, labels, everybody, folder):
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        is_built = (folder / "layout_index.sqlite").exists()
        read_only = is_built and not os.access(folder.parent, os.W_OK)
        with nullcontext() if read_only else FileLock(f"{folder}.lock", timeout=LOCK_TIMEOUT):
            if (folder / "layout_index.sqlite").exists():
                layout = BIDSLayout(str(root), validate=False, database_path=str(folder))
                if Path(layout.root) == root and all(_is_indexed(layout, label) for label in labels):
                    return layout
                layout.session.close()
                shutil.rmtree(folder)
            return _index(root, everybody, database_path=str(folder))
    except Timeout as error:
        raise InputError(
            "another job has been building this database for ten minutes", file=folder, remedy="delete the .lock file"
        ) from error
    except (SQLAlchemyError, json.JSONDecodeError, KeyError) as error:
        raise InputError(
            "no database of a BIDS dataset", file=folder, value=type(error).__name__, remedy="delete this folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"the database cannot be written here: {error.strerror}",
            file=folder,
            remedy="give --bids-database-dir a folder you may write to",
        ) from error


def _is_indexed(layout, label):
    root = Path(layout.root)
    return (
        bool(participant_files(layout, label))
        or not _walkable(root, label)
        or not any(path.is_file() for path in (root / f"sub-{label}").rglob("*"))
    )


def _walkable(root, label):
    try:
        check_folders(root / f"sub-{label}")
    except InputError:
        return False
    return True


def check_folders(folder):
    """Raise InputError when a folder under ``folder`` cannot be read or leads back to one above it."""
    _walk(Path(folder), ())


def _walk(folder, above):
    try:
        here = folder.stat()
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            raise InputError("symbolic links form a loop of folders", file=folder, remedy="remove this link")
        entries = [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError as error:
        raise unreadable(Path(error.filename or folder), error) from error
    for entry in sorted(entries):
        _walk(entry, (*above, identity))


def participant_files(layout, subject):
    """Paths of all indexed files of one participant, in natural order.

    The query goes by folder: pybids reads entities from the whole path, so that a dataset
    below a folder such as ``sub-projects`` would get the wrong participant.
    """
    folder = str(Path(layout.root) / f"sub-{subject}") + os.sep
    rows = layout.session.query(BIDSFile.path).filter(BIDSFile.path.startswith(folder, autoescape=True))
    return sorted((Path(path) for (path,) in rows), key=natural_key)


def find_images(layout, subject, select, sessions=None, suffixes=None):
    """NIfTI images of one participant that may take part in a series.

    Parameters
    ----------
    layout : BIDSLayout
    subject : str
        Label without ``sub-``.
    select : mrspec_prep.options.SelectOptions
    sessions : sequence of str, optional
        Labels with or without ``ses-``; all by default.
    suffixes : dict of str to sequence of str
        Suffixes that are looked for, by datatype; default: those of series of encodings.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        A session that the participant does not have, folders that cannot be read or form
        a loop of symbolic links, or a name that contradicts its folder.

    """
    folder = Path(layout.root) / f"sub-{subject}"
    _check_label(folder, "subject", subject)
    check_folders(folder)
    names = [(path, split_name(path)) for path in participant_files(layout, subject)]
    images = [path for path, name in names if _is_candidate(name, select, suffixes or SUFFIXES)]
    if sessions:
        valid = sorted({p.name[4:] for p in folder.iterdir() if p.name.startswith("ses-")}, key=natural_key)
        wanted = select_labels([str(label).removeprefix("ses-") for label in sessions], valid, "session", folder)
        images = [path for path in images if _folder_label(folder, path, "ses-") in wanted]
    for path in images:
        check_name(folder, path, images)
    return images


def _folder_label(participant, path, prefix):
    """Label of the first folder ``prefix<label>`` of a path, from the participant's folder down."""
    parts = (participant.name, *path.parent.relative_to(participant).parts)
    return next((part[len(prefix) :] for part in parts if part.startswith(prefix)), None)


def _check_label(path, key, label):
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
        _check_label(path, key, label)
    for key, prefix in (("subject", "sub-"), ("session", "ses-")):
        if entities.get(key) != _folder_label(participant, path, prefix):
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


def _is_candidate(name, select, suffixes):
    known = suffixes.get(name.datatype, ()) if select.datatype in ("auto", name.datatype) else ()
    return name.extension in NIFTI and name.suffix in known and select.suffix in ("auto", name.suffix)


def filter_images(images, filters):
    """Images that pass a BIDS filter file.

    Parameters
    ----------
    images : sequence of Path
    filters : dict
        Content of the filter file: ``dwi``, ``anat``, ``mese``, ``megre``, ``irt1``, ``mrf``
        -> entity -> value. ``null`` asks for the entity to be absent, ``"*"`` for any value, a list
        for one of several. Other keys are tolerated.

    Returns
    -------
    images : list of Path
    notes : list of str
        Entities that no file name can have, and that were therefore not applied.

    Raises
    ------
    InputError
        A filter that is not a set of entities.

    """
    notes = []
    for query, entities in filters.items():
        if query.lower() not in {"anat", "dwi", "mese", "megre", "irt1", "mrf"}:
            continue
        if not isinstance(entities, dict):
            raise InputError(
                f"the filter of {query} must map entities to values",
                value=repr(entities)[:60],
                remedy='write {"session": "01"}',
            )
        wanted = {_FILTER_NAMES.get(key, key): value for key, value in entities.items()}
        unknown = [key for key in wanted if key not in _FILTERABLE]
        if unknown:
            notes.append(
                f"The filter of {query} names {', '.join(unknown)}, which no image name has; it was not applied."
            )
        images = [path for path in images if query.lower() not in _queries(path) or _passes(split_name(path), wanted)]
    return list(images), notes


_FILTER_NAMES = LONG_NAMES | {"inversion": "inv"}
_FILTERABLE = {*LONG_NAMES.values(), "run", "echo", "inv", "part", "flip", "mt", "space", "desc", "chunk"} | {
    "datatype",
    "suffix",
    "extension",
}


def _queries(path):
    name = split_name(path)
    return {name.datatype, name.suffix.lower()}


def _passes(name, wanted):
    has = name.entities | {"datatype": name.datatype, "suffix": name.suffix, "extension": name.extension}
    return all(_matches(has.get(key), value) for key, value in wanted.items() if key in _FILTERABLE)


def _matches(has, value):
    if isinstance(value, list):
        return any(_matches(has, item) for item in value)
    if value is None or value == "Query.NONE":
        return has is None
    if value in ("*", "Query.ANY"):
        return has is not None
    if value == "Query.OPTIONAL":
        return True
    return has is not None and _plain(has) == _plain(value)


def _plain(value):
    text = re.sub(r"^(?:sub|ses|acq|dir|run|rec|echo|inv|part)-", "", str(value))
    return int(text) if text.isdigit() else text.lower() if text.startswith(".") else text
