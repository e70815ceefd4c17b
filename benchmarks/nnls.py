"""Voxelwise NNLS against scipy: same voxels, one thread, one run.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.nnls

Every row simulates mixtures of two compartments at SNR 20 and compares the time per voxel of
``fit_nnls`` with that of ``scipy.optimize.nnls`` on [K; sqrt(alpha) I], in processor time; the
kernel's reduction, done once per image, is not counted (it is printed). Ratios are medians over
repeats, with their range; "excess" is the largest relative excess of our objective over scipy's.
``--peers`` adds the packages of ``benchmarks.peers`` that are installed, with their excess over ours.
"""

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from benchmarks.peers import PEERS, measure_peers
from benchmarks.protocols import inversion_spin_echo, placenta
from mrspec_prep.physics import add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_nnls, reduce_kernel

SNR = 20.0
REPEATS = 5
MOST_SECONDS = 5.0  # for one peer on one row, where one voxel does not take longer


@dataclass(frozen=True)
class Row:
    """One problem: protocol, grid, alpha, the tolerance we ask for, and how many voxels each side solves."""

    name: str
    kernel: str
    points: tuple[int, ...]
    alpha: float
    tolerance: float
    n_voxels: int
    n_scipy: int


def rows():
    """Problems of the table."""
    fine, coarse = ("placenta 330x2500", "adc-t2star", (50, 50)), ("placenta 330x400", "adc-t2star", (20, 20))
    yield Row(*fine, 1e-2, 1e-10, 512, 3)
    yield Row(*fine, 1e-2, 1e-6, 512, 3)
    yield Row(*fine, 1e-4, 1e-8, 512, 4)
    yield Row(*coarse, 1e-2, 1e-9, 1024, 40)
    yield Row(*coarse, 1e-2, 1e-6, 1024, 40)
    yield Row(*coarse, 1e-4, 1e-8, 1024, 60)
    yield Row("T1-T2 64x900", "t1-t2", (30, 30), 1e-2, 1e-8, 1024, 12)
    yield Row("T1-T2 64x100", "t1-t2", (10, 10), 1e-2, 1e-8, 2048, 200)
    yield Row("T1-T2 32x40", "t1-t2", (8, 5), 1e-2, 1e-8, 4096, 400)


def problem(row, seed=0):
    """Kernel and signals of one row."""
    encodings = placenta() if row.kernel == "adc-t2star" else inversion_spin_echo(8, 8 if "64x" in row.name else 4)
    grid = default_grid(kernel_axes(row.kernel), encodings, points=row.points)
    rng = np.random.default_rng(seed)
    ranges = {"diffusivity": (0.5, 30), "t2star": (20, 100), "t2": (20, 200), "t1": (300, 2500)}
    parameters = {
        axis: np.exp(rng.uniform(*np.log(ranges[axis]), (row.n_voxels, 2))) for axis in kernel_axes(row.kernel)
    }
    clean = simulate_signals(row.kernel, encodings, parameters, rng.dirichlet([1, 1], row.n_voxels))
    clean /= np.abs(clean).max(axis=1, keepdims=True)
    return kernel_matrix(row.kernel, encodings, grid), add_noise(clean, 1 / SNR, rng)


def objective(kernel, signals, spectra, alpha):
    """||K f - s||2 + alpha ||f||2 of every voxel."""
    return ((signals - spectra @ kernel.T) ** 2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)


def seconds(work):
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(row, repeats=REPEATS):
    """Times and accuracy of one row."""
    kernel, signals = problem(row)
    reduce_seconds = seconds(lambda: reduce_kernel(kernel))
    reduced = reduce_kernel(kernel)
    fit_nnls(signals[:64], reduced, row.alpha, row.tolerance, n_threads=1)  # compile
    n_bins = kernel.shape[1]
    stacked, zeros = np.vstack([kernel, np.sqrt(row.alpha) * np.eye(n_bins)]), np.zeros(n_bins)
    spectra, ours, theirs = [], [], []
    for repeat in range(repeats):
        ours.append(seconds(lambda: fit_nnls(signals, reduced, row.alpha, row.tolerance, n_threads=1)) / row.n_voxels)
        chosen = range(repeat, row.n_scipy, repeats)
        if len(chosen):
            start = time.process_time()
            spectra += [(v, nnls(stacked, np.concatenate([signals[v], zeros]))[0]) for v in chosen]
            theirs.append((time.process_time() - start) / len(chosen))
    result = fit_nnls(signals, reduced, row.alpha, row.tolerance, n_threads=1)
    index = [v for v, _ in spectra]
    expected = objective(kernel, signals[index], np.array([f for _, f in spectra]), row.alpha)
    excess = objective(kernel, signals[index], result.spectra[index], row.alpha) / expected - 1
    return {
        "ours": np.array(ours),
        "scipy": np.array(theirs),
        "ratios": np.mean(theirs) / np.array(ours),
        "excess": float(excess.max()),
        "gap": float(result.gap.max()),
        "converged": float(result.converged.mean()),
        "reduce": reduce_seconds,
    }


def print_peers(row, ours, packages, n_voxels=100):
    """Time, ratio and accuracy of every package of ``benchmarks.peers`` that is installed."""
    kernel, signals = problem(row)
    best = fit_nnls(signals[:20], kernel, row.alpha, 1e-12, n_threads=1).spectra
    peers = measure_peers(kernel, signals[:n_voxels], row.alpha, seconds, MOST_SECONDS, packages)
    for package, found, each, spectra in peers:
        if found is None:
            print(f"    {package}: not installed ({each})", flush=True)
            continue
        times = f"{each * 1e6:.0f} us/voxel, {each / ours:.1f} x ours"
        if spectra is None:
            print(f"    {package} {found}: {times}, excess not measured", flush=True)
            continue
        expected = objective(kernel, signals[: len(spectra)], best[: len(spectra)], row.alpha)
        excess = (objective(kernel, signals[: len(spectra)], spectra, row.alpha) / expected - 1).max()
        print(
            f"    {package} {found}: {each * 1e6:.0f} us/voxel, {each / ours:.1f} x ours, excess {excess:.1e}",
            flush=True,
        )


def line(row, found):
    """One line of the table."""
    ratios = found["ratios"]
    return (
        f"{row.name:18s} {row.alpha:7.0e} {row.tolerance:7.0e} {np.median(found['ours']) * 1e6:9.1f} "
        f"{np.mean(found['scipy']) * 1e6:11.0f} {np.median(ratios):8.0f} ({ratios.min():.0f}-{ratios.max():.0f})"
        f"{found['excess']:11.1e}{found['gap']:10.1e}{found['converged']:7.3f}{found['reduce'] * 1e3:8.1f}"
    )


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        help="time other packages that are installed: all or these",
    )
    options = parser.parse_args(arguments)
    print(f"scipy {scipy.__version__}, numpy {np.__version__}, {os.cpu_count()} cores, one thread, processor time")
    print("problem              alpha     tol   us/voxel    scipy us    ratio (range)", end="")
    print("     excess   max gap  certified  reduce ms")
    with threadpool_limits(1):
        for row in rows():
            if options.only in row.name:
                found = measure(row, options.repeats)
                print(line(row, found), flush=True)
                if options.peers is not None:
                    print_peers(row, np.median(found["ours"]), options.peers or list(PEERS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
