"""Small EM: short runs from many seeds on a smaller problem, of which the best continues."""

from dataclasses import replace

import numpy as np

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_sums import responsibilities_of
from mrspec_prep.spectra.clusters.em_updates import EmSteps, state_from_responsibilities
from mrspec_prep.spectra.clusters.starts import partition_stability, spread_seeds, start_problem

START_STEPS = 8
START_TOLERANCE = 1e-4  # nats per voxel: short runs end, and count as equal
AGREEING_STARTS = 5
FINALISTS, FINALIST_STEPS = 3, 50


def for_starts(problem):
    """Problem that short runs see: magnitudes count as Gaussian, which costs far less."""
    magnitudes = problem.noise is not None and problem.noise.model.is_magnitude
    return replace(problem, noise=None) if magnitudes else problem


def best_start(problem, n_clusters, rng, n_starts):
    """Small EM: the state that the best of several short runs leads to."""
    sample, small, runs = short_runs(problem, n_clusters, rng, n_starts)
    return _on_whole_kernel(sample, small, runs[0])


def first_state(problem, n_clusters, rng, n_starts):
    """State that EM climbs from, and how well the partitions of the short runs agree (``InspectResult.stability``)."""
    sample, small, runs = short_runs(for_starts(problem), n_clusters, rng, n_starts)
    state = _on_whole_kernel(sample, small, runs[0])
    partitions = [responsibilities_of(small, s, s.means[:, 0])[0].argmax(axis=1) for s in runs]
    return state, partition_stability(partitions)


def short_runs(problem, n_clusters, rng, n_starts):
    """Short runs on some voxels from spread-out seeds; the best few go on.

    "Best" is by penalised likelihood. Ends early where several starts have come to the same one. As many runs as
    must agree climb together; those after the one that settled the matter do not count, as if run one by one.

    Returns
    -------
    sample, small : Problem
        Of ``start_problem``.
    states : list of State
        Of the small problem, best first.

    """
    sample, small = start_problem(problem, rng)
    steps, runs = EmSteps(small), []
    while len(runs) < n_starts:
        states, marks = [], []
        for _ in range(min(AGREEING_STARTS, n_starts - len(runs))):
            states.append(seeded_state(small, n_clusters, rng))
            marks.append(rng.bit_generator.state)
        for mark, one in zip(marks, climb(steps, states, START_STEPS, START_TOLERANCE), strict=True):
            runs.append((one.trace[-1], one.state))
            if _agree([value for value, _ in runs], START_TOLERANCE * steps.n_voxels):
                rng.bit_generator.state = mark
                return sample, small, _best_first(runs)
    runs.sort(key=lambda run: -run[0])
    finalists = climb(steps, [state for _, state in runs[:FINALISTS]], FINALIST_STEPS, START_TOLERANCE / 10)
    runs[:FINALISTS] = [(one.trace[-1], one.state) for one in finalists]
    return sample, small, _best_first(runs)


def _agree(values, close):
    """Whether enough runs have come as far as the best."""
    return sum(value > max(values) - close for value in values) >= AGREEING_STARTS


def _best_first(runs):
    """States of (value, state), by falling value."""
    return [state for _, state in sorted(runs, key=lambda run: -run[0])]


def _on_whole_kernel(sample, small, best):
    """State of the whole kernel with the responsibilities of a state of the small problem."""
    if sample is small:
        return best
    return state_from_responsibilities(sample, responsibilities_of(small, best, best.spectra.sum(axis=1))[0])


def seeded_state(problem, n_clusters, rng):
    """Parameters from seeds far apart and the voxels nearest to each."""
    owner = spread_seeds(problem.signals, problem.variances, n_clusters, rng)
    return state_from_responsibilities(problem, np.eye(n_clusters)[owner])
