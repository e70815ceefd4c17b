"""A BIDS dataset as a whole: whether it is one, and which participants it holds."""

import difflib
import os
from pathlib import Path

from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.names import natural_key


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


def select_sessions(bids_dir, participants, labels):
    """Which participants have a session that is asked for.

    Parameters
    ----------
    bids_dir : path
    participants : sequence of str
        Labels without ``sub-``.
    labels : sequence of str
        Of sessions, with or without ``ses-``.

    Returns
    -------
    list of str
        Labels of participants with at least one of the sessions.

    Raises
    ------
    InputError
        A session that none of the participants has; those that they have are listed.

    """
    have = {subject: sessions_of(Path(bids_dir) / f"sub-{subject}") for subject in participants}
    valid = sorted({label for found in have.values() for label in found}, key=natural_key)
    wanted = select_labels([str(label).removeprefix("ses-") for label in labels], valid, "session", Path(bids_dir))
    return [subject for subject, found in have.items() if not set(wanted).isdisjoint(found)]


def sessions_of(folder):
    """Labels of the sessions in a participant's folder, in natural order; none where it cannot be read."""
    try:
        return sorted((path.name[4:] for path in folder.iterdir() if path.name.startswith("ses-")), key=natural_key)
    except OSError:
        return []  # the participant is refused by name when its images are looked for


def sessions_wanted(folder, labels):
    """Sessions of one participant that are asked for, without ``ses-``; InputError where it has none of them."""
    asked, valid = [str(label).removeprefix("ses-") for label in labels], sessions_of(folder)
    return [label for label in asked if label in valid] or select_labels(asked, valid, "session", folder)


def select_labels(wanted, valid, what, where):
    """Labels asked for without duplicates; InputError that lists the valid ones where one is not among them."""
    missing = [label for label in dict.fromkeys(wanted) if label not in valid]
    if missing:
        same = [label for label in valid if label.isdigit() and missing[0].isdigit() and int(label) == int(missing[0])]
        close = [*same, *difflib.get_close_matches(missing[0], valid, n=1)]
        hint = "separate labels by spaces; " if "," in missing[0] else f"did you mean {close[0]}? " if close else ""
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
