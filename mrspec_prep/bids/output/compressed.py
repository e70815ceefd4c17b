"""Compressed signals of one series on disk: what the group level reads of a participant."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mrspec_prep import __version__
from mrspec_prep.bids.atomic import write_atomically, write_json
from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.bids.output.compressed_checks import (
    FORMAT,
    NoiseError,
    check_arrays,
    check_format,
    check_header,
    read_geometry,
    read_grid,
)
from mrspec_prep.bids.output.contiguous import Place, contiguous_bytes, open_contiguous
from mrspec_prep.bids.output.derivatives import sidecar_path
from mrspec_prep.physics import Encodings, Grid
from mrspec_prep.physics.encodings import COLUMNS
from mrspec_prep.physics.hashes import grid_hash, protocol_hash

ENCODINGS = (*COLUMNS, "direction")  #: arrays of the encodings: s/mm2, ms, unitless, unit vectors
ORTHONORMAL = 1e-6  # how far P'P may be from the identity


@dataclass(frozen=True, eq=False)
class CompressedHeader:
    """What a file of compressed signals says of itself; no signals are held.

    Attributes
    ----------
    path : Path
    software_version : str
        Of the participant run, as ``0.1.0``.
    kernel_settings : dict
        ``name`` and what else the kernel and its grid were made with.
    grid : Grid
        ms, um2/ms.
    grid_hash, protocol_hash : str
    n_voxels, n_ranks, n_encodings : int
    distribution : str
        ``gaussian`` or ``student-t``, of the compressed signals about their mean.
    degrees_of_freedom : float or None
        Of sigma; None where it is taken as known.
    shape : (nx, ny, nz)
        Of the image.
    box : (3, 2) array
        First index and end of the smallest box that holds the region.
    affine : (4, 4) array
        Voxel to world [mm].
    about : dict
        ``Sources`` (BIDS URIs), ``Datatype`` and ``Suffix`` of the series, ``NoiseDistribution``, ``SignalsAre``.
    places : dict of str to Place
        Where ``signals``, ``sigma``, ``outside``, ``roi``, ``projection``, ``projection_row`` and
        ``singular_values`` lie.

    """

    path: Path
    software_version: str
    kernel_settings: dict
    grid: Grid
    grid_hash: str
    protocol_hash: str
    n_voxels: int
    n_ranks: int
    n_encodings: int
    distribution: str
    degrees_of_freedom: float | None
    shape: tuple[int, int, int]
    box: np.ndarray
    affine: np.ndarray
    about: dict
    places: dict[str, Place]

    @property
    def kernel(self):
        """Name of the kernel."""
        return self.kernel_settings["name"]


@dataclass(frozen=True, eq=False)
class CompressedProtocol:
    """How spectra became compressed signals.

    Attributes
    ----------
    kernel_settings : dict
        ``name`` and what else the kernel was made with.
    encodings : Encodings
    grid : Grid
    projection : (n_encodings, n_ranks) array
        Orthonormal columns P; ``signals = S @ P``.
    singular_values : (n_ranks,) array
        Row norms of P'K: they tell whether a kernel made again is the same.

    """

    kernel_settings: dict
    encodings: Encodings
    grid: Grid
    projection: np.ndarray
    singular_values: np.ndarray


@dataclass(frozen=True, eq=False)
class CompressedSignals:
    """Compressed signals of one series, as read-only memory maps.

    Attributes
    ----------
    header : CompressedHeader
    signals : (n_voxels, n_ranks) float32
        t = P's [signal units]; rows in the order of ``np.argwhere(roi)``.
    sigma : (n_voxels,) float32
        Noise standard deviation of one volume [signal units].
    outside : (n_voxels,) float32
        ||s||2 - ||t||2 [signal units squared].

    """

    header: CompressedHeader
    signals: np.ndarray
    sigma: np.ndarray
    outside: np.ndarray

    @cached_property
    def roi(self):
        """(nx, ny, nz) bool array of the voxels."""
        bits = self.header.places["roi"].map(self.header.path)
        sides = np.ptp(self.header.box, axis=1)
        roi = np.zeros(self.header.shape, bool)
        roi[tuple(slice(*ends) for ends in self.header.box)] = np.unpackbits(bits, count=sides.prod()).reshape(sides)
        return roi

    @cached_property
    def protocol(self):
        """The ``CompressedProtocol``."""
        return read_protocol(self.header.path)


def write_compressed(
    path, *, signals, sigma, outside, roi, affine, protocol, distribution="gaussian", degrees_of_freedom=None, metadata
):
    """Write compressed signals (``.h5``) and their sidecar, the sidecar first.

    Parameters
    ----------
    path : path
        Ends in ``.h5``.
    signals : (n_voxels, n_ranks) array
    sigma, outside : (n_voxels,) arrays
    roi : (nx, ny, nz) bool array
    affine : (4, 4) array
        [mm].
    protocol : CompressedProtocol
    distribution : str
        ``gaussian`` or ``student-t``.
    degrees_of_freedom : float, optional
        Of sigma, for ``student-t``.
    metadata : dict
        For the sidecar: Sources, OptionsHash, Datatype, Suffix, NoiseDistribution, SignalsAre, ...

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        Shapes that do not match, values that are not finite, sigma not positive, an unknown distribution.

    """
    path, roi = Path(path), np.asarray(roi, bool)
    arrays = {
        "signals": np.ascontiguousarray(signals, "<f4"),
        "sigma": np.ascontiguousarray(sigma, "<f4"),
        "outside": np.ascontiguousarray(outside, "<f4"),
    }
    check_arrays(path, arrays, roi, protocol, distribution, degrees_of_freedom)
    box = _box(roi)
    arrays["roi"] = np.packbits(roi[tuple(slice(*ends) for ends in box)])
    rows, row_of = np.unique(np.asarray(protocol.projection, "<f8"), axis=0, return_inverse=True)
    arrays |= {"projection": rows, "projection_row": row_of.ravel().astype("<i4")}
    arrays["singular_values"] = np.ascontiguousarray(protocol.singular_values, "<f8")
    encodings = {name: getattr(protocol.encodings, name) for name in ENCODINGS}
    given = {name: values for name, values in encodings.items() if values is not None}
    arrays |= {f"encodings/{name}": values.astype("<f8") for name, values in given.items()}
    factors = {name: axis_entry(name)["factor"] for name in protocol.grid.names}
    stored = {name: values * factors[name] for name, values in zip(factors, protocol.grid.axes, strict=True)}
    arrays |= {f"axes/{name}": values.astype("<f8") for name, values in stored.items()}
    hashes = {
        "grid_hash": grid_hash(Grid(**{name: values / factors[name] for name, values in stored.items()})),
        "protocol_hash": protocol_hash(protocol.kernel_settings, protocol.encodings, protocol.projection),
    }
    about = {key: metadata[key] for key in ("Sources", "Datatype", "Suffix", "NoiseDistribution", "SignalsAre")}
    arrays["about"] = _json_bytes(about)
    arrays["kernel_settings"] = _json_bytes(protocol.kernel_settings)
    attributes = {
        "format": FORMAT,
        "software_version": __version__,
        "kernel": protocol.kernel_settings["name"],
        **hashes,
        "distribution": distribution,
        "degrees_of_freedom": np.nan if degrees_of_freedom is None else float(degrees_of_freedom),
        "shape": np.array(roi.shape, "<i8"),
        "box": np.array(box, "<i8"),
        "affine": np.asarray(affine, "<f8"),
    }
    content = contiguous_bytes(arrays, attributes)
    sidecar = _sidecar(attributes, arrays["signals"].shape, len(content)) | dict(metadata)
    write_json(sidecar_path(path), sidecar)
    return write_atomically(path, content)


def _sidecar(attributes, shape, n_bytes):
    """What the sidecar says beside the caller's metadata."""
    n_voxels, n_ranks = shape
    degrees = attributes["degrees_of_freedom"]
    return {
        "Description": "Signals of the region, compressed to the leading ranks of the kernel: what the group level "
        "reads. signals = S @ projection[projection_row]; sigma: noise of a volume; outside: energy that is left out.",
        "Units": "arbitrary",
        "SoftwareVersion": f"mrspec_prep {__version__}",
        "GridHash": attributes["grid_hash"],
        "ProtocolHash": attributes["protocol_hash"],
        "Kernel": attributes["kernel"],
        "NoiseLaw": attributes["distribution"],
        "DegreesOfFreedom": degrees if np.isfinite(degrees) else None,
        "NVoxels": n_voxels,
        "NRanks": n_ranks,
        "BytesPerVoxel": round(n_bytes / n_voxels, 1) if n_voxels else None,
    }


