"""Writing and reading finished derivatives: maps, tables and sidecars.

Values come in the units of the package (ms, um2/ms) and are stored in those of BIDS
(s, mm2/s); ``data/maps.toml`` holds the factor of each map. Equal content gives equal
bytes: no time stamps anywhere.
"""

import gzip
import io
import math
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep import __version__
from mrspec_prep.bids.atomic import write_atomically, write_json
from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.nifti import BROKEN, COMPLEX, open_image
from mrspec_prep.bids.output.catalogue import column_entries, load_catalogue, map_entry, references_of
from mrspec_prep.bids.output.derivative_dataset import (
    is_group_file,
    output_path,
    parse_name,
    pybids_config,
    start_dataset,
)
from mrspec_prep.bids.uris import bids_uri

__all__ = [
    "MapFile",
    "bids_uri",
    "encodings_table",
    "is_group_file",
    "output_path",
    "parse_name",
    "pybids_config",
    "read_json",
    "read_map",
    "read_table",
    "sidecar_path",
    "start_dataset",
    "write_json",
    "write_map",
    "write_table",
]
REQUIRED = ("Sources", "OptionsHash", "Seed")
RUN_AGAIN = "run the level that wrote it again"


@dataclass(frozen=True, eq=False)
class MapFile:
    """A map read back.

    Parameters
    ----------
    data : (x, y, z[, k]) float array
        In the units of the package (``unit`` of the catalogue), or as stored where the key is unknown.
    affine : (4, 4) array
        Voxel to world [mm].
    metadata : dict
        The sidecar; empty where there is none.
    key : str or None
        Entry of ``data/maps.toml``.
    turns : tuple of (int, int)
        Of each axis of the file the axis of ``data``, and -1 where that runs the other way.

    """

    data: np.ndarray
    affine: np.ndarray
    metadata: dict
    key: str | None
    turns: tuple = ((0, 1), (1, 1), (2, 1))

    def canonical(self):
        """Same map with its axes flipped and swapped so that they run to the right, front and top."""
        image = nib.as_closest_canonical(nib.Nifti1Image(_storable(self.data), self.affine))
        to = nib.io_orientation(self.affine).astype(int).tolist()
        turns = tuple((to[axis][0], sign * to[axis][1]) for axis, sign in self.turns)
        return MapFile(np.asarray(image.dataobj), image.affine, self.metadata, self.key, turns)

    @property
    def voxel_size(self):
        """Edge lengths of a voxel along the three axes [mm]."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def write_map(path, values, roi, like, *, key, metadata):
    """Write one map and its sidecar, the sidecar first.

    Parameters
    ----------
    path : path
        Of the image (``.nii.gz``), from ``output_path``.
    values : (n_voxels,) or (n_voxels, k) array, or a whole (x, y, z[, k]) volume
        In the units of the package; one row per voxel of ``np.argwhere(roi)``. NaN and infinity
        stand for voxels without a value: stored as 0 and counted in the sidecar.
    roi : (x, y, z) bool array
        Voxels outside hold 0, except in maps whose entry says ``masked = false``.
    like : path or nibabel image
        Input image whose affine and header the map takes.
    key : str
        Entry of ``data/maps.toml``.
    metadata : dict
        Must hold Sources, OptionsHash and Seed; entries given here go before those of the catalogue.
        ``Region`` for the key ``fraction``; ``LabelMap`` for ``probseg``.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        Unknown key, missing metadata, wrong number of values, or another grid than that of ``like``.

    """
    path, roi = Path(path), np.asarray(roi, dtype=bool)
    entry = map_entry(key)
    source = nib.load(like) if isinstance(like, (str, Path)) else like
    if source.shape[:3] != roi.shape:
        raise ValueError(f"{path.name}: the region has the shape {roi.shape}, its input {like} has {source.shape[:3]}")
    volume, n_missing = _fill(path, values, roi, entry)
    sidecar = _map_sidecar(key, entry, metadata)
    if n_missing:
        sidecar["VoxelsWithoutValue"] = n_missing
    write_json(sidecar_path(path), sidecar)
    return write_atomically(path, _nifti_bytes(volume, source))


def read_map(path):
    """Read a map with its sidecar, in the units of the package.

    Returns
    -------
    MapFile

    Raises
    ------
    InputError
        No such file, not an image or a damaged one, or a sidecar that names no map of ours.

    """
    image = open_image(path, COMPLEX)
    metadata = read_json(sidecar_path(path)) if sidecar_path(path).is_file() else {}
    key = metadata.get("MapKey")
    if key is not None and (not isinstance(key, str) or key not in load_catalogue()["maps"]):
        raise InputError("MapKey names no map", file=sidecar_path(path), value=key, remedy=RUN_AGAIN)
    try:
        data = np.asarray(image.dataobj)
    except BROKEN as error:
        raise InputError("the map is damaged", file=path, value=error, remedy=RUN_AGAIN) from error
    if key is not None:
        factor = map_entry(key)["factor"]
        data = data if factor == 1 else data / factor
    return MapFile(data, image.affine, metadata, key)


def write_table(path, columns, metadata=None):
    """Write a TSV and its sidecar, the sidecar first.

    Parameters
    ----------
    path : path
        Ends in ``.tsv``.
    columns : dict of str to sequence
        Equal lengths, values as they are to be stored. None and NaN become ``n/a``.
    metadata : dict, optional
        Goes to the sidecar, beside the descriptions of the columns that the catalogue knows.

    Raises
    ------
    ValueError
        Columns of different length.

    """
    write_json(sidecar_path(path), column_entries(columns) | dict(metadata or {}))
    return write_atomically(path, table_text(columns))


def table_text(columns):
    """Tab-separated text of columns of equal length."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"table columns of different length: {lengths}")
    rows = zip(*([_cell(value) for value in values] for values in columns.values()), strict=True)
    return "\n".join("\t".join(row) for row in [tuple(columns), *rows]) + "\n"


