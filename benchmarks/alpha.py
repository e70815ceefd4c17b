"""Choice of alpha by rule: cost per voxel, and accuracy against a dense path computed by scipy.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.alpha

"48-echo T2" has 48 echoes of 10 ms, 40 T2 from 10 to 2000 ms and three compartments; the others are two
compartments on the placenta protocol, SNR 20. One thread, processor time, median and range over repeats; "choose"
finds alpha, "fit" adds the certified spectra; "fixed" is the fit at one alpha. The reference brackets the rule's root
with ``scipy.optimize.nnls`` on [K; sqrt(alpha) I] (Brent's method, tolerance 1e-10), or takes the least of the score
over 120 alphas; "alpha error" is |log(alpha / reference)| for roots, "excess" how far the rule's equation is off:
relative residual for roots, relative excess over the least GCV for gcv. Of the L-curve only the cost is printed: its
law is in the tests. "fraction" is the RMSE of the share of T2 below 40 ms against the truth.
"""

import argparse
import os
import time

import numpy as np
import scipy
from scipy.optimize import brentq, nnls
from threadpoolctl import threadpool_limits

from benchmarks.protocols import multi_echo, placenta
from mrspec_prep.physics import Grid, add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import choose_alpha, fit_nnls, integrate_regions, reduce_kernel

REPEATS = 5
SHORT_T2 = 40.0  # ms
RULES = ("chi2", "discrepancy", "brd", "gcv", "lcurve")


def relaxation(n_voxels, snr, seed=0):
    """Kernel, signals, noise, grid and true share of short T2."""
    encodings, grid = multi_echo(48, 10.0), Grid(t2=np.geomspace(10, 2000, 40))
    rng = np.random.default_rng(seed)
    t2 = np.stack([rng.uniform(*bounds, n_voxels) for bounds in ((10, 40), (60, 120), (500, 2000))], axis=1)
    shares = rng.dirichlet([1, 3, 0.5], n_voxels)
    signals = add_noise(simulate_signals("t2", encodings, {"t2": t2}, shares), 1 / snr, rng)
    return kernel_matrix("t2", encodings, grid), signals, 1 / snr, grid, shares[:, 0]


def diffusion_relaxation(points, n_voxels, seed=0):
    """Kernel, signals, noise and grid on the placenta protocol."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=points)
    rng = np.random.default_rng(seed)
    axes = {"diffusivity": (0.5, 30), "t2star": (20, 100)}
    parameters = {axis: np.exp(rng.uniform(*np.log(bounds), (n_voxels, 2))) for axis, bounds in axes.items()}
    clean = simulate_signals("adc-t2star", encodings, parameters, rng.dirichlet([1, 1], n_voxels))
    signals = add_noise(clean / clean.max(axis=1, keepdims=True), 0.05, rng)
    return kernel_matrix("adc-t2star", encodings, grid), signals, 0.05, grid, None


def dense_point(kernel, signal, alpha):
    """Residual and effective parameters at one alpha by scipy and dense algebra."""
    n_bins = kernel.shape[1]
    stacked = np.vstack([kernel, np.sqrt(alpha) * np.eye(n_bins)])
    f = nnls(stacked, np.concatenate([signal, np.zeros(n_bins)]), maxiter=50 * n_bins)[0]
    used = kernel[:, f > 0]
    trace = np.trace(used @ np.linalg.solve(used.T @ used + alpha * np.eye(used.shape[1]), used.T))
    return ((kernel @ f - signal) ** 2).sum(), trace


def reference(rule, kernel, signal, noise_std, reduced, bounds):
    """Alpha by scipy (None where the rule has none), and the residual or score it wants."""
    n_encodings = len(kernel)
    if rule == "gcv":
        points = [dense_point(kernel, signal, a) for a in np.geomspace(*bounds, 120)]
        return None, min(n_encodings * rho / (n_encodings - trace) ** 2 for rho, trace in points)
    inside = signal @ reduced.projection
    wanted = {
        "chi2": 1.02 * ((kernel @ nnls(kernel, signal)[0] - signal) ** 2).sum(),
        "discrepancy": n_encodings * noise_std**2,
        "brd": reduced.n_ranks * noise_std**2 + (signal**2).sum() - (inside**2).sum(),
    }[rule]
    ends = [dense_point(kernel, signal, a)[0] - wanted for a in bounds]
    if not ends[0] < 0 < ends[1]:
        return None, wanted
    log_alpha = brentq(lambda u: dense_point(kernel, signal, np.exp(u))[0] - wanted, *np.log(bounds), xtol=1e-10)
    return np.exp(log_alpha), wanted


def processor_seconds(work):
    """Processor time of one call, and what it returned."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def accuracy(rule, kernel, signals, noise_std, reduced, choice, n_reference):
    """Largest error of log alpha, largest miss of the rule's equation, and scipy's seconds per voxel."""
    errors, misses, seconds = [], [], []
    for signal, alpha, met in zip(signals[:n_reference], choice.alpha, choice.met, strict=False):
        one = (rule, kernel, signal, noise_std, reduced, choice.bounds)
        spent, (expected, wanted) = processor_seconds(lambda one=one: reference(*one))
        seconds.append(spent)
        rho, trace = dense_point(kernel, signal, alpha)
        if rule == "gcv":
            misses.append(len(kernel) * rho / (len(kernel) - trace) ** 2 / wanted - 1)
        elif expected is not None and met:
            errors.append(abs(np.log(alpha / expected)))
            misses.append(abs(rho / wanted - 1))
        elif (expected is None) == met:
            errors.append(np.inf)  # one finds a solution where the other finds none
    return max(errors, default=np.nan), max(misses, default=np.nan), np.mean(seconds)


