"""Parameter maps: one call for every model and method."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from mrspec_prep.networks.problem import DISTRIBUTIONS, Problem
from mrspec_prep.physics.models import model_named, prepare

#: methods, each ``module:function`` below this room, imported when asked for (some need torch);
#: called as function(problem, seed=, device=, settings=, on_step=) and answering a ``MapsResult``
METHODS = {
    "lsq": "least_squares:fit_least_squares",
    "lsq-gmm": "mixture_prior:fit_mixture_prior",
    "learned-prior": "learned_prior:fit_learned_prior",
}
MAGNITUDE_METHODS = ("learned-prior",)  # methods whose likelihood is Rician unless told otherwise


@dataclass(frozen=True, eq=False)
class MapsResult:
    """Parameter maps of many voxels.

    Attributes
    ----------
    maps : dict of str to (n_voxels,) array
        By parameter of the model [units of the model's table].
    std : dict of str to (n_voxels,) array or None
        Posterior standard deviation (least squares: standard error), same names and units.
    latent : (n_voxels, n_latent) array or None
    cluster_probs : (n_voxels, K) array or None
        Probability that a voxel belongs to each component of the prior.
    risk : (n_voxels,) array or None
        Disagreement with least squares beyond what the noise explains; None for least squares itself.
    converged : (n_voxels,) bool array
    valid : (n_voxels,) bool array
        Where the model describes the whole protocol at these parameters (MSDKI: b <= 3 / (D K)).
    noise_std : (n_voxels,) array
        Sigma that was used [signal units].
    history : dict of str to list
        What was watched while training, by name; empty where nothing was trained.
    device : str
        ``cpu`` or ``cuda``.
    seed : int
    settings : dict
        Every setting that was used, defaults too.

    """

    maps: dict
    std: dict | None
    converged: np.ndarray
    valid: np.ndarray
    noise_std: np.ndarray
    latent: np.ndarray | None = None
    cluster_probs: np.ndarray | None = None
    risk: np.ndarray | None = None
    history: dict = field(default_factory=dict)
    device: str = "cpu"
    seed: int = 0
    settings: dict = field(default_factory=dict)


def fit_maps(
    signals,
    encodings,
    model="msdki",
    method="lsq",
    noise_std=None,
    seed=0,
    device="auto",
    settings=None,
    *,
    distribution="auto",
    on_step: Callable | None = None,
) -> MapsResult:
    """Fit a signal model to every voxel.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Finite. Volumes the model does not describe are left out, equal encodings are averaged.
    encodings : Encodings
    model : str
        Key of ``physics.models.MODELS``.
    method : str
        Key of ``METHODS``.
    noise_std : float or (n_voxels,) array, optional
        Sigma of one volume [signal units]; default: from the residuals of least squares, one for all voxels.
    seed : int
    device : str
        ``auto``, ``cpu`` or ``cuda``; methods without a network run on the CPU.
    settings : str or dict, optional
        ``"paper"`` (as published; networks only) or settings of the method by name.
    distribution : str
        ``gaussian``, ``rician``, or ``auto``: Rician for methods that say so if no signal is negative.
    on_step : callable, optional
        Called as ``on_step(step, n_steps)`` while a method works.

    Returns
    -------
    MapsResult

    Raises
    ------
    ValueError
        Unknown model, method, distribution or setting; encodings that the model cannot use; signals or
        sigma of the wrong shape, not finite, or sigma not positive.

    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r} of parameter maps; known: {', '.join(METHODS)}")
    if distribution not in ("auto", *DISTRIBUTIONS):
        raise ValueError(f"distribution must be one of auto, {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
    problem, measured = make_problem(signals, encodings, model, noise_std, _distribution(distribution, method, signals))
    module, function = METHODS[method].split(":")
    fit = getattr(import_module(f"mrspec_prep.networks.{module}"), function)
    result = fit(problem, seed=seed, device=device, settings=settings, on_step=on_step)
    result.settings.update(
        model=model,
        method=method,
        distribution=problem.distribution,
        noise="given" if measured else "residuals of least squares",
        n_encodings=len(problem.encodings),
        n_volumes=int(problem.n_averages.sum()),
    )
    return result


def make_problem(signals, encodings, model, noise_std=None, distribution="gaussian"):
    """Problem of ``fit_maps``, checked.

    Returns
    -------
    problem : Problem
    measured : bool
        Whether sigma was given.

    """
    model = model_named(model)
    if not np.isfinite(signals).all():
        raise ValueError(f"{int((~np.isfinite(signals)).sum())} signals are NaN or infinite: mask those voxels out")
    prepared = prepare(model, signals, encodings)
    measured = noise_std is not None
    sigma = np.array(np.broadcast_to(noise_std if measured else 1.0, (len(prepared.signals),)), dtype=float)
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError(f"noise_std must be finite and > 0, got {sigma[~(sigma > 0)][:5]}")
    fields = (model, prepared.signals, prepared.encodings, prepared.n_averages)
    if not measured:
        from mrspec_prep.networks.least_squares import residual_noise

        sigma[:] = residual_noise(Problem(*fields, sigma, "gaussian"))
    return Problem(*fields, sigma, distribution), measured


def _distribution(wanted, method, signals):
    if wanted != "auto":
        return wanted
    return "rician" if method in MAGNITUDE_METHODS and np.min(signals) >= 0 else "gaussian"
