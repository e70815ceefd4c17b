"""What compression for the group level loses: bytes a voxel, responsibilities and spectra against uncompressed signals.

    python -m benchmarks.group_input

Both fits end from the same partition; "same spectra" keeps those of the uncompressed fit, so that only the data differ.
"""

import argparse

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.protocols import inversion_spin_echo, placenta
from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import NoiseModel, fit_inspect, reduce_kernel
from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import responsibilities_of
from mrspec_prep.spectra.clusters.em_updates import state_from_responsibilities
from mrspec_prep.spectra.clusters.inspect_em import EmSteps
from mrspec_prep.spectra.compression.truncation import MOST_RANKS, compress_signals, truncate_kernel
from mrspec_prep.spectra.noise.rician import real_signals

#: tissues that differ so little that noise mixes them up: two compartments each, volume fractions .7 and .3
TISSUES = {
    "diffusivity": ([1.0, 10.0], [1.06, 10.5], [1.0, 13.0], [0.95, 10.0]),
    "t2star": ([60.0, 90.0], [60.0, 90.0], [59.0, 92.0], [62.5, 86.0]),
    "t2": ([60.0, 90.0], [60.0, 90.0], [57.0, 94.0], [64.0, 86.0]),
    "t1": ([900.0, 1800.0], [940.0, 1800.0], [900.0, 1950.0], [880.0, 1750.0]),
}
#: for MUDI, whose b-values suit no fast flow
SLOW = TISSUES | {
    "diffusivity": ([0.7, 2.0], [0.72, 2.05], [0.7, 2.1], [0.69, 2.0]),
    "t2": ([60.0, 90.0], [60.5, 90.0], [60.0, 92.0], [61.0, 89.0]),
    "t1": ([900.0, 1800.0], [912.0, 1800.0], [900.0, 1860.0], [890.0, 1800.0]),
}


def mudi():
    """1344 volumes: b 0..3000 s/mm2, three echo times, 28 inversion times, TR 7500 ms."""
    weightings = np.concatenate([np.zeros(1), np.repeat([500.0, 1000, 2000, 3000], [3, 4, 4, 4])])
    b, echo, inversion = np.meshgrid(weightings, [80.0, 105, 130], np.geomspace(20, 7323, 28), indexing="ij")
    return Encodings(bvalue=b.ravel(), echo_time=echo.ravel(), inversion_time=inversion.ravel(), repetition_time=7500.0)


PROBLEMS = {
    "placenta 330 x 2500": ("adc-t2star", placenta, TISSUES),
    "T1-T2 64 x 2500": ("t1-t2", lambda: inversion_spin_echo(8, 8), TISSUES),
    "T1-T2 512 x 2500": ("t1-t2", lambda: inversion_spin_echo(16, 32), TISSUES),
    "MUDI 1344 x 8000": ("t1-t2-adc", mudi, SLOW),
}


def simulate(kernel, encodings, tissues, n_voxels, snr, seed):
    """Signals of the tissues in equal parts, 1 at the reference, Gaussian noise; and the tissue of each voxel."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n_voxels) % len(tissues["t1"])
    parameters = {axis: np.array(tissues[axis])[truth] for axis in kernel_axes(kernel)}
    clean = simulate_signals(kernel, encodings, parameters, np.tile([0.7, 0.3], (n_voxels, 1)))
    clean /= np.abs(clean).max()
    return add_noise(clean, 1 / snr, rng), truth


def recovered(responsibilities, truth):
    """Share of voxels in the cluster that holds most of their tissue, at best one cluster a tissue."""
    table = np.zeros((truth.max() + 1, responsibilities.shape[1]))
    np.add.at(table, (truth, responsibilities.argmax(axis=1)), 1)
    return table[linear_sum_assignment(-table)].sum() / len(truth)


def mass_moved(state, other):
    """Share of a cluster's spectrum that lies in other bins, at worst."""
    difference = np.abs(_unit_mass(state) - _unit_mass(other))
    return 0.5 * difference.sum(axis=1).max()


def means_moved(grid, state, other):
    """Relative change of a cluster's mean parameter (mean of its logarithm over the spectrum), at worst."""
    logs = np.stack([np.log(values) for values in grid.bins().values()])
    return np.abs((_unit_mass(state) - _unit_mass(other)) @ logs.T).max()


def _unit_mass(state):
    return state.spectra / state.spectra.sum(axis=1, keepdims=True)


