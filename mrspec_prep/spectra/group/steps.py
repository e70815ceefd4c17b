"""EM of a group: sums over members in the E-step, spectra, probabilities and gains of sites in the M-step.

S_n ~ N(g_h a_n K_p F_m, sigma_n^2) for a voxel of site h, protocol p and cluster m, with the voxel scale a_n 1 or
latent. Every part of the M-step maximises the expected log-posterior given the others (ECM; Meng and Rubin 1993), and
the common factors of latent scales are expanded parameters, so that the penalised likelihood never falls.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln

from mrspec_prep.spectra.clusters.em_steps import expanded_scale
from mrspec_prep.spectra.group.basis import CommonBasis
from mrspec_prep.spectra.group.passes import Sent
from mrspec_prep.spectra.group.proportions import dirichlet_mode
from mrspec_prep.spectra.voxelwise.nnls import solve_one
from mrspec_prep.threads import single_threaded_blas

SMALLEST_PROB = 1e-300
NEVER = 1e-300  # weight of a cluster that no voxel belongs to


@dataclass
class GroupState:
    """Parameters of a fit under way; every attribute is an array.

    ``means`` (n_clusters, R) are the spectra's signals in the common basis; ``proportions`` (n_members, n_clusters)
    has no row where all members share ``probs``; ``gains`` (n_sites,) are those of the members' units.
    """

    probs: np.ndarray
    proportions: np.ndarray
    spectra: np.ndarray
    duals: np.ndarray
    means: np.ndarray
    gains: np.ndarray


@dataclass(frozen=True, eq=False)
class Places:
    """Where members belong: (n_members,) arrays of protocol, site and number of voxels."""

    protocol: np.ndarray
    site: np.ndarray
    n_voxels: np.ndarray


@dataclass(eq=False)
class GroupSteps:
    """What EM does to a ``GroupState``; ``climb`` calls it.

    Parameters
    ----------
    basis : CommonBasis
    places : Places
    executor : object
        ``expect(list of Sent)`` -> for each member a list over the states of ``Statistics``.
    alpha : float
        Weight of the spectra's 2-norm.
    prior_voxels : float
        That each cluster is given beforehand.
    scale_variance : float
        0: the voxel scale is 1.
    site_gains : bool
        Whether sites have a gain; their mean logarithm over voxels is 0.
    concentration : float
        0: members share the cluster probabilities; else each has its own proportions, with a Dirichlet prior of
        this many voxels around the shared ones.
    fixed_spectra : bool
        Whether the shapes of the spectra stay as they are: with latent scales their sizes are fitted, else the
        gains, which then are free.

    """

    basis: CommonBasis
    places: Places
    executor: object
    alpha: float
    prior_voxels: float
    scale_variance: float
    site_gains: bool
    concentration: float = 0.0
    fixed_spectra: bool = False
    accelerated: bool = True

    @property
    def n_voxels(self):
        """Voxels of all members."""
        return int(self.places.n_voxels.sum())

    @property
    def n_sites(self):
        """Number of sites."""
        return int(self.places.site.max()) + 1

    def empty_state(self, n_clusters, gains=None):
        """Parameters before the first M-step."""
        pooled = self.basis.pooled
        n_rows = len(self.places.site) if self.concentration > 0 else 0
        return GroupState(
            np.full(n_clusters, 1.0 / n_clusters),
            np.full((n_rows, n_clusters), 1.0 / n_clusters),
            np.zeros((n_clusters, pooled.n_bins)),
            np.zeros((n_clusters, pooled.n_ranks)),
            np.zeros((n_clusters, pooled.n_ranks)),
            np.ones(self.n_sites) if gains is None else np.array(gains, dtype=float),
        )

    def sent(self, state):
        """What members need to know of a state."""
        rows = state.proportions if len(state.proportions) else state.probs[None]
        return Sent(np.log(np.maximum(rows, SMALLEST_PROB)), self.basis.predicted(state.means), state.gains.copy())

    def expect(self, states):
        """One pass over all members: for each state its log-likelihood and the members' statistics, in their order."""
        with single_threaded_blas():
            sent = [self.sent(state) for state in states]
        found = zip(*self.executor.expect(sent), strict=True)
        return [(float(sum(one.log_likelihood for one in members)), members) for members in found]

    def maximise(self, state, sums):
        """M-step in place; returns the precision of each cluster's mean."""
        with single_threaded_blas():
            totals = self.totals(sums)
            self._probabilities(state, sums)
            weights = self._spectra(state, totals)
            factors = self._sizes(state, totals)
            if self.site_gains and (self.n_sites > 1 or self.fixed_spectra):
                self._gains(state, totals, factors)
            self.refresh(state)
        return weights

    def totals(self, sums):
        """Sums over members by site and protocol: dict of (site, protocol) to [moments, weights, sums]."""
        totals = {}
        for site, protocol, one in zip(self.places.site, self.places.protocol, sums, strict=True):
            place = totals.setdefault((int(site), int(protocol)), [0.0, 0.0, 0.0])
            for k, values in enumerate((one.moments, one.weights, one.sums)):
                place[k] = place[k] + values
        return totals

    def _probabilities(self, state, sums):
        """Cluster probabilities (paper 1, Eq. 13), shared or with one row for each member."""
        counts = np.array([one.moments[0] for one in sums])
        if not len(state.proportions):
            state.probs = counts.sum(axis=0) + self.prior_voxels
            state.probs /= state.probs.sum()
            return
        rows = counts + self.concentration * state.probs
        state.proportions = np.maximum(rows / rows.sum(axis=1, keepdims=True), SMALLEST_PROB)
        state.probs = dirichlet_mode(state.proportions, self.concentration, self.prior_voxels, state.probs)

    def cluster_sums(self, gains, totals):
        """W_pm (n_protocols, n_clusters) and, by protocol, the (n_clusters, r_p) sums, both at given gains."""
        n_clusters = next(iter(totals.values()))[1].shape[0]
        weights = np.zeros((len(self.basis.maps), n_clusters))
        sums = [np.zeros((n_clusters, len(one))) for one in self.basis.maps]
        for (site, protocol), (_, weight, signal) in totals.items():
            weights[protocol] += gains[site] ** 2 * weight
            sums[protocol] += gains[site] * signal
        return weights, sums

    def _spectra(self, state, totals):
        """Spectra (Eqs. 15-16) with alpha_m = alpha / W_m; returns W_m."""
        weights, sums = self.cluster_sums(state.gains, totals)
        for m, total in enumerate(weights.sum(axis=0)):
            if self.fixed_spectra:
                continue
            if total <= NEVER:
                state.spectra[m] = 0.0
                continue
            share = np.maximum(weights[:, m], NEVER)
            targets = [signal[m] / one for signal, one in zip(sums, share, strict=True)]
            reduced, target = self.basis.problem(np.where(weights[:, m] > 0, share, 0.0), targets)
            self._solve(state, m, reduced, target, self.alpha / total)
        return weights.sum(axis=0)

    def _solve(self, state, m, reduced, target, alpha):
        """One spectrum from what it was; the dual is that of its own problem."""
        if reduced is self.basis.pooled:
            solve_one(reduced, target, alpha, state.spectra[m], state.duals[m])
            return
        used = np.flatnonzero(state.spectra[m])
        dual = target - state.spectra[m, used] @ reduced.columns[used]
        solve_one(reduced, target, alpha, state.spectra[m], dual)

    def _sizes(self, state, totals):
        """Common factor of each cluster's latent scales, moved into its spectrum; (n_clusters,) array."""
        factors = np.ones(len(state.probs))
        if self.scale_variance == 0:
            return factors
        moments = sum(place[0] for place in totals.values())
        for m in np.flatnonzero(moments[0] > 0):
            penalty = 0.0 if self.fixed_spectra else self.alpha * float((state.spectra[m] ** 2).sum())
            factors[m] = expanded_scale(*moments[:, m], self.scale_variance, penalty)
        state.spectra *= factors[:, None]
        state.duals *= factors[:, None]
        return factors

    def _gains(self, state, totals, factors):
        """Gains of the sites: first those that fit the signals, then the common factor of each site's scales."""
        means = self.signals_of(state.spectra / factors[:, None])
        predicted, n_voxels = self.basis.predicted(means), np.zeros(self.n_sites)
        stiff, pull, first, second = (np.zeros(self.n_sites) for _ in range(4))
        for (site, protocol), (moments, weight, signal) in totals.items():
            stiff[site] += weight @ (predicted[protocol] ** 2).sum(axis=1)
            pull[site] += (signal * predicted[protocol]).sum()
            first[site] += moments[1] @ (1 / factors)
            second[site] += moments[2] @ (1 / factors**2)
        if self.fixed_spectra:  # the spectra say what gain 1 is
            state.gains = pull / stiff
            return
        np.add.at(n_voxels, self.places.site, self.places.n_voxels)
        state.gains = constrained_factors(stiff, pull, n_voxels, state.gains)
        if self.scale_variance > 0:
            state.gains = state.gains / constrained_factors(second, first, n_voxels, np.ones(self.n_sites))

    def log_prior(self, state):
        """Log prior: -alpha/2 sum ||F_m||2 + prior_voxels sum log p_m, and that of members' own proportions."""
        value = -0.5 * self.alpha * float((state.spectra**2).sum()) if not self.fixed_spectra else 0.0
        if self.prior_voxels > 0:
            value += self.prior_voxels * float(np.log(state.probs).sum())
        if len(state.proportions):
            shares = self.concentration * state.probs
            one = gammaln(self.concentration + len(shares)) - gammaln(shares + 1).sum()
            value += len(state.proportions) * float(one) + float((np.log(state.proportions) @ shares).sum())
        return value

    def refresh(self, state):
        """Signals of the spectra in the common basis."""
        with single_threaded_blas():
            state.means = self.signals_of(state.spectra)

    def signals_of(self, spectra):
        """(n_clusters, R) signals of spectra in the common basis."""
        means = np.zeros((len(spectra), self.basis.pooled.n_ranks))
        for m, spectrum in enumerate(spectra):
            used = np.flatnonzero(spectrum)
            means[m] = spectrum[used] @ self.basis.pooled.columns[used]
        return means


