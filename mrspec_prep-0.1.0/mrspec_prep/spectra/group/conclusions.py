"""What a comparison of participants allows to be said, in sentences."""

import numpy as np

SIGNIFICANT = 0.05
FEW_SENTENCES = 4  # clusters named one by one


def conclusions(comparison, what="group"):
    """Sentences: what was compared, what the number of participants allows, what was found.

    Parameters
    ----------
    comparison : Comparison
    what : str
        Name of the group's or number's column.

    Returns
    -------
    list of str

    """
    parts = (_compared, _allowed, _together, _each, _caveat)
    return [sentence for part in parts for sentence in part(comparison, what)]


def p_in_words(p):
    """P-value with its sign: ``p = 0.012``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _compared(comparison, what):
    averaged = comparison.n_scans - comparison.n_participants
    scans = f" {comparison.n_scans} scans were averaged into participants first." if averaged else ""
    within = ", within sites" if comparison.stratified else ""
    tried = "all were tried" if comparison.exact else "a random sample of them was tried"
    if comparison.levels:
        sizes = _join([f"{n} {level}" for n, level in zip(comparison.counts, comparison.levels, strict=True)])
        ways = f"{comparison.n_arrangements:,}" if comparison.n_arrangements < 1e6 else "more than a million"
        yield f"{sizes} participants were compared. Their labels can be dealt in {ways} ways{within}; {tried}.{scans}"
    else:
        n = comparison.n_participants
        yield f"The proportions of {n} participants were set against {what} by rank{within}.{scans}"


def _allowed(comparison, what):
    n_clusters, smallest = len(comparison.p_values), comparison.smallest_p
    if smallest > SIGNIFICANT:
        yield (
            f"The smallest p-value that so few participants allow is {smallest:.2g}: no test can succeed here, "
            "whatever the proportions. Read the effects and their intervals."
        )
    elif smallest * n_clusters > SIGNIFICANT:
        corrected = min(smallest * n_clusters, 1)
        yield (
            f"The smallest possible p-value is {smallest:.2g}, or {corrected:.2g} once corrected for {n_clusters} "
            f"clusters: no cluster alone can be called different, only all of them together."
        )
    elif comparison.exact and comparison.levels:
        yield (
            f"The smallest possible p-value is {smallest:.2g}, or {smallest * n_clusters:.2g} once corrected for "
            f"{n_clusters} clusters."
        )


def _together(comparison, what):
    p = p_in_words(comparison.p_overall)
    if comparison.p_overall <= SIGNIFICANT:
        said = "differ between the groups" if comparison.levels else f"change with {what}"
        yield f"All clusters together, the proportions {said} ({p})."
    else:
        yield f"All clusters together, no difference was shown ({p})."


def _each(comparison, what):
    found = np.flatnonzero(comparison.p_holm <= SIGNIFICANT)
    found = found[np.lexsort((-np.abs(comparison.effect[found]), comparison.p_values[found]))]
    for index in found[:FEW_SENTENCES]:
        yield _finding(comparison, index, what)
    if len(found) > FEW_SENTENCES:
        yield f"{len(found) - FEW_SENTENCES} further clusters differ; see the table."
    if not len(found) and comparison.smallest_p * len(comparison.p_values) <= SIGNIFICANT:
        least = f" (the smallest corrected p-value is {comparison.p_holm.min():.2g})"
        yield f"No single cluster differs after correction for {len(comparison.p_values)} clusters{least}."
    if not len(found) and len(comparison.levels) == 2:
        reach = 100 * np.nanmax(np.maximum(np.abs(comparison.low), np.abs(comparison.high)))
        yield (
            f"This does not show that the groups are alike: the intervals reach differences of {reach:.0f} "
            "percentage points."
        )


def _finding(comparison, index, what):
    """One cluster that differs."""
    effect, low, high = (float(part[index]) for part in (comparison.effect, comparison.low, comparison.high))
    p = f"corrected {p_in_words(comparison.p_holm[index])}"
    name, level = f"Cluster {index + 1}", f"{100 * comparison.level:.0f} % interval"
    if not comparison.levels:
        verb = "rises" if effect > 0 else "falls"
        return f"{name} {verb} with {what} (rank correlation {effect:.2f}, {level} {low:.2f} to {high:.2f}, {p})."
    if len(comparison.levels) > 2:
        return f"{name} differs between the groups ({100 * effect:.0f} % of the variation of its ranks, {p})."
    more = "larger" if effect > 0 else "smaller"
    ends = sorted([abs(low), abs(high)]) if low * high > 0 else (low, high)
    size = f"{100 * abs(effect):.1f} percentage points ({level} {100 * ends[0]:.1f} to {100 * ends[1]:.1f}, {p})"
    return f"{name} is {more} in {comparison.levels[1]} than in {comparison.levels[0]} participants by {size}."


def _caveat(comparison, what):
    if (comparison.p_holm <= SIGNIFICANT).sum() > 1:
        yield "Proportions sum to one: where one cluster grows others must shrink, so these are not separate findings."


def _join(items):
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
