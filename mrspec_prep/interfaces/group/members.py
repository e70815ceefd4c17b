"""Participants of a group as the maths sees them, from what their runs left on disk."""

import json
from pathlib import Path

import numpy as np

from mrspec_prep.bids.output.compressed import read_compressed, read_header, read_protocol
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.spectra.compression.truncation import rebuild_kernel
from mrspec_prep.spectra.group import Member, Protocol


def read_plan(path):
    """Members, protocols and sites of a group, as planned: plain dicts."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def member_of(record, path):
    """One participant's series as memory maps.

    Parameters
    ----------
    record : dict
        ``protocol`` and ``site``, indices.
    path : path
        Of its compressed signals.

    Returns
    -------
    Member
    compressed : CompressedSignals

    """
    compressed = read_compressed(path)
    header = compressed.header
    signals = (compressed.signals, compressed.sigma, compressed.outside)
    return Member(*signals, record["protocol"], record["site"], header.degrees_of_freedom), compressed


def protocol_of(path, like=None):
    """Protocol behind a file of compressed signals.

    Parameters
    ----------
    path : path
    like : path, optional
        File whose grid is taken: that of all, where grids differ by rounding.

    Raises
    ------
    InputError
        The file is damaged.

    """
    stored = read_protocol(path)
    grid = stored.grid if like is None else read_header(like).grid
    kernel = kernel_matrix(stored.kernel_settings["name"], stored.encodings, grid)
    return Protocol(rebuild_kernel(kernel, stored.projection, stored.singular_values), len(stored.encodings))


def save_result(result):
    """Arrays of a result of the maths by name, for ``np.savez``; what is None is left out."""
    return {name: np.asarray(value) for name, value in vars(result).items() if value is not None}


def load_result(path, kind):
    """Result of the maths from the file of its arrays.

    Parameters
    ----------
    path : path
        An npz of ``save_result``.
    kind : type
        ``GroupResult`` or ``GroupMapResult``.

    """
    with np.load(path) as arrays:
        plain = {name: arrays[name].item() if arrays[name].ndim == 0 else arrays[name] for name in arrays.files}
    return kind(**{name: plain.get(name) for name in kind.__dataclass_fields__})