def constrained_factors(stiff, pull, counts, start):
    """Factors x > 0 that minimise sum_h (stiff_h x_h^2 / 2 - pull_h x_h) with sum_h counts_h log x_h = 0.

    At the minimum stiff x2 - pull x = l counts for one number l, which is found by bisection.

    Parameters
    ----------
    stiff, pull, counts : (n_sites,) arrays
        stiff, counts > 0.
    start : (n_sites,) array
        Kept where that is no better, as when the free factors pull / stiff are far above 1 together.

    Returns
    -------
    (n_sites,) array

    """

    def factors(multiplier):
        return (pull + np.sqrt(np.maximum(pull**2 + 4 * multiplier * counts * stiff, 0.0))) / (2 * stiff)

    def excess(multiplier):
        return float(counts @ np.log(np.maximum(factors(multiplier), SMALLEST_PROB)))

    def loss(x):
        return float((0.5 * stiff * x**2 - pull * x).sum())

    low = float(np.max(-(pull**2) / (4 * counts * stiff)))
    size = float(np.max(stiff / counts)) + abs(low)
    high = low + size
    while excess(high) < 0:
        high += 2 * (high - low)
    if excess(low) >= 0:
        return start
    found = factors(brentq(excess, low, high, xtol=1e-15 * size, rtol=1e-15))
    found = found * np.exp(-(counts @ np.log(found)) / counts.sum())
    return found if loss(found) <= loss(start) else start
