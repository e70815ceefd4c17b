"""Bytes per voxel of the spectra on disk, and what rounding does to the objective: placenta protocol, 2500 bins.

python -m benchmarks.storage
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.nnls import Row, objective, problem
from benchmarks.protocols import placenta
from mrspec_prep.bids.spectra_files import read_nnls_spectra, write_nnls_spectra
from mrspec_prep.physics import default_grid, kernel_axes
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.voxelwise.storage import storable

N_VOXELS = 4096


def main():
    """Run from the command line."""
    grid = default_grid(kernel_axes("adc-t2star"), placenta(), points=(50, 50))
    for alpha in (1e-1, 1e-2, 1e-3, 1e-4):
        kernel, signals = problem(Row("placenta", "adc-t2star", (50, 50), alpha, 1e-9, N_VOXELS, 0))
        result = fit_nnls(signals, kernel, alpha)
        stored = storable(result)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "desc-nnls_spectra.h5"
            write_nnls_spectra(path, stored, np.ones((16, 16, N_VOXELS // 256), bool), grid, {})
            with h5py.File(path) as file:
                coefficients = file["dual"].id.get_storage_size()
                everything = coefficients + sum(
                    file[name].id.get_storage_size() for name in ("voxels", "gap", "converged")
                )
            same = np.array_equal(read_nnls_spectra(path).dual, stored.dual)
        excess = objective(kernel, signals, stored.spectra, alpha) / objective(kernel, signals, result.spectra, alpha)
        print(
            f"alpha {alpha:g}: {coefficients / N_VOXELS:.0f} bytes a voxel, {everything / N_VOXELS:.0f} with place, "
            f"gap and flag; objective raised by {excess.max() - 1:.1e} at most; read back equal: {same}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
