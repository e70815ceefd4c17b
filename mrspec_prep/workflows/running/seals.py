"""Seals of finished steps: what is in the work directory is known to be whole before anything of it is loaded.

A seal holds the size and SHA-256 of every file of a step. It tells a result that a killed node or a full disk cut short
(or left as zeros) without unpickling anything.
"""

import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrspec_prep import __version__
from mrspec_prep.bids.atomic import write_json
from mrspec_prep.bids.errors import InputError
from mrspec_prep.workflows.running.trust import distrust

LOGGER = logging.getLogger("mrspec_prep")
SEAL = "_seal.json"
OTHER_VERSION = "another version of mrspec_prep wrote it"
NOT_SEALED = ("_0x", "_report", SEAL, ".")  # Nipype's own marks, of which only the names count


def seal(folder):
    """Write down which files a finished step left.

    Parameters
    ----------
    folder : path
        Of the step; its files are not written again.

    """
    folder = Path(folder)
    files = {str(path.relative_to(folder)): _print_of(path) for path in _files(folder)}
    write_json(folder / SEAL, {"version": __version__, "files": files})


def is_sealed(folder):
    """Whether a step left a seal."""
    return (Path(folder) / SEAL).is_file()


def is_finished(folder):
    """Whether Nipype takes the folder for that of a finished step, and would load its result."""
    return any(not path.name.endswith("_unfinished.json") for path in Path(folder).glob("_0x*.json"))


def damage(folder):
    """What is wrong with the files of a finished step, in words; None where this version wrote them as they are."""
    folder = Path(folder)
    try:
        content = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        files = content["files"]
        expected = {str(name): (int(size), str(digest)) for name, (size, digest) in files.items()}
    except FileNotFoundError:
        return "it was not written to its end"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{SEAL} is damaged"
    if content.get("version") != __version__:
        return OTHER_VERSION
    for name, (size, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if _print_of(path)[1] != digest:
            return f"{name} does not hold what was written"
    return None


def mend(folders, nprocs=1):
    """Remove steps whose files are damaged, so that they are computed again.

    What depends on them is computed again where the new result differs from the old one, as always.

    Parameters
    ----------
    folders : sequence of path
        Parts of the work directory that the run will use; those that do not exist are passed over.
    nprocs : int
        Processors to read and hash with.

    Returns
    -------
    list of Path
        Folders removed.

    Raises
    ------
    InputError
        Somebody else could have written one of the files.

    """
    found = [step for folder in folders for step in _finished_steps(Path(folder))]
    damaged = []
    with ThreadPoolExecutor(nprocs) as pool:
        wrong = list(pool.map(damage, found))
    for step, words in zip(found, wrong, strict=True):
        if words is None:
            continue
        shutil.rmtree(step)
        damaged.append(step)
        if words == OTHER_VERSION:
            continue
        place = ".".join(part.removesuffix("_wf") for part in step.parts[-3:])
        LOGGER.warning("The intermediate result of %s is damaged (%s): this step is computed again", place, words)
    n_other = wrong.count(OTHER_VERSION)
    if n_other:
        LOGGER.info("Another version of mrspec_prep left %d intermediate results: they are computed again", n_other)
    return damaged


def _finished_steps(top):
    """Folders of finished steps below a folder, all of whose files are trusted."""
    if not os.path.lexists(top):
        return
    _refuse(top)
    for root, folders, files in os.walk(top):
        for name in (*folders, *files):
            _refuse(Path(root) / name)
        if is_finished(root):
            yield Path(root)
        folders.sort()


def _refuse(path):
    words = distrust(path)
    if words:
        raise InputError(
            f"{words}: an intermediate result there could be exchanged for code that runs in your name",
            file=path,
            remedy="--clean-workdir, or give another --work-dir",
        )


def _files(folder):
    """Files of a step that are sealed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(NOT_SEALED):
            yield path


def _print_of(path):
    """Size and SHA-256 of a file."""
    with path.open("rb") as stream:
        return path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()
