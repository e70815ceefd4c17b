"""InSpect's EM with a Potts prior: neighbouring voxels tend to share their cluster.

The E-step is a mean field, swept colour by colour (no two voxels of a colour are neighbours), so
that at the weight beta and field h of a round the free energy never falls. beta and h are estimated from
the image itself: they maximise the pseudo-likelihood of the current responsibilities given their
neighbours' (Besag 1975; with responsibilities in place of labels: Celeux, Forbes and Peyrard 2003).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse

from mrspec_prep.spectra.clusters.em_noise import noise_densities, noise_expect, noise_responsibilities
from mrspec_prep.spectra.clusters.potts import (
    SMALLEST,
    density_block,
    free_energy_block,
    mean_field_block,
    pseudo_block,
    sums_block,
    support_block,
)
from mrspec_prep.spectra.space.neighbours import Neighbours
from mrspec_prep.threads import for_blocks

BLOCK = 4096  # voxels per partial sum
SWEEPS = 3  # of the mean field between two updates of the spectra
START_ROUNDS = 30  # from each starting point, of which the best continues
SETTLED = 1e-3  # change of beta x degree and of h, in nats, at which a fit may end
TOLERANCE = 1e-7  # nats per voxel gained by a step at which EM stops
MAX_SUPPORT = 10.0  # nats with which unanimous neighbours may speak: bounds beta where labels never disagree
LARGEST_STEP = 2.0  # nats of unanimous neighbours by which beta may change at once
PRIOR_ROUNDS = 5
SMOOTHINGS = (1, 3)  # passes over the neighbours by which signals are averaged for additional starts


@dataclass(frozen=True, eq=False)
class PottsFit:
    """What the neighbours contributed to a fit.

    Attributes
    ----------
    weight : float
        beta: nats by which a neighbour at the grid's smallest spacing favours its own cluster.
    estimated : bool
        Whether beta was found from the data.
    field : (n_clusters,) array
        h: log prior of each cluster where no neighbour speaks.
    rises : (n_steps,) array
        Penalised free energy gained in each step, at the beta and h of that step: never negative.

    """

    weight: float
    estimated: bool
    field: np.ndarray
    rises: np.ndarray


@dataclass
class MeanField:
    """Responsibilities and prior of a fit under way; log-densities are relative to their voxel's sum."""

    state: object
    field: np.ndarray
    beta: float
    responsibilities: np.ndarray
    log_density: np.ndarray
    first: np.ndarray
    second: np.ndarray
    supports: np.ndarray
    total: float = 0.0
    log_likelihood: float = -np.inf
    weights: np.ndarray | None = None


def smoothed(problem, n_passes):
    """Problem whose signals are averaged over neighbours, as if noise were independent; for starts only."""
    neighbours = problem.neighbours
    n = neighbours.n_voxels
    shape = (n, n)
    average = scipy.sparse.csr_array((neighbours.weight, neighbours.index, neighbours.starts), shape=shape)
    average = average + scipy.sparse.eye_array(n, format="csr")
    average = scipy.sparse.diags_array(1.0 / average.sum(axis=1)) @ average
    signals, variances = problem.signals, problem.variances
    for _ in range(n_passes):
        signals, variances = average @ signals, average.power(2) @ variances
    return replace(problem, signals=signals, variances=variances, noise=None, neighbours=None)


def fit_potts(problem, states, m_step: Callable, max_steps):
    """Mean-field EM from the best of several states.

    Parameters
    ----------
    problem : inspect_em.Problem
        With ``neighbours`` and ``spatial_weight`` (beta; None: estimated).
    states : list of inspect_em.State
        Changed in place.
    m_step : callable
        ``m_step(problem, state, moments, weights, sums)`` updates a state in place.
    max_steps : int
        Rounds of prior, mean field and spectra.

    Returns
    -------
    best : MeanField
    fit : PottsFit
    converged : bool

    """
    estimate = problem.spatial_weight is None
    beta = 0.0 if estimate else float(problem.spatial_weight)
    fields = [begin(problem, state, beta, m_step) for state in states]
    rises = [np.empty(0)] * len(fields)
    if len(fields) > 1:
        rises = [settle(problem, one, m_step, START_ROUNDS, estimate)[0] for one in fields]
    best = int(np.argmax([penalised(problem, one, one.log_likelihood) for one in fields]))
    more, converged = settle(problem, fields[best], m_step, max_steps, estimate)
    find_sums(problem, fields[best])
    fit = PottsFit(fields[best].beta, estimate, fields[best].field, np.append(rises[best], more))
    return fields[best], fit, converged


