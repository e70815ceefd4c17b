"""Section on differences between participants: what so few allow, the figure, and the tables of tests."""

import numpy as np

from mrspec_prep.reports.group.figures import comparison_figure, trend_figure
from mrspec_prep.reports.group.verdict import SIGNIFICANT, overall_p, p_in_words
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.words import percent

MINUS = "−"


def comparison_blocks(results, words, pen):
    """Blocks of the section; none where nothing could be tested.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.
    pen : GroupPen

    Yields
    ------
    dict

    """
    name = results.compared
    facts, rows = results.tests(name) if name else (None, {})
    if facts is not None:
        yield {"kind": "list", "entries": list(facts["Statements"])}
        if facts.get("SiteTellsGroup"):
            text = words["verdict"]["site_tells_group"]
            yield {"kind": "alert", "level": "caution", "text": text}
        yield _figure(results, words, pen, facts, rows)
        yield _table(results, words, facts, rows)
    others = [f for f in results.comparison_facts.get("Comparisons", []) if f["Column"] not in (name, "site")]
    if others:
        yield {"kind": "heading", "text": "Numbers known of the participants"}
        yield _others(results, words, others)


def _figure(results, words, pen, facts, rows):
    """Proportions by group, or against a number, with the result of the test above every panel."""
    name, shares = results.compared, results.proportions
    label = name.replace("_", " ")
    colors = results.colors
    notes = [
        (f"{_effect(facts, rows['effect'][i])}\n{p_in_words(rows['p_holm'][i])}", rows["p_holm"][i] <= SIGNIFICANT)
        for i in range(shares.shape[1])
    ]
    captions = words["captions"]
    if facts["Kind"] == "number":
        figure = trend_figure(shares, results.column(name), label, colors, notes)
        return pen.figure(figure, "comparison", captions["trend"].format(column=label))
    groups, levels = results.groups()
    levels = [level for level in levels if level in facts["Levels"]]
    known = np.isin(groups, levels)
    who = results.column("participant_id")[known]
    figure = comparison_figure(shares[known], groups[known], levels, colors, notes, who)
    kind = "effect_two" if len(levels) == 2 else "effect_many"
    effect = captions[kind].format(first=levels[0], second=levels[-1])
    return pen.figure(figure, "comparison", captions["comparison"].format(column=label, effect=effect))


def _table(results, words, facts, rows):
    """One row per cluster, and one for all together."""
    shares = results.proportions
    groups, levels = results.groups()
    levels = facts["Levels"]
    sites = np.isfinite(rows["p_sites"]).any()
    which = f": {levels[1]} {MINUS} {levels[0]}" if len(levels) == 2 else ""
    headers = ["cluster", *levels, f"effect{which}", f"delta{which}", "p", "corrected"]
    headers += ["within sites"] if sites else []
    table = []
    for index, cluster in enumerate(rows["cluster"]):
        one = cluster != "all"
        medians = [_share(np.median(shares[groups == level, index])) if one else "–" for level in levels]
        effect = f"{_effect(facts, rows['effect'][index])}{_interval(facts, rows, index)}" if one else "–"
        table.append([
            f"Cluster {cluster}" if one else "all together",
            *medians,
            effect,
            _signed(rows["delta"][index], 2) if one and np.isfinite(rows["delta"][index]) else "–",
            _p(rows["p"][index]),
            _p(rows["p_holm"][index]) if one else "–",
            *([_p(rows["p_sites"][index])] if sites else []),
        ])  # fmt: skip
    keep = [i for i in range(len(headers)) if any(row[i] != "–" for row in table)]
    colors = [*results.colors, ""]
    note = words["captions"]["tests_note"].format(effect=_what(facts), level=percent(facts["IntervalLevel"]))
    note = note if sites else note.partition(" Within sites")[0]
    return table_block([headers[i] for i in keep], [[row[i] for i in keep] for row in table], note, colors)


def _others(results, words, others):
    """One row per number: the cluster most closely related, and all together."""
    table = []
    for facts in others:
        _, rows = results.tests(facts["Column"])
        n = len(rows["p"]) - 1
        best = int(np.argmin(rows["p"][:n]))
        table.append([
            facts["Column"].replace("_", " "),
            str(facts["NParticipants"]),
            _p(overall_p(results, facts["Column"])),
            f"Cluster {best + 1}",
            f"{_effect(facts, rows['effect'][best])}{_interval(facts, rows, best)}",
            _p(rows["p_holm"][best]),
        ])  # fmt: skip
    headers = ["number", "participants", "p, all clusters", "closest", "rank correlation", "p corrected"]
    return table_block(headers, table, words["captions"]["others_note"], words=True)


def _what(facts):
    text = facts["EffectSize"]
    return text[:1].lower() + text[1:] if not text.startswith(("Hodges", "Spearman")) else text


def _effect(facts, value):
    """Size of an effect as its kind is read: percentage points with sign, share, correlation."""
    if facts["Kind"] == "number":
        return _signed(value, 2)
    return percent(value) if len(facts["Levels"]) > 2 else _signed(100 * value, 1)


def _interval(facts, rows, index):
    low, high = rows["low"][index], rows["high"][index]
    if not np.isfinite(low):
        return ""
    factor, digits = (1, 2) if facts["Kind"] == "number" else (100, 1)
    return f" [{_signed(factor * low, digits)}, {_signed(factor * high, digits)}]"


def _share(value):
    """Proportion with a decimal."""
    return f"{100 * value:.1f} %"


def _signed(value, digits):
    """Number with its sign; zero without."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{MINUS if value < 0 else '+'}{text}"


def _p(value):
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"
