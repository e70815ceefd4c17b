"""Signals of a known number of compartments (Endt et al., MIDL 2024, Eq. 1), millions within seconds.

The signal of every value of T1, T2 and D at every encoding is looked up; physics keeps the equations.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.networks.compartments.recipe import NOISES, Recipe
from mrspec_prep.physics import Encodings, equations

#: tissue axis, what an encoding must know of it
AXES = {"t1": "inversion_time", "t2": "echo_time", "diffusivity": "bvalue"}
NOISE_CODES = {name: code for code, name in enumerate(NOISES)}


@dataclass(frozen=True, eq=False)
class Simulation:
    """Signals and what they were made of.

    Attributes
    ----------
    signals : (n, n_encodings) float32 array
        Noisy, each of unit 2-norm.
    n_compartments : (n,) int array
        1 to n_classes.
    noise_level : (n,) array
        As a fraction of what the recipe's ``noise`` names.
    noise_std : (n,) array
        Sigma of the noise of the signal of unit 2-norm. Multiplicative noise: the root mean square of its sigmas.
    fractions : (n, n_classes) array
        0 beyond n_compartments.
    tissue : dict of str to (n, n_classes) array
        ``t1``, ``t2`` [ms], ``diffusivity`` [um2/ms] where the protocol weights them; meaningless beyond
        n_compartments.
    norm : (n,) array
        2-norm of the noisy signal before it was divided by it (sum of fractions 1).

    """

    signals: np.ndarray
    n_compartments: np.ndarray
    noise_level: np.ndarray
    noise_std: np.ndarray
    fractions: np.ndarray
    tissue: dict
    norm: np.ndarray


def weighted_axes(protocol: Encodings):
    """Tissue axes that a protocol weights, of ``t1``, ``t2``, ``diffusivity``.

    Raises
    ------
    ValueError
        None of TI, TE and b varies.

    """
    varying = protocol.varying()
    found = tuple(axis for axis, need in AXES.items() if need in varying)
    if not found:
        raise ValueError("none of inversion time, echo time and b-value varies: compartments cannot be told apart")
    return found


def signal_tables(protocol: Encodings, recipe: Recipe):
    """(n_values, n_encodings) signal of every value of each weighted axis, {axis: table}."""
    column = {axis: recipe.values(axis)[:, None] for axis in weighted_axes(protocol)}
    tables = {}
    for axis, values in column.items():
        if axis == "t1":
            efficiency = 1.0 if protocol.inversion_efficiency is None else protocol.inversion_efficiency
            tables[axis] = equations.inversion_recovery(
                protocol.inversion_time, values, protocol.repetition_time, efficiency
            )
        elif axis == "t2":
            tables[axis] = equations.transverse_decay(protocol.echo_time, values)
        else:
            tables[axis] = equations.diffusion_decay(protocol.bvalue, values)
    return tables


def draw_fractions(n_compartments, recipe: Recipe, rng):
    """(n, n_classes) fractions by the recipe's law, 0 beyond n_compartments."""
    held = np.arange(recipe.n_classes) < n_compartments[:, None]
    if recipe.fractions == "simplex":
        parts = _shares(rng.standard_exponential(held.shape), held)
        return held * recipe.smallest_fraction + parts * (1 - n_compartments * recipe.smallest_fraction)[:, None]
    parts = _shares(rng.random(held.shape), held)
    small = _too_small(parts, held, recipe)
    while len(small):
        parts[small] = _shares(rng.random((len(small), recipe.n_classes)), held[small])
        small = small[_too_small(parts[small], held[small], recipe)]
    return parts


def _shares(numbers, held):
    numbers = np.where(held, numbers, 0.0)
    return numbers / numbers.sum(axis=1, keepdims=True)


def _too_small(parts, held, recipe):
    return np.flatnonzero((held & (parts < recipe.smallest_fraction)).any(axis=1))


