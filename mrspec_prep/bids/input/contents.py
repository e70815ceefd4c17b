"""Contents of input files: digests, and what is remembered of files that were read, so that they are not read again."""

import hashlib
import json
import re
from pathlib import Path

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.input.voxels import VoxelFinding
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.nifti import iterate_volumes

FORMAT = 3  # of the record; findings of another one are not believed
MOST_FINDINGS = 50  # kept of a participant: one per series and mask
PIECE = 8 << 20  # bytes of a file between two looks at whether reading is to end
DIGEST = re.compile(r"[0-9a-f]{64}")


def stamp_of(path):
    """Size [bytes] of a file, times [ns] of the last change of its content and of anything about it.

    Who sets the first time back leaves the second.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise unreadable(Path(path), error) from error
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def digest_file(path, stopped=None):
    """SHA-256 of a file as it is stored, hexadecimal; ``stopped`` as of ``tally_image``."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while piece := stream.read(PIECE):
                _go_on(stopped)
                digest.update(piece)
    except InterruptedError:
        raise
    except OSError as error:
        raise unreadable(Path(path), error) from error
    return digest.hexdigest()


def _go_on(stopped):
    """Raise InterruptedError where reading is to end."""
    if stopped is not None and stopped.is_set():
        raise InterruptedError


def tally_image(path, kinds, takers, stopped=None):
    """Read an image once, to its end, for everyone who wants its volumes.

    Parameters
    ----------
    path : Path
    kinds : str
        As of ``iterate_volumes``.
    takers : sequence of callable
        Each is given the place and the values, (nx, ny, nz), of every volume.
    stopped : threading.Event, optional
        Once set, the reading ends with ``InterruptedError``.

    Returns
    -------
    stamp : list of int
        ``stamp_of`` the file.
    digest : str
        ``digest_file`` of it.

    Raises
    ------
    InputError
        It cannot be read whole, or changed meanwhile.

    """
    before, digest = stamp_of(path), hashlib.sha256()
    for volume, values in enumerate(iterate_volumes(path, kinds, digest)):
        for take in takers:
            take(volume, values)
        _go_on(stopped)
    if stamp_of(path) != before:
        raise InputError(
            "the file changed while it was read", file=path, remedy="wait until it is written, then type the same again"
        )
    return before, digest.hexdigest()


class InputRecord:
    """What is known of a participant's input files from an earlier reading.

    It saves reading, and nothing else: whatever does not look like a record of ours is as good as none, and the steps
    check what they load all the same.

    Parameters
    ----------
    path : Path
        JSON file.
    trusted : bool
        Whether nobody else could have written it; otherwise it is not read.

    """

    def __init__(self, path, trusted=True):
        self.path = Path(path)
        self.stamps, self.findings = self._read() if trusted else ({}, {})
        self._before = self._content()

    def _read(self):
        try:
            content = read_json(self.path)
            if content["format"] != FORMAT:
                return {}, {}
            stamps = {str(path): (_stamp(stamp), _digest(digest)) for path, (stamp, digest) in content["files"].items()}
            findings = {_digest(key): VoxelFinding.from_json(found) for key, found in content["findings"].items()}
        except (InputError, KeyError, TypeError, ValueError, AttributeError):
            return {}, {}
        return stamps, findings

    def digest_of(self, path):
        """Digest of a file that has not changed since it was read; None where that is not known."""
        stamp, digest = self.stamps.get(str(path), (None, None))
        return digest if stamp == stamp_of(path) else None

    def same_size(self, path):
        """Whether a file was read and has the size it had: it may have been touched only."""
        stamp, _ = self.stamps.get(str(path), (None, None))
        return stamp is not None and stamp[0] == stamp_of(path)[0]

    def remember(self, path, stamp, digest):
        """Keep a file's stamp and digest."""
        self.stamps[str(path)] = (stamp, digest)

    def keep(self, files):
        """Forget files other than these, and findings beyond the newest."""
        wanted = {str(path) for path in files}
        self.stamps = {path: known for path, known in self.stamps.items() if path in wanted}
        self.findings = dict(list(self.findings.items())[-MOST_FINDINGS:])

    def save(self):
        """Write what is known where that is anything new."""
        content = self._content()
        if content != self._before:
            write_atomically(self.path, content)
            self._before = content

    def _content(self):
        findings = {key: finding.to_json() for key, finding in self.findings.items()}
        return json.dumps({"format": FORMAT, "files": self.stamps, "findings": findings}, indent=1) + "\n"


def _stamp(value):
    if not isinstance(value, list) or len(value) != 3 or any(type(number) is not int for number in value):
        raise TypeError(f"{value!r} is no stamp")
    return value


def _digest(value):
    if not DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is no digest")
    return value
