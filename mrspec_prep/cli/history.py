"""What earlier runs left: finished participants, run files, the work directory and its owner."""

import json
import shutil
import tomllib
from pathlib import Path

from filelock import FileLock, Timeout

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.output.derivatives import is_group_file
from mrspec_prep.workflows.running.trust import distrust

LOCKS: list[FileLock] = []  # held until the process ends; the kernel frees them even after SIGKILL
MARKER = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# mrspec_prep work directory\n"


class WorkDirError(RuntimeError):
    """The work directory cannot be used; the message says why and what to do."""


def claim_work_dir(work_dir, names, clean=False):
    """Make a work directory and hold the parts of it that are named until the process ends.

    Parameters
    ----------
    work_dir : Path
    names : sequence of str
        ``sub-<label>`` for participants, ``group`` for the group level.
    clean : bool
        Empty it first.

    Raises
    ------
    WorkDirError
        Another running process works on one of them there, or ``clean`` was
        asked for a folder that is no work directory of ours or that another process uses.

    """
    try:
        work_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        _refuse_strangers(work_dir)
        locks = work_dir / ".locks"
        locks.mkdir(exist_ok=True)
    except OSError as error:
        raise WorkDirError(
            f"cannot write to the work directory {work_dir}: {error.strerror}. Remedy: --work-dir"
        ) from error
    for name in names:
        hold(locks / f"{name}.lock", f"{name} in {work_dir}", "give another --work-dir")
    contents = [entry for entry in work_dir.iterdir() if entry.name != ".locks"]
    if clean and contents:
        _refuse_others(locks)
        if not (work_dir / MARKER).is_file():
            raise WorkDirError(
                f"{work_dir} was not made by mrspec_prep and is not emptied. Remedy: give another --work-dir"
            )
        for entry in contents:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        contents = []
    if not contents:  # a folder that held something else before is used but never marked, so never emptied
        write_atomically(work_dir / MARKER, SIGNATURE)
    return work_dir


def _refuse_strangers(work_dir):
    """Raise WorkDirError where others may write into a work directory, which may itself be a link, or its folders.

    Nipype keeps results there as pickles: who can write one can run code in our name when a run goes on from them.
    """
    for folder in (work_dir.resolve(), *(entry for entry in work_dir.iterdir() if entry.is_dir())):
        words = distrust(folder)
        if words:
            raise WorkDirError(
                f"{folder} {words}: intermediate results there could be exchanged for code that runs in your name. "
                f"Remedy: chmod o-w {folder}, or give a --work-dir of your own, for example {work_dir / 'mine'}"
            )


def hold(path, what, otherwise):
    """Hold a lock until the process ends; WorkDirError where another process holds it."""
    lock = FileLock(path)
    if Path(lock.lock_file) in {Path(held.lock_file) for held in LOCKS}:
        return
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WorkDirError(f"another mrspec_prep is working on {what}. Remedy: wait for it, or {otherwise}") from None
    except (OSError, NotImplementedError) as error:
        raise WorkDirError(
            f"{path} cannot be locked: {error}. Remedy: a disk that knows locks and that you may write to; {otherwise}"
        ) from error
    LOCKS.append(lock)


def _refuse_others(locks):
    """Raise WorkDirError where another process works on anything there."""
    mine = {Path(lock.lock_file) for lock in LOCKS}
    for path in sorted(locks.glob("*.lock")):
        if path in mine:
            continue
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            raise WorkDirError(
                f"another mrspec_prep is working on {path.stem} in {locks.parent}, which cannot be emptied now. "
                "Remedy: wait for it, or give another --work-dir"
            ) from None


def _finished_file(out_dir, subject):
    return Path(out_dir) / f"sub-{subject}" / "log" / "finished.json"


def finished_key(out_dir, subject):
    """Key of the plan that a participant was finished with; None where a file is missing or has not its size."""
    key, sizes = _finished(out_dir, subject)
    if key is None or _page(subject) not in sizes:
        return None
    return key if all(_size(Path(out_dir) / name) == size for name, size in sizes.items()) else None


