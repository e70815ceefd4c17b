"""One job at a time: files of a dataset that jobs read, change and write again."""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from mrspec_prep.bids.errors import InputError

NAME = ".lock"  # in the folder logs, which BIDS validators are told to ignore
#: of a file system without flock, or (NFS) with one for those who may write
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
WAIT_SECONDS = 120.0  # what is locked takes milliseconds
OLD_SECONDS = WAIT_SECONDS / 2  # a marker of that age is a killed job's
POLL_SECONDS = 0.02


@contextlib.contextmanager
def dataset_lock(out_dir):
    """Hold the dataset for a read-change-write of one of its files; other jobs, on whatever node, wait.

    The kernel frees the lock of a job that is killed. The lock file stays: on NFS a job could otherwise lock a file
    that another has removed, while a third locks the new one of that name. Where the file system knows no locks, a
    second file that only one job can make stands for it.

    Parameters
    ----------
    out_dir : path
        Derivative dataset; ``logs/.lock`` is made there.

    Raises
    ------
    InputError
        One other job has held it for two minutes; jobs that take turns are waited for.
    OSError
        No permission, full disk.

    """
    path = Path(out_dir) / "logs" / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        handle = _open(path)
        held.callback(os.close, handle)
        try:
            _wait_for(lambda: _flock(handle), path)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            marker = path.with_name(f"{NAME}-held")
            _wait_for(lambda: _make(marker), marker)
            held.callback(_let_go, marker, time.monotonic())
        else:
            with contextlib.suppress(PermissionError):  # of another user's file: only its owner may
                os.utime(handle)  # who waits sees that the lock has changed hands
        _refresh(out_dir)
        yield


def _wait_for(attempt, path):
    end, stamp = time.monotonic() + WAIT_SECONDS, _stamp(path)
    while not attempt():
        if stamp != (stamp := _stamp(path)):  # another holder
            end = time.monotonic() + WAIT_SECONDS
        if time.monotonic() > end:
            raise InputError(
                f"another job has held the dataset for {WAIT_SECONDS:.0f} s",
                file=path,
                remedy="is a job stopped, or its node dead? End it, then type the same command again",
            )
        time.sleep(POLL_SECONDS)


def _stamp(path):
    """When the present holder took the lock [ns]; None where nobody holds it."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _open(path):
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)  # another user made it


def _flock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(marker):
    """Make a file that is not there yet; one that a killed job left is old, and makes room for the next attempt."""
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        if _is_old(marker):
            _remove_old(marker)
        return False
    return True


def _is_old(marker):
    """Whether a file is older than any job may hold a dataset; not where it is gone."""
    try:
        return time.time() - marker.stat().st_mtime > OLD_SECONDS
    except FileNotFoundError:
        return False


def _remove_old(marker):
    """Remove what a killed job left, unless another does.

    Of those who found it old, one at a time may look again and remove it: the others would remove what the first has
    made in its place. Who may is told by a marker, too, which a killed job may leave like the first.
    """
    removing = marker.with_name(f"{marker.name}-old")
    if _make(removing):
        try:
            if _is_old(marker):
                marker.unlink(missing_ok=True)
        finally:
            removing.unlink(missing_ok=True)


def _let_go(marker, since):
    """Remove our marker, unless it was held so long that another job may have taken its place."""
    if time.monotonic() - since < OLD_SECONDS:
        marker.unlink(missing_ok=True)


def _refresh(folder):
    """Let NFS ask its server what is in a folder now: what another node replaced a moment ago must be seen."""
    with contextlib.suppress(PermissionError):  # a folder that may be searched and not listed
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
