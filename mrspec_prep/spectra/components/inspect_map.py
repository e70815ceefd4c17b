"""Continuous InSpect: every voxel mixes a few component spectra (Slator et al., Medical Image Analysis 2021)."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.physics.checks import random_seed, whole_number
from mrspec_prep.spectra.clusters.inspect_em import make_problem
from mrspec_prep.spectra.components.anchors import anchor_signals
from mrspec_prep.spectra.components.map_descent import MapSteps, descend, fit_weights, state_from_means
from mrspec_prep.spectra.components.uniqueness import (
    AMBIGUOUS,
    Uniqueness,
    explore,
    in_words,
    mixture_residual,
    to_shares,
)
from mrspec_prep.threads import single_threaded_blas

START_VOXELS = 4000  # voxels on which the starts are compared
STRETCH = 1.5  # every other start begins this much farther out than the anchors
START_TOLERANCE = 1e-5  # nats per voxel gained by a step at which a start has shown where it leads


@dataclass(frozen=True, eq=False)
class InspectMapResult:
    """Components, heaviest first, and their weight in every voxel: S_n ~ scale_n K sum_j z_nj F_j.

    Attributes
    ----------
    weights : (n_voxels, n_components) array
        z_nj >= 0; rows sum to one.
    spectra : (n_components, n_bins) array
        F_j. With ``scale="profiled"`` the strongest volume of K F_j is 1, so that z are shares
        of the signal there; with ``fixed`` in signal units.
    scale : (n_voxels,) array
        With ``scale="profiled"`` the signal of the strongest volume [signal units], else ones.
    residual : (n_voxels,) array
        What the mixture leaves in the kernel's range, over its expectation from the noise: 1 where
        components and noise explain the signal.
    objective : float
        1/2 sum ||residual||2/sigma2 + alpha/2 sum ||F||2 (+ the prior of a free scale), in the
        kernel's range [nats].
    log_likelihood : float
        Of the signals in their own units [nats].
    trace : (n_steps + 1,) array
        Objective before each step and at the end; never rises.
    n_steps : int
    converged : bool
    uniqueness : Uniqueness
        Other solutions that fit as well: those of the starts, and mixtures of the components.
    statements : tuple of str
        What they say about the uniqueness of the components, in words.

    """

    weights: np.ndarray
    spectra: np.ndarray
    scale: np.ndarray
    residual: np.ndarray
    objective: float
    log_likelihood: float
    trace: np.ndarray
    n_steps: int
    converged: bool
    uniqueness: Uniqueness
    statements: tuple

    @property
    def weight_spread(self):
        """(n_components,) array: largest RMS difference of the weights among solutions that fit as well."""
        return np.maximum(self.uniqueness.weight_spread, self.uniqueness.mixing_spread)

    @property
    def unique(self):
        """Whether solutions that fit as well agree on the weights within 0.02."""
        return bool(self.weight_spread.max() < AMBIGUOUS)


def fit_inspect_map(
    signals, kernel, noise_std, n_components, alpha=0.01, seed=0, scale="fixed", n_starts=6, max_steps=1000,
    n_threads=None,
):  # fmt: skip
    """Component spectra and their continuous weights in every voxel.

    Maximises the penalised likelihood of S_n ~ N(a_n K sum_j z_nj F_j, sigma_n^2) with z >= 0,
    sum_j z_nj = 1. Without nearly pure voxels {z, F} is not unique: the starts, inside and
    outside of the voxels' simplex, find out, and ``statements`` says so.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        With ``scale="fixed"`` on a common scale (a_n = 1).
    kernel : (n_encodings, n_bins) array or ReducedKernel
    noise_std : float or (n_voxels,) array
        sigma_n [signal units].
    n_components : int
        M.
    alpha : float
        Weight of the spectra's 2-norm; component j is solved with alpha / sum(z2/sigma2).
    seed : int or numpy.random.Generator
        For the starts; the first one draws nothing.
    scale : str
        ``fixed``: none; ``profiled``: every voxel has its own scale, with a normal prior around
        the image's. Never divide by a noisy b=0 volume instead.
    n_starts : int
        Descents from anchor voxels (successive projection), on at most 4000 voxels; the best
        one continues on all.
    max_steps : int
    n_threads : int, optional
        Default: the cores available, or OMP_NUM_THREADS. The result does not depend on it.

    Returns
    -------
    InspectMapResult

    Raises
    ------
    ValueError
        Wrong shapes, values not finite, noise not positive, alpha < 0, no start, or more
        components than voxels.

    Examples
    --------
    Voxels that mix two decays, some of them nearly pure:

    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import fit_inspect_map
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> share = np.random.default_rng(1).beta(0.4, 0.4, 200)  # of the short T2
    >>> tissue = {"t2": np.full((200, 2), [40.0, 150.0])}
    >>> signals = simulate_signals("t2", encodings, tissue, np.stack([share, 1 - share], axis=1))
    >>> signals = add_noise(signals, 0.005, np.random.default_rng(0))
    >>> found = fit_inspect_map(signals, kernel, noise_std=0.005, n_components=2, n_starts=3)
    >>> short = found.weights[:, np.argmax(found.spectra[:, :12].sum(axis=1))]
    >>> float(np.corrcoef(short, share)[0, 1].round(2)), found.unique
    (1.0, True)

    """
    n_components = whole_number(n_components, "n_components", 1)
    problem = make_problem(signals, kernel, noise_std, alpha=alpha, mode="exact", scale=scale, n_threads=n_threads)
    n_voxels = len(problem.signals)
    if not 1 <= n_components <= n_voxels:
        raise ValueError(f"n_components must be between 1 and the number of voxels, {n_voxels}; got {n_components}")
    whole_number(n_starts, "n_starts", 1)
    whole_number(max_steps, "max_steps", 1)
    rng = np.random.default_rng(random_seed(seed))
    with single_threaded_blas():
        part = problem
        if n_voxels > START_VOXELS:
            part = problem.take(np.sort(rng.choice(n_voxels, START_VOXELS, replace=False)))
        runs = [
            descend(MapSteps(part), state_from_means(part, means), max_steps, START_TOLERANCE)
            for means in starting_means(part, n_components, n_starts, rng)
        ]
        best = int(np.argmin([trace[-1] for _, trace, _ in runs]))
        state, more, converged = descend(MapSteps(part), runs[best][0].copy(), max_steps)
        trace = np.concatenate([runs[best][1], more[1:]])
        runs[best] = state, trace, converged
        found = explore(part, [run[0] for run in runs], [run[1][-1] for run in runs], best)
        if part is not problem:
            state = state.copy()
            state.weights = np.zeros((n_voxels, n_components))
            fit_weights(problem, state)
            state, trace, converged = descend(MapSteps(problem), state, max_steps)
        return _finish(problem, state, trace, converged, found)


def starting_means(problem, n_components, n_starts, rng):
    """Compressed signals of the components at every start.

    The first start takes the corners of all voxels, later ones those of random halves. Every
    other start moves them away from their centre, so that descents come from the inside and
    from the outside of the simplex.
    """
    n_voxels, precisions = len(problem.signals), 1.0 / problem.variances
    means = []
    for start in range(n_starts):
        if start < 2:
            chosen = np.arange(n_voxels)
        else:
            chosen = np.sort(rng.choice(n_voxels, max(n_components, n_voxels // 2), replace=False))
        corners, _ = anchor_signals(problem.signals, precisions, n_components, chosen)
        centre = corners.mean(axis=0)
        means.append(centre + (STRETCH if start % 2 else 1.0) * (corners - centre))
    return means


def _finish(problem, state, trace, converged, found):
    """Order of the components, units and words."""
    weights, scales, sizes = to_shares(problem, state)
    spectra = state.spectra / sizes[:, None]
    order = np.argsort(-weights.mean(axis=0), kind="stable")
    by_component = ("weight_spread", "signal_spread", "mixing_spread")
    found = replace(
        found, spectra=found.spectra[:, order], **{name: getattr(found, name)[order] for name in by_component}
    )
    residual = mixture_residual(problem, state)
    left_over = ((problem.signals - state.weights @ state.means) ** 2).sum(axis=1)
    explained = (problem.signals**2).sum(axis=1) - left_over
    return InspectMapResult(
        weights=weights[:, order],
        spectra=spectra[order],
        scale=scales * problem.units,
        residual=residual,
        objective=float(trace[-1]),
        log_likelihood=float((problem.constant + 0.5 * explained / problem.variances).sum()),
        trace=trace,
        n_steps=len(trace) - 1,
        converged=converged,
        uniqueness=found,
        statements=in_words(found, float(np.median(residual)), converged),
    )