def row(name, problem, rule, n_reference, repeats):
    """Measure one row and give its line."""
    kernel, signals, noise_std, grid, truth = problem
    reduced = reduce_kernel(kernel)
    fit_nnls(signals[:2], reduced, choose_alpha(signals[:2], reduced, rule, noise_std))  # compile
    fit_nnls(signals[:2], reduced, 0.01)
    chosen, fitted, fixed = [], [], []
    for _ in range(repeats):
        spent, choice = processor_seconds(lambda: choose_alpha(signals, reduced, rule, noise_std, n_threads=1))
        chosen.append(spent)
        spent, result = processor_seconds(lambda choice=choice: fit_nnls(signals, reduced, choice, n_threads=1))
        fitted.append(spent)
        alpha = float(np.median(choice.alpha))
        fixed.append(processor_seconds(lambda alpha=alpha: fit_nnls(signals, reduced, alpha, n_threads=1))[0])
    chosen, total, fixed = (1e6 * np.array(t) / len(signals) for t in (chosen, np.add(chosen, fitted), fixed))
    error, miss, dense = np.nan, np.nan, np.nan
    if rule != "lcurve" and n_reference:
        error, miss, dense = accuracy(rule, kernel, signals, noise_std, reduced, choice, n_reference)
    share = ""
    if truth is not None:
        found = integrate_regions(result, grid, {"short": {"t2": (0.0, SHORT_T2)}})["short"]
        share = f"{np.sqrt(((found - truth) ** 2).mean()):9.4f}"
    return (
        f"{name:22s} {rule:12s}{np.median(chosen):9.1f}{np.median(total):9.1f} ({total.min():.1f}-{total.max():.1f})"
        f"{np.median(fixed):8.1f}{1e6 * dense:12.0f}{error:12.1e}{miss:10.1e}{choice.met.mean():7.3f}"
        f"{np.median(choice.alpha):10.2e}{result.gap.max():9.0e}{share}"
    )


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--rules", nargs="+", default=RULES, choices=RULES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args(arguments)
    rows = [
        ("48-echo T2, SNR 100", lambda: relaxation(4000, 100.0), 20, RULES),
        ("48-echo T2, SNR 300", lambda: relaxation(4000, 300.0), 20, RULES),
        ("48-echo T2, SNR 30", lambda: relaxation(4000, 30.0), 20, RULES),
        ("placenta 330x400", lambda: diffusion_relaxation((20, 20), 200), 3, RULES),
        ("placenta 330x2500", lambda: diffusion_relaxation((50, 50), 60), 0, ("chi2", "discrepancy")),
    ]
    print(f"scipy {scipy.__version__}, numpy {np.__version__}, {os.cpu_count()} cores, one thread, processor time, us")
    print("problem                rule           choose      fit (range)    fixed   scipy ref", end="")
    print(" alpha error    excess    met    median      gap fraction")
    with threadpool_limits(1):
        for name, make, n_reference, rules in rows:
            for rule in rules:
                if options.only in name and rule in options.rules:
                    print(row(name, make(), rule, n_reference, options.repeats), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
