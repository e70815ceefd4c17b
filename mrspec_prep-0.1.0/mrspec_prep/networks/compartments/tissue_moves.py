"""Metropolis moves of one tissue: compartments, their places on the axes of the recipe and their fractions.

A place is a number u; the value of the axis is the one at round(u), so that every value is equally likely for u
uniform over -1/2 to n_values - 1/2. All moves are symmetric.
"""

import math

import numpy as np

from mrspec_prep.compiled import compiled

SMALLEST_STEP = 0.02  # of a place, of the steps along one axis


@compiled
def mix(places, fractions, tables, pure):
    """Noise-free signal (Eq. 1) of one tissue into ``pure``; tables (n_axes, n_values, n_encodings)."""
    n_axes = tables.shape[0]
    pure[:] = 0
    for c in range(len(fractions)):
        first = tables[0, round_place(places[c, 0])]
        if n_axes == 1:
            for e in range(len(pure)):
                pure[e] += fractions[c] * first[e]
        elif n_axes == 2:
            second = tables[1, round_place(places[c, 1])]
            for e in range(len(pure)):
                pure[e] += fractions[c] * first[e] * second[e]
        else:
            second, third = tables[1, round_place(places[c, 1])], tables[2, round_place(places[c, 2])]
            for e in range(len(pure)):
                pure[e] += fractions[c] * first[e] * second[e] * third[e]


@compiled
def round_place(place):
    """Index of the value at a place."""
    return int(math.floor(place + 0.5))


@compiled
def allowed(places, fractions, sizes, smallest, ceiling):
    """Whether a tissue lies in the recipe; ``ceiling[t1]`` is the largest index of T2, none when empty."""
    for c in range(len(fractions)):
        if fractions[c] < smallest:
            return False
        for a in range(len(sizes)):
            if not -0.5 <= places[c, a] < sizes[a] - 0.5:
                return False
        if len(ceiling) and round_place(places[c, 1]) > ceiling[round_place(places[c, 0])]:
            return False
    return True


@compiled
def log_prior(fractions, normalised):
    """Log density of the fractions up to a constant; uniform numbers divided by their sum: max(f) ** -n."""
    return -len(fractions) * math.log(np.max(fractions)) if normalised else 0.0


@compiled
def draw(places, fractions, sizes, smallest, ceiling, normalised):
    """Fill one tissue from the recipe's law."""
    n = len(fractions)
    for c in range(n):
        inside = False
        while not inside:
            for a in range(len(sizes)):
                places[c, a] = np.random.random() * sizes[a] - 0.5
            inside = len(ceiling) == 0 or round_place(places[c, 1]) <= ceiling[round_place(places[c, 0])]
    inside = False
    while not inside:
        for c in range(n):
            fractions[c] = np.random.random() if normalised else np.random.exponential(1.0)
        fractions /= fractions.sum()
        if not normalised:
            fractions *= 1 - n * smallest
            fractions += smallest
        inside = np.min(fractions) >= smallest or n == 1
    sort_compartments(places, fractions)


@compiled
def sort_compartments(places, fractions):
    """Order compartments by their last axis: the law does not tell them apart, and differences then mean more."""
    n, n_axes = places.shape
    last = n_axes - 1
    for i in range(1, n):
        j = i
        while j > 0 and places[j - 1, last] > places[j, last]:
            for a in range(n_axes):
                kept = places[j, a]
                places[j, a] = places[j - 1, a]
                places[j - 1, a] = kept
            kept = fractions[j]
            fractions[j] = fractions[j - 1]
            fractions[j - 1] = kept
            j -= 1


@compiled
def step_some(places, fractions, sizes):
    """Change one or two compartments by symmetric steps, log-uniform in size, in place."""
    n, n_axes = places.shape
    kind, chosen = np.random.randint(4), np.random.randint(n)
    if kind == 0:
        a = np.random.randint(n_axes)
        places[chosen, a] += _step(sizes[a])
    elif kind == 1:
        for a in range(n_axes):
            places[chosen, a] += _step(sizes[a] / 4)
    elif kind == 2:
        other = np.random.randint(n)
        for a in range(n_axes):
            places[chosen, a] += _step(sizes[a] / 4)
            places[other, a] += _step(sizes[a] / 4)
    if n > 1 and (kind >= 2 or np.random.random() < 0.5):
        other = (chosen + 1 + np.random.randint(n - 1)) % n
        part = 0.5 * math.exp(-7 * np.random.random())
        part = part if np.random.random() < 0.5 else -part
        fractions[chosen] += part
        fractions[other] -= part


@compiled
def _step(largest):
    size = SMALLEST_STEP * math.exp(np.random.random() * math.log(largest / SMALLEST_STEP))
    return size if np.random.random() < 0.5 else -size


@compiled
def step_by_difference(all_places, all_fractions, places, fractions):
    """Add the difference of two tissues of the population in place (ter Braak, Stat. Comput. 16:239, 2006).

    Returns
    -------
    bool
        False where the order of the compartments changed: the move would not be symmetric.

    """
    n_population, n, n_axes = all_places.shape
    j, k = np.random.randint(n_population), np.random.randint(n_population)
    scale = 1.0 if np.random.random() < 0.3 else 0.05 + 0.75 * np.random.random()
    for c in range(n):
        fractions[c] += scale * (all_fractions[j, c] - all_fractions[k, c])
        for a in range(n_axes):
            places[c, a] += scale * (all_places[j, c, a] - all_places[k, c, a])
    ordered = True
    for c in range(1, n):
        ordered = ordered and places[c - 1, n_axes - 1] <= places[c, n_axes - 1]
    return ordered
