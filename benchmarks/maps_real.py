"""Parameter maps of a brain, fitted twice: how well two halves of the volumes agree, and what that costs.

usage: python -m benchmarks.maps_real DATA_DIR [--out maps_real] [--splits 5] [--models msdki ball-stick] [--quick]

DATA_DIR holds ``mdt_brain_2te/bids``: one brain, two slices, two series (TE 60 ms: b 0, 1000, 2000; TE 91 ms: b 0 to
6000, of which the models take those up to 3100 s/mm2). Each split shares the volumes of every shell out to two halves
in which sticks have alike powder means; every method is fitted to each half on its own. Sigma is one number per series,
from the repeats of b = 0 (``--sigma voxel``: a map; ``residual``: from residuals of least squares).

Printed for each series, model, method, parameter and split, then means and ranges over splits:

- ``r``: correlation of the halves over all voxels; ``r tissue``: over those that the other series calls no fluid;
- ``rms``, ``median``: root mean square and median absolute difference of the halves;
- ``to half``: root mean square difference to least squares of the other half, whose noise is independent;
- ``to full``: root mean square difference to least squares of all volumes (with the method's likelihood);
- ``bias``: median difference to that fit, absolute, mean over white, grey and fluid voxels told by the other series;
  ``own bias``: the same to the maps of all volumes by the method itself;
- ``other``: correlation with least squares of all volumes of the other series, whose noise is independent;
- ``edge``: steps between neighbours across edges, over those of least squares of all volumes; edges are the steepest
  tenth of the other series' steps, each with that one's sign. 1 is an edge kept; ``edge tissue``: without fluid;
- ``specks``: share of voxels farther from the median of their 3 x 3 neighbours than ``SPECK``.

Results are kept in the output folder, with pictures of the maps and ``maps_real.tsv``.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from benchmarks.maps_halves import COLUMNS, angle_between, half_split, measures
from benchmarks.maps_methods import GAUSSIAN, RICIAN, Store, chosen, rows_by_likelihood, run_row
from benchmarks.maps_pictures import half_maps
from mrspec_prep.bids.input.images import find_masks, load_mask, load_signals
from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.networks import fit_maps
from mrspec_prep.options import Options
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS
from mrspec_prep.physics.models.prepare import volumes_of
from mrspec_prep.spectra import estimate_noise

SERIES = ("te60", "te91")
SHOWN = {  # parameter: range of the pictures
    "msdki": {"diffusivity": (0.3, 2.5), "kurtosis": (0.0, 1.6)},
    "ball-stick": {"stick_fraction": (0.0, 0.7), "stick_diffusivity": (0.0, 3.0), "ball_diffusivity": (0.3, 2.5)},
}
SPECK = {"diffusivity": 0.3, "kurtosis": 0.3, "stick_fraction": 0.1, "stick_diffusivity": 0.5, "ball_diffusivity": 0.3}
FLUID = 1.5  # um2/ms: mean diffusivity above which a voxel counts as fluid
ORIENTED = 0.25  # stick fraction (other series) above which the halves' directions are compared
LOWER = ("rms", "median", "to half", "to full", "bias", "own bias", "specks")  # columns in which less is better
NEITHER = ("edge", "edge tissue")  # columns that are not counted
LSQ = {False: "lsq", True: "lsq, Rician"}  # by whether the likelihood is Rician
QUICK = {"splits": 1, "models": ["msdki"], "rows": ["lsq", "lsq-gmm"]}


@dataclass(frozen=True, eq=False)
class Scan:
    """One series inside the region that both share."""

    name: str
    roi: np.ndarray
    signals: np.ndarray
    encodings: Encodings
    noise_std: float | np.ndarray | None

    def fit(self, row, model, seed, volumes):
        """Maps of some volumes, (n_voxels, n_parameters), and whether their likelihood was Rician."""
        signals, encodings = self.signals[:, volumes], self.encodings.take(volumes)
        result = run_row(row, signals, encodings, model, self.noise_std, seed)
        values = np.stack([result.maps[name] for name in MODELS[model].names], axis=1).astype(np.float32)
        return {"values": values, "rician": result.settings["distribution"] == "rician"}

    def tissue(self):
        """(n_voxels,) int: 0 white, 1 grey, 2 fluid, told crudely by D and K of least squares."""
        maps = fit_maps(self.signals, self.encodings, "msdki", noise_std=self.noise_std or 1.0).maps
        fluid = maps["diffusivity"] > FLUID
        white = maps["kurtosis"] > np.median(maps["kurtosis"][~fluid])
        return np.where(fluid, 2, np.where(white, 0, 1))


def load_scans(data_dir, sigma):
    """Both series, inside the region that both masks share."""
    root = Path(data_dir) / "mdt_brain_2te" / "bids"
    layout, select = open_layout(root), Options().select
    found = [find_series(layout, "01", select, filters={"dwi": {"acquisition": name}})[0] for name in SERIES]
    roi = np.logical_and.reduce([load_mask(find_masks(s, [root / "derivatives" / "masks"]), s) for s in found])
    scans = []
    for name, series in zip(SERIES, found, strict=True):
        signals = load_signals(series, roi).astype(float)
        scans.append(Scan(name, roi, signals, series.encodings, noise_of(signals, series.encodings, sigma)))
    return scans


def noise_of(signals, encodings, kind):
    """Sigma from repeats of b = 0: one number (by the median variance) or a map; None where residuals are to tell."""
    if kind == "residual":
        return None
    found = estimate_noise(signals, encodings)
    if kind == "voxel":
        return found.noise_std
    degrees = found.degrees_of_freedom[0]
    return float(np.sqrt(np.median(found.noise_std**2) * degrees / chi2.median(degrees)))


class Study:
    """One series and model: fits, kept in a store, and their numbers."""

    def __init__(self, scan, other, model, store, args):
        self.scan, self.other, self.model, self.store, self.args = scan, other, model, store, args
        self.names, self.tissue = MODELS[model].names, other.tissue()
        self.volumes = volumes_of(MODELS[model], scan.encodings)
        self.splits = [half_split(scan.encodings, self.volumes, seed) for seed in range(args.splits)]
        self.elsewhere = self.full("lsq", ("lsq", GAUSSIAN), other)["values"]
        self.references = {
            rician: self.full(label, ("lsq", RICIAN if rician else GAUSSIAN))["values"] for rician, label in LSQ.items()
        }

    def full(self, label, row, scan=None):
        """Maps of all volumes."""
        scan = scan or self.scan
        name = f"{scan.name}_{self.model}_{self.args.sigma}_{label}_full"
        return self.store.get(name, partial(scan.fit, row, self.model, 0, np.arange(len(scan.encodings))), row)

    def halves(self, label, row, seed):
        """Maps of both halves of a split, (2, n_voxels, n_parameters), and whether they are Rician."""
        fits = []
        for which, volumes in zip("AB", self.splits[seed], strict=True):
            name = f"{self.scan.name}_{self.model}_{self.args.sigma}_{label}_{seed}{which}"
            fits.append(self.store.get(name, partial(self.scan.fit, row, self.model, seed, volumes), row))
        return np.stack([fit["values"] for fit in fits]), bool(fits[0]["rician"])

    def numbers(self, values, own, rician, seed):
        """Numbers of ``COLUMNS`` by parameter, against least squares of the same likelihood; ``own``: all volumes."""
        plain = self.halves(LSQ[rician], ("lsq", RICIAN if rician else GAUSSIAN), seed)[0]
        for name in SHOWN[self.model]:
            p = self.names.index(name)
            full, other = self.references[rician][:, p], self.elsewhere[:, p]
            given = values[..., p], plain[..., p], own[:, p], full, other
            yield name, measures(*given, self.tissue, self.scan.roi, SPECK[name])

    def run(self, table):
        """Fit and print everything; {(label, parameter): (n_splits, n_columns) array} and pictures' maps."""
        found, pictures = {}, {}
        print(f"{'method':24} {'parameter':18} split  " + "  ".join(f"{name:>11}" for name in COLUMNS))
        for label, row in table.items():
            own = self.full(label, row)["values"]
            for seed in range(self.args.splits):
                values, rician = self.halves(label, row, seed)
                for name, numbers in self.numbers(values, own, rician, seed):
                    found.setdefault((label, name), []).append(numbers)
                    print(f"{label:24} {name:18} {seed:5d}  " + "  ".join(f"{x:11.3f}" for x in numbers), flush=True)
                if seed == 0:
                    pictures[label] = np.concatenate([own[None], values])
                if "direction_x" in self.names:
                    self._direction(label, seed, values)
        return {key: np.array(rows) for key, rows in found.items()}, pictures

    def _direction(self, label, seed, values):
        columns = [self.names.index(f"direction_{axis}") for axis in "xyz"]
        where = self.elsewhere[:, self.names.index("stick_fraction")] > ORIENTED
        apart = angle_between(*(half[where][:, columns] for half in values))
        print(f"{label:24} {'direction':18} {seed:5d}  median angle between halves {apart:.2f} degrees")

    def draw(self, pictures, folder):
        """Write a picture per parameter."""
        for name, (low, high) in SHOWN[self.model].items():
            maps = {label: values[..., self.names.index(name)] for label, values in pictures.items()}
            path = folder / f"{self.scan.name}_{self.model}_{name}.png"
            half_maps(path, self.scan.roi, maps, low, high, f"{self.scan.name}, {self.model}: {name.replace('_', ' ')}")
            print(f"wrote {path}")


