"""Parameter maps: one call for every model and method."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import numpy as np

from mrspec_prep.networks.device import check_device, one_thread
from mrspec_prep.networks.problem import DISTRIBUTIONS, Problem
from mrspec_prep.networks.residuals import residual_in_sigmas
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.physics.checks import noise_of_voxels, real_array, whole_number
from mrspec_prep.physics.models import model_named, prepare

#: methods, each ``module:function`` below this room, imported when asked for (some need torch);
#: called as function(problem, seed=, device=, settings=, on_step=) and answering a ``MapsResult``
METHODS = {
    "lsq": "fitting.least_squares:fit_least_squares",
    "lsq-gmm": "priors.mixture_prior:fit_mixture_prior",
    "learned-prior": "priors.learned_prior:fit_learned_prior",
    "selfsup": "voxel_nets.methods:fit_selfsup",
    "vae": "voxel_nets.methods:fit_vae",
    "gmm-vae": "voxel_nets.methods:fit_gmm_vae",
}
#: methods with a posterior: their likelihood is Rician unless told otherwise
MAGNITUDE_METHODS = ("learned-prior", "selfsup", "vae", "gmm-vae")
FEW_NEGATIVE = 0.01  # of the signals: magnitudes that were interpolated may dip below zero


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
        Settings of the method by name. Networks also know ``"paper"``, as published, and the entry ``base`` of
        a dict, ``ours`` or ``paper``: what the other entries change.
    distribution : str
        ``gaussian``, ``rician``, or ``auto``: see ``likely_distribution``.
    on_step : callable, optional
        Called as ``on_step(step, n_steps)`` while a method works.

    Returns
    -------
    MapsResult

    Raises
    ------
    ValueError
        Unknown model, method, distribution, device or setting; encodings that the model cannot use; signals or
        sigma of the wrong shape, not finite, complex or masked, no voxel, or sigma not positive; a seed that is no
        whole number from 0 on.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.networks import fit_maps
    >>> from mrspec_prep.physics import Encodings
    >>> encodings = Encodings(echo_time=[10, 20, 40, 80])  # ms
    >>> signals = 100 * np.exp(-encodings.echo_time / np.array([[50.0], [90.0]])) + [[0.1, -0.1, 0.1, -0.1]]
    >>> found = fit_maps(signals, encodings, model="t2", method="lsq", noise_std=0.1)
    >>> sorted(found.maps), found.maps["t2"].round(0)
    (['s0', 't2'], array([50., 90.]))
    >>> bool((found.std["t2"] < 1).all())
    True

    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r} of parameter maps; known: {', '.join(METHODS)}")
    if distribution not in ("auto", *DISTRIBUTIONS):
        raise ValueError(f"distribution must be one of auto, {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
    check_device(device)
    seed = whole_number(seed, "seed", 0)
    signals = _signals(signals)
    if distribution == "auto":
        distribution = likely_distribution(model, method, signals)
    problem, measured = make_problem(signals, encodings, model, noise_std, distribution)
    module, function = METHODS[method].split(":")
    fit = getattr(import_module(f"mrspec_prep.networks.{module}"), function)
    with one_thread() if is_network(method) else nullcontext():
        result = fit(problem, seed=seed, device=device, settings=settings, on_step=on_step)
    result.settings.update(
        model=model,
        method=method,
        distribution=problem.distribution,
        noise="given" if measured else "residuals of least squares",
        n_encodings=len(problem.encodings),
        n_volumes=int(problem.n_averages.sum()),
    )
    return replace(result, residual=residual_in_sigmas(problem, result.maps))


def is_network(method):
    """Whether a method trains a network: it takes ``paper`` settings and a device."""
    return METHODS[method].startswith("voxel_nets.")


def make_problem(signals, encodings, model, noise_std=None, distribution="gaussian"):
    """Problem of ``fit_maps``, checked.

    Returns
    -------
    problem : Problem
    measured : bool
        Whether sigma was given.

    """
    model = model_named(model)
    signals = _signals(signals)
    if not np.isfinite(signals).all():
        raise ValueError(f"{int((~np.isfinite(signals)).sum())} signals are NaN or infinite: mask those voxels out")
    prepared = prepare(model, signals, encodings)
    measured = noise_std is not None
    sigma = noise_of_voxels(noise_std if measured else 1.0, len(prepared.signals))
    fields = (model, prepared.signals, prepared.encodings, prepared.n_averages)
    if not measured:
        from mrspec_prep.networks.fitting.least_squares import residual_noise

        sigma[:] = residual_noise(Problem(*fields, sigma, "gaussian"))
    return Problem(*fields, sigma, distribution), measured


def _signals(signals):
    """Real signals of at least one voxel."""
    signals = real_array(signals, "signals")
    if not signals.size:
        raise ValueError(f"signals hold no voxel: give (n_voxels, n_encodings), got shape {signals.shape}")
    return signals


def likely_distribution(model, method, signals):
    """Noise that ``auto`` stands for.

    Rician where the signals are magnitudes (at most 1 % negative, as interpolation leaves them; those count as 0),
    for methods with a posterior, and for every method where the model is of single volumes with a direction: those are
    near the noise, and Gaussian least squares is biased there (ball and stick: errors of the diffusivities 10 to 40 %
    larger). Means over many volumes are Gaussian to least squares.
    """
    model = model_named(model)
    magnitudes = model.magnitude and np.mean(np.asarray(signals) < 0) <= FEW_NEGATIVE
    return "rician" if magnitudes and (method in MAGNITUDE_METHODS or model.oriented) else "gaussian"
