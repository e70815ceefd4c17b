"""Spectra against data that no one here made.

usage: python -m benchmarks.real_data DATA_DIR [--snr 20 50] [--seed 0]

DATA_DIR holds ``sim_grussu_sc_phantom`` (another group's simulation of the spinal cord, with truth) and
``nmr_ircpmg_berea_t1t2`` (bench-top NMR of sandstone). Prints, per tissue, the T1, T2 and mean diffusivity
of voxels that hold one tissue only against the truth, and for the sandstone the residual against the
noise and where the mass of the T1-T2 spectrum lies.
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.physics import Encodings, Grid, add_noise, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import find_peaks, fit_nnls, mean_parameters, restore_polarity
from mrspec_prep.spectra.compiled import using_threads

PURE = 0.99  # volume fraction above which a voxel counts as one tissue
MOST_VOXELS = 500
ALPHA = 0.01


def main_peak(result, grid):
    """(n_voxels,) position of the largest peak of one-dimensional spectra."""
    (name,) = grid.names
    return np.array([max(find_peaks(f, grid), key=lambda p: p.fraction).position[name] for f in result.spectra])


def cord_series(folder):
    """Signals (whole volume) and encodings of the three acquisitions of the cord phantom."""
    bvalue = np.loadtxt(folder / "dwib300b1000b2000b2800.bval").ravel()
    return {
        "t2": ("vartissue_mese_M", Encodings(echo_time=np.loadtxt(folder / "mese.te").ravel())),
        "t1": ("vartissue_irse_M", Encodings(inversion_time=np.loadtxt(folder / "irse.ti").ravel())),
        "adc": ("vartissue_dwi_M", Encodings(bvalue=bvalue)),
    }


def cord_truth(folder, tissue, kernel, where):
    """True T1, T2 [ms] or mean diffusivity [um2/ms] of the voxels of one tissue."""

    def read(name):
        return nib.load(folder / "tissueprops" / f"{name}.nii.gz").get_fdata()[where]

    if kernel == "adc":
        return (read(f"ad{tissue}_um2ms") + 2 * read(f"rd{tissue}_um2ms")) / 3
    return read(f"{kernel}{tissue}_ms")


def cord(folder, snrs, rng):
    """Print the table of the cord phantom."""
    print("sim_grussu_sc_phantom: voxels of one tissue; error = estimate / truth - 1, median (quartiles)")
    print(f"{'kernel':>7} {'tissue':>7} {'SNR':>4} {'voxels':>7} {'truth':>9} {'apparent value':>27} {'main peak':>27}")
    for kernel, (name, encodings) in cord_series(folder).items():
        data = nib.load(folder / f"{name}.nii.gz").get_fdata()
        for tissue in ("wm", "gm", "csf"):
            where = np.argwhere(nib.load(folder / f"v{tissue}.nii.gz").get_fdata() > PURE)
            where = tuple(where[np.sort(rng.choice(len(where), min(MOST_VOXELS, len(where)), replace=False))].T)
            clean, truth = data[where], cord_truth(folder, tissue, kernel, where)
            for snr in snrs:
                sigma = clean.max(axis=1).mean() / snr
                signals = add_noise(clean, sigma, rng, "rician")
                grid = default_grid(kernel_axes(kernel), encodings)
                matrix = kernel_matrix(kernel, encodings, grid)
                if kernel == "t1":
                    signals, _ = restore_polarity(signals, matrix, encodings, ALPHA)
                result = fit_nnls(signals, matrix, ALPHA)
                (axis,) = grid.names
                apparent = mean_parameters(result, grid, kernel, encodings)[axis] / truth - 1
                peak = main_peak(result, grid) / truth - 1
                print(
                    f"{kernel:>7} {tissue:>7} {snr:4g} {len(truth):7d} {np.median(truth):9.4g} "
                    f"{quartiles(apparent):>27} {quartiles(peak):>27}"
                )


def quartiles(errors):
    """Median and quartiles in per cent."""
    low, middle, high = 100 * np.percentile(errors, [25, 50, 75])
    return f"{middle:+.1f} % ({low:+.1f} .. {high:+.1f})"


def sandstone(folder):
    """Print residual and mass of the sandstone's T1-T2 spectrum."""
    stored = np.load(folder / "ircpmg_berea.npz")
    signals, inversion_time, echo_time = stored["signal_real"].astype(float), stored["TI_ms"], stored["TE_ms"]
    noise = stored["signal_imag"][:, -300:].std()
    grid = Grid(t2=np.geomspace(0.1, 1000, 50), t1=np.geomspace(0.5, 5000, 50))
    start = time.perf_counter()
    print("\nnmr_ircpmg_berea_t1t2: 16 TI x 1024 TE, 50 x 50 bins")
    for efficiency in (1.0, 0.77):
        recovery = 1 - (1 + efficiency) * np.exp(-inversion_time[:, None] / grid.t1)
        left, compressed_recovery = _compress(recovery)
        right, compressed_decay = _compress(np.exp(-echo_time[:, None] / grid.t2))
        data = left.T @ signals @ right
        kernel = np.einsum("ab,cd->acdb", compressed_recovery, compressed_decay).reshape(data.size, -1)
        result = fit_nnls(data.reshape(1, -1), kernel, 1.0)
        spectrum = result.spectra[0]
        outside = (signals**2).sum() - (data**2).sum()
        residual = np.sqrt((((data.ravel() - kernel @ spectrum) ** 2).sum() + outside) / signals.size)
        peaks = ", ".join(
            f"T1 {p.position['t1']:.0f} ms T2 {p.position['t2']:.1f} ms ({p.fraction:.0%})"
            for p in find_peaks(spectrum, grid)[:3]
        )
        plane = spectrum.reshape(grid.shape)
        rows, columns = (grid.t2 >= 5) & (grid.t2 <= 16), (grid.t1 >= 80) & (grid.t1 <= 190)
        print(
            f"inversion efficiency {efficiency:g}: residual {residual:.1f} = {residual / noise:.2f} x noise "
            f"({residual / np.abs(signals).max():.2%} of the largest signal), gap {result.gap[0]:.0e}; peaks {peaks}; "
            f"mass with T1 80-190 ms {plane[:, columns].sum() / plane.sum():.0%}, "
            f"T2 5-16 ms {plane[rows].sum() / plane.sum():.0%}"
        )
    print(f"both fits: {time.perf_counter() - start:.1f} s on one thread")


def _compress(matrix):
    """Orthonormal columns and the matrix in their coordinates, exact to rounding."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    keep = values > 1e-13 * values[0]
    return left[:, keep], values[keep, None] * right[keep]


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--snr", type=float, nargs="+", default=[20, 50])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with using_threads(1):
        cord(args.data_dir / "sim_grussu_sc_phantom", args.snr, np.random.default_rng(args.seed))
        sandstone(args.data_dir / "nmr_ircpmg_berea_t1t2")


if __name__ == "__main__":
    main()
