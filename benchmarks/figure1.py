"""Figure 1 of the InSpect paper: 72 simulations of two clusters, InSpect against voxelwise integration.

    python -m benchmarks.figure1 --figure figure1.svg --table figure1.tsv
    python -m benchmarks.figure1 --noise rician --likelihood rician

Each image has 1000 voxels in two halves, each half one T2*-ADC component (paper 1, Eq. 17), SNR 20.
One of the two axes is fixed and the components lie a factor ("distance") apart on the other.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.stats import norm

from benchmarks.protocols import placenta
from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import NoiseModel, estimate_noise, fit_inspect, fit_nnls, integrate_regions, reduce_kernel
from mrspec_prep.spectra.noise.likelihoods import log_density

KERNEL = "adc-t2star"
T2STAR = (20.0, 50.0, 80.0)  # ms
DIFFUSIVITY = (2.0, 20.0, 200.0)  # um2/ms
DISTANCES = (1.25, 1.5, 2.0, 4.0)
IMAGE = (40, 25)
SNR = 20.0  # of a volume with b = 0 and TE = 0
METHODS = ("inspect", "integration", "k-means", "oracle")
SYMBOLS = {"t2star": "T2*", "diffusivity": "ADC"}
UNITS = {"t2star": "ms", "diffusivity": "um2/ms"}


@dataclass(frozen=True)
class Cell:
    """One simulation: the axis that differs, by how much, and the first component."""

    axis: str
    distance: float
    t2star: float
    diffusivity: float

    @property
    def components(self):
        """Parameters of both clusters, {axis: (2,) array}."""
        values = {"t2star": np.full(2, self.t2star), "diffusivity": np.full(2, self.diffusivity)}
        values[self.axis] = values[self.axis] * np.array([1.0, self.distance])
        return values


def cells():
    """Return all 72 simulations."""
    return [Cell(*values) for values in itertools.product(("t2star", "diffusivity"), DISTANCES, T2STAR, DIFFUSIVITY)]


def recovered(labels, truth):
    """Proportion of voxels in their own cluster, for the better of the two label orders."""
    same = float((labels == truth).mean())
    return max(same, 1.0 - same)


def integration_labels(signals, kernel, grid, cell):
    """1 where most of a voxel's spectrum lies beyond the midpoint of the two components."""
    midpoint = float(cell.components[cell.axis].mean())
    result = fit_nnls(signals, kernel, alpha=0.01)
    above = integrate_regions(result, grid, {"above": {cell.axis: (midpoint, np.inf)}})["above"]
    return above


def kmeans_labels(signals, seed):
    """Two-means of the signals, the best of ten starts."""
    best = None
    for start in range(10):
        centers, labels = kmeans2(signals, 2, minit="++", rng=np.random.default_rng([seed, start]))
        inertia = ((signals - centers[labels]) ** 2).sum()
        if best is None or inertia < best[0]:
            best = inertia, labels
    return best[1]


def simulate(cell, encodings, seed, kind="gaussian"):
    """Signals of an image, its truth, and the score of who knows both signals and the noise.

    The score is the expected one for Gaussian noise, that of this very image for Rician noise.
    """
    truth = np.repeat([0, 1], IMAGE[0] * IMAGE[1] // 2)
    pure = simulate_signals(KERNEL, encodings, cell.components)
    signals = add_noise(pure[truth], 1 / SNR, np.random.default_rng(seed), kind)
    if kind == "gaussian":
        return signals, truth, float(norm.cdf(np.linalg.norm(pure[0] - pure[1]) * SNR / 2))
    first, second = (log_density(signals, component, 1 / SNR).sum(axis=1) for component in pure)
    return signals, truth, recovered((second > first).astype(int), truth)


def run_cell(cell, index, encodings, grid, kernel, sigma, seed, kind="gaussian", likelihood="gaussian"):
    """Scores of every method, and the two maps the figure shows."""
    signals, truth, oracle = simulate(cell, encodings, [seed, index], kind)
    method = "b0-repeats" if sigma == "b0-repeats" else 1 / SNR
    model = NoiseModel("rician" if likelihood == "rician" else "gaussian")
    estimate = estimate_noise(signals, encodings, method, model=model)
    if likelihood == "student-t":
        model = NoiseModel(likelihood, degrees_of_freedom=float(estimate.degrees_of_freedom[0]))
    fit = fit_inspect(signals, kernel, estimate.noise_std, 2, seed=seed, noise=model)
    fraction = integration_labels(signals, kernel, grid, cell)
    scores = {
        "inspect": recovered(fit.labels - 1, truth),
        "integration": recovered((fraction > 0.5).astype(int), truth),
        "k-means": recovered(kmeans_labels(signals, seed), truth),
        "oracle": oracle,
    }
    weight = fit.responsibilities[:, 0]
    if ((weight > 0.5) == (truth == 1)).mean() < 0.5:
        weight = 1 - weight
    return scores, {"inspect": weight.reshape(IMAGE), "integration": fraction.reshape(IMAGE)}


def run(sigma="b0-repeats", seed=0, progress=sys.stderr, kind="gaussian", likelihood="gaussian"):
    """All simulations.

    Returns
    -------
    list of (Cell, scores, maps)

    """
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings)
    kernel = reduce_kernel(kernel_matrix(KERNEL, encodings, grid))
    results = []
    for index, cell in enumerate(cells()):
        results.append((cell, *run_cell(cell, index, encodings, grid, kernel, sigma, seed, kind, likelihood)))
        if progress is not None:
            print(f"\r{index + 1} of {len(cells())} simulations", end="", file=progress, flush=True)
    if progress is not None:
        print(file=progress)
    return results


