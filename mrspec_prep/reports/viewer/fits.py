"""Fits for the viewer: spectra as dual coefficients, the kernel in few ranks, and what models predict."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.bids.output.spectra_files import read_nnls_spectra
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.physics.models.prepare import volumes_of
from mrspec_prep.reports.maps.collect import bvec_axes
from mrspec_prep.reports.maps.tables import short_name
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import by_model, trusted

KERNEL_ERROR = 1e-7  # of the largest singular value: left out of the kernel
SPECTRUM_ERROR = 1e-3  # that rounding may do to a bin, relative to the voxel's largest
MOST_NUMBERS = 4_000_000  # coefficients, or amplitudes of stored spectra, of one page: about 15 MB of it
VOXELS = 4096  # at a time


def pack_axes(grid):
    """Axes of a spectrum: name, symbol, unit and values."""
    found = []
    for name, values in zip(grid.names, grid.axes, strict=True):
        entry = axis_entry(name)
        found.append({"name": name, "symbol": entry["symbol"], "unit": entry["unit"], "values": values.tolist()})
    return found


def pack_kernel(name, encodings, grid, group_of, block):
    """Kernel averaged over equal encodings, as left x right: (n_groups, rank) and (rank, n_bins)."""
    kernel = kernel_matrix(name, encodings, grid)
    counts = np.bincount(group_of)
    means = np.stack([np.bincount(group_of, column) for column in kernel.T], axis=1) / counts[:, None]
    left, values, right = np.linalg.svd(means, full_matrices=False)
    rank = max(1, int((values > KERNEL_ERROR * values[0]).sum()))
    return {
        "rank": rank,
        "left": block.add((left[:, :rank] * values[:rank]).astype("<f4")),
        "right": block.add(right[:rank].astype("<f4")),
    }


def pack_spectra(path, order, block, most=MOST_NUMBERS):
    """Voxelwise spectra of a file, in the order of the viewer's voxels.

    Parameters
    ----------
    path : path
    order : (n_voxels,) int array
        Where in the C order of the file each voxel is.
    block : Block
    most : int
        Numbers that the page can hold.

    Returns
    -------
    dict or None
        None where the spectra are too many.

    """
    found = read_nnls_spectra(path)
    row_of = np.full(int(np.prod(found.shape)), -1)
    row_of[np.ravel_multi_index(found.voxels.T, found.shape)] = np.arange(len(found.voxels))
    rows = row_of[order]
    if (rows < 0).any():
        raise ValueError("spectra and region hold different voxels")
    if found.dual is None:
        return _pack_sparse(found.stored[rows], block, most)
    dual = found.dual[rows]
    if dual.size > most:
        return None
    alpha = np.broadcast_to(np.asarray(found.alpha, float).reshape(-1), len(found.voxels))[rows]
    return {
        "rank": dual.shape[1],
        "dual": block.add(_rounded(dual, found.basis, alpha)),
        "basis": block.add(found.basis.astype("<f4")),
        "alpha": block.add(alpha.astype("<f4")) if np.ptp(alpha) else float(alpha[0]),
    }


def _pack_sparse(spectra, block, most):
    """Spectra stored as they are: their bins above zero."""
    filled = spectra > 0
    if 2 * int(filled.sum()) > most:
        return None
    return {
        "counts": block.add(filled.sum(axis=1).astype("<i4")),
        "bins": block.add(np.nonzero(filled)[1].astype("<i4")),
        "amplitudes": block.add(spectra[filled].astype("<f4")),
    }


def _rounded(dual, basis, alpha):
    """Coefficients in single precision with the bits that a bin can feel; the zeros behind them compress away."""
    largest = np.zeros(len(dual))
    for start in range(0, len(dual), VOXELS):
        part = slice(start, start + VOXELS)
        largest[part] = (dual[part] @ basis).max(axis=1)
    seen = largest > 0
    if not seen.any():
        return dual.astype("<f4")
    effect = (np.abs(dual[seen]) * np.abs(basis).max(axis=1) / largest[seen, None]).max(axis=0)
    bits = np.ceil(np.log2(np.maximum(effect * np.sqrt(len(effect)) / SPECTRUM_ERROR, 2.0)))
    mantissa, exponent = np.frexp(dual)
    return np.ldexp(np.round(np.ldexp(mantissa, bits.astype(int))), exponent - bits.astype(int)).astype("<f4")


def predictions(series, affine, encodings, group_of, words):
    """What the maps of each model to be read first predict, averaged over equal encodings.

    Parameters
    ----------
    series : SeriesResults
    affine : (4, 4) array
        Of the files, whose axes the gradient directions follow.
    encodings : Encodings
    group_of : (n_encodings,) int array
    words : dict
        Content of ``data/report.toml``.

    Yields
    ------
    title : str
    values : (n_voxels, n_groups) array
        NaN for encodings that the model does not describe.

    """
    roi = series.roi.data.astype(bool)
    for model, methods in by_model(series).items():
        about = methods[0].about_model
        best = trusted(methods, roi, words).method
        values = _parameters(best, about, roi, affine) if about is not None else None
        if values is None:
            continue
        volumes = np.flatnonzero(volumes_of(about, encodings))
        kept, groups = encodings.take(volumes), group_of[volumes]
        counts = np.bincount(groups, minlength=group_of.max() + 1)
        averaging = (groups[:, None] == np.arange(len(counts))) / np.maximum(counts, 1)
        found = np.full((int(roi.sum()), len(counts)), np.nan)
        for start in range(0, len(found), VOXELS):
            part = slice(start, start + VOXELS)
            found[part] = about.signal(kept, {name: v[part] for name, v in values.items()}) @ averaging
        found[:, counts == 0] = np.nan
        yield f"{model}, {short_name(best, words)}", found


def _parameters(method, model, roi, affine):
    """Values of every parameter of a model, or None where a map is missing."""
    maps = {"s0": method.maps.get("m0")} | method.maps
    values = {name: inside(maps.get(name), roi) for name in model.names if not name.startswith("direction_")}
    if model.oriented:
        direction = inside(method.extras.get("direction"), roi)
        if direction is None:
            return None
        as_bvec = direction @ np.linalg.inv(bvec_axes(affine)).T
        values |= {f"direction_{axis}": as_bvec[:, i] for i, axis in enumerate("xyz")}
    if any(found is None for found in values.values()):
        return None
    return {name: np.asarray(found, float) for name, found in values.items()}