def read_table(path):
    """Columns of a TSV and its sidecar.

    Returns
    -------
    columns : dict of str to array
        Numbers as float with NaN for ``n/a``, true and false as bool, all else as text.
    metadata : dict
        Empty where there is no sidecar.

    Raises
    ------
    InputError
        Not UTF-8, or rows unlike the first line, which names the columns.

    """
    lines = read_text(Path(path), "the table").split("\n")
    names = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:] if line]
    if any(len(row) != len(names) for row in rows) or len(set(names)) < len(names):
        raise InputError("rows and columns do not match", file=path, remedy=RUN_AGAIN)
    columns = {name: _parsed([row[i] for row in rows]) for i, name in enumerate(names)}
    metadata = read_json(sidecar_path(path)) if sidecar_path(path).is_file() else {}
    return columns, metadata


def encodings_table(encodings, images=None, volumes=None, raw=None):
    """Columns of the volume table in BIDS units: index, file, volume, raw_file, raw_volume, b, gx gy gz, TE, TI, TR.

    Parameters
    ----------
    encodings : Encodings
        ms, s/mm2.
    images : sequence of str, optional
        Name of each joined image as it is to be shown.
    volumes : (n_encodings, 2) int array, optional
        Image index and volume in that image, per encoding.
    raw : sequence of (str, int), optional
        Raw file and volume in it that each encoding of preprocessed images comes from.

    Returns
    -------
    dict of str to list

    """
    n = len(encodings)
    columns = {"index": list(range(n))}
    if images is not None and volumes is not None:
        columns["file"] = [str(images[image]) for image, _ in np.asarray(volumes).tolist()]
        columns["volume"] = [volume for _, volume in np.asarray(volumes).tolist()]
    if raw is not None:
        columns["raw_file"], columns["raw_volume"] = (list(column) for column in zip(*raw, strict=True))
    columns["b"] = [None] * n if encodings.bvalue is None else encodings.bvalue.tolist()
    direction = np.full((n, 3), np.nan) if encodings.direction is None else encodings.direction
    columns |= {name: direction[:, i].tolist() for i, name in enumerate(("gx", "gy", "gz"))}
    for name, times in (
        ("TE", encodings.echo_time),
        ("TI", encodings.inversion_time),
        ("TR", encodings.repetition_time),
    ):
        columns[name] = [None] * n if times is None else (times / 1e3).tolist()
    return columns


