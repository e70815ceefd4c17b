"""NIfTI files: headers that can be believed, grids, and volumes read as a stream."""

import gzip
import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from mrspec_prep.bids.errors import InputError, check_plain, unreadable

GRID_TOLERANCE = 1e-3  # mm: how far two affines may differ
SMALLEST_VOXEL = 1e-15  # mm3, far below any voxel, also one written in metres
CHUNK = 1 << 20  # bytes
MOST_COMPRESSED = 1100  # gzip cannot shrink data by more than this factor
REAL, COMPLEX = "biuf", "biufc"  # kinds of numbers that an image may hold
SLACK = 4096  # bytes that a gzip stream may hold beyond the data before its length is counted
LONGEST_TAIL = 16 << 20  # bytes that may follow the data; more are no padding
LARGEST_EXTENSIONS = 64 << 20  # bytes between header and data
#: by the magic word: where it stands, size of the header, where the offset of the data stands, its type
HEADERS = ((344, b"n+1\0", 348, 108, "f"), (4, b"n+2\0", 540, 168, "q"))
NIBABEL_ERRORS = (nib.filebasedimages.ImageFileError, HeaderDataError, HeaderTypeError, WrapStructError)
BROKEN = (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, *NIBABEL_ERRORS)


@dataclass(frozen=True, eq=False)
class Grid3D:
    """Where the voxels of an image are: shape of one volume, number of volumes, affine [mm]."""

    shape: tuple[int, int, int]
    n_volumes: int
    affine: np.ndarray

    def difference(self, other):
        """What differs from another grid, in words; empty where nothing does."""
        if self.shape != other.shape:
            return f"{in_words(self.shape)} against {in_words(other.shape)} voxels"
        distance = np.abs(self.affine - other.affine).max()
        return f"affines differ by {distance:.3g}" if distance > GRID_TOLERANCE else ""


def in_words(shape):
    """Shape of an array as ``nx x ny x nz``."""
    return " x ".join(str(n) for n in shape)


def open_image(path, kinds=REAL):
    """Nibabel image of a NIfTI file whose header can be believed; no data are read.

    ``kinds`` are those of the numbers that it may hold, ``REAL`` or ``COMPLEX``.

    Raises
    ------
    InputError
        Missing, no permission, 0 bytes, no NIfTI, header cut or impossible, fewer bytes
        than the header promises, or numbers of another kind.

    """
    path = Path(path)
    size = check_plain(path)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from error
    if size == 0:
        raise InputError("the image is empty", file=path, value="0 bytes", remedy="fetch or convert it again")
    try:
        _check_extensions(path)
        image = nib.load(path)
        image.get_data_dtype()
    except BROKEN as error:
        raise _damaged(path, error) from error
    _check_header(path, image, size, kinds)
    return image


def _damaged(path, error):
    if isinstance(error, OSError) and error.errno is not None:  # the system's word, not that of a reader of the format
        return unreadable(path, error)
    if isinstance(error, MemoryError):
        remedy = "check its header, or give the job more memory (--mem)"
        return InputError("no memory is left to read this image", file=path, remedy=remedy, unseen=True)
    reason = " ".join(str(error).replace(str(path), path.name).split())[:160] or type(error).__name__
    return InputError("the image is truncated or corrupt", file=path, value=reason, remedy="fetch or convert it again")


def _check_extensions(path):
    """Raise ValueError where the header's extensions cannot be as long as they say.

    The reader believes their lengths; a few kilobytes that unpack to gigabytes would fill the memory.
    """
    with _open_content(path) as stream:
        head = stream.read(544)
        for place, magic, size, at, kind in HEADERS:
            if head[place : place + 4] == magic and len(head) >= size + 4 and head[size]:
                order = "<" if struct.unpack_from("<i", head)[0] == size else ">"
                (offset,) = struct.unpack_from(order + kind, head, at)
                if not size + 4 <= offset <= LARGEST_EXTENSIONS or struct.unpack_from(order + "i", head)[0] != size:
                    raise ValueError(f"extensions up to byte {offset:.6g}")
                stream.seek(size + 4)
                _check_lengths(stream.read(int(offset) - size - 4), order)


def _check_lengths(content, order):
    """Raise ValueError unless extensions, each beginning with its length, fill what is there."""
    place = 0
    while len(content) - place >= 16:
        (length,) = struct.unpack_from(order + "i", content, place)
        if not 8 <= length <= len(content) - place:
            raise ValueError(f"an extension of {length} bytes where {len(content) - place} are left")
        place += length


