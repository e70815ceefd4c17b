"""Figures 1, 6 and 7 of Xu et al. 2024 with every method, and tables per cluster, from one command.

    python -m benchmarks.maps_paper --out maps_paper            # everything: hours; type it again to go on
    python -m benchmarks.maps_paper --out maps_paper --quick    # one seed, 1000 voxels

Simulation: ``benchmarks/maps_simulation.py`` (10,000 voxels, clusters 0.5 : 0.4 : 1, Rician noise, S0 fitted).
Settings: the spread of the tissue (``narrow``: standard deviation .12; ``paper``: the paper's variances), the SNR, and
the volumes (11 b-values of 0 to 2500 s/mm2; 288: the same b-values, 18 and 10 x 27 times). Rows: least squares
(Gaussian, Rician), with a fitted mixture prior, learned prior, the networks with our and with the published settings,
and the Bayes posterior mean under the prior that the tissue was drawn from. Coverage: ``benchmarks/maps_coverage.py``.

Figure 1: estimated against true D; Figure 7: K; the paper's spread, a row per SNR, all seeds together. Figure 6: D with
the published ``vae`` over its number of latent variables and the weight of its divergence, and our ``gmm-vae`` over the
components of its prior; SNR 20, ``selfsup`` beside them; its table is printed.
Results are kept per setting, seed and row in ``OUT/fits``.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.maps_methods import Store, chosen, rows, run_row
from benchmarks.maps_pictures import scatter
from benchmarks.maps_simulation import PARAMETERS, PROTOCOLS, TISSUE, scores, simulate, stacked
from benchmarks.maps_tables import BAYES, goal_lines, pairs, seed_lines, setting_table
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.priors.bayes_reference import bayes_reference

LIMITS = {"diffusivity": (0.0, 4.0), "kurtosis": (0.0, 3.0)}
SYMBOLS = {"diffusivity": "D [um2/ms]", "kurtosis": "K"}
FIGURES = {"diffusivity": "figure1", "kurtosis": "figure7"}
POINTS = 4000  # of each panel
SWEEPS = {  # rows of Figure 6: method and settings, what varies
    "latent variables": ("vae", {"base": "paper"}, "n_latent", (4, 16, 64, 256, 1024)),
    "weight of the divergence": ("vae", {"base": "paper"}, "kl_weight", (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    "components": ("gmm-vae", {}, "n_components", (1, 2, 4, 8, 16)),
}
QUICK = {"seeds": 1, "voxels": 1000, "snr": [20, 50], "spread": ["paper"], "volumes": [11]}


def estimate(simulation, row, seed):
    """D and K of one row: ``mean``, ``std`` (n_voxels, 2; NaN where it has none) and ``scores`` (3, 2, 4)."""
    if row is None:
        given = simulation.signals, simulation.encodings, "msdki", simulation.noise_std, "rician"
        found = bayes_reference(make_problem(*given)[0], simulation.prior, seed=seed)
        mean, std, intervals = found.mean[:, 1:], found.std[:, 1:], found.quantiles[:, 1:]
    else:
        result = run_row(row, simulation.signals, simulation.encodings, "msdki", simulation.noise_std, seed)
        mean, std = stacked(result.maps), stacked(result.std)
        intervals = stacked(result.intervals)
    table = scores(simulation, mean, std, intervals)
    std = np.full(mean.shape, np.nan) if std is None else std
    return {"mean": mean.astype(np.float32), "std": std.astype(np.float32), "scores": table}


class Setting:
    """One simulated scan and what every row makes of it, seed by seed."""

    def __init__(self, spread, snr, n_volumes, args, store):
        self.spread, self.snr, self.n_volumes, self.args, self.store = spread, snr, n_volumes, args, store
        self.simulations = {}

    def __str__(self):
        return f"{self.spread} spread, SNR {self.snr:g}, {self.n_volumes} volumes"

    def short(self):
        """Beside a row of a figure."""
        return f"SNR {self.snr:g}" + (f"\n{self.n_volumes} volumes" if self.n_volumes != 11 else "")

    def simulation(self, seed):
        """Voxels of one seed."""
        if seed not in self.simulations:
            self.simulations[seed] = simulate(self.spread, self.snr, seed, self.args.voxels, self.n_volumes)
        return self.simulations[seed]

    def get(self, label, row, seed):
        """Result of ``estimate``, kept on disk."""
        name = f"{self.spread}_snr{self.snr:g}_n{self.n_volumes}_v{self.args.voxels}_seed{seed}_{label}"
        return self.store.get(name, lambda: estimate(self.simulation(seed), row, seed), row)

    def tables(self, table):
        """Run, print every seed and the means; {label: (n_seeds, 3, 2, 4) array}."""
        print(f"\n## {self}: RMSE D/K, correlation D/K, coverage of 68 % D/K, 95 % D/K", flush=True)
        found = {}
        for seed in range(self.args.seeds):
            for label, row in table.items():
                result = self.get(label, row, seed)
                found.setdefault(label, []).append(result["scores"])
                print("\n".join(seed_lines(label, seed, result["scores"], result["seconds"])), flush=True)
        found = {label: np.stack(tables) for label, tables in found.items()}
        print("\n".join((f"### {self}", *setting_table(found), *goal_lines(found))), flush=True)
        return found


def figures_1_and_7(settings, table, seeds, folder):
    """Write estimate against truth of all seeds together: a row per setting, a column per method."""
    panels = {name: {setting.short(): {} for setting in settings} for name in PARAMETERS}
    for setting in settings:
        parts = [setting.simulation(seed) for seed in seeds]
        few = np.random.default_rng(0).permutation(sum(len(part.truth) for part in parts))[:POINTS]
        truth = np.concatenate([part.truth for part in parts])[few]
        cluster = np.concatenate([part.cluster for part in parts])[few]
        for label, row in table.items():
            mean = np.concatenate([setting.get(label, row, seed)["mean"] for seed in seeds])[few]
            for p, name in enumerate(PARAMETERS):
                panels[name][setting.short()][label] = truth[:, p], mean[:, p], cluster
    for name, shown in panels.items():
        path = folder / f"{FIGURES[name]}.png"
        title = f"{SYMBOLS[name]}, estimated against true; white matter blue, grey matter orange, CSF green"
        scatter(path, shown, LIMITS[name], f"{title}; seeds {seeds[0]} to {seeds[-1]}")
        print(f"wrote {path}")


def figure_6(setting, seeds, folder):
    """Write D against truth over settings of the networks, and print their RMSE."""
    panels, parts = {}, [setting.simulation(seed) for seed in seeds]
    few = np.random.default_rng(0).permutation(sum(len(part.truth) for part in parts))[:POINTS]
    truth, cluster = (np.concatenate([getattr(part, key) for part in parts])[few] for key in ("truth", "cluster"))
    print(f"\n## Figure 6, {setting}: RMSE D/K white, grey, CSF; mean, then highest over seeds")
    for name, (method, base, key, values) in SWEEPS.items():
        sweep = {f"{method} {key} {value:g}": (method, {"settings": base | {key: value}}) for value in values}
        sweep = {"selfsup, published": ("selfsup", {"settings": "paper"})} | sweep
        for label, row in sweep.items():
            words = label if label.startswith("selfsup") else f"{label}{', published' if base else ''}"
            found = [setting.get(words, row, seed) for seed in seeds]
            mean = np.concatenate([one["mean"] for one in found])[few]
            panels.setdefault(name, {})[words] = truth[:, 0], mean[:, 0], cluster
            table = np.stack([one["scores"][..., 0] for one in found])
            print(f"{name:26} {words:36} {pairs(table.mean(axis=0))} | {pairs(table.max(axis=0))}", flush=True)
    scatter(folder / "figure6.png", panels, LIMITS["diffusivity"], f"{SYMBOLS['diffusivity']}, estimated against true")
    print(f"wrote {folder / 'figure6.png'}")


def main():
    """Run what is missing, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("maps_paper"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--voxels", type=int, default=10_000)
    parser.add_argument("--snr", type=float, nargs="+", default=[10, 20, 50])
    parser.add_argument("--spread", nargs="+", choices=TISSUE, default=list(TISSUE))
    parser.add_argument("--volumes", type=int, nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--rows", nargs="+", help="labels of the table; all by default")
    parser.add_argument("--drawn", nargs="+", help="labels of the rows in the figures; all by default")
    parser.add_argument("--keep", action="store_true", help="keep results of other versions of the code")
    parser.add_argument("--quick", action="store_true", help="few voxels, one seed")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    store, table = Store(args.out / "fits", args.keep), {BAYES: None} | chosen(rows(), args.rows)
    settings = [
        Setting(spread, snr, n, args, store)
        for n in args.volumes
        for spread in args.spread
        for snr in (args.snr if n == 11 else [max(args.snr)])
    ]
    for setting in settings:
        setting.tables(table)
    shown = [setting for setting in settings if setting.spread == "paper"] or settings
    drawn = {label: row for label, row in table.items() if not args.drawn or label in args.drawn}
    figures_1_and_7(shown, drawn, range(args.seeds), args.out)
    if not args.rows:
        figure_6(Setting("paper", 20, 11, args, store), range(args.seeds), args.out)
    print(store.remark())


if __name__ == "__main__":
    main()