def read_header(path):
    """Header of a file of compressed signals; neither signals nor the protocol are read.

    Returns
    -------
    CompressedHeader

    Raises
    ------
    InputError
        Missing, truncated or no HDF5; another format than this version's; content that contradicts itself.

    """
    with open_contiguous(path) as file:
        check_format(file)
        signals = file.place("signals", "<f4", 2)
        rows = file.place("projection_row", "<i4", 1)
        places = {"signals": signals, "projection_row": rows, "projection": file.place("projection", "<f8", 2)}
        if "sigma" not in file:
            raise NoiseError(
                "the noise level is missing: there is no array sigma",
                file=file.path,
                remedy="run the participant level again; the group level cannot guess the noise",
            )
        places |= {name: file.place(name, "<f4", 1) for name in ("sigma", "outside")}
        places |= {"roi": file.place("roi", "u1", 1), "singular_values": file.place("singular_values", "<f8", 1)}
        shape, box, affine = read_geometry(file)
        degrees = float(file.numbers("degrees_of_freedom"))
        grid = read_grid(file, rows.shape[0])
        header = CompressedHeader(
            file.path,
            file.text("software_version"),
            _read_json(file, "kernel_settings"),
            grid,
            grid_hash(grid),
            file.text("protocol_hash"),
            *signals.shape,
            *rows.shape,
            file.text("distribution"),
            degrees if np.isfinite(degrees) else None,
            shape,
            box,
            affine,
            _read_json(file, "about"),
            places,
        )
        check_header(file, header)
        return header