def begin(problem, state, beta, m_step):
    """Mean field at the responsibilities that independent voxels would have, and the M-step from there."""
    n_voxels, n_clusters = len(problem.signals), len(state.probs)
    arrays = [np.zeros((n_voxels, n_clusters)) for _ in range(5)]
    one = MeanField(state, np.log(np.maximum(state.probs, SMALLEST)), beta, *arrays)
    find_densities(problem, one)
    sweep(problem.neighbours, one, 0.0, 1, problem.n_threads)
    m_step(problem, state, *find_sums(problem, one))
    find_densities(problem, one)
    return one


def settle(problem, one, m_step, n_rounds, estimate):
    """Alternate prior, mean field and spectra until all stay; in place.

    Mean field and spectra climb the penalised free energy of the round's beta and h; the prior then
    moves to the pseudo-likelihood's maximum, which changes the free energy itself. With beta and h
    held to the end mean field would let the larger cluster grow into the other. At beta = 0, h is
    log p, and this is EM for independent voxels.

    Returns
    -------
    rises : (n_steps,) array
        Free energy gained in each round at its beta and h; never negative.
    converged : bool

    """
    degree = problem.neighbours.degree.max()
    rises, tolerance = [], TOLERANCE * len(problem.signals)
    n_sweeps = SWEEPS if estimate or one.beta > 0 else 1
    for _ in range(n_rounds):
        old = np.append(one.field, one.beta * degree)
        fit_prior(problem, one, estimate)
        before = penalised(problem, one, free_energy(problem, one))
        sweep(problem.neighbours, one, one.beta, n_sweeps, problem.n_threads)
        m_step(problem, one.state, *find_sums(problem, one))
        find_densities(problem, one)
        rises.append(penalised(problem, one, free_energy(problem, one)) - before)
        moved = np.abs(np.append(one.field, one.beta * degree) - old).max()
        if rises[-1] <= tolerance and moved <= SETTLED:
            break
    sweep(problem.neighbours, one, one.beta, 1, problem.n_threads)
    _, _, gain = pseudo_likelihood(problem, one)
    one.log_likelihood = gain + one.total
    return np.array(rises), len(rises) < n_rounds


def penalised(problem, one, value):
    """Value plus the log prior of the spectra, and of p where no neighbour speaks."""
    value -= 0.5 * problem.alpha * float((one.state.spectra**2).sum())
    if one.beta == 0 and problem.prior_voxels > 0:
        value += problem.prior_voxels * float(np.log(one.state.probs).sum())
    return value


def find_densities(problem, one):
    """Log-densities and moments of the voxel scale at the present spectra."""
    state = one.state
    if problem.noise is not None:
        shares, one.total = noise_densities(problem, state)
        one.log_density = np.log(np.maximum(shares, SMALLEST))
        return

    def work(start, stop):
        part = slice(start, stop)
        return density_block(
            problem.signals[part], problem.variances[part], state.means, state.norms, problem.scale_variance,
            one.log_density[part], one.first[part], one.second[part],
        )  # fmt: skip

    one.total = float(np.sum(for_blocks(len(problem.signals), BLOCK, work, problem.n_threads)) + problem.constant.sum())


