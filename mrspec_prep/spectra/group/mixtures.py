"""Continuous InSpect of a group: exact steps of weights, spectra and gains, with sums over members.

The objective is that of ``components.map_descent`` summed over members, each under its site's gain g_h: 1/2 sum
||S_n - g_h K_p sum_j u_nj F_j||2 / sigma_n^2 + alpha/2 sum ||F_j||2, with sum u = 1, or with latent scales
(sum u - 1)^2 / (2 scale_variance) added. Weights are made anew in every pass and not held.
"""

from dataclasses import dataclass, fields

import numpy as np

from mrspec_prep.spectra.components.map_descent import best_rescaling, fit_block
from mrspec_prep.spectra.group.basis import CommonBasis
from mrspec_prep.spectra.group.passes import PIECE
from mrspec_prep.spectra.group.prepared import BLOCK
from mrspec_prep.spectra.group.steps import Places, constrained_factors
from mrspec_prep.spectra.voxelwise.nnls import solve_one
from mrspec_prep.threads import for_blocks, single_threaded_blas


@dataclass(eq=False)
class MixtureState:
    """Parameters of a fit under way, and the sums of the last pass.

    ``means`` (M, R) are the spectra's signals in the common basis; ``sums`` (site, protocol) -> (curvature sum u u'/s2
    (M, M), targets sum u s'/s2 (M, r_p)); ``products`` (M, M) and ``totals`` (M,) are sum u u' and sum u.
    """

    spectra: np.ndarray
    duals: np.ndarray
    means: np.ndarray
    gains: np.ndarray
    sums: dict
    products: np.ndarray
    totals: np.ndarray

    def copy(self):
        """Arrays of its own."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        sums = {place: tuple(part.copy() for part in parts) for place, parts in values.pop("sums").items()}
        return MixtureState(sums=sums, **{name: array.copy() for name, array in values.items()})


def mixture_block(prepared, start, stop, means, weights):
    """Weights (n, M) of some voxels, in place, and their (loss, failed, curvature, targets)."""
    signals, variances, _, _ = prepared.block(start, stop)
    free, n_components = prepared.scale_variance > 0, len(means)
    curvature, targets = np.empty((n_components, n_components)), np.empty(means.shape)
    pull = 1.0 / prepared.scale_variance if free else 0.0
    loss, failed = fit_block(signals, means, 1.0 / variances, pull, not free, weights, curvature, targets)
    return loss, failed, curvature, targets


def _piece(prepared, start, means):
    """[loss, failed, curvature, targets, products, totals] of one piece of a member."""
    n, sums = len(means), None
    for first in range(start, min(start + PIECE, prepared.member.n_voxels), BLOCK):
        stop = min(first + BLOCK, prepared.member.n_voxels)
        weights = np.zeros((stop - first, n))
        found = [*mixture_block(prepared, first, stop, means, weights), weights.T @ weights, weights.sum(axis=0)]
        sums = found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
    return sums


@dataclass(eq=False)
class MixtureSteps:
    """What the descent (``map_descent.descend``) does to a ``MixtureState``.

    Parameters
    ----------
    basis : CommonBasis
    places : Places
    prepared : list of PreparedMember
    alpha, scale_variance : float
    site_gains : bool
        Whether sites have a gain, with a fixed scale; latent scales hold it already.
    n_threads : int, optional

    """

    basis: CommonBasis
    places: Places
    prepared: list
    alpha: float
    scale_variance: float
    site_gains: bool
    n_threads: int | None = None

    @property
    def n_voxels(self):
        """Voxels of all members."""
        return int(self.places.n_voxels.sum())

    def state_from_spectra(self, spectra, gains):
        """State of given spectra, weights fitted."""
        n, pooled = len(spectra), self.basis.pooled
        state = MixtureState(
            np.array(spectra, dtype=float), np.zeros((n, pooled.n_ranks)), np.zeros((n, pooled.n_ranks)),
            np.array(gains, dtype=float), {}, np.zeros((n, n)), np.zeros(n),
        )  # fmt: skip
        self._set_means(state, range(n))
        self.fit_weights(state)
        return state

    def _set_means(self, state, which):
        for j in which:
            used = np.flatnonzero(state.spectra[j])
            state.means[j] = state.spectra[j, used] @ self.basis.pooled.columns[used]

    def fit_weights(self, state):
        """One pass over all members: exact weights and their sums, in place; returns the objective.

        Raises
        ------
        RuntimeError
            The active set of a voxel did not settle.

        """
        predicted = self.basis.predicted(state.means)
        members = [one.member for one in self.prepared]
        means = [np.ascontiguousarray(state.gains[one.site] * predicted[one.protocol]) for one in members]
        pieces = [(i, start) for i, one in enumerate(members) for start in range(0, one.n_voxels, PIECE)]

        def work(k, _):
            i, start = pieces[k]
            return _piece(self.prepared[i], start, means[i])

        with single_threaded_blas():
            found = for_blocks(len(pieces), 1, work, self.n_threads)
        state.sums, loss, failed, state.products, state.totals = {}, 0.0, 0, 0.0, 0.0
        for (i, _), (part, n_failed, curvature, targets, products, totals) in zip(pieces, found, strict=True):
            place = members[i].site, members[i].protocol
            before = state.sums.get(place, (0.0, 0.0))
            state.sums[place] = before[0] + curvature, before[1] + targets
            loss, failed = loss + part, failed + n_failed
            state.products, state.totals = state.products + products, state.totals + totals
        if failed:
            raise RuntimeError(f"the weights of {failed} voxels did not settle")
        return float(loss + 0.5 * self.alpha * (state.spectra**2).sum())

    def improve(self, state):
        """Exact step of the components' sizes, of every spectrum in turn and of the gains, in place."""
        with single_threaded_blas():
            if self.scale_variance > 0:
                self._rescale(state)
            for j in range(len(state.spectra)):
                self._improve_one(state, j)
            if self.site_gains and self.scale_variance == 0 and len(state.gains) > 1:
                self._gains(state)

    def _rescale(self, state):
        """Sizes between components and weights, where prior and penalty want them."""
        penalties = self.alpha * (state.spectra**2).sum(axis=1)
        d = best_rescaling(state.products, state.totals, penalties, 1.0 / self.scale_variance)
        state.sums = {place: (c * np.outer(d, d), t * d[:, None]) for place, (c, t) in state.sums.items()}
        state.products, state.totals = state.products * np.outer(d, d), state.totals * d
        for values in (state.spectra, state.duals, state.means):
            values /= d[:, None]

    def _by_protocol(self, state):
        """Curvatures (n_protocols, M, M) and targets, gains taken in."""
        n = len(state.spectra)
        curvatures = np.zeros((len(self.basis.maps), n, n))
        targets = [np.zeros((n, len(one))) for one in self.basis.maps]
        for (site, protocol), (curvature, target) in state.sums.items():
            curvatures[protocol] += state.gains[site] ** 2 * curvature
            targets[protocol] += state.gains[site] * target
        return curvatures, targets

    def _improve_one(self, state, j):
        """Spectrum of one component given all others."""
        curvatures, targets = self._by_protocol(state)
        weights = curvatures[:, j, j]
        if weights.sum() <= 0:
            state.spectra[j], state.means[j] = 0.0, 0.0
            return
        predicted, left = self.basis.predicted(state.means), []
        for curvature, target, mean in zip(curvatures, targets, predicted, strict=True):
            own = curvature[j, j]
            rest = target[j] - curvature[j] @ mean + own * mean[j]
            left.append(rest / own if own > 0 else rest)
        self._solve(state, j, *self.basis.problem(weights, left), self.alpha / weights.sum())

    def _solve(self, state, j, reduced, target, alpha):
        """One spectrum from what it was; the dual is made anew."""
        used = np.flatnonzero(state.spectra[j])
        dual = target - state.spectra[j, used] @ reduced.columns[used]
        solve_one(reduced, target, alpha, state.spectra[j], dual)
        self._set_means(state, [j])

    def _gains(self, state):
        """Gains of the sites that fit the signals best, their mean logarithm over voxels 0."""
        predicted = self.basis.predicted(state.means)
        stiff, pull = np.zeros(len(state.gains)), np.zeros(len(state.gains))
        for (site, protocol), (curvature, target) in state.sums.items():
            mean = predicted[protocol]
            stiff[site] += (curvature * (mean @ mean.T)).sum()
            pull[site] += (target * mean).sum()
        counts = np.bincount(self.places.site, self.places.n_voxels)
        state.gains = constrained_factors(stiff, pull, counts, state.gains)

    def place(self, state, means):
        """Spectra whose signals in the common basis are near ``means``, in place."""
        weights = np.trace(self._by_protocol(state)[0], axis1=1, axis2=2)
        curvature = np.diag(self._by_protocol(state)[0].sum(axis=0))
        with single_threaded_blas():
            predicted = self.basis.predicted(means)
            for j in np.flatnonzero(curvature > 0):
                problem = self.basis.problem(weights, [one[j] for one in predicted])
                self._solve(state, j, *problem, self.alpha / curvature[j])