def read_protocol(path):
    """Protocol of a file of compressed signals.

    Returns
    -------
    CompressedProtocol

    Raises
    ------
    InputError
        As ``read_header``, and a projection that is none or belongs to another protocol hash.

    """
    header = read_header(path)
    with open_contiguous(path) as file:
        named = file.names("encodings")
        if not set(named) <= set(ENCODINGS):
            raise file.damaged(f"encodings hold {', '.join(sorted(named))}")
        dims = {name: 2 if name == "direction" else 1 for name in named}
        values = {name: file.array(f"encodings/{name}", "<f8", dims[name]) for name in named}
        rows, row_of = file.array("projection", "<f8", 2), file.array("projection_row", "<i4", 1)
        singular_values = file.array("singular_values", "<f8", 1)
        if not ((row_of >= 0) & (row_of < len(rows))).all():
            raise file.damaged("projection_row names rows that are not there")
        projection = rows[row_of]
        encodings = Encodings(**values)
        if len(encodings) != header.n_encodings or not _is_orthonormal(projection):
            raise file.damaged("the projection is not one of these encodings")
        if protocol_hash(header.kernel_settings, encodings, projection) != header.protocol_hash:
            raise file.damaged("the protocol hash is that of other encodings")
        return CompressedProtocol(header.kernel_settings, encodings, header.grid, projection, singular_values)


def read_compressed(path):
    """Compressed signals as memory maps: voxels are read when they are looked at.

    A worker process should be handed the path and call this itself.

    Returns
    -------
    CompressedSignals

    Raises
    ------
    InputError
        As ``read_header``.

    """
    header = read_header(path)
    return CompressedSignals(header, *(header.places[name].map(path) for name in ("signals", "sigma", "outside")))


def _box(roi):
    """((start, stop), ...) of the smallest box that holds a region; empty at the origin where there is none."""
    if not roi.any():
        return [(0, 0)] * 3
    return [(int(where.min()), int(where.max()) + 1) for where in np.nonzero(roi)]


def _is_orthonormal(projection):
    within = (np.abs(projection) <= 1 + ORTHONORMAL).all()
    return within and np.abs(projection.T @ projection - np.eye(projection.shape[1])).max() < ORTHONORMAL


def _json_bytes(content):
    return np.frombuffer(json.dumps(content, sort_keys=True, ensure_ascii=False).encode(), np.uint8)


def _read_json(file, name):
    content = json.loads(file.array(name, "u1", 1).tobytes().decode("utf-8"))
    if not isinstance(content, dict):
        raise file.damaged(f"{name} is no table")
    return content
