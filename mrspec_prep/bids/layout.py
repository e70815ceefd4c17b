"""Which files of its participants a BIDS dataset holds: the index of pybids, and the images among them."""

import json
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

from bids.layout import BIDSLayout, BIDSLayoutIndexer
from bids.layout.models import BIDSFile
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from mrspec_prep.bids.dataset import check_dataset, list_participants, select_participants, sessions_wanted
from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.names import NIFTI, check_label, check_name, folder_label, natural_key, split_name

SUFFIXES = {"dwi": ("dwi",), "anat": ("MESE", "MEGRE", "IRT1")}
LOCK_TIMEOUT = 600  # s to wait for another job that builds the same database


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
        Labels with or without ``ses-``, of which the participant has at least one; all by default.
    suffixes : dict of str to sequence of str
        Suffixes that are looked for, by datatype; default: those of series of encodings.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        None of the sessions is the participant's, folders that cannot be read or form
        a loop of symbolic links, or a name that contradicts its folder.

    """
    folder = Path(layout.root) / f"sub-{subject}"
    check_label(folder, "subject", subject)
    check_folders(folder)
    names = [(path, split_name(path)) for path in participant_files(layout, subject)]
    images = [path for path, name in names if _is_candidate(name, select, suffixes or SUFFIXES)]
    if sessions:
        wanted = sessions_wanted(folder, sessions)
        images = [path for path in images if folder_label(folder, path, "ses-") in wanted]
    for path in images:
        check_name(folder, path, images)
    return images


def _is_candidate(name, select, suffixes):
    known = suffixes.get(name.datatype, ()) if select.datatype in ("auto", name.datatype) else ()
    return name.extension in NIFTI and name.suffix in known and select.suffix in ("auto", name.suffix)