def _check_header(path, image, size, kinds):
    shape, dtype, affine = image.shape, image.get_data_dtype(), image.affine
    if dtype.kind not in kinds:
        raise InputError(
            "the image holds no real numbers", file=path, value=dtype, remedy="convert it to magnitude or real values"
        )
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise InputError(
            "an image must be 3-D, or 4-D with volumes last", file=path, value=in_words(shape), remedy="reshape it"
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < SMALLEST_VOXEL:
        raise InputError("the affine cannot be inverted", file=path, value=affine.tolist(), remedy="convert it again")
    promised = image.dataobj.offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    held = _gzip_content(path, size, promised) if path.name.endswith(".gz") else size
    if held > promised + LONGEST_TAIL:
        raise InputError(
            f"the file goes on behind the {promised} bytes that its header promises",
            file=path,
            value=f"{held} bytes and more",
            remedy="fetch or convert it again",
        )
    if held < promised:
        raise InputError(
            f"the image is truncated or its header wrong: {promised} bytes promised",
            file=path,
            value=f"{held} bytes",
            remedy="fetch or convert it again",
        )


def _gzip_content(path, size, promised):
    """Bytes that a gzip file holds, unpacked, as far as they matter for ``promised``.

    The last four bytes of a gzip stream are its length modulo 2^32. Where they do not
    agree with the header, the file is cut, or lies, or holds several streams: then, and
    only then, it is unpacked and counted, little further than promised. Nothing is kept in memory.
    """
    if promised > size * MOST_COMPRESSED:
        return size
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        (length,) = struct.unpack("<I", stream.read(4))
    if (length - promised) % 2**32 <= SLACK:
        return promised
    held = 0
    try:
        with _open_content(path) as stream:
            while held <= promised + LONGEST_TAIL and (content := stream.read(CHUNK)):
                held += len(content)
    except BROKEN:
        return held
    return held


class _Digested(io.RawIOBase):
    """Stream of a file whose bytes are digested as they are read."""

    def __init__(self, file, digest):
        self.file, self.digest = file, digest

    def readable(self):
        """It can be read."""
        return True

    def read(self, size=-1):
        """Bytes, digested."""
        content = self.file.read(size)
        self.digest.update(content)
        return content


def _open_content(path, stream=None):
    """Stream of the unpacked bytes of a file; always Python's own gzip, which verifies the check sum.

    ``stream``, where given, is that of the file as it is stored.
    """
    if path.name.endswith(".gz"):
        return gzip.open(path if stream is None else stream, "rb")
    return path.open("rb") if stream is None else stream


def read_grid(path, kinds=REAL):
    """Grid3D of a NIfTI file (see ``open_image`` for what is checked)."""
    image = open_image(path, kinds)
    shape = (*image.shape, 1, 1)[:3]
    return Grid3D(shape, image.shape[3] if image.ndim == 4 else 1, np.array(image.affine, dtype=float))


def iterate_volumes(path, kinds=REAL, digest=None):
    """Volumes of a NIfTI file one after the other, read as a stream.

    Parameters
    ----------
    path : path
    kinds : str
        ``REAL`` or ``COMPLEX``.
    digest : hash object of hashlib, optional
        Fed with every byte of the file as it is stored, once the last volume was taken.

    Yields
    ------
    (nx, ny, nz) float32 array
        Scaled by the header's slope and intercept; complex64 of an image of complex numbers.

    Raises
    ------
    InputError
        The file ends early or its compression is damaged; the volume is named.

    """
    path = Path(path)
    image = open_image(path, kinds)
    shape = (*image.shape, 1, 1)[:3]
    n_volumes = image.shape[3] if image.ndim == 4 else 1
    dtype, proxy = image.get_data_dtype(), image.dataobj
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    try:
        with path.open("rb") as file, _open_content(path, digest and _Digested(file, digest)) as stream:
            _skip(stream, proxy.offset)
            for volume in range(n_volumes):
                content = stream.read(n_bytes)
                if len(content) < n_bytes:
                    raise EOFError(f"the data end in volume {volume} of {n_volumes}")
                yield _scaled(np.frombuffer(content, dtype).reshape(shape, order="F"), proxy)
            tail = 0
            while content := stream.read(CHUNK):  # up to the check sum, which stands at the end of a gzip stream
                tail += len(content)
                if tail > LONGEST_TAIL:
                    raise ValueError("the file goes on behind the data that its header promises")
    except BROKEN as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error


def _skip(stream, n_bytes):
    """Read on without keeping it; no seek, so that every byte is digested."""
    while n_bytes > 0 and (content := stream.read(min(n_bytes, CHUNK))):
        n_bytes -= len(content)


def _scaled(stored, proxy):
    """Stored values x slope + intercept; what float32 cannot hold becomes infinite, and is refused later."""
    single = np.complex64 if stored.dtype.kind == "c" else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        if (proxy.slope, proxy.inter) == (1, 0):
            return stored.astype(single)
        return (stored * np.float64(proxy.slope) + np.float64(proxy.inter)).astype(single)


def check_same_grid(path, grid, other_path, other):
    """Raise InputError where two images that belong together are on different grids."""
    difference = grid.difference(other)
    if difference:
        raise InputError(
            f"not on the grid of {Path(other_path).name}",
            file=path,
            value=difference,
            remedy="resample it, or select the images that belong together with --bids-filter-file",
        )
