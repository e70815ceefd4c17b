"""Figure 1 of the InSpect paper on smooth random shapes: what a spatial prior adds.

    python -m benchmarks.figure1_spatial --table figure1_spatial.tsv

The 72 simulations of ``benchmarks.figure1``, but 10 x 10 x 10 voxels whose labels are Gaussian noise,
filtered with a standard deviation of 1.5 voxels and cut at its median (or at zero). Columns:

    inspect          voxels independent
    spatial          Potts prior by mean field, its weight estimated from the image alone
    oracle           both signals known, voxels independent
    oracle_spatial   both signals known, same prior, weight estimated likewise
    beta             weight estimated by ``spatial``

Truth enters the scores and the oracles only.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.figure1 import KERNEL, SNR, SYMBOLS, T2STAR, cells, recovered
from benchmarks.protocols import placenta
from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import estimate_noise, fit_inspect, neighbours_of, reduce_kernel
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_updates import empty_state
from mrspec_prep.spectra.clusters.potts_em import begin, settle

SHAPE = (10, 10, 10)
SMOOTHNESS = 1.5  # voxels
ROUNDS = 500
METHODS = ("inspect", "spatial", "oracle", "oracle_spatial", "beta")


def smooth_shapes(rng, cut):
    """(n_voxels,) labels 0 and 1 of one image."""
    field = gaussian_filter(rng.standard_normal(SHAPE), SMOOTHNESS)
    return (field > (np.median(field) if cut == "median" else 0.0)).ravel().astype(int)


def oracle_labels(problem, pure):
    """Labels of who knows both signals: without and with the prior."""
    state = empty_state(problem, 2)
    state.means = pure @ problem.reduced.projection
    state.norms = np.einsum("mk,mk->m", state.means, state.means)
    one = begin(problem, state, 0.0, lambda *_: None)
    alone = one.log_density.argmax(axis=1)
    settle(problem, one, lambda *_: None, ROUNDS, True)
    return alone, one.responsibilities.argmax(axis=1)


def run_cell(cell, index, encodings, kernel, neighbours, options):
    """Scores of every method."""
    rng = np.random.default_rng([options.seed, index])
    truth = smooth_shapes(rng, options.cut)
    pure = simulate_signals(KERNEL, encodings, cell.components)
    signals = add_noise(pure[truth], 1 / SNR, rng)
    method = "b0-repeats" if options.sigma == "b0-repeats" else 1 / SNR
    noise_std = estimate_noise(signals, encodings, method).noise_std
    plain = fit_inspect(signals, kernel, noise_std, 2, seed=options.seed)
    spatial = fit_inspect(signals, kernel, noise_std, 2, seed=options.seed, neighbours=neighbours)
    alone, together = oracle_labels(make_problem(signals, kernel, 1 / SNR, neighbours=neighbours), pure)
    return {
        "inspect": recovered(plain.labels - 1, truth),
        "spatial": recovered(spatial.labels - 1, truth),
        "oracle": recovered(alone, truth),
        "oracle_spatial": recovered(together, truth),
        "beta": spatial.spatial.weight,
    }


def run(options, progress=sys.stderr):
    """All simulations: list of (Cell, scores)."""
    encodings = placenta()
    kernel = reduce_kernel(kernel_matrix(KERNEL, encodings, default_grid(("diffusivity", "t2star"), encodings)))
    neighbours = neighbours_of(np.ones(SHAPE, bool), n_neighbours=options.neighbours)
    results = []
    for index, cell in enumerate(cells()):
        results.append((cell, run_cell(cell, index, encodings, kernel, neighbours, options)))
        print(f"\r{index + 1} of {len(cells())} simulations", end="", file=progress, flush=True)
    print(file=progress)
    return results


def table(results):
    """Tab-separated text: one line per simulation."""
    lines = ["axis\tdistance\tt2star_ms\tdiffusivity_um2_per_ms\t" + "\t".join(METHODS)]
    for cell, scores in results:
        values = "\t".join(f"{scores[m]:.3f}" for m in METHODS)
        lines.append(f"{SYMBOLS[cell.axis]}\t{cell.distance:g}\t{cell.t2star:g}\t{cell.diffusivity:g}\t{values}")
    return "\n".join(lines) + "\n"


def summary(results):
    """Means over all simulations and by T2*."""
    lines = ["mean recovered proportion\tall\t" + "\t".join(f"T2* {t:g} ms" for t in T2STAR)]
    for method in METHODS:
        groups = [[s[method] for c, s in results if t is None or c.t2star == t] for t in (None, *T2STAR)]
        lines.append(method + "\t" + "\t".join(f"{np.mean(group):.4f}" for group in groups))
    return "\n".join(lines) + "\n"


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="where to write the table of all cells")
    parser.add_argument("--cut", choices=("median", "zero"), default="median", help="of the filtered noise")
    parser.add_argument("--sigma", choices=("b0-repeats", "known"), default="b0-repeats", help="noise level given")
    parser.add_argument("--neighbours", type=int, choices=(6, 18, 26), default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    results = run(options)
    print(table(results))
    print(summary(results))
    if options.table:
        options.table.write_text(table(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
