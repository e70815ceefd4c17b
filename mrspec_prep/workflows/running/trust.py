"""Who could have written a file: the question before anything of a work directory is unpickled."""

import os
import stat
from pathlib import Path


def distrust(path, user=None):
    """Why a file or folder of a work directory may be another's, in words.

    What belongs to root is trusted, for root can do anything; so a folder like ``/tmp``, where nobody else can replace
    what is another's, may hold ours. Root is not asked to own them: in a container root works in folders of the user
    who started it.

    Parameters
    ----------
    path : path
    user : int, optional
        Number of the user; default: who runs this.

    Returns
    -------
    str or None

    """
    user = os.geteuid() if user is None else user
    found = Path(path).lstat()
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if found.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return "may be written by everyone"
    if user != 0 and found.st_uid not in (user, 0):
        return "belongs to another user"
    return None