def table(results):
    """Tab-separated text: one line per simulation."""
    lines = ["axis\tdistance\tt2star_ms\tdiffusivity_um2_per_ms\t" + "\t".join(METHODS)]
    for cell, scores, _ in results:
        values = "\t".join(f"{scores[m]:.3f}" for m in METHODS)
        lines.append(f"{SYMBOLS[cell.axis]}\t{cell.distance:g}\t{cell.t2star:g}\t{cell.diffusivity:g}\t{values}")
    return "\n".join(lines) + "\n"


def summary(results):
    """Means over all simulations and by T2*."""
    lines = ["mean recovered proportion\tall\t" + "\t".join(f"T2* {t:g} ms" for t in T2STAR)]
    for method in METHODS:
        groups = [[s[method] for c, s, _ in results if t is None or c.t2star == t] for t in (None, *T2STAR)]
        lines.append(method + "\t" + "\t".join(f"{np.mean(group):.3f}" for group in groups))
    return "\n".join(lines) + "\n"


def draw(results, path):
    """Maps (A) and recovered proportions (B), as in the paper."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 15), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    top.suptitle("A  Simulated images: top half one cluster, bottom half the other", x=0.01, ha="left")
    bottom.suptitle("B  Proportion of voxels recovered (0.5 is chance)", x=0.01, ha="left")
    for part, method in zip(top.subfigures(1, 2), ("integration", "inspect"), strict=True):
        part.suptitle("InSpect" if method == "inspect" else "voxelwise NNLS, spectral integration", fontsize=10)
        _draw_maps(part.subplots(9, 8), results, method)
    _draw_bars(bottom.subplots(2, 9, sharey=True), results)
    figure.savefig(path, metadata={"Date": None} if Path(path).suffix == ".svg" else None)
    plt.close(figure)


def _draw_maps(axes, results, method):
    """One tile per simulation: rows are the first component, columns the distance."""
    columns = list(itertools.product(("t2star", "diffusivity"), DISTANCES))
    rows = list(itertools.product(T2STAR, DIFFUSIVITY))
    for cell, _, maps in results:
        row, column = rows.index((cell.t2star, cell.diffusivity)), columns.index((cell.axis, cell.distance))
        plot = axes[row, column]
        plot.imshow(maps[method], cmap="cividis", vmin=0, vmax=1, aspect="auto")
        plot.set_xticks([])
        plot.set_yticks([])
        if row == 0:
            plot.set_title(f"{SYMBOLS[cell.axis]} x{cell.distance:g}", fontsize=7)
        if column == 0:
            plot.set_ylabel(f"T2* {cell.t2star:g}\nADC {cell.diffusivity:g}", fontsize=6)


def _draw_bars(axes, results):
    """One panel per first component; rows are the axis that differs."""
    width, colors = 0.27, {"integration": "#999999", "inspect": "#0072b2", "k-means": "#e69f00"}
    for row, axis in zip(axes, ("t2star", "diffusivity"), strict=True):
        for plot, (t2star, diffusivity) in zip(row, itertools.product(T2STAR, DIFFUSIVITY), strict=True):
            chosen = [s for c, s, _ in results if (c.axis, c.t2star, c.diffusivity) == (axis, t2star, diffusivity)]
            for shift, (method, color) in enumerate(colors.items()):
                heights = [scores[method] for scores in chosen]
                plot.bar(np.arange(4) + (shift - 1) * width, heights, width, label=method, color=color)
            plot.plot(np.arange(4), [scores["oracle"] for scores in chosen], "k_", markersize=12, label="oracle")
            plot.set_ylim(0.45, 1.02)
            plot.set_xticks(np.arange(4), [f"{d:g}" for d in DISTANCES], fontsize=7)
            plot.set_title(f"T2* {t2star:g} ms\nADC {diffusivity:g} um2/ms", fontsize=7)
        row[0].set_ylabel(f"{SYMBOLS[axis]} differs\nproportion recovered")
        row[4].set_xlabel(f"factor between the two components in {SYMBOLS[axis]}")
    axes[0, 8].legend(fontsize=6, loc="lower right")


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="the same as --figure")
    parser.add_argument("--figure", type=Path, help="where to draw the figure (.svg, .png, .pdf)")
    parser.add_argument("--table", type=Path, help="where to write the table of all cells")
    parser.add_argument("--sigma", choices=("b0-repeats", "known"), default="b0-repeats", help="noise level given")
    parser.add_argument("--noise", choices=("gaussian", "rician"), default="gaussian", help="of the simulation")
    parser.add_argument("--likelihood", choices=("gaussian", "rician", "student-t"), default="gaussian")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    results = run(options.sigma, options.seed, kind=options.noise, likelihood=options.likelihood)
    print(table(results))
    print(summary(results))
    if options.table:
        options.table.write_text(table(results), encoding="utf-8")
    if options.figure or options.path:
        draw(results, options.figure or options.path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
