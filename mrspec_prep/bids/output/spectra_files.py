"""Spectra on disk: HDF5 with axes in BIDS units, a tidy table beside it, and one sidecar for both."""

import io
import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import psutil

from mrspec_prep import __version__
from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.errors import InputError, check_plain
from mrspec_prep.bids.output.catalogue import axis_entry, cluster_color, column_entries
from mrspec_prep.bids.output.contiguous import HDF5_ERRORS, REMEDY
from mrspec_prep.bids.output.derivatives import read_json, sidecar_path, table_text, write_json
from mrspec_prep.physics import Grid

DUAL_FORMULA = "spectrum = maximum(dual @ basis, 0) / alpha"
OWN_ALPHA_FORMULA = "spectrum = maximum(dual @ basis, 0) / alpha[:, None]"
BLOCK = 4096  # voxels per block when spectra are regenerated
CHUNK = 65536  # coefficients compressed together
LARGEST_RATIO = 1100  # bytes that a byte of a compressed file can hold
WRONG = (*HDF5_ERRORS, AttributeError, IndexError)  # what content that is none of ours raises


@dataclass(frozen=True, eq=False)
class VoxelSpectra:
    """Voxelwise spectra read back.

    Parameters
    ----------
    grid : Grid
        ms, um2/ms.
    voxels : (n_voxels, 3) int array
        Indices into the image, in C order.
    alpha : float or (n_voxels,) array
        Regularisation weight; an array where each voxel has its own.
    dual : (n_voxels, r) array or None
        Coefficients; None where the spectra themselves were stored (alpha = 0).
    basis : (r, n_bins) array or None
    stored : (n_voxels, n_bins) array or None
    shape : tuple of int
        Of the image.
    metadata : dict
        The sidecar.

    """

    grid: Grid
    voxels: np.ndarray
    alpha: float | np.ndarray
    dual: np.ndarray | None
    basis: np.ndarray | None
    stored: np.ndarray | None
    shape: tuple
    metadata: dict

    def spectra(self, index=slice(None)):
        """(n, n_bins) spectra of the voxels chosen by any numpy index."""
        if self.stored is not None:
            return np.atleast_2d(self.stored[index])
        alpha = self.alpha if np.ndim(self.alpha) == 0 else np.atleast_1d(self.alpha[index])[:, None]
        return np.maximum(np.atleast_2d(self.dual[index]) @ self.basis, 0) / alpha


@dataclass(frozen=True, eq=False)
class ClusterSpectra:
    """Spectra of clusters, or the mean spectrum of a region, read back.

    Parameters
    ----------
    spectra : (n_clusters, n_bins) array
        Bins in C order over the axes of the grid.
    grid : Grid
        ms, um2/ms.
    clusters : list of dict
        One per spectrum: ``weight``, ``color`` and ``peaks`` (each {axis: value, ..., "fraction": share}; ms, um2/ms).
    metadata : dict
        The sidecar as stored.

    """

    spectra: np.ndarray
    grid: Grid
    clusters: list
    metadata: dict


def write_nnls_spectra(path, result, roi, grid, metadata, peaks=()):
    """Write voxelwise spectra (``.h5``), their mean (``.tsv``) and the sidecar.

    Parameters
    ----------
    path : path
        Ends in ``.h5``.
    result : NNLSResult
        Or any object with ``alpha``, ``gap``, ``converged`` and, for alpha > 0, ``dual`` and ``basis`` (stored as
        they are: spectra regenerate exactly), else ``spectra`` or ``blocks(size)`` (the spectra are stored).
    roi : (x, y, z) bool array
    grid : Grid
        ms, um2/ms; stored in BIDS units.
    metadata : dict
        Sources, OptionsHash, Seed, Kernel, ...
    peaks : sequence of Peak
        Of the mean spectrum (``position`` {axis: value}, ``fraction``), or dicts {axis: value, "fraction": share}.

    Raises
    ------
    ValueError
        The region and the result hold different numbers of voxels.

    """
    path, roi = Path(path), np.asarray(roi, dtype=bool)
    voxels = np.argwhere(roi)
    n_voxels = len(np.asarray(result.gap))
    if n_voxels != len(voxels):
        raise ValueError(f"{path.name}: {n_voxels} spectra for a region of {len(voxels)} voxels")
    own_alphas = np.ndim(result.alpha) > 0
    has_dual = getattr(result, "dual", None) is not None and (own_alphas or result.alpha > 0)
    arrays = {
        "voxels": voxels.astype(np.int32),
        "gap": _rounded_up(result.gap),
        "converged": np.asarray(result.converged, np.uint8),
    }
    if has_dual:
        arrays |= {"dual": np.asarray(result.dual), "basis": np.asarray(result.basis)}
    else:
        arrays["spectra"] = np.concatenate([block for _, block in _blocks(result)])
    attributes = {"shape": np.asarray(roi.shape, np.int32)}
    if own_alphas:
        arrays["alpha"], attributes["formula"] = np.asarray(result.alpha, float), OWN_ALPHA_FORMULA
    else:
        attributes["alpha"] = float(result.alpha)
        attributes["formula"] = DUAL_FORMULA if has_dual else "spectra stored as they are"
    gap, converged = np.asarray(result.gap), np.asarray(result.converged, bool)
    sidecar = {
        "Description": "Voxelwise spectra by regularised non-negative least squares; the table holds their mean.",
        "Formula": attributes["formula"],
        "NVoxels": n_voxels,
        "NVoxelsConverged": int(converged.sum()),
        "LargestGap": float(gap.max()) if n_voxels else None,
        "Peaks": [_peak_to_disk(peak) for peak in peaks],
    }
    if not own_alphas:
        sidecar["Alpha"] = float(result.alpha)
    mean = sum(block.sum(axis=0) for _, block in _blocks(result)) / n_voxels
    _write_all(path, arrays, attributes, grid, sidecar | dict(metadata), _tidy(mean[None], grid, with_cluster=False))
    return path


