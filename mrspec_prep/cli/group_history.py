"""What an earlier group run left: its record, and maps of participants or settings that are no longer part of it."""

import json
from pathlib import Path

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.output.derivatives import is_group_file
from mrspec_prep.cli.history import hold

PAGE = "group.html"


def group_log(out_dir, run_id):
    """Folder of the settings and crash files of one group run."""
    return Path(out_dir) / "logs" / "group" / run_id


def claim_group(out_dir):
    """Hold the group of an output directory until the process ends; WorkDirError where another process does."""
    folder = Path(out_dir) / "logs" / "group"
    folder.mkdir(parents=True, exist_ok=True)
    hold(folder / ".lock", f"the group of {out_dir}", "give another OUT_DIR")


def finished_group(out_dir):
    """Key of the plan that the group was finished with; None where it was not, or a file of it is gone."""
    path = _record(out_dir)
    if not path.is_file() or not (Path(out_dir) / PAGE).is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        key, files = content["key"], content["files"]
    except (OSError, ValueError, KeyError, TypeError):  # damaged: the group is computed again
        return None
    return key if all((Path(out_dir) / name).is_file() for name in files) else None


def forget_group(out_dir):
    """From now on the group is unfinished; to be called before any of its files is written again."""
    _record(out_dir).unlink(missing_ok=True)


def mark_group(out_dir, key, written):
    """Record that the group is finished with this plan, and the files that this gave."""
    files = sorted(str(Path(path).relative_to(out_dir)) for path in written)
    write_atomically(_record(out_dir), json.dumps({"key": key, "files": files}, indent=1) + "\n")


def remove_stale_group(out_dir, written):
    """Remove files of the group level that the run just ended did not write.

    Their names are the group level's own (``seg-group``, ``model-groupmap``, ``group_desc-``, ``tpl-group_``), so that
    those of a run that was killed, which nobody recorded, are found too.

    Returns
    -------
    list of str
        Names of the files removed, relative to ``out_dir``.

    """
    out_dir, written = Path(out_dir), {Path(path) for path in written}
    ours = [path for path in out_dir.glob("sub-*/**/*") if path.is_file() and is_group_file(path)]
    ours += [
        path for kind in ("group_desc-*", "tpl-group/tpl-group_*") for path in out_dir.glob(kind) if path.is_file()
    ]
    stale = sorted(path for path in ours if path not in written)
    for path in stale:
        path.unlink(missing_ok=True)
        _remove_empty(path.parent, out_dir)
    return [str(path.relative_to(out_dir)) for path in stale]


def _remove_empty(folder, root):
    """Remove a folder that holds nothing any more, and those above it, up to the root."""
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _record(out_dir):
    return Path(out_dir) / "logs" / "group" / "finished.json"
