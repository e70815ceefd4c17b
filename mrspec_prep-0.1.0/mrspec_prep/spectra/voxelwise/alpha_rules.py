"""Rules that pick alpha on the path of a set of voxels: roots of the residual, extremes of a score."""

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.voxelwise.active_set import active_set
from mrspec_prep.spectra.voxelwise.alpha_path import evaluate, forget, new_state, products

CHI2, TARGET, GCV, LCURVE = 0, 1, 2, 3
ROOT_TOLERANCE = 1e-5  # of the residual, relative to the growth over the unregularised residual that a rule asks for
LONGEST_STEP = np.log(100.0)
GRID_STEP = np.log(10.0) / 3  # scan of a score: three values per decade
WINDOW = np.log(10.0) / 3  # curvature of the L-curve is the mean over this much to either side
FINEST_STEP = GRID_STEP / 100  # 0.8 % of alpha
START_FACTOR = 20.0  # usual ratio of the alpha sought to its lower bound
NOTHING = 1e-24  # a residual below this share of the signal's energy is rounding


@compiled
def unregularised(columns, voxels, passive, tolerance, max_changes):
    """Weighted residual and penalty at alpha = 0; its non-zero bins become the start of the path."""
    signals, _, outside, weights = voxels
    n_bins, n_ranks = columns.shape
    f = np.empty(n_bins)
    base, eta = 0.0, 0.0
    for v in range(signals.shape[0]):
        f[:] = 0.0
        active_set(columns, signals[v], 0.0, f, tolerance, max_changes)
        rest = signals[v].copy()
        norm, left = 0.0, outside[v]
        for j in range(n_bins):
            passive[v, j] = f[j] > 0.0
            if passive[v, j]:
                norm += f[j] * f[j]
                for k in range(n_ranks):
                    rest[k] -= f[j] * columns[j, k]
        for k in range(n_ranks):
            left += rest[k] * rest[k]
        base += weights[v] * left
        eta += weights[v] * norm
    return base, eta


@compiled
def find_root(problem, voxels, state, base, target, bounds, start):
    """Log alpha at which the residual is ``target``, by Newton on log(rho - base) within a bracket.

    Returns log alpha, evaluated last, and whether the equation holds there.
    """
    low, high = bounds
    candidate, u, excess = min(max(start, low), high), 0.0, 0.0
    below, above = low, high
    for _ in range(60):
        u = candidate
        rho, _, slope, _ = evaluate(problem, voxels, state, np.exp(u), False)
        excess = rho - target
        if abs(excess) <= ROOT_TOLERANCE * (target - base):
            return u, True
        if excess > 0.0:
            if u <= low:
                return u, False
            above = u
        else:
            if u >= high:
                return u, False
            below = u
        step = LONGEST_STEP if excess < 0.0 else -LONGEST_STEP
        if rho > base and slope > 0.0:
            wanted = -np.log((rho - base) / (target - base)) * (rho - base) / slope
            step = min(max(wanted, -LONGEST_STEP), LONGEST_STEP)
        candidate = u + step
        if candidate >= above:
            candidate = high if above == high and u < high and excess < 0.0 else 0.5 * (below + above)
        elif candidate <= below:
            candidate = low if below == low and u > low and excess > 0.0 else 0.5 * (below + above)
        if above - below < 1e-13:
            break
    return u, abs(excess) <= 100.0 * ROOT_TOLERANCE * (target - base)


@compiled
def score(problem, voxels, state, rule, n_data, u):
    """What the rule wants least: log of the GCV function, or minus the mean curvature of the L-curve about alpha."""
    x, y, angle = 0.0, 0.0, 0.0
    for side in range(2):
        at = u if rule == GCV else u + (1 - 2 * side) * WINDOW
        rho, eta, _, trace = evaluate(problem, voxels, state, np.exp(at), rule == GCV)
        if rule == GCV:
            return np.log(max(rho, 1e-300)) - 2.0 * np.log(max(n_data - trace, 1e-12))
        if rho <= 0.0 or eta <= 0.0:
            return 0.0
        sign = 1 - 2 * side
        x += sign * 0.5 * np.log(rho)
        y += sign * 0.5 * np.log(eta)
        angle += sign * np.arctan2(np.exp(at) * eta, rho)  # tangent of the L-curve: dx / dy = -alpha eta / rho
    length = np.hypot(x, y)
    return -angle / length if length > 0.0 else 0.0


@compiled
def keep(what, where):
    """Copy one array of a state into another."""
    for v in range(what.shape[0]):
        for j in range(what.shape[1]):
            where[v, j] = what[v, j]