def write_cluster_spectra(path, spectra, grid, *, weights, peaks, metadata):
    """Write cluster spectra: ``.h5``, tidy ``.tsv`` and a sidecar with weights, peaks and colours.

    Parameters
    ----------
    path : path
        Ends in ``.h5``.
    spectra : (n_clusters, n_bins) array
    grid : Grid
        ms, um2/ms; stored in BIDS units.
    weights : (n_clusters,) array
        Share of the voxels, p_m.
    peaks : sequence of sequences of Peak
        Per cluster, largest first.
    metadata : dict
        Sources, OptionsHash, Seed, Kernel, ...

    Raises
    ------
    ValueError
        Spectra, weights and peaks for different numbers of clusters, or spectra on another grid.

    """
    path, spectra = Path(path), np.atleast_2d(np.asarray(spectra))
    if not len(spectra) == len(weights) == len(peaks) or spectra.shape[1] != grid.n_bins:
        raise ValueError(
            f"{path.name}: spectra of shape {spectra.shape} do not match {len(weights)} weights, "
            f"{len(peaks)} lists of peaks and {grid.n_bins} bins"
        )
    clusters = []
    for i, (weight, found) in enumerate(zip(weights, peaks, strict=True)):
        peaks_on_disk = [_peak_to_disk(peak) for peak in found]
        clusters.append({"cluster": i + 1, "weight": float(weight), "color": cluster_color(i), "peaks": peaks_on_disk})
    sidecar = {"Description": "Canonical spectra of the clusters.", "NClusters": len(spectra), "Clusters": clusters}
    arrays = {"spectra": spectra, "weights": np.asarray(weights, float)}
    _write_all(path, arrays, {}, grid, sidecar | dict(metadata), _tidy(spectra, grid, with_cluster=True))
    return path


