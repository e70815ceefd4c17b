"""Parameter maps of simulated MSDKI voxels: every method against least squares and against what is possible.

``python -m benchmarks.maps`` prints, for each signal-to-noise ratio and spread of the tissue, one row per method,
seed and cluster: RMSE and correlation within the cluster of D and K, and how often the 68 % and 95 % intervals hold
the truth (``maps_coverage``: less what intervals that end at K = 0 are expected to hold more); then the means over
seeds as ratios to the Bayes posterior mean under the true prior. ``--speed`` times the methods (``maps_speed``).

Simulation (Xu et al. 2024): 10,000 voxels, clusters weighted 0.5 : 0.4 : 1, Rician noise, 11 b-values of 0 to
2500 s/mm2, S0 = 1 and fitted. ``narrow``: standard deviation .12 about (D, K) = (1, 1.5), (1.5, 1), (2.6, .05).
``paper``: variances .1, .1, .01 about (1, 1.5), (1.5, 1), (3, 0). K below 0 counts as 0.
"""

import argparse

import numpy as np

from benchmarks.maps_simulation import CLUSTERS, TISSUE, scores, simulate, stacked
from benchmarks.maps_speed import speed, variants
from mrspec_prep.networks import METHODS, fit_maps
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.priors.bayes_reference import bayes_reference


def estimates(simulation, methods, seed):
    """Yield (name, mean, std (n_voxels, 2), intervals (n_voxels, 2, 4)) of every method, the Bayes reference first."""
    problem, _ = make_problem(simulation.signals, simulation.encodings, "msdki", simulation.noise_std, "rician")
    found = bayes_reference(problem, simulation.prior, seed=seed)
    yield "Bayes, true prior", found.mean[:, 1:], found.std[:, 1:], found.quantiles[:, 1:]
    for name, method, options in methods:
        given = simulation.signals, simulation.encodings, "msdki", method, simulation.noise_std, seed
        result = fit_maps(*given, **options)
        yield name, stacked(result.maps), stacked(result.std), stacked(result.intervals)


def report(spread, snr, args):
    """Print all seeds of one setting, then the means."""
    print(f"\n## {spread}, SNR {snr:g}: RMSE D/K, correlation D/K, coverage 68 % D/K, 95 % D/K", flush=True)
    found = {}
    for seed in range(args.seeds):
        simulation = simulate(spread, snr, seed, args.voxels)
        for name, *found_maps in estimates(simulation, variants(args.methods), seed):
            table = scores(simulation, *found_maps)
            found.setdefault(name, []).append(table)
            for c, label in enumerate(CLUSTERS):
                print(f"seed {seed}  {name:18} {label:6} " + "  ".join(_pair(table[c, :, q]) for q in range(4)))
    reference = np.mean(found["Bayes, true prior"], axis=0)[..., 0]
    print(f"{'mean of seeds':18} RMSE D/K white, grey, CSF; over Bayes white, grey, CSF; worst seed white, grey")
    for name, tables in found.items():
        rmse, worst = np.mean(tables, axis=0)[..., 0], np.max(tables, axis=0)[..., 0]
        columns = [*rmse, *(rmse / reference), *worst[:2]]
        print(f"{name:18} " + "  ".join(_pair(pair) for pair in columns), flush=True)
    print(f"{'mean of seeds':18} coverage of 68 % D/K white, grey, CSF; of 95 %")
    for name, tables in found.items():
        covered = np.mean(tables, axis=0)[..., 2:]
        print(f"{name:18} " + "  ".join(_pair(covered[c, :, q]) for q in range(2) for c in range(3)), flush=True)


def _pair(values):
    return "/".join(f"{value:.3f}" for value in values)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--voxels", type=int, default=10_000)
    parser.add_argument("--snr", type=float, nargs="+", default=[10, 20, 50])
    parser.add_argument("--spread", nargs="+", choices=TISSUE, default=list(TISSUE))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--speed", action="store_true", help="times only")
    args = parser.parse_args()
    if args.speed:
        speed(simulate("narrow", 20, 0, args.voxels), args.methods)
        return
    for spread in args.spread:
        for snr in args.snr:
            report(spread, snr, args)
    speed(simulate("narrow", 20, 0, args.voxels), args.methods)


if __name__ == "__main__":
    main()
