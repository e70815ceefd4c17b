"""Files that exist whole or not at all."""

import fcntl
import json
import math
import os
import secrets
import socket
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np

PARTIAL = ".partial"
LONGEST_NAME = 100  # characters of a name that its temporary file repeats
HOUR, DAY = 3600, 86400  # s


def write_atomically(path, content):
    """Write a file so that no reader and no killed run ever sees half of it.

    The content goes to a hidden file in the same folder, is forced to disk and takes the
    final name in one step. Leftovers of runs that were killed while writing into this
    folder are removed. Jobs may write the same file at the same time, also in containers
    of their own: each writes under a name of its own, and the last one to finish wins.

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
    remove_leftovers(path.parent)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary, stream = _open_temporary(path)
    try:
        with stream:
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


def remove_leftovers(folder):
    """Remove what killed runs left in a folder while writing; what another process is writing now stays."""
    for leftover in Path(folder).glob(f".*{PARTIAL}"):
        _remove_if_abandoned(leftover)


def remove_all_leftovers(folder, until=math.inf):
    """The same for a folder and all below it; what is not reached by a time (``time.monotonic``) is the next run's."""
    for place, _, files in os.walk(folder):
        if any(name.startswith(".") and name.endswith(PARTIAL) for name in files):
            remove_leftovers(place)
        if time.monotonic() > until:
            return


def _open_temporary(path):
    """Hidden file beside ``path`` under a name that no other process has, locked as long as it is open."""
    while True:
        name = f".{path.name[:LONGEST_NAME]}.{_host()}+{os.getpid()}+{secrets.token_hex(4)}{PARTIAL}"
        temporary = path.with_name(name)
        stream = temporary.open("xb")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process took it for a leftover before it was locked
            stream.close()
            continue
        except OSError:
            return temporary, stream  # a file system without locks: the name alone tells
        if temporary.exists():
            return temporary, stream
        stream.close()


def _remove_if_abandoned(leftover):
    """Remove a temporary file whose writer is gone.

    A writer holds a lock, which ends with it, whatever number it had and in whatever container it ran. A lock may not
    be seen from another host: files of other hosts, or on file systems without locks, must be old as well.
    """
    try:
        handle = os.open(leftover, os.O_RDWR)
    except OSError:
        return  # just renamed or removed, or not ours
    try:
        age = time.time() - os.fstat(handle).st_mtime
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if age < DAY:
                return
        if f".{_host()}+" in leftover.name or age > HOUR:
            leftover.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _host():
    return socket.gethostname().replace("/", "_")


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