@compiled
def least_score(problem, voxels, state, rule, n_data, bounds, start, scanning):
    """Log alpha of the least score: the best of a grid over the bounds where scanning, then a search by halved steps.

    Returns log alpha and whether it lies inside the bounds. The state is left near it.
    """
    low, high = bounds
    n_grid = int(np.ceil((high - low) / GRID_STEP)) + 1 if scanning else 1
    best, least, step, tried, failed = start, np.inf, GRID_STEP, 0, 0
    passive, duals = state[0].copy(), state[1].copy()
    while step >= FINEST_STEP:
        if tried < n_grid:
            u = max(high - tried * GRID_STEP, low) if scanning else start
        else:  # right and left in turn
            u = min(max(best + (step if failed == 0 else -step), low), high)
        value = score(problem, voxels, state, rule, n_data, u)
        tried += 1
        failed += 1
        if value < least:
            best, least, failed = u, value, 0
            keep(state[0], passive)
            keep(state[1], duals)
        if tried <= n_grid:
            failed = 0
        elif failed == 2:
            step *= 0.5
            failed = 0
        if tried >= n_grid:
            keep(passive, state[0])
            keep(duals, state[1])
    return best, low < best < high


@compiled
def onto_columns(columns, signals):
    """Products of every signal with every column."""
    out = np.empty((signals.shape[0], columns.shape[0]))
    for v in range(signals.shape[0]):
        products(columns, signals[v], out[v])
    return out


@compiled
def choose(problem, coarse, voxels, state, rule, target, n_data, bounds, stop):
    """Alpha of a set of voxels by a rule; the state is left at the path's point of that alpha.

    ``target``: residual wanted, or its ratio to the unregularised one (``CHI2``). ``coarse``: the
    problem on merged columns, where a large one starts: there the residual is to grow as much.
    Returns alpha and whether the rule's equation has its solution inside the bounds.
    """
    signals, projected, outside, weights = voxels
    columns, _, is_small = problem
    is_root = rule in (CHI2, TARGET)
    u, met, base, wanted = bounds[1], False, 0.0, 0.0
    possible = True
    if is_root:
        base, eta = unregularised(columns, voxels, state[0], stop[0], stop[1])
        energy = 0.0
        for v in range(signals.shape[0]):
            energy += weights[v] * outside[v]
            for k in range(signals.shape[1]):
                energy += weights[v] * signals[v, k] * signals[v, k]
        wanted = target * base if rule == CHI2 else target
        possible = wanted > base and wanted - base > NOTHING * energy
        if not possible:
            u = bounds[0]
        elif is_small and eta > 0.0:
            u = np.log(START_FACTOR * (wanted - base) / eta)  # rho <= base + alpha eta: without it, below the root
    for level in range(1 if is_small else 0, 2):
        now, seen, here, floor = problem, voxels, state, base
        if level == 0:
            now, seen = coarse, (signals, onto_columns(coarse[0], signals), outside, weights)
            here = new_state(coarse, signals, seen[1])
            if is_root and possible:
                floor, eta = unregularised(coarse[0], seen, here[0], stop[0], stop[1])
                u = np.log(START_FACTOR * (wanted - base) / eta) if eta > 0.0 else bounds[1]
        if is_root and possible:
            u, met = find_root(now, seen, here, floor, floor + wanted - base, bounds, u)
        elif not is_root:
            u, met = least_score(now, seen, here, rule, n_data, bounds, u, is_small or level == 0)
        if not (is_root and possible):
            evaluate(now, seen, here, np.exp(u), False)
        if level == 0:
            keep(here[1], state[1])
    return np.exp(u), met


@compiled
def choose_each(problem, coarse, voxels, rule, targets, n_data, bounds, stop, alphas, met, duals):
    """``choose`` for voxels one by one; fills alphas, whether the rule is met, and the duals."""
    signals, projected, outside, weights = voxels
    state = new_state(problem, signals[:1], projected[:1])
    for v in range(signals.shape[0]):
        one = (signals[v : v + 1], projected[v : v + 1], outside[v : v + 1], weights[v : v + 1])
        forget(state[3])
        for j in range(projected.shape[1]):
            state[0][0, j] = projected[v, j] > 0.0
        for k in range(signals.shape[1]):
            state[1][0, k] = signals[v, k]
        alphas[v], met[v] = choose(problem, coarse, one, state, rule, targets[v], n_data, bounds, stop)
        for k in range(signals.shape[1]):
            duals[v, k] = state[1][0, k]
