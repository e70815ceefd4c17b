"""What to think of a group's results, and of its sites, in words."""

import numpy as np

from mrspec_prep.reports.verdict import CAUTION, FEW, GOOD, PROBLEM, Remark, Verdict, is_still_falling
from mrspec_prep.reports.words import at_edge, capital, count, join, kernel_in_words, number, percent

STABLE = 0.9  # adjusted Rand index between partitions of different starts
RESIDUAL_HIGH = 1.3  # RMS over its expectation
UNEXPLAINED = 0.05  # share of voxels that an atlas may fail to describe without a warning
ALONE = 0.9  # share of a cluster's voxels in one participant that is called an oddity
SITE_SNR, SITE_RESIDUAL, SITE_GAIN = 2.0, 1.25, 1.5  # ratios to the other sites beyond which a site stands out
SIGNIFICANT = 0.05
MOST_NAMES = 8  # scans named in a sentence


def judge_group(results, words):
    """Verdict on a group.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.

    Returns
    -------
    Verdict

    """
    texts = words["verdict"]
    if results.spectra is None or not results.n_participants:
        return Verdict(PROBLEM, texts["nothing"], ())
    parts = (_what, _only_one, _left_out, _clustering, _residual, _unexplained, _oddities, _site_remarks, _difference)
    remarks = [remark for part in parts for remark in part(results, texts)]
    remarks[1:1] = _resolution(results, words["report"]["verdict"])
    incomplete = bool(results.crashes or results.unreadable)
    if incomplete:
        remarks.append(Remark("", PROBLEM, texts["look_errors"]))
    level = next((w for w in (PROBLEM, CAUTION) if any(remark.weight == w for remark in remarks)), GOOD)
    places = list(dict.fromkeys(remark.look for remark in remarks if remark.look)) + [texts["look_maps"]]
    remarks.append(Remark(texts["look_first"].format(places=join(places[:3]))))
    return Verdict(level, texts["incomplete" if incomplete else level], tuple(r for r in remarks if r.text))


def scans_in_words(results):
    """Scans and participants: ``13 scans of 12 participants``."""
    n_scans, n = int(results.included.sum()), results.n_participants
    return count(n, "participant") if n_scans == n else f"{count(n_scans, 'scan')} of {count(n, 'participant')}"


def site_remarks(results, texts):
    """What sets sites apart; one sentence where nothing does; none where there is one site or nothing to compare.

    Parameters
    ----------
    results : GroupResults
    texts : dict
        Words of the verdict.

    Returns
    -------
    list of Remark

    """
    sites, codes = results.sites, results.column("site")
    if len(sites) < 2:
        return []
    found = []
    for key, limit in (("snr", SITE_SNR), ("residual", SITE_RESIDUAL)):
        values = results.column(key)
        if values is None:
            continue
        for site in sites:
            own, rest = (float(np.nanmedian(values[part])) for part in (codes == site, codes != site))
            worse = own > limit * rest if key == "residual" else own * limit < rest
            if worse:
                said = {"site": site, "value": f"{own:.3g}", "rest": f"{rest:.3g}"}
                found.append(Remark(texts[f"site_{key}"].format(**said), CAUTION, texts["look_sites"]))
    for site, gain in results.gains.items():
        if site in sites and not 1 / SITE_GAIN < gain < SITE_GAIN:
            found.append(Remark(texts["site_gain"].format(site=site, value=f"{gain:.3g}")))
    who = results.column("participant_id")
    alone = [site for site in sites if len(set(who[codes == site])) == 1]
    if alone:
        few = f"site {alone[0]} has" if len(alone) == 1 else f"sites {join(alone)} each have"
        found.append(Remark(capital(texts["site_alone"].format(sites=few)), CAUTION, texts["look_sites"]))
    overall = overall_p(results, "site")
    if overall is not None and overall <= SIGNIFICANT:
        text = texts["site_proportions"].format(p=p_in_words(overall))
        found.append(Remark(text, CAUTION, texts["look_sites"]))
    compared = [name for key, name in (("snr", "noise"), ("residual", "residual")) if results.column(key) is not None]
    compared += ["proportions"] if overall is not None else []
    if not found and compared:
        found.append(Remark(texts["sites_alike"].format(what=join(compared, "or"))))
    return found


def overall_p(results, column):
    """P-value of all clusters together against one column, or None."""
    _, rows = results.tests(column)
    here = np.flatnonzero(rows.get("cluster", np.array([])) == "all")
    return float(rows["p"][here[0]]) if len(here) else None


def p_in_words(p):
    """P-value with its sign: ``p = 0.012``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def holders(results):
    """Largest share of each cluster's voxels in one participant, that participant, and share of scans that hold it.

    Returns
    -------
    share : (M,) array
    names : list of str
    spread : (M,) array
        Share of scans with at least 1 % of their voxels in the cluster.

    """
    shares, voxels = results.proportions, results.column("n_voxels")
    counts = shares * (voxels[:, None] if voxels is not None else 1.0)
    who, inverse = np.unique(results.column("participant_id"), return_inverse=True)
    per_person = np.zeros((len(who), shares.shape[1]))
    np.add.at(per_person, inverse, counts)
    total = np.maximum(per_person.sum(axis=0), 1e-12)
    return (per_person / total).max(axis=0), [str(who[i]) for i in per_person.argmax(axis=0)], (shares >= 0.01).mean(0)


def _what(results, texts):
    about = results.spectra.metadata
    voxels = results.column("n_voxels")
    n_sites, protocols = len(results.sites), results.about.get("Protocols", [])
    said = {
        "n_clusters": count(len(results.clusters), "tissue cluster"),
        "spectrum": kernel_in_words(about.get("Kernel"), results.grid.names),
        "scans": scans_in_words(results),
        "n_voxels": number(int(voxels.sum())) if voxels is not None else "?",
        "sites": f", {count(n_sites, 'site')}" if n_sites > 1 else "",
        "protocols": f", {count(len(protocols), 'protocol')}" if len(protocols) > 1 else "",
    }
    yield Remark(texts["frozen" if about.get("Mode") == "frozen" else "fitted"].format(**said))


def _resolution(results, texts):
    """What the protocols cannot tell however many participants, in the words of the participants' reports."""
    keys = [f"two_values_{axis}" for axis in results.unresolved]
    return [Remark(texts[key], CAUTION) for key in keys if key in texts]


