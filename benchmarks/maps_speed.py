"""Time per voxel of the methods of parameter mapping, and of dipy and scipy on the same MSDKI voxels.

``python -m benchmarks.maps --speed``: process time, one thread, all in one run. dipy fits the logarithms (weighted
linear least squares), as ``lsq`` does when asked (``as dipy``); it has no nonlinear fit of this model, so that the
nonlinear ``lsq`` is also set beside ``scipy.optimize.least_squares`` of the same sum of squares, with bounds, the exact
derivatives and the log-linear start.
"""

import time

import numpy as np
from scipy.optimize import least_squares

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.maps import is_network
from mrspec_prep.physics.models import MODELS

LOG_LINEAR = {"fit": "log-linear"}  # dipy's fit of MSDKI
FEW = 500  # voxels that scipy fits


def variants(names):
    """(label, method, options of fit_maps) of the rows of a table."""
    rows = []
    if "lsq" in names:
        rows = [("lsq, Rician", "lsq", {"distribution": "rician"}), ("lsq, as dipy", "lsq", {"settings": LOG_LINEAR})]
    rows += [(f"{name}, paper", name, {"settings": "paper"}) for name in names if is_network(name)]
    return [(name, name, {}) for name in names] + rows


def speed(simulation, methods):
    """Print process time per voxel of dipy's and scipy's fit and of every method, one after the other.

    Parameters
    ----------
    simulation : Simulation
    methods : list of str
        Keys of ``METHODS``.

    """
    n, signals = len(simulation.signals), simulation.signals
    given = simulation.encodings, "msdki"
    print(f"\n## microseconds per voxel, {n} voxels, {len(simulation.encodings)} volumes")
    dipy_time = timed(lambda: fit_dipy(simulation), 3) / n
    scipy_time = timed(lambda: fit_scipy(simulation, FEW)) / FEW
    print(f"{'dipy, weighted log-linear':26} {dipy_time * 1e6:9.2f}")
    print(f"{'scipy, nonlinear':26} {scipy_time * 1e6:9.2f}")
    for name, method, options in variants(methods):
        few = fit_maps(signals[:200], *given, method, simulation.noise_std, 0, **options)  # compiles

        def run(method=method, options=options):
            fit_maps(signals, *given, method, simulation.noise_std, 0, **options)

        taken = timed(run, 3 if method == "lsq" else 1) / n
        ratios = f"dipy / this: {dipy_time / taken:.2f}  scipy / this: {scipy_time / taken:.2f}"
        print(f"{name:26} {taken * 1e6:9.2f}  {ratios}  ({few.device})", flush=True)
    agreement(simulation)


def agreement(simulation):
    """Print how far the two kinds of ``lsq`` lie from dipy and scipy."""
    given = simulation.encodings, "msdki", "lsq", simulation.noise_std
    ours = fit_maps(simulation.signals, *given, settings=LOG_LINEAR)
    theirs = fit_dipy(simulation)
    off = [np.abs(ours.maps[key] - theirs[:, p]).max() for p, key in enumerate(("diffusivity", "kurtosis"))]
    print(f"largest difference of 'lsq, as dipy' to dipy: D {off[0]:.1e} um2/ms, K {off[1]:.1e}")
    ours, (theirs, costs) = fit_maps(simulation.signals[:FEW], *given), fit_scipy(simulation, FEW)
    errors = np.stack([ours.std[key] for key in MODELS["msdki"].names], axis=1)
    mine = np.stack([ours.maps[key] for key in MODELS["msdki"].names], axis=1)
    off = np.abs(mine - theirs).max(axis=1) / errors.max(axis=1)
    sums = _sums(simulation, ours.maps)
    print(
        f"'lsq' and scipy, {FEW} voxels: difference in standard errors, median {np.median(off):.1e}, 99 % "
        f"{np.quantile(off, 0.99):.1e}; sums of squares, ours higher by at most {(sums / costs - 1).max():.1e}, "
        f"scipy's by {(costs / sums - 1).max():.1e}"
    )


def _sums(simulation, maps):
    few = {key: values[:FEW] for key, values in maps.items()}
    return ((MODELS["msdki"].signal(simulation.encodings, few) - simulation.signals[:FEW]) ** 2).sum(axis=1)


def fit_dipy(simulation):
    """(n_voxels, 2) D [um2/ms] and K of dipy's mean signal kurtosis model."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.msdki import MeanDiffusionKurtosisModel

    bvalue = simulation.encodings.bvalue
    directions = np.where(bvalue[:, None] > 0, [1.0, 0.0, 0.0], 0.0)
    scheme = gradient_table(bvalue, bvecs=directions, b0_threshold=1)
    params = MeanDiffusionKurtosisModel(scheme, bmag=1).fit(simulation.signals).model_params
    return params * np.array([1e3, 1.0])


def fit_scipy(simulation, n):
    """Nonlinear least squares of the first voxels, one after the other.

    Parameters
    ----------
    simulation : Simulation
        One volume per b-value.
    n : int

    Returns
    -------
    values : (n, 3) array
        S0, D [um2/ms] and K.
    sums : (n,) array
        Of squares.

    """
    model = MODELS["msdki"]
    low, high = (np.array([getattr(p, end) for p in model.parameters]) for end in ("low", "high"))
    design, b = model.log_design(simulation.encodings), simulation.encodings.bvalue * 1e-3
    values, sums = np.empty((n, 3)), np.empty(n)
    for i, signals in enumerate(simulation.signals[:n]):
        logs = np.log(np.maximum(signals, 1e-12))
        start = model.from_log(np.linalg.lstsq(design * signals[:, None], logs * signals, rcond=None)[0][None])[0]

        def rest(x, signals=signals):
            return x[0] * np.exp(-b * x[1] + (b * x[1]) ** 2 * x[2] / 6) - signals

        def slopes(x):
            shape = np.exp(-b * x[1] + (b * x[1]) ** 2 * x[2] / 6)
            over_d = x[0] * shape * (b**2 * x[1] * x[2] / 3 - b)
            return np.stack([shape, over_d, x[0] * shape * (b * x[1]) ** 2 / 6], axis=1)

        inside = np.clip(start, low + 1e-6, np.minimum(high, 1e6) - 1e-6)
        found = least_squares(rest, inside, slopes, bounds=(low, high))
        values[i], sums[i] = found.x, 2 * found.cost
    return values, sums


def timed(work, n_times=1):
    """Least process time of a few runs [s]."""
    taken = []
    for _ in range(n_times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)
