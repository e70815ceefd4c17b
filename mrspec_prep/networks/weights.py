"""Weights in files: arrays without pickle, a manifest beside them that says where they come from, a checksum."""

import hashlib
import io
import json
import secrets
import tomllib
import zipfile
import zlib
from pathlib import Path

import numpy as np

LARGEST = 1 << 30  # bytes, unpacked
REMEDY = "Remedy: install the package again, or delete both files of a cache"
WRONG = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError, EOFError)
WRONG += (RecursionError, NotImplementedError, SyntaxError, zipfile.BadZipFile, zlib.error)


class WeightsError(ValueError):
    """Weights that cannot be read; the message says what to do."""


def write_weights(path: Path, arrays: dict, manifest: dict):
    """Write ``path`` (.npz, half precision) and the manifest beside it (.toml), which takes the checksum.

    Parameters
    ----------
    path : Path
    arrays : dict of str to array
    manifest : dict
        Plain values, lists, dicts of them.

    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(value, np.float16) for name, value in arrays.items()})
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, data in (
        (path.with_suffix(".toml"), _toml({"sha256": hashlib.sha256(content).hexdigest()} | manifest).encode()),
        (path, content),
    ):
        partial = name.with_name(f"{name.name}.{secrets.token_hex(4)}.partial")  # others may train the same now
        partial.write_bytes(data)
        partial.replace(name)


def read_weights(path: Path):
    """Read weights and manifest.

    Returns
    -------
    arrays : dict of str to float32 array
    manifest : dict

    Raises
    ------
    WeightsError
        The checksum is not the manifest's, or what is there are no arrays: the file was changed or cut short.

    """
    try:
        content = path.read_bytes()
        manifest = tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))
        found, said = hashlib.sha256(content).hexdigest(), manifest["sha256"]
        if found != said:
            raise ValueError(f"the checksum is {found}, its manifest says {said}")
        return _unpacked(content), manifest
    except WRONG as error:
        raise WeightsError(f"{path} was changed or cut short ({type(error).__name__}: {error}). {REMEDY}") from error


def _unpacked(content):
    """Arrays of numbers of an npz; nothing is unpickled, and little is unpacked."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        n_bytes = sum(entry.file_size for entry in archive.infolist())
        if n_bytes > LARGEST:
            raise ValueError(f"it would unpack to {n_bytes} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {name: np.asarray(stored[name]).astype(np.float32) for name in stored.files}


def _toml(values):
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_text(value)}" for key, value in plain.items()]
    for name, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]"] + [f"{key} = {_text(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _text(value):
    return json.dumps(value, ensure_ascii=False)  # of strings, numbers, truth values and lists, JSON is TOML