def _only_one(results, texts):
    """A joint fit to one participant is no group; an atlas is applied to one as well as to many."""
    if results.n_participants == 1 and results.spectra.metadata.get("Mode") != "frozen":
        yield Remark(texts["only_one"], CAUTION, texts["look_participants"])


def _left_out(results, texts):
    n = int((~results.included).sum())
    if n:
        text = texts["left_out"].format(scans=capital(count(n, "scan")))
        yield Remark(text, CAUTION, texts["look_participants"])


def _clustering(results, texts):
    """Whether the number of clusters means anything, and whether the fit is the only one."""
    about, facts, table = results.spectra.metadata, results.selection_facts, results.selection
    if about.get("Mode") == "frozen":
        return
    tried = np.asarray(table.get("n_clusters", []), float)
    criterion = str(facts.get("Criterion", about.get("Criterion", "bic"))).lower()
    said = {"criterion": criterion.upper(), "n_clusters": number(len(results.clusters))}
    if len(tried) > 1 and is_still_falling(table, criterion):
        text = texts["still_falling"].format(**said, largest=number(tried.max()))
        yield Remark(text, CAUTION, texts["look_selection"])
    elif len(tried) > 1:
        yield Remark(texts["chosen"].format(**said, low=number(tried.min()), high=number(tried.max())))
    else:
        yield Remark(texts["fixed"].format(**said))
    if about.get("Converged") is False:
        yield Remark(texts["not_converged"].format(steps=number(about.get("Steps"))), CAUTION, texts["look_trust"])
    stability = about.get("Stability")
    if isinstance(stability, int | float) and np.isfinite(stability):
        kind, weight = ("stable", GOOD) if stability >= STABLE else ("unstable", CAUTION)
        yield Remark(
            texts[kind].format(stability=f"{stability:.2f}"), weight, texts["look_trust"] if kind != "stable" else None
        )


def _residual(results, texts):
    values = results.column("residual")
    if values is None:
        return
    middle = float(np.nanmedian(values))
    said = {"residual": f"{middle:.2f}"}
    if middle > RESIDUAL_HIGH:
        yield Remark(texts["residual_high"].format(**said), CAUTION, texts["look_trust"])
        return
    yield Remark(texts["residual_good"].format(**said))
    odd = np.flatnonzero(values > RESIDUAL_HIGH)
    if len(odd):
        names = [results.names()[index] for index in odd[np.argsort(-values[odd])]]
        more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        scans = capital(count(len(odd), "scan"))
        text = texts["residual_scans"].format(scans=scans, limit=RESIDUAL_HIGH, names=join(names[:MOST_NAMES] + more))
        yield Remark(text.replace("scan stand out", "scan stands out"), CAUTION, texts["look_participants"])


def _unexplained(results, texts):
    """Voxels that a frozen atlas does not describe."""
    values = results.column("unexplained")
    if values is not None:
        share = float(np.nanmedian(values))
        weight = CAUTION if share > UNEXPLAINED else GOOD
        yield Remark(texts["unexplained"].format(share=percent(share)), weight, texts["look_participants"])


def _oddities(results, texts):
    """Clusters that rest on one participant, on few voxels, or on the edge of the grid."""
    if results.n_participants > 2:
        share, _, _ = holders(results)
        alone = [str(index + 1) for index in np.flatnonzero(share > ALONE)]
        if alone:
            kind = "one_participant" if len(alone) == 1 else "one_participant_many"
            text = texts[kind].format(clusters=f"Cluster{'s' if len(alone) > 1 else ''} {join(alone)}")
            yield Remark(text, CAUTION, texts["look_trust"])
    small = [str(i + 1) for i, c in enumerate(results.clusters) if c.get("weight", 1) < FEW]
    if small:
        named = f"cluster {small[0]} holds" if len(small) == 1 else f"clusters {join(small)} each hold"
        yield Remark(capital(texts["small_cluster"].format(clusters=named)))
    edge = [
        str(i + 1) for i, c in enumerate(results.clusters) if c.get("peaks") and at_edge(c["peaks"][0], results.grid)
    ]
    if edge:
        yield Remark(texts["edge"].format(clusters=f"cluster{'s' if len(edge) > 1 else ''} {join(edge)}"))


def _site_remarks(results, texts):
    yield from site_remarks(results, texts)


def _difference(results, texts):
    """What the comparison of participants found."""
    facts, rows = results.tests(results.compared) if results.compared else (None, {})
    if facts is None:
        yield Remark(texts["no_comparison"])
        return
    if facts.get("SiteTellsGroup"):
        yield Remark(texts["site_tells_group"], CAUTION, texts["look_sites"])
    found = [
        s for s in facts["Statements"] if s.startswith(("All clusters together", "Cluster ", "The smallest p-value"))
    ]
    yield Remark(" ".join(found[:3]), GOOD, texts["look_comparison"])
