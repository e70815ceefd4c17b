"""Tests of cluster proportions between participants, from the group's own table: ``group_comparison.tsv``."""

from pathlib import Path

import numpy as np

from mrspec_prep import __version__
from mrspec_prep.bids.output.derivatives import read_table, write_table
from mrspec_prep.bids.output.group_files import numbered_columns
from mrspec_prep.reports.group.collect import participants_columns
from mrspec_prep.spectra.group.comparison import compare_groups, correlate
from mrspec_prep.spectra.group.conclusions import conclusions

TABLE = ("column", "cluster", "contrast", "effect", "low", "high", "delta", "p", "p_holm", "p_sites")
MOST_LEVELS = 4  # a numeric column with more distinct values is a number, not a code of groups
FEWEST = 3  # participants for any test
EFFECTS = {
    "two groups": "Hodges-Lehmann shift of the proportion, {contrast}",
    "groups": "Epsilon squared of Kruskal and Wallis: share of the variation of ranks between groups",
    "number": "Spearman's rank correlation",
}


def write_comparison(out_dir):
    """Test the proportions of ``group_participants.tsv`` and write ``group_comparison.{tsv,json}``.

    Tested are the column named by ``CompareColumn`` of its sidecar, the site, and every other column of
    ``participants.tsv`` that holds a number with more than four values. With several sites every test
    is made a second time with labels dealt within sites.

    Parameters
    ----------
    out_dir : path
        Where the group's files lie.

    Returns
    -------
    Path
        Of the table; it has no rows where nothing could be tested.

    """
    out_dir = Path(out_dir)
    columns, about = read_table(out_dir / "group_participants.tsv")
    tests = [found for found in (_test(columns, about, name) for name in _names(columns, about)) if found]
    table = {name: [] for name in TABLE}
    for rows, _ in tests:
        for name in table:
            table[name] += rows[name]
    metadata = {
        "Description": "Tests of cluster proportions between participants, by permutation; no row where none was made",
        "Comparisons": [facts for _, facts in tests],
        "Sources": ["group_participants.tsv"],
        "Seed": about.get("Seed", 0),
        "SoftwareVersion": f"mrspec_prep {__version__}",
    }
    return write_table(out_dir / "group_comparison.tsv", table, metadata | COLUMNS)


COLUMNS = {
    "column": {"Description": "Column of group_participants.tsv that the proportions were tested against"},
    "cluster": {"Description": "Number of the cluster, or all: one test of all clusters together"},
    "contrast": {"Description": "Of two groups, in natural order: which minus which effect and delta are"},
    "effect": {"Description": "See EffectSize of the comparison in this file"},
    "low": {"Description": "Lower end of the interval of the effect (IntervalLevel)"},
    "high": {"Description": "Upper end of the interval of the effect (IntervalLevel)"},
    "delta": {"Description": "Cliff's delta: share of pairs with more in contrast's first group, minus that with less"},
    "p": {"Description": "Two-sided p-value by permutation of participants"},
    "p_holm": {"Description": "The same, corrected over the clusters (Holm)"},
    "p_sites": {"Description": "Two-sided p-value by permutation of participants within their sites"},
}


def _names(columns, about):
    """Columns to test against: the one asked for, the site, and numbers known of the participants."""
    asked = about.get("CompareColumn", "n/a")
    names = [asked] if asked in columns else []
    names += ["site", *(name for name in participants_columns(columns) if _is_number(columns[name]))]
    return list(dict.fromkeys(names))


def _is_number(values):
    return values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) > MOST_LEVELS


def _test(columns, about, name):
    """Rows and facts of the tests against one column; None where nothing can be tested."""
    values, included = columns[name], columns["included"].astype(bool)
    known = included & (np.isfinite(values) if values.dtype.kind == "f" else values != "n/a")
    who, sites = columns["participant_id"][known], columns["site"][known].astype(str)
    shares = np.array([columns[key][known] for key in numbered_columns(columns, "proportion")]).T
    one_site_each = len({*zip(who, sites, strict=True)}) == len(set(who))
    if len(set(who)) < FEWEST or len(np.unique(values[known])) < 2 or (name == "site" and not one_site_each):
        return None
    number = _is_number(values)
    compare = correlate if number else compare_groups
    labels = values[known] if number else np.array([_level(value) for value in values[known]])
    found = compare(shares, labels, who, seed=about.get("Seed") or 0)
    within = None
    if name != "site" and one_site_each and len(set(sites)) > 1 and _varies_within(labels, sites):
        within = compare(shares, labels, who, strata=sites, seed=about.get("Seed") or 0)
    kind = "number" if number else "groups"
    contrast = f"{found.levels[1]} minus {found.levels[0]}" if len(found.levels) == 2 else "n/a"
    facts = {
        "Column": name,
        "Kind": kind,
        "Levels": list(found.levels),
        "Counts": list(found.counts),
        "NParticipants": found.n_participants,
        "NScans": found.n_scans,
        "NLeftOut": len(set(columns["participant_id"][included])) - found.n_participants,
        "NArrangements": min(found.n_arrangements, 10**15),
        "Exact": found.exact,
        "SmallestP": found.smallest_p,
        "EffectSize": EFFECTS["two groups" if len(found.levels) == 2 else kind].format(contrast=contrast),
        "IntervalLevel": found.level,
        "Statements": conclusions(found, name.replace("_", " ")),
        "SmallestPWithinSites": within.smallest_p if within else "n/a",
        "SiteTellsGroup": bool(name != "site" and len(set(sites)) > 1 and not _varies_within(labels, sites)),
    }
    n = len(found.p_values) + 1
    nothing = [np.nan]
    rows = {
        "column": [name] * n,
        "cluster": [*range(1, n), "all"],
        "contrast": [contrast] * (n - 1) + ["n/a"],
        "effect": [*found.effect, *nothing],
        "low": [*found.low, *nothing],
        "high": [*found.high, *nothing],
        "delta": [*(found.delta if found.delta is not None else [np.nan] * (n - 1)), *nothing],
        "p": [*found.p_values, found.p_overall],
        "p_holm": [*found.p_holm, *nothing],
        "p_sites": [*within.p_values, within.p_overall] if within else [np.nan] * n,
    }
    return rows, facts


def _varies_within(labels, sites):
    """Whether any site holds more than one label: where none does, site and label cannot be told apart."""
    return any(len(np.unique(labels[sites == site])) > 1 for site in set(sites))


def _level(value):
    """Name of a group: codes that are whole numbers without their decimal point."""
    return f"{value:g}" if isinstance(value, float) else str(value)
