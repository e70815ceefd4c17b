"""HDF5 files whose arrays lie in one piece in the file: what a header promises is there, or the file is refused."""

import io
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mrspec_prep.bids.errors import InputError, unreadable

LONGEST_ATTRIBUTE = 4096  # bytes
ALIGNMENT = 64  # bytes, of every large array: a cache line
HDF5_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError)
REMEDY = "run the participant again, or copy the file again"


@dataclass(frozen=True)
class Place:
    """Where an array lies in its file: first byte, shape, type; its last byte is in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def map(self, path):
        """Read-only memory map of the array; nothing is read."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(path, self.dtype, mode="r", offset=self.offset, shape=self.shape)


def contiguous_bytes(arrays, attributes):
    """HDF5 file as a buffer: every array in one piece and uncompressed, without time stamps.

    Parameters
    ----------
    arrays : dict of str to array
        Names may hold ``/`` for groups.
    attributes : dict
        Of the file: text, numbers or small arrays of numbers.

    Returns
    -------
    memoryview

    """
    stream = io.BytesIO()
    layout = {"libver": ("v110", "v110"), "alignment_threshold": 1024, "alignment_interval": ALIGNMENT}
    with h5py.File(stream, "w", **layout) as file:
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
    return stream.getbuffer()


class ContiguousFile:
    """An HDF5 file open for reading, from ``open_contiguous``; every look-up checks what it finds."""

    def __init__(self, path, file, size):
        self.path, self._file, self._size = path, file, size

    def __contains__(self, name):
        return name in self._file

    def names(self, group):
        """Names in a group, in no particular order."""
        found = self._file.get(group)
        return list(found) if isinstance(found, h5py.Group) else []

    def text(self, name):
        """Attribute that is text; InputError where it is absent, too long, or none."""
        value = self._attribute(name, "S")
        return bytes(value).decode("utf-8")

    def numbers(self, name, shape=()):
        """Attribute that is a number, or an array of ``shape``; InputError where it is absent or none."""
        value = np.asarray(self._attribute(name, "iuf"))
        if value.shape != shape:
            raise self.damaged(f"attribute {name} has the shape {value.shape}, not {shape}")
        return value

    def _attribute(self, name, kinds):
        if name not in self._file.attrs:
            raise self.damaged(f"attribute {name} is missing")
        handle = h5py.h5a.open(self._file.id, name.encode())
        if handle.get_storage_size() > LONGEST_ATTRIBUTE or handle.dtype.kind not in kinds:
            raise self.damaged(f"attribute {name} is too long or of another type")
        return self._file.attrs[name]

    def place(self, name, dtype, n_dims):
        """Where an array lies.

        Parameters
        ----------
        name : str
        dtype : str or dtype
            The type that it must have.
        n_dims : int

        Returns
        -------
        Place

        Raises
        ------
        InputError
            Absent, another type, other dimensions, not in one piece in this very file, or longer than the file.

        """
        link = self._file.get(name, getlink=True)
        if link is None:
            raise self.damaged(f"{name} is missing")
        found = self._file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset):
            raise self.damaged(f"{name} is no array of this file")
        if found.dtype != np.dtype(dtype) or found.ndim != n_dims:
            raise self.damaged(f"{name} is {found.ndim}-dimensional {found.dtype}, not {n_dims}-dimensional {dtype}")
        making = found.id.get_create_plist()
        if making.get_layout() != h5py.h5d.CONTIGUOUS or making.get_external_count():
            raise self.damaged(f"{name} does not lie in one piece in this file")
        length = found.dtype.itemsize
        for n in found.shape:
            length *= int(n)
        offset = found.id.get_offset()
        if length and (offset is None or offset + length > self._size):
            raise self.damaged(f"{name} ends at byte {(offset or 0) + length}, the file at {self._size}")
        return Place(offset or 0, tuple(int(n) for n in found.shape), found.dtype)

    def array(self, name, dtype, n_dims):
        """Copy of an array; see ``place`` for what is checked."""
        return np.array(self.place(name, dtype, n_dims).map(self.path))

    def damaged(self, what):
        """InputError for content that does not hold together."""
        return InputError("the file is truncated or damaged", file=self.path, value=what, remedy=REMEDY)


@contextmanager
def open_contiguous(path):
    """Open an HDF5 file for reading as a ``ContiguousFile``.

    Raises
    ------
    InputError
        Missing, no permission, empty, not HDF5, cut, or with content that cannot be read.

    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from error
    if size == 0:
        raise InputError("the file is empty", file=path, value="0 bytes", remedy=REMEDY)
    try:
        with h5py.File(path, "r", locking=False) as file:  # finished files never change; some file systems lock none
            yield ContiguousFile(path, file, size)
    except InputError:
        raise
    except HDF5_ERRORS as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError("the file is truncated, damaged or no HDF5", file=path, value=reason, remedy=REMEDY) from error
