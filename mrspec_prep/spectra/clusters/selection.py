"""Number of clusters by information criteria or by volumes held out."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.physics.checks import whole_number
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.inspect_em import InspectResult, fit_problem
from mrspec_prep.spectra.clusters.validation import held_out_log_likelihood

CRITERIA = ("bic", "aic", "held-out")


@dataclass(frozen=True, eq=False)
class Selection:
    """Fits over a range of cluster numbers.

    Attributes
    ----------
    table : dict of str to array
        Equally long: ``n_clusters``, ``log_likelihood``, ``n_parameters``, ``bic``, ``aic``,
        ``n_steps``, ``converged``, ``stability``, and ``held_out`` where folds were asked for.
    best : int
        Number of clusters with the least BIC or AIC, or the largest held-out log-likelihood.
    criterion : str
        ``bic``, ``aic`` or ``held-out``.
    fits : dict of int to InspectResult

    """

    table: dict[str, np.ndarray]
    best: int
    criterion: str
    fits: dict[int, InspectResult]


def select_n_clusters(
    signals, kernel, noise_std, candidates=range(2, 11), alpha=0.01, seed=0, mode="exact", scale="fixed",
    criterion="bic", n_starts=20, max_steps=500, n_threads=None, noise=None,
    neighbours=None, spatial_weight=None, held_out_folds=0, on_step=None,
):  # fmt: skip
    """Fit InSpect for each number of clusters and choose by BIC, AIC or held-out volumes.

    BIC = k ln n - 2 l with n = n_voxels x n_encodings and k = M - 1 + effective degrees of
    freedom of the spectra; AIC = 2 k - 2 l. Each number has its own random stream, so a
    fit does not depend on which others are tried.

    Parameters
    ----------
    signals, kernel, noise_std, alpha, mode, scale, n_starts, max_steps, n_threads, noise,
    neighbours, spatial_weight
        As for ``fit_inspect``.
    candidates : iterable of int
        Numbers of clusters to fit; those above the number of voxels are left out.
    seed : int
    criterion : str
        ``bic``, ``aic`` or ``held-out``.
    held_out_folds : int
        Folds of volumes, each left out once: the log-likelihood of what was left out, given the other
        volumes, is added to the table. 0: not done.
    on_step : callable, optional
        Called now and then with what is under way, in words.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        No candidate, an unknown criterion, ``held-out`` without folds, or what ``fit_inspect`` raises.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, add_noise, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import select_n_clusters
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> signals = simulate_signals("t2", encodings, {"t2": np.repeat([40.0, 70.0, 140.0], 40)})
    >>> signals = add_noise(signals, 0.02, np.random.default_rng(0))
    >>> found = select_n_clusters(signals, kernel, 0.02, candidates=range(2, 5), n_starts=5)
    >>> found.best, found.table["n_clusters"].tolist()
    (3, [2, 3, 4])

    """
    seed = whole_number(seed, "seed", 0)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
    if criterion == "held-out" and held_out_folds < 2:
        raise ValueError(f"the criterion held-out must have held_out_folds of at least 2, got {held_out_folds}")
    settings = {"alpha": alpha, "mode": mode, "scale": scale, "n_threads": n_threads, "noise": noise}
    problem = make_problem(signals, kernel, noise_std, neighbours=neighbours, spatial_weight=spatial_weight, **settings)
    numbers = _numbers(candidates, len(problem.signals))
    seeds = {m: np.random.default_rng([seed, m]) for m in numbers}
    fits = fit_problem(problem, seeds, n_starts, max_steps, on_step)
    names = ("log_likelihood", "n_parameters", "bic", "aic", "n_steps", "converged", "stability")
    table = {"n_clusters": np.array(numbers)}
    table.update({name: np.array([getattr(fits[m], name) for m in numbers]) for name in names})
    if held_out_folds:
        if on_step is not None:
            on_step(f"likelihood of volumes left out, in {held_out_folds} folds")
        alone = replace(problem, neighbours=None, spatial_weight=None)
        found = held_out_log_likelihood(signals, kernel, noise_std, fits, held_out_folds, alone, **settings)
        table["held_out"] = np.array([found[m] for m in numbers])
    loss = -table["held_out"] if criterion == "held-out" else table[criterion]
    return Selection(table, numbers[int(np.argmin(loss))], criterion, fits)


def _numbers(candidates, n_voxels):
    """Numbers of clusters to fit, sorted, each once."""
    if not np.iterable(candidates):
        raise ValueError(
            f"candidates must list numbers of clusters, as [{candidates}] or range(2, 11), got {candidates!r}"
        )
    given = [whole_number(m, "each of the candidates") for m in candidates]
    numbers = sorted({m for m in given if m <= n_voxels})
    if not numbers or numbers[0] < 1:
        raise ValueError(f"candidates must hold numbers from 1 to the number of voxels, {n_voxels}, got {given}")
    return numbers
