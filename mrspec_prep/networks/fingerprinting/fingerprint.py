"""Fingerprinting: one call for every method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module

import numpy as np

from mrspec_prep.networks.device import check_device, device_of, one_thread
from mrspec_prep.networks.fingerprinting.dictionary import Dictionary, make_dictionary
from mrspec_prep.networks.fingerprinting.projection import project
from mrspec_prep.networks.fingerprinting.reconstruction import (
    N_ITERATIONS,
    alternating_halves,
    coefficients_of,
    noise_of_halves,
)
from mrspec_prep.networks.fingerprinting.result import FingerprintResult
from mrspec_prep.networks.fingerprinting.sampling import Sampling
from mrspec_prep.networks.fingerprinting.series import Series, checked_series
from mrspec_prep.networks.fingerprinting.voxelwise import DictionarySettings, fit_voxels
from mrspec_prep.networks.problem import chosen_settings, settings_of
from mrspec_prep.physics import Grid
from mrspec_prep.physics.checks import real_number, whole_number
from mrspec_prep.physics.fingerprinting.tables import schedule_of

METHODS = ("dictionary", "scan-cnn")


@dataclass(frozen=True, eq=False)
class FingerprintProblem:
    """What every method is given.

    Attributes
    ----------
    series : Series
    dictionary : Dictionary
    coefficients : (n_voxels, rank) complex array
        Of the series.
    noise_std : float
        Of the real (or imaginary) part of a coefficient; NaN if nothing tells it.
    sampling : Sampling or None
        How the frames were sampled, if known.

    """

    series: Series
    dictionary: Dictionary
    coefficients: np.ndarray
    noise_std: float
    sampling: Sampling | None = None


def fit_fingerprint(
    series,
    schedule,
    method="dictionary",
    rank=6,
    *,
    mask=None,
    seed=0,
    device="auto",
    settings=None,
    noise_std=None,
    grid: Grid | None = None,
    sampling: Sampling | None = None,
    on_step: Callable | None = None,
) -> FingerprintResult:
    """T1, T2 and M0 of every voxel of a fingerprinting series.

    Parameters
    ----------
    series : (x, y, z, n_frames) or (n_voxels, n_frames) array
        Images of the frames: complex, real with sign, or magnitudes (real, none negative: matched with a dictionary of
        magnitudes, and ``settings["magnitude"]`` of the result says so). Networks need (x, y, z, n_frames).
    schedule : Schedule, mapping of str to array, or table
        One row per frame. A ``Schedule`` (``mrspec_prep.physics``) holds ms; the columns of a mapping or table have the
        names and units of a schedule file: ``flip_angle`` [degrees], ``repetition_time``, ``echo_time`` and, if there
        are inversions, ``inversion_time`` [s].
    method : str
        ``dictionary``: every voxel on its own; ``scan-cnn``: coefficients by a network trained on this scan.
    rank : int or float
        Number of coefficients; a number below 1: the least number that holds this share of the dictionary's energy.
    mask : (x, y, z) or (n_voxels,) array, optional
        Voxels to fit; default: those not zero in every frame.
    seed : int
    device : str
        ``auto``, ``cpu`` or ``cuda``; dictionary matching runs on the CPU.
    settings : str or dict, optional
        Settings of the method by name (``DictionarySettings``, ``ScanCnnSettings``); of networks also ``"paper"``, and
        the entry ``base`` of a dict, ``ours`` or ``paper``: what the other entries change.
    noise_std : float, optional
        Sigma of the real (or imaginary) part of one coefficient [signal units], which is that of one frame where the
        frames' errors are independent; default: from what the subspace leaves of the series.
    grid : Grid, optional
        Axes ``t1`` and ``t2`` of the dictionary [ms]; default: 83 values each, T1 50 to 5000, T2 5 to 2500.
    sampling : Sampling, optional
        Point spreads of the interleaves that the frames were gridded from: coefficients are then least squares of the
        samples, free of aliasing, instead of projections. Needs (x, y, z, n_frames), every voxel finite.
    on_step : callable, optional
        Called as ``on_step(step, n_steps)`` while a method works.

    Returns
    -------
    FingerprintResult

    Raises
    ------
    ValueError
        Unknown method, setting or device, a schedule that is none, frames unlike the schedule's, NaN, no voxel,
        no atom, a rank or sigma that cannot be.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.networks import fit_fingerprint
    >>> from mrspec_prep.physics import Grid
    >>> from mrspec_prep.physics.fingerprinting import fisp_schedule, simulate_fisp
    >>> schedule = fisp_schedule(120)
    >>> series = simulate_fisp(schedule, t1=[850.0, 1400.0], t2=[65.0, 95.0])
    >>> grid = Grid(t2=np.geomspace(20, 300, 25), t1=np.geomspace(300, 3000, 25))
    >>> found = fit_fingerprint(series.astype(complex), schedule, rank=6, grid=grid)
    >>> found.t1.round(-1), found.t2.round(0)
    (array([ 850., 1400.]), array([65., 95.]))

    """
    if method not in METHODS:
        near = get_close_matches(str(method), METHODS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown method {method!r} of fingerprinting; known: {', '.join(METHODS)}{hint}")
    if noise_std is not None:
        noise_std = real_number(noise_std, "noise_std", 0, low_open=True)
    check_device(device)
    seed, schedule = whole_number(seed, "seed", 0), schedule_of(schedule)
    checked = checked_series(series, schedule, mask)
    if method == "dictionary":
        chosen, fit = settings_of(DictionarySettings, settings), fit_dictionary
    else:
        scan_cnn = import_module("mrspec_prep.networks.fingerprinting.scan_cnn")  # needs torch
        chosen, fit = chosen_settings(method, scan_cnn.PRESETS, settings)[0], scan_cnn.fit_scan_cnn
    if sampling is not None:
        _check_sampling(sampling, checked, chosen.window)
    dictionary = make_dictionary(schedule, grid, rank, magnitude=checked.magnitude, window=chosen.window)
    problem = make_problem(checked, dictionary, noise_std, sampling, chosen.n_iterations, device)
    result = fit(problem, chosen, seed=seed, device=device, on_step=on_step)
    result.settings.update(
        method=method,
        magnitude=checked.magnitude,
        noise="given" if noise_std is not None else "of the series",
        sampling="unknown" if sampling is None else f"{len(sampling.spread)} interleaves",
        n_frames=len(schedule),
        n_atoms=len(problem.dictionary.atoms),
    )
    return result if np.iscomplexobj(checked.voxels) else replace(result, m0=result.m0.real)


def _check_sampling(sampling, checked, window):
    """Refuse what least squares of the samples cannot use."""
    sampling.check(checked.volume.shape)
    if window > 1:
        raise ValueError(f"window = {window} and sampling exclude each other: give the frames before any averaging")
    if checked.magnitude:
        raise ValueError("sampling needs complex frames, and these are magnitudes: leave sampling out")
    if not np.isfinite(checked.volume).all():
        raise ValueError("the series holds NaN or infinite values outside the mask: sampling needs every voxel")


def make_problem(checked, dictionary, noise_std=None, sampling=None, n_iterations=N_ITERATIONS, device="cpu"):
    """Coefficients of a series and their noise.

    Parameters
    ----------
    checked : Series
    dictionary : Dictionary
    noise_std : float, optional
        Default: from what the subspace leaves; with sampling, from the difference of two halves of the frames.
    sampling : Sampling, optional
    n_iterations : int
    device : str

    Returns
    -------
    FingerprintProblem

    """
    if sampling is None:
        found = project(checked.voxels, dictionary.subspace)
        return FingerprintProblem(checked, dictionary, found.values, noise_std or found.noise_std)
    sets = alternating_halves(len(dictionary.schedule))
    device = device_of(device)
    sets = sets if noise_std is None else sets[:1]
    with one_thread():
        values, *halves = coefficients_of(checked, dictionary.subspace, sets, sampling, n_iterations, device)
    return FingerprintProblem(checked, dictionary, values, noise_std or noise_of_halves(*halves), sampling)


def fit_dictionary(problem, settings, seed=0, device="cpu", on_step=None):
    """Return the method ``dictionary``: the series' own coefficients, matched (``fit_fingerprint``)."""
    fit = fit_voxels(problem.coefficients, problem.dictionary, settings)
    to_maps = problem.series.to_maps
    if on_step is not None:
        on_step(1, 1)
    return FingerprintResult(
        to_maps(fit.t1),
        to_maps(fit.t2),
        to_maps(fit.m0),
        to_maps(problem.coefficients),
        to_maps(fit.match),
        None,
        problem.series.mask,
        problem.noise_std,
        problem.dictionary.power,
        problem.dictionary.rank,
        device=device_of(device) if problem.sampling is not None else "cpu",
        seed=seed,
        settings=dict(vars(settings)),
    )
