"""Spectra against data that no one here made.

usage: python -m benchmarks.real_data DATA_DIR [--snr 20 50] [--seed 0]

DATA_DIR holds ``sim_grussu_sc_phantom`` (another group's simulation of the spinal cord, with truth) and
``nmr_ircpmg_berea_t1t2`` (bench-top NMR of sandstone). Prints, per tissue, the T1, T2 and mean diffusivity
of voxels that hold one tissue only against the truth, and for the sandstone the residual against the
noise, the inversion efficiency, and where the mass of the T1-T2 spectrum lies. One of its spectra may be negative
where T2 > T1, which no spin can have: there the eigenmodes of exchange between pores put negative amplitudes
(Bytchenkoff and Rodts 2011).
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.physics import Encodings, Grid, add_noise, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.physics.equations import inversion_recovery
from mrspec_prep.spectra import find_peaks, fit_nnls, mean_parameters, restore_polarity
from mrspec_prep.spectra.noise.efficiency import profile_efficiency
from mrspec_prep.threads import using_threads

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


class Sandstone:
    """T1-T2 data of the sandstone, both axes of the kernel compressed exactly."""

    def __init__(self, folder, n_points=50):
        stored = np.load(folder / "ircpmg_berea.npz")
        self.signals, self.inversion_time = stored["signal_real"].astype(float), stored["TI_ms"]
        self.grid = Grid(t2=np.geomspace(0.1, 1000, n_points), t1=np.geomspace(0.5, 5000, n_points))
        self.right, self.decay = _compress(np.exp(-stored["TE_ms"][:, None] / self.grid.t2))
        # second differences over echoes take the decay away, and leave sqrt(6) times the noise
        self.noise = np.diff(self.signals[:, 512:], 2, axis=1).std() / np.sqrt(6)
        bins = self.grid.bins()
        self.slower_t2 = bins["t2"] > bins["t1"]

    def fit(self, efficiency, alpha=1.0, exchanging=False):
        """Spectrum, residual [signal units] and gap; amplitudes <= 0 where T2 > T1 if pores exchange spins."""
        recovery = inversion_recovery(self.inversion_time[:, None], self.grid.t1, efficiency=efficiency)
        left, recovery = _compress(recovery)
        data = left.T @ self.signals @ self.right
        signs = np.where(self.slower_t2 & exchanging, -1.0, 1.0)
        kernel = np.einsum("ab,cd->acdb", recovery, self.decay).reshape(data.size, -1) * signs
        result = fit_nnls(data.reshape(1, -1), kernel, alpha)
        spectrum = result.spectra[0]
        squares = ((data.ravel() - kernel @ spectrum) ** 2).sum() + (self.signals**2).sum() - (data**2).sum()
        return spectrum * signs, float(np.sqrt(squares / self.signals.size)), result.gap[0]

    def efficiency(self, alpha=1.0, exchanging=False):
        """Efficiency of the least misfit and its interval, for one kind of spectrum."""

        def misfit(efficiency):
            spectrum, residual, _ = self.fit(efficiency, alpha, exchanging)
            return residual**2 * self.signals.size, int((spectrum != 0).sum())

        return profile_efficiency(misfit, self.signals.size)


def sandstone(folder):
    """Print residual and mass of the sandstone's T1-T2 spectrum."""
    stone, coarse = Sandstone(folder), Sandstone(folder, 25)
    coarse.fit(1.0)  # compiles what the first fit needs
    print(f"\nnmr_ircpmg_berea_t1t2: 16 TI x 1024 TE, 50 x 50 bins; noise {stone.noise:.1f}")
    exchange = {"exchanging": True}
    for words, how, estimate in (
        ("perfect inversion", {}, False),
        ("efficiency estimated", {}, True),
        ("the same, alpha 1e-4: the least that f >= 0 can leave", {"alpha": 1e-4}, True),
        ("f <= 0 where T2 > T1", exchange, True),
        ("the same, alpha 1e-4", exchange | {"alpha": 1e-4}, True),
    ):
        start = time.perf_counter()
        found = coarse.efficiency(**how) if estimate else None
        estimating = time.perf_counter() - start
        start = time.perf_counter()
        spectrum, residual, gap = stone.fit(found.value if found else 1.0, **how)
        seconds = time.perf_counter() - start
        text = f"e = {found.value:.3f} ({found.low:.3f} .. {found.high:.3f}; {estimating:.0f} s)" if found else "e = 1"
        print(f"{words}: {text}; residual {residual / stone.noise:.2f} x noise, gap {gap:.0e}, {seconds:.1f} s")
        print(f"    {_where_the_mass_lies(spectrum, stone.grid)}")


def _where_the_mass_lies(spectrum, grid):
    """Peaks, mass in the expected ranges and quartiles of both axes, in words."""
    plane = np.maximum(spectrum, 0).reshape(grid.shape)
    peak = find_peaks(plane.ravel(), grid)[0]
    words = [f"main peak T1 {peak.position['t1']:.0f} ms T2 {peak.position['t2']:.1f} ms ({peak.fraction:.0%})"]
    for name, values, mass, (low, high) in (
        ("T1", grid.t1, plane.sum(axis=0), (80, 190)),
        ("T2", grid.t2, plane.sum(axis=1), (5, 16)),
    ):
        inside = mass[(values >= low) & (values <= high)].sum() / mass.sum()
        quartiles = np.interp([0.25, 0.5, 0.75], np.cumsum(mass) / mass.sum(), values)
        words.append(f"{name} {low}-{high} ms {inside:.0%}, quartiles {', '.join(f'{q:.3g}' for q in quartiles)} ms")
    if (spectrum < 0).any():
        words.append(f"negative part {-np.minimum(spectrum, 0).sum() / plane.sum():.1%}")
    return "; ".join(words)


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
