"""Files that exist whole or not at all."""

import json
import math
import os
import socket
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np

PARTIAL = ".partial"


def write_atomically(path, content):
    """Write a file so that no reader and no killed run ever sees half of it.

    The content goes to a hidden file in the same folder, is forced to disk and takes the
    final name in one step. A leftover of an earlier run that was killed while writing the
    same file is removed.

    Parameters
    ----------
    path : path
        Its folder is made where it does not exist.
    content : bytes or str
        Text is written as UTF-8.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        No permission, full disk; the target is then untouched.

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    host = socket.gethostname().replace("/", "_")
    temporary = path.with_name(f".{path.name}.{host}+{os.getpid()}{PARTIAL}")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def write_if_changed(path, content):
    """Write atomically unless the file holds exactly this content already; returns the path."""
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return path
    return write_atomically(path, data)


def write_json(path, content):
    """Write a JSON file: keys sorted, numpy values and dataclasses as plain ones, no NaN."""
    text = json.dumps(_plain(content), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n")


def read_json(path):
    """Content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _plain(value):
    """Value made of what JSON has; NaN and infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [_plain(item) for item in items]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def _remove_leftovers(path):
    """Remove hidden files of dead processes of this host that were to become ``path``."""
    host = socket.gethostname().replace("/", "_")
    start = f".{path.name}.{host}+"
    for leftover in path.parent.glob(f".*{PARTIAL}"):
        name = leftover.name
        if not name.startswith(start):
            continue
        process = name[len(start) : -len(PARTIAL)]
        if process.isdigit() and int(process) != os.getpid() and not _alive(int(process)):
            leftover.unlink(missing_ok=True)


def _alive(process):
    """Whether a process of this number runs on this host."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder):
    """Force the renamed entry to disk where the file system allows it for folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder may be writable and not readable; the rename itself has happened
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (22, 95):  # EINVAL, EOPNOTSUPP: network file systems without folder sync
            raise
    finally:
        os.close(handle)
