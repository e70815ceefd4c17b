"""Fingerprinting: one call for every method."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

import numpy as np

from mrspec_prep.networks.fingerprinting.dictionary import Dictionary, make_dictionary
from mrspec_prep.networks.fingerprinting.projection import project
from mrspec_prep.networks.fingerprinting.result import FingerprintResult
from mrspec_prep.networks.fingerprinting.series import Series, checked_series
from mrspec_prep.networks.fingerprinting.voxelwise import DictionarySettings, fit_voxels
from mrspec_prep.networks.problem import settings_of
from mrspec_prep.physics import Grid
from mrspec_prep.physics.fingerprinting import Schedule

METHODS = ("dictionary",)


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

    """

    series: Series
    dictionary: Dictionary
    coefficients: np.ndarray
    noise_std: float


def fit_fingerprint(
    series,
    schedule: Schedule,
    method="dictionary",
    rank=6,
    *,
    mask=None,
    seed=0,
    device="auto",
    settings=None,
    noise_std=None,
    grid: Grid | None = None,
    on_step: Callable | None = None,
) -> FingerprintResult:
    """T1, T2 and M0 of every voxel of a fingerprinting series.

    Parameters
    ----------
    series : (x, y, z, n_frames) or (n_voxels, n_frames) array
        Images of the frames: complex, real with sign, or magnitudes (real, none negative: matched with a dictionary of
        magnitudes, and ``settings["magnitude"]`` of the result says so). Networks need (x, y, z, n_frames).
    schedule : Schedule
        One row per frame.
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
    on_step : callable, optional
        Called as ``on_step(step, n_steps)`` while a method works.

    Returns
    -------
    FingerprintResult

    Raises
    ------
    ValueError
        Unknown method or setting, frames unlike the schedule's, NaN, no voxel, no atom, a rank or sigma that cannot be.

    """
    if method not in METHODS:
        near = get_close_matches(str(method), METHODS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown method {method!r} of fingerprinting; known: {', '.join(METHODS)}{hint}")
    if noise_std is not None and not (np.isfinite(noise_std) and noise_std > 0):
        raise ValueError(f"noise_std must be finite and > 0, got {noise_std}")
    checked = checked_series(series, schedule, mask)
    if method == "dictionary":
        chosen = settings_of(DictionarySettings, settings)
        problem = make_problem(checked, schedule, rank, grid, noise_std, on_step)
        result = fit_dictionary(problem, chosen)
    else:
        scan_cnn = import_module("mrspec_prep.networks.fingerprinting.scan_cnn")  # needs torch
        chosen = scan_cnn.chosen_settings(settings)
        problem = make_problem(checked, schedule, rank, grid, noise_std)
        result = scan_cnn.fit_scan_cnn(problem, chosen, seed=seed, device=device, on_step=on_step)
    result.settings.update(
        method=method,
        magnitude=checked.magnitude,
        noise="given" if noise_std is not None else "residuals of the subspace",
        n_frames=len(schedule),
        n_atoms=len(problem.dictionary.atoms),
    )
    return result


def make_problem(checked, schedule, rank, grid=None, noise_std=None, on_step=None):
    """Problem of a checked series: dictionary, coefficients and noise (arguments of ``fit_fingerprint``)."""
    dictionary = make_dictionary(schedule, grid, rank, magnitude=checked.magnitude)
    found = project(checked.voxels, dictionary.subspace, on_step)
    return FingerprintProblem(checked, dictionary, found.values, found.noise_std if noise_std is None else noise_std)


def fit_dictionary(problem, settings):
    """Return the method ``dictionary``: the series' own coefficients, matched."""
    fit = fit_voxels(problem.coefficients, problem.dictionary, settings)
    to_maps = problem.series.to_maps
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
        settings=dict(vars(settings)),
    )
