"""What the intervals and bounds of single voxels cover, measured in simulation.

    OMP_NUM_THREADS=1 python -m benchmarks.coverage

Tissues of two compartments, drawn once, not on grid points, are scanned again and again. For every quantity:

- ``bias/std``: mean over tissues of |mean estimate - truth| over the standard deviation of the estimate;
- ``std ratio``: bootstrap standard deviation over that of repeated scans, mean;
- ``covers mean``: share of the intervals that hold the mean estimate of repeated scans, which they are meant for
  (in brackets: the tissue with the lowest share);
- ``covers truth``: share that holds the truth;
- lines ``visible``: fractions in which every component counts by its signal at the shortest TE and lowest b;
- ``bounds`` and ``each``: share of the assumption-free bounds that hold the truth, for all regions at once
  (``uncertainty.simultaneous``) and region by region, with their mean width; the first line gives the share of scans
  in which all regions were held at once.
"""

import argparse
import time

import numpy as np

from benchmarks.protocols import inversion_spin_echo, multi_echo, placenta
from mrspec_prep.physics import Encodings, Grid, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra import (
    default_regions,
    estimate_noise,
    fit_nnls,
    integrate_regions,
    mean_parameters,
    reduce_kernel,
)
from mrspec_prep.spectra.regions.integration import FULLY_RECOVERED, integrate_visible
from mrspec_prep.spectra.uncertainty.bootstrap import bootstrap
from mrspec_prep.spectra.uncertainty.bounds import bound_fractions
from mrspec_prep.spectra.uncertainty.main_peaks import main_peaks

#: name -> kernel, protocol, grid points, SNR, noise, ranges of the two compartments per axis [um2/ms, ms]
SCENARIOS = {
    "placenta, SNR 20": (
        "adc-t2star", placenta, (32, 32), 20, "b0-repeats",
        {"diffusivity": ((0.5, 3.0), (5.0, 30.0)), "t2star": ((35.0, 100.0), (35.0, 100.0))},
    ),
    "placenta, SNR 50": (
        "adc-t2star", placenta, (32, 32), 50, "b0-repeats",
        {"diffusivity": ((0.5, 3.0), (5.0, 30.0)), "t2star": ((35.0, 100.0), (35.0, 100.0))},
    ),
    "48 echoes, SNR 100": ("t2", multi_echo, (80,), 100, "known", {"t2": ((15.0, 40.0), (60.0, 300.0))}),
    "T1-T2 8 x 8, SNR 50": (
        "t1-t2", lambda: inversion_spin_echo(8, 8), (32, 32), 50, "known",
        {"t2": ((20.0, 60.0), (80.0, 200.0)), "t1": ((300.0, 900.0), (1000.0, 2500.0))},
    ),
}  # fmt: skip
MANY_SCANS = 300  # for the mean estimate of each tissue
REFERENCE_SIGNAL = 1.0


class Simulation:
    """Tissues of one scenario, their truth and their scans."""

    def __init__(self, name, n_tissues, seed):
        self.kernel_name, protocol, points, self.snr, self.noise_method, ranges = SCENARIOS[name]
        self.encodings = protocol()
        axes = kernel_axes(self.kernel_name)
        self.grid = default_grid(axes, self.encodings, points=points)
        self.kernel = reduce_kernel(kernel_matrix(self.kernel_name, self.encodings, self.grid))
        self.regions = default_regions(self.kernel_name, self.encodings, self.grid)
        self.rng = np.random.default_rng(seed)
        self.positions = {
            axis: np.stack([np.exp(self.rng.uniform(*np.log(r), n_tissues)) for r in ranges[axis]], axis=1)
            for axis in axes
        }
        shares = self.rng.dirichlet([1, 1], n_tissues)
        clean = simulate_signals(self.kernel_name, self.encodings, self.positions, shares)
        scale = REFERENCE_SIGNAL / np.abs(clean[:, self.encodings.reference()]).mean(axis=1)
        self.amplitudes, self.clean = shares * scale[:, None], clean * scale[:, None]
        self.noise_std = REFERENCE_SIGNAL / self.snr
        lowest = {name: getattr(self.encodings, name) for name in ("bvalue", "echo_time")}
        lowest = {name: [values.min()] for name, values in lowest.items() if values is not None}
        recovered = {} if self.encodings.inversion_time is None else {"inversion_time": [FULLY_RECOVERED]}
        self._first = Encodings(**lowest, **recovered)
        seen = kernel_matrix(self.kernel_name, self.encodings.from_first_echo(), self.grid)
        self.kernels = {"region": self.kernel, "visible": reduce_kernel(seen)}

    def truth(self):
        """{quantity: (n_tissues,)} of the tissues themselves."""
        rows = [self._truth_of(tissue) for tissue in range(len(self.clean))]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _truth_of(self, tissue):
        places = {axis: values[tissue] for axis, values in self.positions.items()}
        shares = self.amplitudes[tissue] / self.amplitudes[tissue].sum()
        seen = (
            simulate_signals(self.kernel_name, self._first, {a: v[:, None] for a, v in places.items()})[:, 0] * shares
        )
        found = {}
        for name, box in self.regions.items():
            inside = np.all([(places[a] >= low) & (places[a] < high) for a, (low, high) in box.items()], axis=0)
            found[f"region {name}"] = float(shares[inside].sum())
            found[f"visible {name}"] = float(seen[inside].sum() / seen.sum())
        own_grid = Grid(**{axis: np.sort(values) for axis, values in places.items()})
        bins = own_grid.bins()
        spectrum = np.zeros(own_grid.n_bins)
        for k in range(2):
            spectrum[np.all([bins[axis] == places[axis][k] for axis in places], axis=0)] += self.amplitudes[tissue, k]
        apparent = mean_parameters(spectrum[None], own_grid, self.kernel_name, self.encodings)
        found |= {name: float(values[0]) for name, values in apparent.items()}
        return found | {f"peak {axis}": float(values[shares.argmax()]) for axis, values in places.items()}

    def scans(self, n):
        """(n_tissues n, n_encodings) signals, those of a tissue together."""
        return add_noise(np.repeat(self.clean, n, axis=0), self.noise_std, self.rng)

    def read(self, fit):
        """{quantity: (n_spectra,)} of spectra."""
        fractions = integrate_regions(fit, self.grid, self.regions)
        visible = integrate_visible(fit, self.grid, self.regions, self.kernel_name, self.encodings)
        return (
            {f"region {name}": values for name, values in fractions.items()}
            | {f"visible {name}": values for name, values in visible.items()}
            | mean_parameters(fit, self.grid, self.kernel_name, self.encodings)
            | {f"peak {axis}": values for axis, values in main_peaks(fit, self.grid).items()}
        )