def sidecar_path(path):
    """Path of the JSON file beside an image, a table or spectra."""
    path = Path(path)
    return path.with_name(path.name.partition(".")[0] + ".json")


def _fill(path, values, roi, entry):
    """Volume with the values in the region, in disk units, and the number of voxels without one."""
    values = np.asarray(values)
    if values.ndim >= 3 and values.shape[:3] == roi.shape:
        values = values if entry.get("masked", True) is False else values[roi]
    elif len(values) != np.count_nonzero(roi):
        raise ValueError(f"{path.name}: {len(values)} values for a region of {np.count_nonzero(roi)} voxels")
    whole = values.shape[:3] == roi.shape and values.ndim >= 3
    dtype = np.dtype(entry.get("dtype", "float32"))
    if dtype.kind == "u" and values.size and (values.min() < 0 or values.max() > np.iinfo(dtype).max):
        raise ValueError(f"{path.name}: labels from {values.min()} to {values.max()} do not fit {dtype}")
    missing = ~np.isfinite(values)
    stored = np.where(missing, 0, values)
    stored = stored if entry["factor"] == 1 else stored * entry["factor"]
    if whole:
        return stored.astype(dtype), int(missing.sum())
    volume = np.zeros(roi.shape + values.shape[1:], dtype)
    volume[roi] = stored
    return volume, int(missing.reshape(len(values), -1).any(axis=1).sum())


def _map_sidecar(key, entry, metadata):
    """Complete sidecar of a map: what the catalogue knows, then what the caller gave."""
    absent = [name for name in REQUIRED if name not in metadata]
    if absent:
        raise ValueError(f"map {key}: metadata needs {', '.join(absent)}")
    try:
        description = entry["description"].format_map(metadata)
    except KeyError as error:
        raise ValueError(f"map {key}: metadata needs {error.args[0]} for the description") from error
    sidecar = {
        "MapKey": key,
        "Units": entry["disk_unit"],
        "Description": description,
        "EstimationAlgorithm": entry["algorithm"],
        **({"EstimationReference": references_of(entry["references"])} if entry["references"] else {}),
        "SkullStripped": bool(entry.get("masked", True)),
        "SpatialReference": metadata["Sources"][0] if metadata["Sources"] else "n/a",
        "SoftwareVersion": f"mrspec_prep {__version__}",
        "Device": "cpu",
    }
    if key == "roi":
        sidecar["Type"] = "ROI"
    return sidecar | dict(metadata)


def _nifti_bytes(volume, source):
    """Compressed NIfTI-1 with the geometry of the source image; the same bytes every time."""
    header = nib.Nifti1Header.from_header(source.header, check=False) if _is_nifti(source) else None
    if header is not None:
        for field in ("cal_min", "cal_max", "slice_duration", "toffset", "slice_code", "intent_code"):
            header[field] = 0
        header["aux_file"], header["descrip"], header["intent_name"] = b"", b"mrspec_prep", b""
        header["scl_slope"], header["scl_inter"] = np.nan, np.nan
        header.set_data_dtype(volume.dtype)
    image = nib.Nifti1Image(volume, source.affine, header)
    if volume.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], 1.0))
    image.header.set_data_dtype(volume.dtype)
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as compressed:
        compressed.write(image.to_bytes())
    return stream.getvalue()


def _storable(data):
    """Data of a type that NIfTI has."""
    return data.astype(np.uint8) if data.dtype == bool else data


def _is_nifti(image):
    return isinstance(image, (nib.Nifti1Image, nib.Nifti1Pair))


def _cell(value):
    """One value as text of a TSV."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9g}"
    return " ".join(str(value).split())


def _parsed(texts):
    """Column of texts as float, bool or text array."""
    if texts and set(texts) <= {"true", "false"}:
        return np.array([text == "true" for text in texts])
    try:
        return np.array([np.nan if text == "n/a" else float(text) for text in texts])
    except ValueError:
        return np.array(texts)