def write_component_spectra(
    path, spectra, grid, *, alternatives, weights, weight_spread, signal_spread, peaks, ranges, metadata
):
    """Write component spectra (continuous InSpect): ``.h5``, tidy ``.tsv`` and a sidecar.

    Parameters
    ----------
    path : path
        Ends in ``.h5``.
    spectra : (n_components, n_bins) array
    grid : Grid
        ms, um2/ms; stored in BIDS units.
    alternatives : (n_solutions, n_components, n_bins) array
        Solutions that fit as well; their smallest and largest amplitude per bin are stored.
    weights : (n_components,) array
        Mean weight over the voxels.
    weight_spread, signal_spread : (n_components,) arrays
        How far the weights and signals of such solutions differ.
    peaks : sequence of sequences of Peak
        Per component, largest first.
    ranges : sequence of dict of str to (low, high)
        Positions of the largest peak over such solutions, by axis [um2/ms, ms].
    metadata : dict
        Sources, OptionsHash, Seed, Kernel, ...

    Raises
    ------
    ValueError
        Different numbers of components, or spectra on another grid.

    """
    path, spectra = Path(path), np.atleast_2d(np.asarray(spectra))
    parts = (weights, weight_spread, signal_spread, peaks, ranges)
    if {len(part) for part in parts} != {len(spectra)} or spectra.shape[1] != grid.n_bins:
        raise ValueError(
            f"{path.name}: spectra of shape {spectra.shape} do not match {[len(part) for part in parts]} weights, "
            f"spreads, lists of peaks and ranges, and {grid.n_bins} bins"
        )
    components = []
    for i, (weight, spread, moved, found, span) in enumerate(zip(*parts, strict=True)):
        components.append({
            "component": i + 1,
            "weight": float(weight),
            "color": cluster_color(i),
            "weight_spread": float(spread),
            "signal_spread": float(moved),
            "peaks": [_peak_to_disk(peak) for peak in found],
            "main_peak_range": {a: [float(v) * axis_entry(a)["factor"] for v in ends] for a, ends in span.items()},
        })  # fmt: skip
    everything = np.concatenate([spectra[None], np.asarray(alternatives, float).reshape(-1, *spectra.shape)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    columns = _tidy(spectra, grid, with_cluster=True)
    columns = {"component": columns.pop("cluster"), **columns, "low": low.ravel(), "high": high.ravel()}
    sidecar = {
        "Description": "Spectra of the components that voxels mix (continuous InSpect); low and high: over solutions "
        "that fit the signals as well.",
        "NComponents": len(spectra),
        "Components": components,
    }
    arrays = {"spectra": spectra, "weights": np.asarray(weights, float), "low": low, "high": high}
    _write_all(path, arrays, {}, grid, sidecar | dict(metadata), columns)
    return path


def read_nnls_spectra(path):
    """Voxelwise spectra as a VoxelSpectra; all that is stored is read into memory.

    Raises
    ------
    InputError
        No such file, not HDF5, or content that is none of ours or does not hold together.

    """
    with _open(path) as file:
        grid = _read_grid(file)
        arrays = {name: _array(file, name) for name in ("dual", "basis", "spectra", "voxels") if name in file}
        alpha = _array(file, "alpha") if "alpha" in file else float(file.attrs["alpha"])
        shape = tuple(int(n) for n in file.attrs["shape"])
        _check_voxelwise(arrays, alpha, grid, shape)
    coefficients = (arrays.get("dual"), arrays.get("basis"), arrays.get("spectra"))
    return VoxelSpectra(grid, arrays["voxels"], alpha, *coefficients, shape, _sidecar(path))


def read_cluster_spectra(path):
    """Cluster or component spectra as a ClusterSpectra, peaks in the units of the package.

    Raises
    ------
    InputError
        No such file, not HDF5, or content that is none of ours.

    """
    with _open(path) as file:
        grid, spectra, metadata = _read_grid(file), _array(file, "spectra"), _sidecar(path)
        if spectra.ndim != 2 or spectra.shape[1] != grid.n_bins:
            raise ValueError(f"spectra of the shape {spectra.shape} on a grid of {grid.n_bins} bins")
        clusters = [
            {**cluster, "peaks": [_peak_from_disk(peak) for peak in cluster.get("peaks", [])]}
            for cluster in metadata.get("Clusters", metadata.get("Components", [{} for _ in spectra]))
        ]
        for cluster in clusters:
            span = cluster.get("main_peak_range", {})
            cluster["main_peak_range"] = {a: [v / axis_entry(a)["factor"] for v in ends] for a, ends in span.items()}
    return ClusterSpectra(spectra, grid, clusters, metadata)


def read_mean_spectrum(path):
    """Mean of voxelwise spectra from the table beside the ``.h5``, as a ClusterSpectra of one; InputError as above."""
    path = Path(path)
    with _open(path) as file:
        grid, metadata = _read_grid(file), _sidecar(path)
        table = np.loadtxt(path.with_suffix(".tsv"), delimiter="\t", skiprows=1, ndmin=2)
        if len(table) != grid.n_bins:
            raise ValueError(f"the table has {len(table)} rows, the grid {grid.n_bins} bins")
        peaks = [_peak_from_disk(peak) for peak in metadata.get("Peaks", [])]
    return ClusterSpectra(table[:, -1][None], grid, [{"weight": 1.0, "peaks": peaks}], metadata)


def _write_all(path, arrays, attributes, grid, sidecar, columns):
    """Sidecar, table and HDF5 of one set of spectra, in this order."""
    sidecar = {"SoftwareVersion": f"mrspec_prep {__version__}", **sidecar}
    sidecar |= {"Axes": list(grid.names), "Shape": list(grid.shape)} | column_entries(columns)
    write_json(sidecar_path(path), sidecar)
    write_atomically(path.with_suffix(".tsv"), table_text(columns))
    write_atomically(path, _hdf5_bytes(arrays, attributes, grid))


def _hdf5_bytes(arrays, attributes, grid):
    """HDF5 file as bytes, without time stamps."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=("v110", "v110")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            options = {"compression": "gzip", "compression_opts": 4, "shuffle": True} if array.size > 64 else {}
            if name == "dual" and options:  # each direction has its own number of bits
                options["chunks"] = (min(len(array), CHUNK), 1)
            file.create_dataset(name, data=array, track_times=False, **options)
        group = file.create_group("axes", track_order=True)
        for position, (name, values) in enumerate(zip(grid.names, grid.axes, strict=True)):
            entry = axis_entry(name)
            axis = group.create_dataset(name, data=values * entry["factor"], track_times=False)
            axis.attrs["units"], axis.attrs["dimension"] = entry["disk_unit"], position
    return stream.getvalue()


@contextmanager
def _open(path):
    """HDF5 file open for reading; whatever is wrong with it, or with what is read from it, is an InputError."""
    path = Path(path)
    check_plain(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except WRONG as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError("the file is damaged or holds no spectra", file=path, value=reason, remedy=REMEDY) from error


def _array(file, name):
    """Array of numbers of the file itself, whose size can be believed."""
    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iuf" or found.is_virtual or found.external:
        raise ValueError(f"{name} is no array of numbers of this file")
    n_bytes = math.prod((found.dtype.itemsize, *(int(n) for n in found.shape)))
    if n_bytes > LARGEST_RATIO * Path(file.filename).stat().st_size or n_bytes > psutil.virtual_memory().available:
        raise ValueError(f"{name} would be {n_bytes} bytes")
    return found[()]


def _check_voxelwise(arrays, alpha, grid, shape):
    """Raise ValueError where the arrays of voxelwise spectra do not belong together."""
    rows = {name: array.shape for name, array in arrays.items()}
    n = rows["voxels"][0]
    kept = rows["spectra"] if "spectra" in rows else (rows["dual"][0], *rows["basis"][1:])
    fits = rows["voxels"] == (n, 3) and kept == (n, grid.n_bins) and np.shape(alpha) in ((), (n,)) and len(shape) == 3
    if "spectra" not in rows and rows["dual"] != (n, rows["basis"][0]):
        fits = False
    if not fits:
        raise ValueError(f"arrays of the shapes {rows} on a grid of {grid.n_bins} bins")


def _read_grid(file):
    names = list(file["axes"])
    return Grid(**{name: _array(file, f"axes/{name}") / axis_entry(name)["factor"] for name in names})


def _rounded_up(gap):
    """Gaps in single precision, none below what it was: a bound stays one."""
    rounded = np.asarray(gap, np.float32)
    return np.where(rounded < np.asarray(gap, float), np.nextafter(rounded, np.float32(np.inf)), rounded)


def _tidy(spectra, grid, with_cluster):
    """Columns of the tidy table: [cluster,] axis values in BIDS units, amplitude."""
    n = len(spectra)
    columns = {"cluster": np.repeat(np.arange(1, n + 1), grid.n_bins)} if with_cluster else {}
    for name, values in grid.bins().items():
        columns[axis_entry(name)["column"]] = np.tile(values * axis_entry(name)["factor"], n)
    columns["amplitude"] = np.asarray(spectra, float).ravel()
    return columns


def _blocks(result):
    """Slices and spectra of a result, block by block where it can."""
    if hasattr(result, "blocks"):
        yield from result.blocks(BLOCK)
    elif np.all(result.alpha) and getattr(result, "dual", None) is not None:
        for start in range(0, len(result.dual), BLOCK):
            part = slice(start, min(start + BLOCK, len(result.dual)))
            alpha = result.alpha if np.ndim(result.alpha) == 0 else result.alpha[part, None]
            yield part, np.maximum(result.dual[part] @ result.basis, 0) / alpha
    else:
        yield slice(0, len(result.spectra)), np.asarray(result.spectra)


def _peak_to_disk(peak):
    """Peak as a plain dict in BIDS units."""
    position = getattr(peak, "position", None)
    plain = dict(peak) if position is None else {**position, "fraction": peak.fraction}
    return {
        name: float(value) if name == "fraction" else float(value) * axis_entry(name)["factor"]
        for name, value in plain.items()
    }


def _peak_from_disk(peak):
    return {name: value if name == "fraction" else value / axis_entry(name)["factor"] for name, value in peak.items()}


def _sidecar(path):
    beside = sidecar_path(path)
    return read_json(beside) if beside.is_file() else {}
