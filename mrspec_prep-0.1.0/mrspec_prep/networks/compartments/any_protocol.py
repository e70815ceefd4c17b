"""One representation of signals for every protocol: what a signal says of its tissue, in the same coordinates.

A compartment is the point (T1, T2, D) it lies at, known to a scan through a few smooth functions u_k of these values:
products of the leading singular functions of all decays and recoveries, orthonormal under the law of the tissue.
A signal is linear in the coefficients c = sum_i f_i u(T1_i, T2_i, D_i), so that a protocol is a matrix:

    y = A c + noise,    A[e, k] = mean over the tissue of (signal of encoding e) u_k

Before the scan c has the second moment C = a I + (1 - a) m m', with a = E sum f_i^2 and m the mean of u. With
A C^(1/2) = U S V' and noise of standard deviation sigma, its posterior mean in whitened coordinates is

    x = V S (S^2 + sigma^2)^-1 U' y

whose meaning does not depend on the protocol; how sure it is does, and is described by the posterior covariance.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import signal_tables, weighted_axes
from mrspec_prep.physics import Encodings

#: functions whose span the signals of every protocol must lie in: times [ms] or b-values [s/mm2] of the decays
DECAYS = {
    "t1": np.r_[0.0, np.geomspace(3, 15000, 60)],
    "t2": np.r_[0.0, np.geomspace(0.5, 1500, 60)],
    "diffusivity": np.r_[0.0, np.geomspace(20, 12000, 60)],
}
PER_MILLE = {"t1": 1.0, "t2": 1.0, "diffusivity": 1e-3}  # um2/ms times s/mm2
AXIS_RANK = 12  # singular functions of one axis
RANK = {1: 12, 2: 44, 3: 80}  # functions kept, by number of axes
N_FEATURES = {1: 10, 2: 32, 3: 48}  # of which the network sees the first
N_DESCRIBED = {1: 10, 2: 14, 3: 18}  # whose covariance describes the protocol
LEAK = 0.002  # part of a signal's RMS that may hide among what counts as noise alone
UNKNOWN_LEVEL = 0.025  # noise level assumed where nothing is left over to estimate it from


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions of the tissue values.

    Attributes
    ----------
    axes : tuple of str
        Of ``t1``, ``t2``, ``diffusivity``.
    functions : dict of str to (n_values, AXIS_RANK) array
        Orthonormal under equally likely values.
    pairs : (n_functions, n_axes) int array
        Which functions are multiplied.
    whiten, colour : (n_functions, n_functions) array
        C^(-1/2) and C^(1/2).

    """

    axes: tuple
    functions: dict
    pairs: np.ndarray
    whiten: np.ndarray
    colour: np.ndarray

    @property
    def n_functions(self):
        """Number of coefficients."""
        return len(self.pairs)

    def product(self, tables):
        """(n, n_functions) products of one (n, AXIS_RANK) table per axis."""
        result = 1.0
        for k, axis in enumerate(self.axes):
            result = result * tables[axis][:, self.pairs[:, k]]
        return result

    def whitened_tissue(self, indices):
        """(n, n_functions) whitened coefficients of single compartments, from indices into the recipe's values."""
        tables = {axis: self.functions[axis][indices[axis]] for axis in self.axes}
        return self.product(tables) @ self.whiten


@lru_cache(maxsize=8)
def tissue_basis(axes, recipe: Recipe) -> Basis:
    """Functions for the tissue axes that a protocol weights."""
    functions, weights = {}, {}
    for axis in axes:
        values = recipe.values(axis)
        rate = DECAYS[axis][:, None] * PER_MILLE[axis]
        decays = np.exp(-rate * values if axis == "diffusivity" else -rate / values)
        _, s, right = np.linalg.svd(decays / np.sqrt(len(values)), full_matrices=False)
        functions[axis] = np.sqrt(len(values)) * right[:AXIS_RANK].T
        weights[axis] = s[:AXIS_RANK] / s[0]
    grid = np.stack(np.meshgrid(*[np.arange(AXIS_RANK)] * len(axes), indexing="ij"), axis=-1).reshape(-1, len(axes))
    strength = np.prod([weights[axis][grid[:, k]] for k, axis in enumerate(axes)], axis=0)
    pairs = grid[np.argsort(-strength, kind="stable")[: RANK[len(axes)]]]
    mean = np.prod([functions[axis].mean(axis=0)[pairs[:, k]] for k, axis in enumerate(axes)], axis=0)
    concentration = mean_square_fractions(recipe)
    moment = concentration * np.eye(len(pairs)) + (1 - concentration) * np.outer(mean, mean)
    value, vector = np.linalg.eigh(moment)
    whiten, colour = (vector * value**-0.5) @ vector.T, (vector * value**0.5) @ vector.T
    return Basis(tuple(axes), functions, pairs, whiten, colour)