def losses(name, n_voxels, snr, seed=0):
    """One row of the table, as a dict."""
    kernel_name, protocol, tissues = PROBLEMS[name]
    encodings = protocol()
    grid = default_grid(kernel_axes(kernel_name), encodings)
    whole = reduce_kernel(kernel_matrix(kernel_name, encodings, grid))
    truncated = truncate_kernel(whole)
    signals, truth = simulate(kernel_name, encodings, tissues, n_voxels, snr, seed)
    stored, _ = compress_signals(signals, truncated)
    as_stored = signals + (stored - signals @ truncated.projection) @ truncated.projection.T
    start = fit_inspect(signals, whole, 1 / snr, 4, scale="profiled", seed=seed).responsibilities
    full = make_problem(signals, whole, 1 / snr, scale="profiled")
    less = make_problem(as_stored, truncated, 1 / snr, scale="profiled")
    other, _ = simulate(kernel_name, encodings, tissues, n_voxels, snr, seed + 1)
    fits = []
    for problem in (full, less, make_problem(other, whole, 1 / snr, scale="profiled")):
        (one,) = climb(EmSteps(problem), [state_from_responsibilities(problem, start)], 500)
        fits.append((one.state, *responsibilities_of(problem, one.state, one.state.means[:, 0])))
    (state, w, _), (state_less, w_less, _), (state_other, _, _) = fits
    carried = state_from_responsibilities(less, start)
    carried.probs, carried.spectra, carried.means = state.probs, state.spectra, state.spectra @ truncated.basis.T
    carried.norms = np.einsum("mk,mk->m", carried.means, carried.means)
    same, _ = responsibilities_of(less, carried, carried.means[:, 0])
    shift = np.abs((state_less.spectra - state.spectra) @ whole.basis.T @ whole.projection.T)
    return {
        "ranks": f"{truncated.n_ranks} of {whole.n_ranks}",
        "largest left out": np.abs(whole.basis[truncated.n_ranks :]).max(initial=0),
        "dw, same spectra": np.abs(same - w).max(),
        "dw, own spectra": np.abs(w_less - w).max(),
        "mean dw": np.abs(w_less - w).mean(),
        "labels changed": (w_less.argmax(axis=1) != w.argmax(axis=1)).mean(),
        "recovered": f"{recovered(w, truth):.4f} / {recovered(w_less, truth):.4f}",
        "mass moved (other noise)": f"{mass_moved(state, state_less):.1e} ({mass_moved(state, state_other):.1e})",
        "means moved (other noise)": f"{means_moved(grid, state, state_less):.1e} "
        f"({means_moved(grid, state, state_other):.1e})",
        "signal [S0]": shift.max(),
    }


def stand_in_rows(seed, snrs=(5.0, 10.0)):
    """Error of the clusters' signals from Rician magnitudes [S0, rms, worst cluster], by what is fitted."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(20, 20))
    kernel = kernel_matrix("adc-t2star", encodings, grid)
    truth = np.repeat(np.arange(4), 300)
    diffusivity, t2star = np.array([1.5, 1.0, 3.0, 1.5]), np.array([40.0, 60, 60, 90])
    clean = simulate_signals("adc-t2star", encodings, {"diffusivity": diffusivity[truth], "t2star": t2star[truth]})
    clean /= clean[:, encodings.reference()].mean(axis=1, keepdims=True)
    rician = NoiseModel("rician")
    for snr in snrs:
        magnitudes = add_noise(clean, 1 / snr, np.random.default_rng(seed), "rician")
        real = real_signals(magnitudes, kernel, 1 / snr, rician)
        ways = {
            "magnitudes as Gaussian": (magnitudes, None),
            "magnitudes as Rician": (magnitudes, rician),
            "stand-ins for least squares": (real.signals, None),
            "stand-ins that scatter by sigma": (real.standardised, None),
        }
        for way, (signals, noise) in ways.items():
            fit = fit_inspect(signals, kernel, 1 / snr, 4, seed=0, scale="profiled", noise=noise)
            fitted = fit.spectra @ kernel.T
            fitted /= fitted[:, encodings.reference()].mean(axis=1, keepdims=True)
            errors = np.sqrt(np.mean((fitted[:, None] - clean[::300]) ** 2, axis=2))
            yield snr, way, errors[linear_sum_assignment(errors)].max()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=3000)
    parser.add_argument("--snr", type=float, nargs="+", default=[20.0, 50.0])
    parser.add_argument("--only", help="problems whose name holds this")
    args = parser.parse_args()
    print(f"{MOST_RANKS} ranks at most, {args.voxels} voxels; recovered: uncompressed / compressed")
    titled = False
    for name in (name for name in PROBLEMS if (args.only or "") in name):
        for snr in args.snr:
            row = losses(name, args.voxels, snr)
            if not titled:
                titled = True
                print("| problem | SNR | " + " | ".join(row) + " |", flush=True)
            cells = [value if isinstance(value, str) else f"{value:.1e}" for value in row.values()]
            print(f"| {name} | {snr:g} | " + " | ".join(cells) + " |", flush=True)
    print("\nClusters' signals from Rician magnitudes, error [S0]")
    for seed in range(2):
        for snr, way, error in stand_in_rows(seed):
            print(f"| seed {seed} | SNR {snr:g} | {way} | {error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
