"""The one error of the input room: what is wrong, where, with which value, and what to do."""

import stat

LARGEST_TEXT = 64 << 20  # bytes of a sidecar or table; larger ones are none
LONGEST_VALUE = 2000  # characters of a value that a message repeats


class InputError(ValueError):
    """Input that cannot be used as it is.

    Parameters
    ----------
    problem : str
        What is wrong, in words.
    file : path, optional
        The file it was found in.
    value : object, optional
        The offending value as found.
    remedy : str, optional
        What the user can do.
    unseen : bool
        Nothing is known of the content: memory, disk or permission to read it are missing now.

    """

    def __init__(self, problem, *, file=None, value=None, remedy=None, unseen=False):
        self.problem, self.file, self.value, self.remedy, self.unseen = problem, file, value, remedy, unseen
        where = "" if file is None else f"{file}: "
        found = "" if value is None else f" (found {_shortened(str(value))})"
        cure = "" if remedy is None else f". Remedy: {remedy}"
        super().__init__(printable(f"{where}{problem}{found}{cure}"))

    def __reduce__(self):
        """Pickle with the parts, so that the error survives the way back from a worker process."""
        return _rebuild, (self.problem, self.file, self.value, self.remedy, self.unseen)


def _rebuild(problem, file, value, remedy, unseen):
    return InputError(problem, file=file, value=value, remedy=remedy, unseen=unseen)


def printable(text):
    """Text in one line: line breaks, tabs and whatever cannot be shown or stored are written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shortened(text):
    if len(text) <= LONGEST_VALUE:
        return text
    half = LONGEST_VALUE // 2
    return f"{text[:half]} ... {text[-half:]}"


def check_plain(path):
    """Size [bytes] of a file; InputError where it is absent or a pipe, a device or a socket, which never end."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InputError(
            "this is no plain file but a pipe, a device or a socket", file=path, remedy="put the file itself here"
        )
    return found.st_size


def read_text(path, what):
    """Text of a small file.

    Parameters
    ----------
    path : Path
    what : str
        What the file is to the user, for the message.

    Raises
    ------
    InputError
        Missing, no permission, a loop of symbolic links, no plain file, too long, or not UTF-8.

    """
    size = check_plain(path)
    if size > LARGEST_TEXT:
        raise InputError(f"{what} is too long", file=path, value=f"{size} bytes", remedy="give the right file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8 text", file=path, remedy="save it as plain UTF-8 text") from error


def unreadable(path, error):
    """InputError for an operating system's refusal to open ``path``."""
    problem, remedy = f"cannot be read: {error.strerror or error}", "check the disk and the file"
    if isinstance(error, PermissionError):
        problem, remedy = "no permission to read this", f"chmod u+r {path}, or ask its owner"
    elif path.is_symlink() and isinstance(error, FileNotFoundError):
        problem = "the symbolic link points to a file that is not here"
        remedy = "fetch the content (datalad get, git annex get) or mount the folder it points to"
    elif isinstance(error, FileNotFoundError):
        problem, remedy = "the file is not here", "restore it, or correct the name"
    elif "symbolic link" in str(error).lower():
        problem, remedy = "symbolic links form a loop", "remove the link that points back"
    return InputError(problem, file=path, remedy=remedy, unseen=True)


def without_frames(error):
    """An InputError without where it was raised: that holds on to all that was read by then. Others as they are."""
    if not isinstance(error, InputError):
        return error
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
