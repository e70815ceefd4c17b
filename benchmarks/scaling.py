"""Cost of spectra and of clustering against voxels, bins, encodings and clusters, drawn.

usage: python -m benchmarks.scaling FIGURE.png [--repeats 3]

One thread. Every point is the median of the repeats on simulated placenta-like voxels (SNR 20).
"""

import argparse
import time
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.protocols import placenta
from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_inspect, fit_nnls
from mrspec_prep.threads import using_threads

KERNEL = "adc-t2star"
TISSUES = {"diffusivity": [2.0, 0.9, 30.0, 3.0], "t2star": [60.0, 30.0, 90.0, 250.0]}
VOXELS = (250, 1000, 4000, 16000)
POINTS = (10, 20, 35, 50, 70)
REPEATS_OF_PROTOCOL = (1, 2, 4, 8)
CLUSTERS = (2, 4, 8, 16)


def problem(n_voxels, points=(50, 50), copies=1, seed=0):
    """Signals and kernel of voxels that mix two of four tissues."""
    rng = np.random.default_rng(seed)
    one = placenta()
    shift = np.repeat(np.arange(copies) * 2.0, len(one))  # no two copies share an echo time
    encodings = Encodings(bvalue=np.tile(one.bvalue, copies), echo_time=np.tile(one.echo_time, copies) + shift)
    first, second = rng.integers(4, size=(2, n_voxels))
    share = rng.uniform(0.3, 1, n_voxels)
    parameters = {name: np.stack([np.array(v)[first], np.array(v)[second]], axis=1) for name, v in TISSUES.items()}
    clean = simulate_signals(KERNEL, encodings, parameters, np.stack([share, 1 - share], axis=1))
    grid = default_grid(kernel_axes(KERNEL), one, points=points)
    return add_noise(clean, 0.05, rng), kernel_matrix(KERNEL, encodings, grid)


def seconds(work, repeats):
    """Median seconds of a call, after one that warms it up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def measure(repeats):
    """Tables of the four axes: name -> (x, seconds of NNLS or EM)."""
    tables = {"voxels": [], "bins": [], "encodings": [], "clusters": []}
    for n_voxels in VOXELS:
        signals, kernel = problem(n_voxels)
        tables["voxels"].append((n_voxels, seconds(partial(fit_nnls, signals, kernel), repeats)))
    for n in POINTS:
        signals, kernel = problem(1000, (n, n))
        tables["bins"].append((n * n, seconds(partial(fit_nnls, signals, kernel), repeats)))
    for copies in REPEATS_OF_PROTOCOL:
        signals, kernel = problem(1000, copies=copies)
        tables["encodings"].append((len(kernel), seconds(partial(fit_nnls, signals, kernel), repeats)))
    signals, kernel = problem(4000)
    for m in CLUSTERS:
        work = partial(fit_inspect, signals, kernel, 0.05, m, n_starts=1, max_steps=20)
        tables["clusters"].append((m, seconds(work, repeats)))
    return tables


def draw(tables, path):
    """Four panels, logarithmic axes, with the slope of each line."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    titles = {
        "voxels": "voxelwise spectra, 2500 bins",
        "bins": "voxelwise spectra, 1000 voxels",
        "encodings": "voxelwise spectra, 1000 voxels",
        "clusters": "InSpect, 4000 voxels, <= 20 steps",
    }
    for panel, (name, table) in zip(axes, tables.items(), strict=True):
        x, y = np.array(table, dtype=float).T
        slope = np.polyfit(np.log(x), np.log(y), 1)[0]
        panel.loglog(x, y, "o-", color="#0072B2")
        panel.set(xlabel=name, ylabel="seconds, one thread", title=f"{titles[name]}\ncost ~ {name}^{slope:.2f}")
        panel.grid(alpha=0.3, which="both")
        print(f"{titles[name]}: cost ~ {name}^{slope:.2f}")
        for value, cost in table:
            print(f"  {name} {value:7d}  {cost:9.3f} s")
    figure.savefig(path, dpi=150)


def main():
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with using_threads(1):
        draw(measure(args.repeats), args.figure)


if __name__ == "__main__":
    main()
