"""Do the proportions of clusters differ between participants? Permutation tests that are exact for few of them.

The proportions of a participant sum to one, many are zero, and participants are few: no distribution is
assumed. Under the null hypothesis the participants' labels could as well have been dealt otherwise; every
other deal (or a random sample of them) gives a statistic, and p is the share that is at least as large.
"""

import re
from dataclasses import dataclass
from math import factorial

import numpy as np

from mrspec_prep.spectra.group.effects import dominance, explained_ranks, rank_correlation, shift
from mrspec_prep.spectra.group.permutations import (
    BLOCK,
    EXACT_UP_TO,
    N_RANDOM,
    all_arrangements,
    n_arrangements,
    random_arrangements,
)
from mrspec_prep.spectra.group.scores import centred, per_participant, ranks

TIE = 1e-9  # statistics closer than this share of the largest are equal


@dataclass(frozen=True, eq=False)
class Comparison:
    """Tests of cluster proportions against groups or a number per participant.

    Parameters
    ----------
    levels : tuple of str
        Groups in natural order, of which the first is the reference; empty where a number was correlated.
    counts : tuple of int
        Participants per group; (n_participants,) for a number.
    n_scans : int
        Scans averaged into participants.
    p_values, p_holm : (M,) arrays
        Two-sided, per cluster; the second corrected over the clusters (Holm 1979).
    p_overall : float
        Of all clusters together, one test.
    effect, low, high : (M,) arrays
        Hodges-Lehmann shift of the proportion from the reference to the other group; epsilon squared for three
        groups or more (no interval: NaN); Spearman's correlation for a number.
    level : float
        Confidence of the intervals.
    delta : (M,) array or None
        Cliff's delta, two groups only.
    n_arrangements : int
        Distinct deals of the labels.
    exact : bool
        Whether all of them were tried.
    smallest_p : float
        That these tests could have given, whatever the proportions.
    stratified : bool
        Whether labels were dealt within strata (sites) only.

    """

    levels: tuple
    counts: tuple
    n_scans: int
    p_values: np.ndarray
    p_holm: np.ndarray
    p_overall: float
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    delta: np.ndarray | None
    n_arrangements: int
    exact: bool
    smallest_p: float
    stratified: bool

    @property
    def n_participants(self):
        """Participants compared."""
        return sum(self.counts)


def compare_groups(proportions, groups, participants=None, strata=None, *, level=0.95, seed=0):
    """Test whether cluster proportions differ between groups of participants.

    Two groups: differences of the means of root proportions, whose spread hardly depends on their size; with
    ranks no two-sided test of few participants could use its smallest p-value. Three groups or more: ranks,
    the statistic of Kruskal and Wallis (1952). All clusters together: the squared Hellinger distance between
    group means and overall mean, summed over participants (a permutational analysis of variance, Anderson 2001).

    Parameters
    ----------
    proportions : (n_scans, M) array
        Rows sum to one.
    groups : (n_scans,) sequence
        Label of each scan's participant.
    participants : (n_scans,) sequence, optional
        Who was scanned: repeated scans are averaged, so that no participant counts twice. Default: all differ.
    strata : (n_scans,) sequence, optional
        Labels are dealt anew within these only (sites), so that differences between them cannot pass for others.
    level : float
        Wanted confidence of the intervals.
    seed : int
        Of the random deals, where there are too many to try all.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than two groups or three participants, a participant in two groups or strata, lengths that
        differ, or proportions that are negative or not finite.

    """
    values, (labels, blocks), n_scans = per_participant(proportions, participants, groups, strata)
    names = sorted({str(label) for label in labels}, key=_natural)
    if len(names) < 2:
        raise ValueError(f"at least two groups are needed to compare, got {names}")
    codes = np.array([names.index(str(label)) for label in labels])
    counts = np.bincount(codes)
    roots = centred(np.sqrt(values), blocks)
    scores = roots if len(names) == 2 else centred(ranks(values, blocks), blocks)
    design = np.eye(len(names)) / np.sqrt(counts)
    p_values, p_overall, n_all, exact = _test(scores, roots, design, codes, blocks, seed)
    if len(names) == 2:
        first, second = values[codes == 0], values[codes == 1]
        found = np.array([shift(a, b, level) for a, b in zip(first.T, second.T, strict=True)])
        (effect, low, high), level = found[:, :3].T, float(found[0, 3])
        delta = np.array([dominance(a, b) for a, b in zip(first.T, second.T, strict=True)])
    else:
        effect, delta = np.array([explained_ranks(column, codes) for column in values.T]), None
        low = high = np.full(len(effect), np.nan)
    smallest = _equal_deals(codes, blocks) / n_all if exact else 1 / (N_RANDOM + 1)
    return Comparison(
        tuple(str(name) for name in names), tuple(int(n) for n in counts), n_scans, p_values, holm(p_values),
        p_overall, effect, low, high, level, delta, n_all, exact, smallest, strata is not None,
    )  # fmt: skip


