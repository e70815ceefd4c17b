"""Noise that is not Gaussian: bias, signs, noise level and cost, against the Gaussian fit and against knowing more.

    python -m benchmarks.noise_models

Figure 1 with Rician data is ``python -m benchmarks.figure1 --noise rician --likelihood rician``.
"""

import argparse
import time

import numpy as np

from benchmarks.protocols import placenta
from mrspec_prep.physics import (
    Encodings,
    add_noise,
    default_grid,
    kernel_axes,
    kernel_matrix,
    simulate_signals,
)
from mrspec_prep.spectra import (
    NoiseModel,
    estimate_noise,
    fit_nnls,
    integrate_regions,
    mean_parameters,
    reduce_kernel,
    restore_polarity,
    select_n_clusters,
)
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import e_step
from mrspec_prep.spectra.clusters.em_updates import state_from_responsibilities
from mrspec_prep.spectra.noise.rician import real_signals

ALPHA = 0.01
LAWS = (NoiseModel("rician"), NoiseModel("nc-chi", n_coils=4))
INVERSION_TIMES = np.array([50, 85, 143, 243, 412, 697, 1181, 2000.0])  # ms
ECHO_TIMES = np.array([4.5, 7.5, 12, 20, 33, 55, 91, 150])  # ms


def mono_exponential(n_voxels, t2star, diffusivity=2.0, points=(20, 20)):
    """Protocol, grid, kernel and clean signals of equal voxels, 1 at b = 0 and the shortest TE."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=points)
    kernel = kernel_matrix("adc-t2star", encodings, grid)
    parameters = {"diffusivity": np.full(n_voxels, diffusivity), "t2star": np.full(n_voxels, t2star)}
    clean = simulate_signals("adc-t2star", encodings, parameters)
    return encodings, grid, kernel, clean / clean.max()


def bias_rows(n_voxels, seed):
    """Error of the fitted signal and of the apparent parameters, voxelwise spectra."""
    for (t2star, snr), law in ((case, law) for case in ((60.0, 20.0), (60.0, 5.0), (30.0, 10.0)) for law in LAWS):
        encodings, grid, kernel, clean = mono_exponential(n_voxels, t2star)
        rng = np.random.default_rng(seed)
        magnitudes = add_noise(clean, 1 / snr, rng, law.distribution, law.n_coils)
        real = real_signals(magnitudes, kernel, 1 / snr, law, ALPHA)
        ways = {
            "Gaussian fit of magnitudes": magnitudes,
            f"{law.distribution} fit of magnitudes": real.signals,
            "Gaussian fit of real signals": add_noise(clean, 1 / snr, rng),
        }
        for way, signals in ways.items():
            result = fit_nnls(signals, kernel, ALPHA)
            error = (result.predict(kernel) - clean) * snr
            means = mean_parameters(result, grid, "adc-t2star", encodings)
            yield (
                f"{law.distribution} L={law.n_coils}", f"{snr:g}", f"{t2star:g}", way,
                f"{np.abs(error.mean(axis=0)).mean():.3f}", f"{np.sqrt((error**2).mean()):.3f}",
                f"{np.median(means['t2star']):.1f}", f"{np.median(means['diffusivity']):.2f}",
            )  # fmt: skip


def inversion_protocol(name, repetition_time):
    """Inversion recovery alone, or of several echoes."""
    if name == "t1":
        return Encodings(inversion_time=np.tile(INVERSION_TIMES, 3), repetition_time=repetition_time), (100,)
    ti, te = (axis.ravel() for axis in np.meshgrid(INVERSION_TIMES, ECHO_TIMES))
    return Encodings(inversion_time=ti, echo_time=te, repetition_time=repetition_time), (20, 20)


def inversion_rows(n_voxels, seed):
    """Mixtures of T1 300 and 1500 ms (T2 20 and 100 ms): signs, fit and fraction of short T1."""
    values = {"t1": np.array([[300.0, 1500.0]]), "t2": np.array([[20.0, 100.0]])}
    for name, repetition_time, snr in (
        (name, tr, snr) for name in ("t1", "t1-t2") for tr in (None, 2500.0) for snr in (100.0, 20.0)
    ):
        encodings, points = inversion_protocol(name, repetition_time)
        grid = default_grid(kernel_axes(name), encodings, points=points)
        kernel = kernel_matrix(name, encodings, grid)
        rng = np.random.default_rng(seed)
        fractions = rng.dirichlet([2, 2], n_voxels)
        parameters = {axis: np.repeat(values[axis], n_voxels, axis=0) for axis in kernel_axes(name)}
        clean = simulate_signals(name, encodings, parameters, fractions)
        magnitudes = add_noise(clean, 1 / snr, rng, "rician")
        signed, _ = restore_polarity(magnitudes, kernel, encodings, ALPHA)
        ways = {
            "Gaussian, |K| on magnitudes": (magnitudes, np.abs(kernel)),
            "Gaussian, signs restored": (signed, kernel),
            "Rician, sign latent": (real_signals(signed, kernel, 1 / snr, LAWS[0], ALPHA).signals, kernel),
            "Gaussian, signed data": (add_noise(clean, 1 / snr, rng), kernel),
        }
        for way, (signals, used) in ways.items():
            result = fit_nnls(signals, used, ALPHA)
            error = (np.abs(result.predict(used)) - np.abs(clean)) * snr
            short = integrate_regions(result, grid, {"short": {"t1": (1.0, 800.0)}})["short"] - fractions[:, 0]
            guessed = way not in ("Gaussian, |K| on magnitudes", "Gaussian, signed data")
            wrong = f"{(np.sign(signals) != np.sign(clean)).mean():.3f}" if guessed else ""
            yield (
                name, "inf" if repetition_time is None else f"{repetition_time:g}", f"{snr:g}", way,
                f"{np.sqrt((error**2).mean()):.3f}", f"{np.sqrt((short**2).mean()):.3f}", f"{short.mean():.3f}", wrong,
            )  # fmt: skip


def level_rows(n_voxels, seed):
    """Noise level from repeats over the true one."""
    for t2star, law in ((t2star, law) for t2star in (10.0, 20.0, 30.0, 80.0) for law in LAWS):
        encodings, _, _, clean = mono_exponential(n_voxels, t2star)
        clean = clean * np.exp(-encodings.echo_time.min() / t2star)  # 1 at TE = 0, as in Figure 1
        signals = add_noise(clean, 0.05, np.random.default_rng(seed), law.distribution, law.n_coils)
        plain, found = (estimate_noise(signals, encodings, model=model).noise_std / 0.05 for model in (None, law))
        snr = clean.max() / 0.05
        yield (
            f"{law.distribution} L={law.n_coils}", f"{snr:.1f}",
            f"{np.sqrt((plain**2).mean()):.3f}", f"{found.mean():.3f}", f"{found.std():.3f}",
        )  # fmt: skip


def selection_rows(n_voxels, seed):
    """Clusters that BIC picks of four, where sigma is estimated voxel by voxel."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(20, 20))
    kernel = reduce_kernel(kernel_matrix("adc-t2star", encodings, grid))
    parameters = {"diffusivity": np.array([1.0, 1, 20, 20]), "t2star": np.array([50.0, 100, 50, 100])}
    clean = simulate_signals("adc-t2star", encodings, parameters)
    clean = np.repeat(clean / clean.max(axis=1, keepdims=True), n_voxels // 4, axis=0)
    for degrees in (2, 5, 20):
        picked = {"gaussian": [], "student-t": []}
        for repeat in range(4):
            rng = np.random.default_rng([seed, repeat])
            signals = add_noise(clean, 0.05, rng)
            sigma = 0.05 * np.sqrt(rng.chisquare(degrees, len(clean)) / degrees)
            for name, numbers in picked.items():
                law = NoiseModel(name, degrees_of_freedom=float(degrees))
                numbers.append(select_n_clusters(signals, kernel, sigma, range(2, 8), seed=seed, noise=law).best)
        for name, numbers in picked.items():
            yield f"{degrees}", name, " ".join(map(str, numbers))


def cost_rows(n_voxels, seed):
    """Processor seconds of one E-step per 1e5 voxels, eight clusters, one thread."""
    encodings = placenta()
    grid = default_grid(("diffusivity", "t2star"), encodings)
    kernel = reduce_kernel(kernel_matrix("adc-t2star", encodings, grid))
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, n_voxels)
    parameters = {"diffusivity": [0.8, 1.2, 2, 3, 8, 20, 1.5, 2.5], "t2star": [40.0, 60, 80, 50, 70, 30, 100, 45]}
    clean = simulate_signals("adc-t2star", encodings, {axis: np.array(v) for axis, v in parameters.items()})
    signals = add_noise((clean / clean.max(axis=1, keepdims=True))[truth], 0.05, rng, "rician")
    laws = (NoiseModel(), *LAWS, NoiseModel("student-t", degrees_of_freedom=20.0))
    for scale, law in ((scale, law) for scale in ("fixed", "profiled") for law in laws):
        problem = make_problem(signals, kernel, 0.05, scale=scale, noise=law, n_threads=1)
        state = state_from_responsibilities(problem, np.eye(8)[truth])
        e_step(problem, state)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            e_step(problem, state)
            seconds.append(time.process_time() - start)
        yield f"{law.distribution} L={law.n_coils}", scale, f"{np.median(seconds) * 1e5 / n_voxels:.2f}"


TABLES = {
    "bias": (bias_rows, "noise\tSNR\tT2*\tfit\tmean bias [sigma]\tRMSE [sigma]\tT2* found\tD found (2)"),
    "inversion": (inversion_rows, "kernel\tTR\tSNR\tfit\tRMSE [sigma]\tfraction RMSE\tfraction bias\twrong signs"),
    "level": (level_rows, "noise\tSNR of reference\tscatter as it is\tchannel level\tspread"),
    "selection": (selection_rows, "degrees of freedom of sigma\tlikelihood\tclusters picked of 4, range 2-7"),
    "cost": (cost_rows, "noise\tscale\tseconds per E-step and 1e5 voxels"),
}


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--voxels", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in options.tables:
        rows, head = TABLES[name]
        print(f"{name}\n{head}")
        for row in rows(options.voxels if name != "cost" else 20 * options.voxels, options.seed):
            print("\t".join(row), flush=True)
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