def sweep(neighbours: Neighbours, one, beta, n_sweeps, n_threads):
    """Update all responsibilities, colour by colour, and the supports they give."""
    lists = (neighbours.starts, neighbours.index, neighbours.weight)
    w = one.responsibilities
    for _ in range(n_sweeps):
        for color in neighbours.colors:

            def work(start, stop, color=color):
                mean_field_block(color[start:stop], one.log_density, one.field, beta, *lists, w)

            for_blocks(len(color), BLOCK, work, n_threads)
    for_blocks(len(w), BLOCK, lambda start, stop: support_block(start, stop, *lists, w, one.supports), n_threads)


def pseudo_likelihood(problem, one):
    """Counts (2, n_clusters), derivatives in beta (2,) and log-likelihood gain, of ``pseudo_block``."""
    n_voxels, n_clusters = one.responsibilities.shape
    n_blocks = -(-n_voxels // BLOCK)
    counts, derivatives = np.empty((n_blocks, 2, n_clusters)), np.empty((n_blocks, 2))

    def work(start, stop):
        part, block = slice(start, stop), start // BLOCK
        return pseudo_block(
            one.log_density[part], one.supports[part], one.field, one.beta, one.responsibilities[part],
            counts[block], derivatives[block],
        )  # fmt: skip

    gains = for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    return counts.sum(axis=0), derivatives.sum(axis=0), float(np.sum(gains))


def fit_prior(problem, one, estimate):
    """Climb the pseudo-likelihood in h (iterative scaling) and, where asked for, beta (Newton); both concave."""
    degree = problem.neighbours.degree.max()
    for _ in range(PRIOR_ROUNDS):
        if estimate and degree > 0:
            _, (slope, curvature), _ = pseudo_likelihood(problem, one)
            largest = LARGEST_STEP / degree
            change = np.clip(slope / max(curvature, SMALLEST), -largest, largest)
            one.beta = float(np.clip(one.beta + change, 0.0, MAX_SUPPORT / degree))
        counts, _, _ = pseudo_likelihood(problem, one)
        expected = counts[1] + problem.prior_voxels * len(one.field) * np.exp(one.field)
        one.field = one.field + np.log(np.maximum(counts[0] + problem.prior_voxels, SMALLEST) / expected)
        one.field = one.field - np.log(np.exp(one.field - one.field.max()).sum()) - one.field.max()


def find_sums(problem, one):
    """Sums for the M-step at the present responsibilities."""
    state, w = one.state, one.responsibilities
    n_voxels, n_ranks = problem.signals.shape
    n_clusters = w.shape[1]
    if problem.noise is not None:
        [(_, sums)] = noise_expect(problem, [state], [relative_prior(one)])
        one.weights = sums[1]
        return sums
    n_blocks = -(-n_voxels // BLOCK)
    moments, weights = np.empty((n_blocks, 3, n_clusters)), np.empty((n_blocks, n_clusters))
    sums = np.empty((n_blocks, n_clusters, n_ranks))

    def work(start, stop):
        part, block = slice(start, stop), start // BLOCK
        sums_block(
            problem.signals[part], problem.variances[part], w[part], one.first[part], one.second[part],
            problem.mode == "exact", moments[block], weights[block], sums[block],
        )  # fmt: skip

    for_blocks(n_voxels, BLOCK, work, problem.n_threads)
    one.weights = weights.sum(axis=0)
    return moments.sum(axis=0), one.weights, sums.sum(axis=0)


def relative_prior(one):
    """Log prior of every voxel (n_voxels, n_clusters) under which its responsibilities are the present ones."""
    return np.log(np.maximum(one.responsibilities, SMALLEST)) - one.log_density


def free_energy(problem, one):
    """Mean-field bound on the log-likelihood, up to the constant log Z of the prior."""

    def work(start, stop):
        part = slice(start, stop)
        return free_energy_block(
            one.log_density[part], one.supports[part], one.field, one.beta, one.responsibilities[part]
        )

    return float(np.sum(for_blocks(len(problem.signals), BLOCK, work, problem.n_threads))) + one.total


def scales_of(problem, one, totals):
    """Expected scale of every voxel times the clusters' totals (n_voxels,)."""
    if problem.noise is not None:
        return noise_responsibilities(problem, one.state, relative_prior(one), totals)[1]
    return (one.responsibilities * one.first) @ totals