def summary(found, where):
    """Print means and ranges over splits, and in how many a method is as good as least squares of its likelihood.

    Returns
    -------
    list of tuple
        Rows of ``maps_real.tsv``.

    """
    lines = []
    print(f"\n{where}: mean over splits; lowest .. highest; splits as good as least squares of that likelihood")
    for (label, name), rows in found.items():
        plain = found.get((LSQ["Rician" in label], name), rows)
        better = np.where(np.isin(COLUMNS, LOWER), rows <= plain, rows >= plain).sum(axis=0)
        won = [" " if column in NEITHER else f"{n}/{len(rows)}" for column, n in zip(COLUMNS, better, strict=True)]
        for text, cells in (
            ("mean", [f"{x:.3f}" for x in rows.mean(axis=0)]),
            ("range", [f"{low:.3f}-{high:.3f}" for low, high in zip(rows.min(axis=0), rows.max(axis=0), strict=True)]),
            ("won", won),
        ):
            print(f"{label:24} {name:18} {text:5}  " + "  ".join(f"{cell:>11}" for cell in cells), flush=True)
        lines += [(*where.split(", "), label, name, column, *rows[:, c]) for c, column in enumerate(COLUMNS)]
    return lines


def main():
    """Print the tables and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("maps_real"))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--models", nargs="+", choices=SHOWN, default=list(SHOWN))
    parser.add_argument("--rows", nargs="+", help="labels of the table; all by default")
    parser.add_argument("--sigma", choices=("image", "voxel", "residual"), default="image")
    parser.add_argument("--keep", action="store_true", help="keep results of other versions of the code")
    parser.add_argument("--quick", action="store_true", help="one split, MSDKI, least squares with and without a prior")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    table, store, lines = chosen(rows_by_likelihood(), args.rows), Store(args.out / "fits", args.keep), []
    scans = load_scans(args.data_dir, args.sigma)
    for scan, other in (scans, scans[::-1]):
        for model in args.models if scan.name in args.series else ():
            study = Study(scan, other, model, store, args)
            sigma = "of residuals" if scan.noise_std is None else f"{np.median(scan.noise_std):.1f}"
            sizes = " and ".join(str(len(half)) for half in study.splits[0])
            print(f"\n## {scan.name}, {model}: {len(scan.signals)} voxels, halves of {sizes} volumes, sigma {sigma}")
            found, pictures = study.run(table)
            lines += summary(found, f"{scan.name}, {model}")
            study.draw(pictures, args.out)
    header = ("series", "model", "method", "parameter", "measure", *(f"split{s}" for s in range(args.splits)))
    rows = ["\t".join(f"{x:.5g}" if isinstance(x, float) else x for x in line) for line in lines]
    (args.out / "maps_real.tsv").write_text("\n".join(["\t".join(header), *rows, ""]), encoding="utf-8")
    print(store.remark())


if __name__ == "__main__":
    main()