def anyone_finished(out_dir):
    """Whether a participant of a dataset has been finished, and its record is still there."""
    return any(Path(out_dir).glob("sub-*/log/finished.json"))


def _page(subject):
    return f"sub-{subject}.html"


def _size(path):
    """Bytes of a file, None where it is none."""
    return path.stat().st_size if path.is_file() else None


def _finished(out_dir, subject):
    """Key of the record of a participant, and sizes of its files; None and none where there is no record.

    Only files in the participant's own folder, and its page, are believed to be its own.
    """
    try:
        content = read_json(_finished_file(out_dir, subject))
        key, files = content["key"], content["files"]
        sizes = content.get("sizes", {})
        mine = {name: sizes.get(name) for name in files if _is_of(name, subject)}
    except (InputError, KeyError, TypeError, AttributeError):
        return None, {}
    return key if isinstance(key, str) else None, mine


def _is_of(name, subject):
    parts = Path(name).parts
    return name == _page(subject) or (parts[:1] == (f"sub-{subject}",) and ".." not in parts)


def remove_stale(out_dir, subject, written, within=()):
    """Remove derivatives of an earlier run that this one, with other settings, did not write again.

    Only files that an earlier run recorded as its own are touched.

    Parameters
    ----------
    out_dir : path
    subject : str
    written : iterable of path
    within : sequence of str
        Entities by which the run took some of the participant's images only, e.g. ``ses``: files with labels of them
        that no written file has are about the other images, and stay.

    Returns
    -------
    list of str
        Names of the files removed, relative to ``out_dir``.

    """
    current = {str(Path(path).relative_to(out_dir)) for path in written}
    _, earlier = _finished(out_dir, subject)
    stale = [name for name in earlier if name not in current and _is_result(Path(name))]
    if within:
        covered = {_labels(name, within) for name in current}
        stale = [name for name in stale if _labels(name, within) in covered]
    for name in stale:
        (Path(out_dir) / name).unlink(missing_ok=True)
    return stale


def _labels(name, entities):
    """Labels of some entities in the name of a file; None of those that it does not have."""
    found = dict(part.split("-", 1) for part in Path(name).name.split("_") if "-" in part)
    return tuple(found.get(entity) for entity in entities)


def _is_result(path):
    return path.parent.name in ("dwi", "anat") or "_desc-reference_" in path.name


def forget_finished(out_dir, subject):
    """From now on the participant is unfinished; which files an earlier run wrote stays known.

    To be called before anything of a participant is written again: a run that is killed on the
    way must not leave the results of two settings under the record of one.
    """
    path = _finished_file(out_dir, subject)
    if path.is_file():
        _, sizes = _finished(out_dir, subject)
        write_atomically(path, json.dumps({"key": None, "files": list(sizes)}, indent=1) + "\n")


def mark_finished(out_dir, subject, key):
    """Record that a participant is finished with this plan, which files that gave, and how large they are."""
    folder = Path(out_dir) / f"sub-{subject}"
    found = sorted(
        p
        for p in (Path(out_dir) / _page(subject), *folder.rglob("*"))
        if p.is_file() and "log" not in p.relative_to(out_dir).parts and not is_group_file(p)
    )
    sizes = {str(path.relative_to(out_dir)): path.stat().st_size for path in found}
    content = {"key": key, "files": list(sizes), "sizes": sizes}
    write_atomically(_finished_file(out_dir, subject), json.dumps(content, indent=1) + "\n")


def save_run_file(folder, plan, settings):
    """Write ``mrspec_prep.toml``: what was asked for, and per series the workflow as resolved."""
    lines = ["# give this file to --config-file to run the same again", settings.to_toml()]
    for number, series in enumerate(plan.series):
        prefix = f"series.{number}"
        lines += ["", f"[{prefix}]", f"workflow = {json.dumps(series.workflow)}", f"why = {json.dumps(series.why)}"]
        lines += [f"images = {json.dumps([str(path) for path in series.series.images])}", "", f"[{prefix}.options]"]
        for line in series.options.to_toml().splitlines():
            lines.append(f"[{prefix}.options.{line[1:]}" if line.startswith("[") else line)
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    write_atomically(Path(folder) / "mrspec_prep.toml", text)
