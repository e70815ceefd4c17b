"""Bytes per voxel of the spectra on disk, what rounding does to spectra and certificate, and its processor time.

usage: python -m benchmarks.storage [--data BIDS_DIR]

Placenta protocol, 2500 bins, simulated; with ``--data`` the first series of a dataset instead, in voxels brighter
than a fifth of the brightest.
"""

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from benchmarks.nnls import Row, objective, problem
from benchmarks.protocols import placenta
from mrspec_prep.bids.input.images import load_reference, load_signals
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.spectra_files import read_nnls_spectra, write_nnls_spectra
from mrspec_prep.interfaces.base import kernel_of
from mrspec_prep.physics import default_grid, kernel_axes
from mrspec_prep.spectra import fit_nnls, reduce_kernel
from mrspec_prep.spectra.voxelwise.storage import storable
from mrspec_prep.workflows.planning.participant import plan_participant

N_VOXELS = 4096
BRIGHT = 0.2  # of the brightest voxel


def simulated():
    """Alpha, grid, kernel and signals of every row."""
    grid = default_grid(kernel_axes("adc-t2star"), placenta(), points=(50, 50))
    for alpha in (1e-1, 1e-2, 1e-3, 1e-4):
        yield alpha, grid, *problem(Row("placenta", "adc-t2star", (50, 50), alpha, 1e-9, N_VOXELS, 0))


def measured(folder):
    """The same of a real series."""
    layout = open_layout(folder)
    plan = plan_participant(layout, layout.get_subjects()[0]).series[0]
    reference, _, _ = load_reference(plan.series)
    roi = reference > BRIGHT * reference.max()
    grid, kernel = kernel_of(plan.series, plan.kernel_settings)
    signals = load_signals(plan.series, roi)
    scale = np.median(signals.max(axis=1))
    for alpha in (1e-1, 1e-2, 1e-3):
        yield alpha, grid, kernel, signals / scale


def bytes_on_disk(result, grid):
    """Of the coefficients, of everything that is kept per voxel, and whether the coefficients come back equal."""
    n_voxels = result.n_voxels
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "desc-nnls_spectra.h5"
        write_nnls_spectra(path, result, np.ones((n_voxels, 1, 1), bool), grid, {})
        with h5py.File(path) as file:
            sizes = {name: file[name].id.get_storage_size() for name in ("dual", "voxels", "gap", "converged")}
        same = np.array_equal(read_nnls_spectra(path).dual, result.dual)
    return sizes["dual"] / n_voxels, sum(sizes.values()) / n_voxels, same


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    for alpha, grid, kernel, signals in simulated() if data is None else measured(data):
        reduced = reduce_kernel(kernel)
        storable(fit_nnls(signals[:64], reduced, alpha), signals[:64], reduced)  # compile
        begin = time.process_time()
        fitted = fit_nnls(signals, reduced, alpha)
        between = time.process_time()
        stored = storable(fitted, signals, reduced)
        end = time.process_time()
        dual, everything, same = bytes_on_disk(stored, grid)
        spectra, best = stored.spectra, fitted.spectra
        excess = objective(kernel, signals, spectra, alpha) / objective(kernel, signals, best, alpha) - 1
        moved = np.abs(spectra - best).max(axis=1) / np.maximum(best.max(axis=1), 1e-300)
        print(
            f"alpha {alpha:g}, {len(signals)} voxels: {dual:.0f} bytes a voxel ({bytes_on_disk(fitted, grid)[0]:.0f} "
            f"unrounded), {everything:.0f} with place, gap and flag; gap {stored.gap.max():.1e} at most "
            f"({fitted.gap.max():.1e} before), objective raised by {excess.max():.1e}, bins moved by {moved.max():.1e} "
            f"of the largest; fit {1e6 * (between - begin) / len(signals):.0f} us a voxel, rounding and certificate "
            f"{1e6 * (end - between) / len(signals):.0f}; read back equal: {same}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
