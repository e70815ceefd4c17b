"""Other packages' solvers of argmin_{f>=0} ||K f - s||2 + alpha ||f||2, each as it is installed from PyPI.

None is a dependency of the project. What a package does once per kernel (Gram matrix, set-up) is not counted.
"""

import importlib
import warnings
from importlib.metadata import version

import numpy as np

TIGHT = 1e-12
MAX_SWEEPS = 20_000
MOST_PROBED = 400  # bins up to which the spectra that AMICO keeps to itself are found out
N_CHECKED = 5  # voxels whose excess is measured


def stacked_system(kernel, alpha):
    """[K; sqrt(alpha) I], with which plain NNLS solves the regularised problem, and the zeros its signals end in."""
    n_bins = kernel.shape[1]
    return np.vstack([kernel, np.sqrt(alpha) * np.eye(n_bins)]), np.zeros(n_bins)


def fnnls(kernel, alpha):
    """Bro and de Jong's algorithm in numpy."""
    solve = importlib.import_module("fnnls").fnnls
    stacked, zeros = stacked_system(kernel, alpha)
    return lambda signals: np.array([solve(stacked, np.concatenate([s, zeros]))[0] for s in signals])


def scikit_learn(kernel, alpha):
    """Coordinate descent of its elastic net without the l1 part, on the Gram matrix."""
    linear = importlib.import_module("sklearn.linear_model")
    model = linear.ElasticNet(
        alpha=alpha / len(kernel), l1_ratio=0, positive=True, fit_intercept=False, tol=TIGHT, max_iter=MAX_SWEEPS,
        precompute=kernel.T @ kernel,
    )  # fmt: skip
    columns = np.asfortranarray(kernel)
    return lambda signals: np.array([model.fit(columns, s).coef_.copy() for s in signals])


def spams(kernel, alpha):
    """Homotopy (LARS) of SPAMS on the Gram matrix, non-negative, the l1 weight 0."""
    lasso = importlib.import_module("spams").lasso
    columns = np.asfortranarray(kernel)
    gram = np.asfortranarray(kernel.T @ kernel + alpha * np.eye(kernel.shape[1]))

    def solve(signals):
        targets, products = np.asfortranarray(signals.T), np.asfortranarray(columns.T @ signals.T)
        return lasso(targets, Q=gram, q=products, lambda1=0.0, mode=2, pos=True, numThreads=1).toarray().T

    return solve


def amico(kernel, alpha):
    """Compiled voxel loop of AMICO's direction-averaged model (SANDI) with our kernel for its dictionary.

    Its spectra stay inside: what comes back are fractions of their sum, so that one call per bin gives the
    shape, and the scale is the best one.
    """
    model = importlib.import_module("amico.models").SANDI()
    importlib.import_module("amico.util").set_verbose(0)
    n_bins = kernel.shape[1]
    model.set(0.0, np.ones(n_bins), np.zeros(0), np.zeros(0))
    model.set_solver(lambda1=0.0, lambda2=alpha)
    evaluation = _Evaluation()
    evaluation.KERNELS = {"signal": np.asfortranarray(kernel), "norms": np.ones(n_bins)}

    def solve(signals):
        evaluation.y = np.ascontiguousarray(signals)
        model.fit(evaluation)

    def spectra(signals):
        evaluation.y, shape = np.ascontiguousarray(signals), np.empty((len(signals), n_bins))
        for j in range(n_bins):
            model.Rs = np.eye(n_bins)[j].copy()
            shape[:, j] = model.fit(evaluation)["estimates"][:, 3] * 1e-6
        fitted = shape @ kernel.T
        scale = (signals * fitted).sum(axis=1) / ((fitted**2).sum(axis=1) + alpha * (shape**2).sum(axis=1))
        return shape * scale[:, None]

    solve.spectra = spectra if n_bins <= MOST_PROBED else None
    return solve


class _Evaluation:
    """What AMICO's models read: signals, dictionary, threads and settings."""

    nthreads = 1

    def get_config(self, name):
        """No errors of the fit."""
        return False


def adelie(kernel, alpha):
    """Coordinate descent with bounds."""
    bvls = importlib.import_module("adelie").solver.bvls
    stacked, zeros = stacked_system(kernel, alpha)
    stacked, upper = np.asfortranarray(stacked), np.full(kernel.shape[1], np.inf)

    def solve(signals):
        targets = np.hstack([signals, np.tile(zeros, (len(signals), 1))])
        fits = [bvls(stacked, t, zeros, upper, tol=TIGHT, max_iters=MAX_SWEEPS * len(zeros)) for t in targets]
        return np.array([np.asarray(fit.beta) for fit in fits])

    return solve


def quadratic(name):
    """Solver of quadratic programmes by way of qpsolvers, on the Gram matrix."""

    def prepare(kernel, alpha):
        solve_qp = importlib.import_module("qpsolvers").solve_qp
        importlib.import_module({"proxqp": "proxsuite"}.get(name, name))
        matrix, low = kernel.T @ kernel + alpha * np.eye(kernel.shape[1]), np.zeros(kernel.shape[1])
        settings = {"osqp": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iter": MAX_SWEEPS}}.get(name, {})
        if name in ("osqp", "clarabel"):
            matrix = importlib.import_module("scipy.sparse").csc_matrix(matrix)

        def solve(signals):
            found = [solve_qp(matrix, -(kernel.T @ s), lb=low, solver=name, **settings) for s in signals]
            return np.array([np.full_like(low, np.nan) if f is None else np.maximum(f, 0) for f in found])

        return solve

    return prepare


#: package that brings the solver: how it is prepared
PEERS = {
    "fnnls": fnnls,
    "dmri-amico": amico,
    "spams-bin": spams,
    "scikit-learn": scikit_learn,
    "adelie": adelie,
    "proxsuite": quadratic("proxqp"),
} | {name: quadratic(name) for name in ("quadprog", "daqp", "piqp", "clarabel", "osqp", "cvxopt")}


def measure_peers(kernel, signals, alpha, seconds, most_seconds, packages=tuple(PEERS)):
    """Yield (package, version, seconds per voxel, spectra or None) of those installed, else (package, None, why, None).

    Parameters
    ----------
    kernel : (n_encodings, n_bins) array
    signals : (n_voxels, n_encodings) array
        The first is solved to warm up; then as many as take ``most_seconds`` together, all at most.
    alpha : float
    seconds : callable
        Processor time of a call.
    most_seconds : float
    packages : sequence of str

    """
    for package in packages:
        prepare = PEERS[package]
        try:
            solve, found = prepare(kernel, alpha), version(package)
        except ImportError as error:
            yield package, None, str(error), None
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: the excess is printed
            solve(signals[:1])
            once = seconds(lambda s=solve: s(signals[:1]))
            part = signals[: int(np.clip(most_seconds / max(once, 1e-9), 1, len(signals)))]
            time_each = seconds(lambda s=solve, p=part: s(p)) / len(part)
            spectra = getattr(solve, "spectra", solve)
            yield package, found, time_each, spectra(part[:N_CHECKED]) if spectra else None