def covers(low, high, target):
    """Whether each interval holds its target."""
    return (low <= target + 1e-9) & (target <= high + 1e-9)


def measure(name, n_tissues, n_scans, n_resamples, alpha, seed):
    """Lines of the table of one scenario."""
    simulation = Simulation(name, n_tissues, seed)
    kernel, regions = simulation.kernel, simulation.regions
    signals = simulation.scans(n_scans)
    method = simulation.noise_std if simulation.noise_method == "known" else simulation.noise_method
    noise = estimate_noise(signals, simulation.encodings, method)
    fit = fit_nnls(signals, kernel, alpha)
    start = time.process_time()
    kind = "residual" if len(simulation.encodings) >= 30 else "parametric"
    limits = {f"{kind} {region}": (0.0, 1.0) for region in regions for kind in simulation.kernels}
    found = bootstrap(
        signals, kernel, fit, simulation.read, n_resamples=n_resamples, kind=kind, noise_std=noise.noise_std,
        limits=limits, seed=seed,
    )  # fmt: skip
    boot_cost, start = time.process_time() - start, time.process_time()
    freedom = float(np.median(noise.degrees_of_freedom))
    bounds = {
        kind: [
            bound_fractions(
                signals, own, noise.noise_std, simulation.grid, regions, degrees_of_freedom=freedom, joint=joint
            )
            for joint in (True, False)
        ]
        for kind, own in simulation.kernels.items()
    }
    bound_cost = (time.process_time() - start) / 4
    many = simulation.read(fit_nnls(simulation.scans(MANY_SCANS), kernel, alpha))
    truth = {key: np.repeat(values, n_scans) for key, values in simulation.truth().items()}
    held = [covers(b.low[r], b.high[r], truth[f"region {r}"]) for b in bounds["region"][:1] for r in regions]
    lines = [
        f"{name}: {n_tissues} tissues x {n_scans} scans, {n_resamples} resamples ({kind}), alpha {alpha:g}, "
        f"noise {simulation.noise_method}; all regions held at once: {np.all(held, axis=0).mean():.3f}; "
        f"{1e3 * boot_cost / len(signals):.0f} ms (bootstrap) and {1e3 * bound_cost / len(signals):.1f} ms (bounds) "
        "per voxel",
        f"{'quantity':24}{'bias/std':>9}{'std ratio':>10}{'covers mean':>18}{'covers truth':>13}"
        f"{'bounds':>16}{'each':>16}",
    ]
    for key in simulation.read(fit):
        repeated = many[key].reshape(n_tissues, MANY_SCANS)
        mean, std = (np.repeat(values, n_scans) for values in (repeated.mean(axis=1), repeated.std(axis=1)))
        on_mean, on_truth = (covers(found.low[key], found.high[key], target) for target in (mean, truth[key]))
        worst = on_mean.reshape(n_tissues, n_scans).mean(axis=1).min()
        varies = std > 0  # a region that stays empty in every scan has no scatter to compare with
        bias = np.mean(np.abs(mean - truth[key])[varies] / std[varies])
        line = f"{key:24}{bias:9.2f}{np.mean(found.std[key][varies] / std[varies]):10.2f}"
        line += f"{on_mean.mean():11.3f} ({worst:.2f}){on_truth.mean():12.3f}"
        kind, _, region = key.partition(" ")
        for bound in bounds.get(kind, ()):
            low, high = bound.low[region], bound.high[region]
            line += f"{covers(low, high, truth[key]).mean():10.3f} ({np.mean(high - low):.2f})"
        lines.append(line)
    return lines


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default: all")
    parser.add_argument("--tissues", type=int, default=16)
    parser.add_argument("--scans", type=int, default=50, help="scans of every tissue that are bootstrapped")
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--alpha", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in options.scenario or SCENARIOS:
        lines = measure(name, options.tissues, options.scans, options.resamples, options.alpha, options.seed)
        print("\n".join(lines), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