def draw_tissue(axes, shape, recipe: Recipe, rng):
    """Indices into ``recipe.values`` of each axis, {axis: int array of a shape}."""
    indices = {axis: rng.integers(0, len(recipe.values(axis)), shape) for axis in axes}
    if recipe.t2_below_t1 and {"t1", "t2"} <= set(axes):
        t1, t2 = recipe.values("t1"), recipe.values("t2")
        wrong = t2[indices["t2"]] > t1[indices["t1"]]
        while wrong.any():
            for axis in ("t1", "t2"):
                indices[axis][wrong] = rng.integers(0, len(recipe.values(axis)), int(wrong.sum()))
            wrong = t2[indices["t2"]] > t1[indices["t1"]]
    return indices


def draw_levels(n, recipe: Recipe, rng):
    """(n,) noise levels, as fractions."""
    if recipe.noise_steps:
        return rng.choice(recipe.noise_levels(), n)
    return rng.uniform(*recipe.noise_range, n)


def simulate(recipe: Recipe, protocol: Encodings, n, rng, n_compartments=None) -> Simulation:
    """Draw signals.

    Parameters
    ----------
    recipe : Recipe
    protocol : Encodings
        Any of inversion times, echo times, b-values.
    n : int
    rng : numpy.random.Generator
    n_compartments : (n,) int array, optional
        Drawn by default, 1 to n_classes equally likely.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        The protocol weights nothing.

    """
    tables = signal_tables(protocol, recipe)
    if n_compartments is None:
        n_compartments = rng.integers(1, recipe.n_classes + 1, n)
    n_compartments = np.asarray(n_compartments)
    fractions = draw_fractions(n_compartments, recipe, rng)
    indices = draw_tissue(tuple(tables), (n, recipe.n_classes), recipe, rng)
    level = draw_levels(n, recipe, rng)
    offsets = np.cumsum([0, *[len(table) for table in tables.values()]])[:-1]
    rows = np.stack([indices[axis] + offset for axis, offset in zip(tables, offsets, strict=True)], axis=2)
    signals = rng.standard_normal((n, len(protocol)), dtype=np.float32)  # the noise, made signal in place
    stacked = np.ascontiguousarray(np.concatenate(list(tables.values())), dtype=np.float32)
    norm, noise_std = np.empty(n), np.empty(n)
    code, first = NOISE_CODES[recipe.noise], int(protocol.reference()[0])
    _fill(signals, norm, noise_std, n_compartments, fractions.astype(np.float32), rows, stacked, level, code, first)
    tissue = {axis: recipe.values(axis)[indices[axis]] for axis in tables}
    return Simulation(signals, n_compartments, level, noise_std, fractions, tissue, norm)


@compiled
def _fill(signals, norm, noise_std, n_compartments, fractions, rows, tables, level, code, first):
    """Turn rows of standard normal numbers into noisy signals of unit 2-norm."""
    n, n_encodings = signals.shape
    n_axes = rows.shape[2]
    pure = np.empty(n_encodings, np.float32)
    part = np.empty(n_encodings, np.float32)
    for i in range(n):
        pure[:] = 0
        for c in range(n_compartments[i]):
            part[:] = fractions[i, c]
            for a in range(n_axes):
                part *= tables[rows[i, c, a]]
            pure += part
        if code == 5:
            sigma = level[i] * np.sqrt(np.mean(pure**2))
            for e in range(n_encodings):
                signals[i, e] = pure[e] * (np.float32(1) + np.float32(level[i]) * signals[i, e])
        else:
            sigma = level[i] * noise_unit(pure, code, first)
            for e in range(n_encodings):
                signals[i, e] = pure[e] + np.float32(sigma) * signals[i, e]
        total = np.float32(0)
        for e in range(n_encodings):
            total += signals[i, e] ** 2
        norm[i] = np.sqrt(total)
        noise_std[i] = sigma / norm[i]
        signals[i] *= np.float32(1 / norm[i])


@compiled
def noise_unit(pure, code, first):
    """What a noise level multiplies, of one noise-free signal (codes in the order of ``NOISES``)."""
    if code == 1:
        return 1.0
    if code == 2:
        return float(np.max(np.abs(pure)))
    if code == 3:
        return float(np.mean(np.abs(pure)))
    if code == 4:
        return float(np.abs(pure[first]))
    return float(np.sqrt(np.mean(pure**2)))
