"""Preprocessed images among the derivatives: which are read instead of raw ones, and which choices are the user's."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mrspec_prep.bids.dataset import sessions_wanted
from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.filters import filter_images
from mrspec_prep.bids.layout import SUFFIXES, check_folders
from mrspec_prep.bids.names import NIFTI, check_name, natural_key, split_name

DESC = "preproc"  # of the images that are read unless a filter names another
OWN = "BIDS_DIR"  # name of the dataset where BIDS_DIR itself is preprocessed


@dataclass(frozen=True)
class Preprocessed:
    """Preprocessed images of one participant.

    Parameters
    ----------
    name : str
        Of the dataset, as given with ``--derivatives``.
    root : Path
        Of the dataset.
    images : tuple of Path
    notes : tuple of str

    """

    name: str
    root: Path
    images: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def find_preprocessed(derivatives, subject, select, sessions=None, filters=None):
    """Preprocessed images of a participant among the derivatives, or None.

    Parameters
    ----------
    derivatives : dict of str to path
    subject : str
        Label without ``sub-``.
    select : mrspec_prep.options.SelectOptions
    sessions : sequence of str, optional
    filters : dict, optional
        A filter that names ``desc`` chooses images of another one than ``desc-preproc``.

    Raises
    ------
    InputError
        A folder without participants, a participant who alone has none, images in two datasets or spaces.

    """
    found = []
    for name, root in derivatives.items():
        root = Path(root)
        _check_root(name, root)
        images = preprocessed_images(root, subject, select, filters)
        if not images and _has_preprocessed(root, select, filters):
            raise InputError(
                f"{name} holds preprocessed images, and none of sub-{subject}",
                file=root / f"sub-{subject}",
                remedy=f"preprocess sub-{subject}, name others with --participant-label, or leave --derivatives "
                f"{name} out to read the raw images",
            )
        if images:
            found.append(_selected(name, root, images, subject, sessions, filters))
    if len(found) > 1:
        raise InputError(
            f"sub-{subject} has preprocessed images in two datasets",
            file=found[1].images[0] if found[1].images else found[1].root,
            value=" and ".join(one.name for one in found),
            remedy="give one of them with --derivatives",
        )
    return found[0] if found else None


def _check_root(name, root):
    if any(root.glob("sub-*/")):
        return
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise unreadable(root, error) from error
    deeper = [path for path in folders if not path.name.startswith(".") and any(path.glob("sub-*/"))]
    raise InputError(
        f"--derivatives {name} holds no participant folder (sub-*)",
        file=root,
        remedy=f"give {name}={deeper[0]}" if deeper else "give the folder that holds sub-*",
    )


def preprocessed_images(root, subject, select, filters=None):
    """All preprocessed images of a participant in one dataset, in natural order."""
    folder = root / f"sub-{subject}"
    if not folder.is_dir():
        return []
    check_folders(folder)
    found = [path for kind in SUFFIXES for depth in ("", "ses-*/") for path in folder.glob(f"{depth}{kind}/*.nii*")]
    return sorted((path for path in found if is_preprocessed(path, select, filters)), key=natural_key)


def is_preprocessed(path, select, filters=None):
    """Whether a file name is that of a preprocessed image that is to be read."""
    return _is_wanted(path, select, _naming_desc(filters))


def _naming_desc(filters):
    """Datatypes and suffixes whose filter names ``desc``, in lower case."""
    return frozenset(
        query.lower() for query, wanted in (filters or {}).items() if isinstance(wanted, dict) and "desc" in wanted
    )


def _is_wanted(path, select, naming_desc):
    name = split_name(path)
    if select.datatype not in ("auto", name.datatype) or select.suffix not in ("auto", name.suffix):
        return False
    if name.extension not in NIFTI or name.suffix not in SUFFIXES.get(name.datatype, ()):
        return False
    desc = name.entities.get("desc")
    return desc is not None and (desc == DESC or not naming_desc.isdisjoint((name.datatype, name.suffix.lower())))


def _has_preprocessed(root, select, filters):
    """Whether a dataset holds preprocessed images of anybody."""
    return _any_preprocessed(root, root.stat().st_mtime_ns, select, _naming_desc(filters))


@cache
def _any_preprocessed(root, _changed, select, naming_desc):
    """``_has_preprocessed``, asked once for all participants; ``_changed`` when participants came or went."""
    return any(
        _is_wanted(path, select, naming_desc)
        for kind in SUFFIXES
        for depth in ("", "ses-*/")
        for path in root.glob(f"sub-*/{depth}{kind}/*_desc-*.nii*")
    )


def _selected(name, root, images, subject, sessions, filters):
    folder = root / f"sub-{subject}"
    if sessions:
        wanted = sessions_wanted(folder, sessions)
        images = [path for path in images if split_name(path).entities.get("session") in wanted]
    for path in images:
        check_name(folder, path, images)
    kept, notes = filter_images(images, filters or {})
    if not kept:
        raise InputError(
            f"the filters leave no preprocessed image of sub-{subject} in {name}",
            file=folder,
            value=", ".join(path.name for path in images),
            remedy="correct --bids-filter-file: it is applied to the names of the preprocessed images",
        )
    return Preprocessed(name, root, one_space(kept), tuple(notes))


def one_space(images):
    """The images; InputError where one scan is there in two spaces or descriptions."""
    seen = {}
    for path in images:
        name = split_name(path)
        free = ("space", "desc", "res", "cohort")
        key = (name.datatype, name.suffix, *sorted(item for item in name.entities.items() if item[0] not in free))
        if key in seen:
            other = split_name(seen[key]).entities
            differing = next(entity for entity in free if name.entities.get(entity) != other.get(entity))
            raise InputError(
                f"one scan is there twice, in two values of {differing}-",
                file=path,
                value=f"also {seen[key].name}",
                remedy=f'choose with --bids-filter-file, e.g. {{"{name.datatype}": '
                f'{{"{differing}": "{name.entities.get(differing)}"}}}}',
            )
        seen[key] = path
    return tuple(images)


def check_sessions(raw, preprocessed):
    """Raise InputError where a session has raw images and, of the same kind, no preprocessed ones."""
    done = {_kind(path) for path in preprocessed.images}
    kinds = {kind for kind, _ in done}
    left = [path for path in raw if split_name(path).datatype in kinds and _kind(path) not in done]
    sessions = {session for _, session in done}
    if left and sessions != {None}:
        named = " ".join(sorted(session for session in sessions if session))
        raise InputError(
            f"the session has raw images and no preprocessed ones in {preprocessed.name}",
            file=left[0],
            value=f"ses-{split_name(left[0]).entities.get('session')}",
            remedy=f"preprocess it, or name the others: --session-label {named}",
        )


def _kind(path):
    name = split_name(path)
    return name.datatype, name.entities.get("session")


def without_replaced(raw, preprocessed):
    """Raw images of a kind that is not there preprocessed."""
    kinds = {split_name(path).datatype for path in preprocessed.images}
    return [path for path in raw if split_name(path).datatype not in kinds]


def own_preprocessed(layout_root, images, select, filters):
    """Images of BIDS_DIR that are preprocessed ones, as a dataset of its own; None where there are none."""
    mine = [path for path in images if is_preprocessed(path, select, filters)]
    return Preprocessed(OWN, Path(layout_root), one_space(mine)) if mine else None
