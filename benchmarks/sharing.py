"""What voxelwise fractions gain where neighbours share their signals (``nnls.spatial``).

    python -m benchmarks.sharing

Placenta protocol, SNR 20 at b=0 and the shortest TE, 9 x 9 x 9 voxels, two tissues (T2* 50 and 100 ms, ADC 1 and
20 um2/ms). The second tissue's fraction is smooth (filtered noise, 1.5 voxels, through a logistic function), or takes
two values that lie .6 or .2 apart on smooth shapes. Printed: root mean squared error, bias and spread of the
fraction by spectral integration, and voxels' worth of data behind a spectrum. ``uniform``: signals averaged over the
six neighbours whatever they say.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.protocols import placenta
from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import estimate_noise, fit_nnls, integrate_regions, neighbours_of, reduce_kernel, share_signals

SHAPE = (9, 9, 9)
NOISE = 0.05
WEIGHTS = (0.0, 0.3, 1.0, 3.0)
REGIONS = {"fast": {"diffusivity": (4.5, np.inf)}}


def truths(seed):
    """Fraction of the second tissue, (n_voxels,), by name."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.5).ravel()
    field /= field.std()
    above = field > np.median(field)
    return {"smooth": 1 / (1 + np.exp(-1.5 * field)), "shapes .6": 0.2 + 0.6 * above, "shapes .2": 0.4 + 0.2 * above}


def averaged(signals, neighbours):
    """Plain mean over a voxel and its neighbours."""
    sums = np.add.reduceat(signals[neighbours.index], neighbours.starts[:-1])
    return (signals + sums) / (1 + np.diff(neighbours.starts))[:, None]


def rows(seed, alpha):
    """Yield (truth, weight, error, bias, spread, voxels) of every fit."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings)
    kernel = reduce_kernel(kernel_matrix("adc-t2star", encodings, grid))
    tissues = {"diffusivity": np.array([1.0, 20.0]), "t2star": np.array([50.0, 100.0])}
    pure = simulate_signals("adc-t2star", encodings, tissues)
    roi = np.ones(SHAPE, bool)
    neighbours = neighbours_of(roi)
    for name, truth in truths(seed).items():
        clean = np.stack([1 - truth, truth], axis=1) @ pure
        signals = add_noise(clean / clean[:, encodings.reference()].mean(), NOISE, np.random.default_rng([seed, 1]))
        noise_std = estimate_noise(signals, encodings, "b0-repeats").noise_std
        fits = [("uniform", averaged(signals, neighbours_of(roi, n_neighbours=6)), 7.0)]
        for weight in WEIGHTS:
            shared = share_signals(signals, kernel, noise_std, neighbours, weight)
            fits.append((f"{weight:g}", shared.signals, float(np.median(shared.n_shared))))
        for label, means, n_shared in fits:
            error = integrate_regions(fit_nnls(means, kernel, alpha), grid, REGIONS)["fast"] - truth
            yield name, label, np.sqrt(np.mean(error**2)), error.mean(), error.std(), n_shared


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alpha", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print("fraction\tweight\tRMSE\tbias\tspread\tvoxels")
    for name, label, *values, n_shared in rows(options.seed, options.alpha):
        print(f"{name}\t{label}\t" + "\t".join(f"{value:.4f}" for value in values) + f"\t{n_shared:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
