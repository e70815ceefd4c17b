"""Facts that the methods text of the group level may speak of."""

import numpy as np

from mrspec_prep import __version__
from mrspec_prep.reports.facts import grid_in_words
from mrspec_prep.reports.group.verdict import scans_in_words
from mrspec_prep.reports.words import count, join, number


def group_methods_facts(results):
    """What the sentences may speak of, from the sidecars of the group's files; unknown facts are absent.

    Parameters
    ----------
    results : GroupResults

    Returns
    -------
    dict
        Fields of the sentences, and the truths they need under their names.

    """
    facts = {
        "version": __version__,
        "seed": results.about.get("Seed"),
        "options_hash": results.about.get("OptionsHash"),
    }
    if results.n_participants:
        facts["scans"] = scans_in_words(results)
    facts |= _fit_facts(results) | _selection_facts(results) | _test_facts(results)
    return {name: value for name, value in facts.items() if value is not None}


def _fit_facts(results):
    if results.spectra is None:
        return {}
    about = results.spectra.metadata
    n_protocols = len(results.about.get("Protocols", []))
    frozen = about.get("Mode") == "frozen"
    return {
        "joint": not frozen,
        "frozen": frozen,
        "atlas": (about.get("Frozen") or {}).get("Atlas", "").rpartition("/")[2] or None,
        "alpha": f"{about['Alpha']:g}" if about.get("Alpha") is not None else None,
        "scale": about.get("Scale"),
        "grid": grid_in_words(results.grid),
        "protocols": count(n_protocols, "protocol"),
        "several_protocols": n_protocols > 1,
        "one_protocol": n_protocols <= 1,
        "sites": count(len(results.sites), "site"),
        "site_gains": bool(results.gains),
        "student_t": about.get("NoiseDistribution") == "student-t",
        "n_components": number(len(results.components.spectra)) if results.components else None,
    }


def _selection_facts(results):
    if results.spectra is None or results.spectra.metadata.get("Mode") == "frozen":
        return {}
    tried = np.asarray(results.selection.get("n_clusters", []), float)
    chosen_by = str(results.selection_facts.get("Criterion", "")).lower()
    several = len(tried) > 1
    return {
        "n_clusters": number(len(results.clusters)),
        "low": number(tried.min()) if several else None,
        "high": number(tried.max()) if several else None,
        "chosen_by_bic": several and chosen_by == "bic",
        "chosen_by_aic": several and chosen_by == "aic",
        "n_clusters_fixed": not several,
    }


def _test_facts(results):
    tests = results.comparison_facts.get("Comparisons", [])
    groups = [test for test in tests if test["Kind"] == "groups"]
    numbers = [test["Column"].replace("_", " ") for test in tests if test["Kind"] == "number"]
    return {
        "tested": bool(tests),
        "averaged": any(test["NScans"] > test["NParticipants"] for test in tests),
        "two_groups": any(len(test["Levels"]) == 2 for test in groups),
        "many_groups": any(len(test["Levels"]) > 2 for test in groups),
        "numbers": join(numbers) if numbers else None,
        "within_sites": any(test.get("SmallestPWithinSites", "n/a") != "n/a" for test in tests),
    }