def _natural(name):
    """Sort key under which week 9 comes before week 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]


def correlate(proportions, numbers, participants=None, strata=None, *, level=0.95, seed=0):
    """Test whether cluster proportions rise or fall with a number per participant (age, weeks).

    Ranks (Spearman); all clusters together: the squared Hellinger length of the line through root proportions
    against the number's rank.

    Parameters
    ----------
    proportions : (n_scans, M) array
        Rows sum to one.
    numbers : (n_scans,) array
        Averaged, like the proportions, over the scans of a participant.
    participants, strata, level, seed
        As in ``compare_groups``.

    Returns
    -------
    Comparison
        Without levels.

    Raises
    ------
    ValueError
        Fewer than three participants or two distinct numbers, numbers not finite, or as in ``compare_groups``.

    """
    numbers = np.asarray(numbers, float)
    if not np.isfinite(numbers).all():
        raise ValueError("numbers to correlate with must be finite; leave out participants without one")
    values, (blocks,), n_scans, numbers = per_participant(proportions, participants, strata, numbers=numbers)
    if np.ptp(numbers) == 0:
        raise ValueError(f"at least two distinct numbers are needed to correlate, all are {numbers[0]}")
    row_scores = centred(ranks(numbers[:, None], blocks), blocks)
    design, codes = np.unique(np.round(row_scores, 9), axis=0, return_inverse=True)
    codes = codes.ravel()
    scores, roots = centred(ranks(values, blocks), blocks), centred(np.sqrt(values), blocks)
    p_values, p_overall, n_all, exact = _test(scores, roots, design, codes, blocks, seed)
    found = np.array([rank_correlation(column, numbers, level) for column in values.T])
    mirrored = np.allclose(np.sort(row_scores, axis=0), -np.sort(row_scores, axis=0)[::-1])
    smallest = (1 + mirrored) / n_all if exact else 1 / (N_RANDOM + 1)
    return Comparison(
        (), (len(values),), n_scans, p_values, holm(p_values), p_overall, *found.T, level, None, n_all, exact,
        smallest, strata is not None,
    )  # fmt: skip


def holm(p_values):
    """P-values corrected so that the chance of any false finding stays below the level (Holm 1979)."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def _test(scores, roots, design, codes, blocks, seed):
    """P-value of each column of scores, and of all roots together; number of deals; whether all were tried."""
    n_all = n_arrangements(codes, blocks)
    exact = n_all <= EXACT_UP_TO
    if exact:
        deals = all_arrangements(codes, blocks)
    else:
        deals = random_arrangements(codes, blocks, N_RANDOM, np.random.default_rng(seed))
    columns = np.concatenate([scores, roots], axis=1)
    n_clusters = scores.shape[1]

    def statistics(arrangement):
        squares = np.square(np.einsum("pnk,nm->pkm", design[arrangement], columns)).sum(axis=1)
        return np.column_stack([squares[:, :n_clusters], squares[:, n_clusters:].sum(axis=1)])

    observed = statistics(codes[None])[0]
    at_least = np.zeros(n_clusters + 1, int)
    limit = observed - TIE * np.append(_scale(scores), _scale(roots).sum())
    for start in range(0, len(deals), BLOCK):
        found = statistics(deals[start : start + BLOCK])
        at_least += (found >= limit).sum(axis=0)
    p = at_least / len(deals) if exact else (1 + at_least) / (1 + len(deals))
    return p[:-1], float(p[-1]), n_all, exact


def _scale(scores):
    """Sum of squares of each column: what a statistic is small or large against."""
    return np.square(scores).sum(axis=0)


def _equal_deals(codes, blocks):
    """Deals that give the same statistic whatever the values: groups alike in every block may swap names."""
    per_block = np.array(
        [np.bincount(codes[blocks == block], minlength=codes.max() + 1) for block in np.unique(blocks)]
    )
    _, alike = np.unique(per_block, axis=1, return_counts=True)
    return int(np.prod([factorial(int(n)) for n in alike]))
