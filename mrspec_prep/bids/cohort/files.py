"""Files of compressed signals in output directories: which there are, and which the user asked for."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.filters import filters_pass
from mrspec_prep.bids.input.series import OUTPUT_ENTITIES
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.names import LABEL, Name, natural_key, split_name
from mrspec_prep.bids.output.derivative_dataset import is_group_file, parse_name

PROGRAM = "mrspec_prep"
MAIN = "main"  # site of the participants of OUT_DIR
PATTERN = "sub-*_desc-compressed_spectra.h5"
NO_ENTITY_OF_A_SERIES = ("suffix", "extension", "datatype", "echo", "inv", "inversion", "part", "flip", "mt", "chunk")


@dataclass(frozen=True)
class OutputFolder:
    """An output directory of the participant level and the name of its site."""

    site: str
    root: Path


@dataclass(frozen=True)
class CompressedFile:
    """One file of compressed signals, by its name alone."""

    path: Path
    folder: OutputFolder
    subject: str
    session: str | None
    entities: dict


def output_folders(out_dir, derivatives):
    """Output directories to read: ``out_dir``, and what is ours among the derivatives.

    Parameters
    ----------
    out_dir : path
        Its site is called ``main`` unless it is named among the derivatives.
    derivatives : dict of str to path

    Returns
    -------
    folders : list of OutputFolder
    notes : list of str
        Derivatives that are not read, and why.

    Raises
    ------
    InputError
        ``out_dir`` holds results of another program, or one folder has two names.

    """
    out_dir = Path(out_dir)
    notes, by_place = [], {}
    for site, root in derivatives.items():
        maker = made_by(root)
        if PROGRAM not in maker:
            other = f"made by {', '.join(maker)}" if maker else "no derivative dataset"
            notes.append(f"{site} ({root}) holds no results of {PROGRAM} ({other}) and is not read as a site.")
            continue
        place = Path(root).resolve()
        if place in by_place:
            raise InputError(
                "one folder is given as two sites",
                file=root,
                value=f"{by_place[place].site} and {site}",
                remedy="name each --derivatives site=PATH once",
            )
        if site == MAIN and place != out_dir.resolve():
            raise InputError(
                f"the participants of OUT_DIR are the site {MAIN}, and so is this folder",
                file=root,
                remedy="give it another name: --derivatives site=PATH",
            )
        by_place[place] = OutputFolder(site, Path(root))
    if out_dir.is_dir() and out_dir.resolve() not in by_place:
        maker = made_by(out_dir)
        holds_participants = any(out_dir.glob("sub-*/"))
        if PROGRAM in maker:
            return [OutputFolder(MAIN, out_dir), *by_place.values()], notes
        if maker or holds_participants:
            raise InputError(
                f"OUT_DIR is no output directory of {PROGRAM}",
                file=out_dir / "dataset_description.json",
                value=f"GeneratedBy {', '.join(maker)}" if maker else "no GeneratedBy",
                remedy="give the OUT_DIR of the participant level, or an empty folder and --derivatives site=PATH",
            )
    return list(by_place.values()), notes


def made_by(root):
    """Names of the programs that a dataset says made it; empty where it says nothing."""
    path = Path(root) / "dataset_description.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return ()
    makers = content.get("GeneratedBy", []) if isinstance(content, dict) else []
    makers = makers if isinstance(makers, list) else []
    return tuple(str(maker.get("Name")) for maker in makers if isinstance(maker, dict) and maker.get("Name"))


def participants_in(folder):
    """Labels of the participants of an output directory, in natural order."""
    found = (path for path in folder.root.glob("sub-*") if path.is_dir() or _leads_nowhere(path))
    return sorted((path.name[4:] for path in found), key=natural_key)


def _leads_nowhere(path):
    """Whether a participant's folder is a link to one that is not here, or to itself."""
    return path.is_symlink() and not path.exists() and LABEL.fullmatch(path.name[4:])


def files_of(folder, subject):
    """Files of compressed signals of one participant, in natural order of their names.

    Raises
    ------
    InputError
        A name that contradicts its folder; a folder that is a link to nothing.

    """
    home = folder.root / f"sub-{subject}"
    try:
        home.stat()
    except OSError as error:
        raise unreadable(home, error) from error
    places = [place for kind in ("dwi", "anat") for place in (home / kind, *home.glob(f"ses-*/{kind}"))]
    found = []
    for path in (path for place in places for path in place.glob(PATTERN)):
        entities = parse_name(path)
        session = path.parent.parent.name.removeprefix("ses-") if path.parent.parent != home else None
        if (entities.get("subject"), entities.get("session")) != (subject, session):
            raise InputError(
                "the name and the folder disagree about the participant or the session",
                file=path,
                remedy="give the file the sub- and ses- of its folder",
            )
        found.append(CompressedFile(path, folder, subject, session, entities))
    return sorted(found, key=lambda file: natural_key(file.path))


def mapped_only(folder, subject):
    """Whether a participant's folder holds but maps of the group level: those of another site's participants do."""
    files = [path for path in (folder.root / f"sub-{subject}").rglob("*") if path.is_file()]
    return bool(files) and all(is_group_file(path) for path in files)


def unfinished(folder, subject):
    """Why the last run of a participant does not count, in words; None where it ended well or left no record."""
    log = folder.root / f"sub-{subject}" / "log"
    record = log / "finished.json"
    if not log.is_dir() or not (record.is_file() or any(log.glob("*/"))):
        return None
    try:
        key = json.loads(record.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        key = None
    if key:
        return None
    return f"its last participant run failed or did not end: see sub-{subject}.html and sub-{subject}/log"


def maps_only(folder, subject):
    """Whether the runs of a participant computed maps and no spectra, as their volume tables say."""
    wanted = []
    for path in (folder.root / f"sub-{subject}").glob("**/*_desc-encodings_axes.json"):
        settings = read_json(path).get("Settings", {})
        spectra = [settings.get(section, {}).get("wanted", True) for section in ("nnls", "inspect")]
        wanted.append(any(spectra) or bool(settings.get("inspect_map", {}).get("n_components")))
    return bool(wanted) and not any(wanted)


def passes(file, header, filters):
    """Whether a series passes a BIDS filter file: by its own name, or by those of all images that it was joined from.

    A name lacks what its images differ in. What names images and not series (echo, inversion, part, suffix, ...) is
    not applied.
    """
    kept = {}
    for query, wanted in filters.items():
        if isinstance(wanted, dict):
            wanted = {key: value for key, value in wanted.items() if key not in NO_ENTITY_OF_A_SERIES}
        kept[query] = wanted
    own = {key: file.entities[key] for key in OUTPUT_ENTITIES if key in file.entities}
    sources = [split_name(unquote(source)) for source in header.about.get("Sources") or [] if isinstance(source, str)]
    series, *images = [
        Name(entities, header.about.get("Suffix", "dwi"), ".nii.gz", file.entities["datatype"])
        for entities in (own, *(source.entities | own for source in sources))
    ]
    return filters_pass(series, kept) or (bool(images) and all(filters_pass(image, kept) for image in images))