def mean_square_fractions(recipe: Recipe):
    """E sum f_i^2 over all classes, for uniform fractions above the smallest (others differ little)."""
    n = np.arange(1, recipe.n_classes + 1)
    least, free = recipe.smallest_fraction, 1 - n * recipe.smallest_fraction
    return float(np.mean(n * least**2 + 2 * least * free + 2 * free**2 / (n + 1)))


@dataclass(frozen=True, eq=False)
class ProtocolMap:
    """What a protocol measures, U S V' of A C^(1/2), scaled to a mean squared 2-norm of 1.

    Attributes
    ----------
    basis : Basis
    project : (n_encodings, n_ranks) array
        U.
    strength : (n_ranks,) array
        S, falling.
    rotate : (n_functions, n_ranks) array
        V.
    n_encodings, n_strong : int
        The first n_strong directions may hold signal; what is left is noise.
    misfit : float
        Largest RMS over the tissue of what the functions leave out of an encoding's signal, over the signal's RMS.

    """

    basis: Basis
    project: np.ndarray
    strength: np.ndarray
    rotate: np.ndarray
    n_encodings: int
    n_strong: int
    misfit: float

    @property
    def n_left(self):
        """Degrees of freedom that tell the noise level."""
        return self.n_encodings - self.n_strong

    def leading(self, n_ranks):
        """Keep the first directions only; the description is not to be taken from what is left."""
        n = min(n_ranks, len(self.strength))
        return replace(self, project=self.project[:, :n], strength=self.strength[:n], rotate=self.rotate[:, :n])

    def spread(self, level):
        """(n_functions, n_functions) posterior covariance of the whitened coefficients at a noise level."""
        variance = level**2 / self.n_encodings
        known = self.strength**2 / (self.strength**2 + variance)
        return np.eye(len(self.rotate)) - (self.rotate * known) @ self.rotate.T

    def information(self, level):
        """Nats that a signal tells of the coefficients at a noise level, as if they were Gaussian."""
        return float(0.5 * np.log1p(self.strength**2 * self.n_encodings / level**2).sum())

    def describe(self, noise_known):
        """(n_description,) what the network is told of the protocol: how sure it is of what."""
        n = N_DESCRIBED[len(self.basis.axes)]
        blocks = [self.spread(level)[:n, :n] for level in (0.01, 0.04)]
        sure = [0.5 * np.log10(np.diagonal(block)) for block in blocks]
        scale = np.sqrt(np.diagonal(blocks[0]))
        tilt = (blocks[0] / np.outer(scale, scale))[np.triu_indices(n, 1)]
        left = np.log1p(self.n_left) / 3 - 1
        told = [left * (not noise_known), float(noise_known), np.log(self.n_encodings) / 3 - 1]
        return np.concatenate([*sure, tilt, told])


def protocol_map(protocol: Encodings, recipe: Recipe) -> ProtocolMap:
    """Represent a protocol; ValueError where it weights nothing."""
    axes = weighted_axes(protocol)
    basis = tissue_basis(axes, recipe)
    tables = signal_tables(protocol, recipe)
    coefficients, exact, kept = {}, 1.0, 1.0
    for axis in axes:
        functions = basis.functions[axis]
        coefficients[axis] = tables[axis].T @ functions / len(functions)
        exact = exact * np.mean(tables[axis] ** 2, axis=0)
    matrix = basis.product(coefficients)
    kept = np.sum(matrix**2, axis=1)
    misfit = float(np.sqrt(np.max(np.maximum(exact - kept, 0.0)) / np.mean(exact)))
    left, strength, right = np.linalg.svd(matrix @ basis.colour, full_matrices=False)
    strength /= np.sqrt(np.sum(strength**2))
    n = len(protocol)
    hidden = np.append(np.cumsum(strength[::-1] ** 2)[::-1], 0.0)  # power of directions k and beyond
    n_strong = int(np.argmax(hidden * n <= np.maximum(n - np.arange(len(hidden)), 1) * LEAK**2))
    return ProtocolMap(basis, left, strength, right.T, n, n_strong, misfit)


def noise_levels(projected, mapping: ProtocolMap):
    """(n,) noise levels told by what is left of signals of unit 2-norm; (n, n_ranks) projected."""
    if mapping.n_left == 0:
        return np.full(len(projected), UNKNOWN_LEVEL, projected.dtype)
    rest = 1 - np.sum(projected[:, : mapping.n_strong] ** 2, axis=1)
    return np.sqrt(np.maximum(rest, 0) * (mapping.n_encodings / mapping.n_left))
