"""The report of the group: its files in, ``group.html`` and figures out."""

import tomllib
from pathlib import Path

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.reports.citations import try_citations
from mrspec_prep.reports.group.collect import collect_group
from mrspec_prep.reports.group.methods import group_methods_facts
from mrspec_prep.reports.group.sections import GroupPen, group_sections, trouble_section
from mrspec_prep.reports.group.verdict import scans_in_words
from mrspec_prep.reports.html import Group, Page, render
from mrspec_prep.reports.methods import compose
from mrspec_prep.reports.words import capital, count, kernel_in_words


def build_group_report(out_dir):
    """Write the group's report from what is finished, and the dataset's citations.

    Works from the files alone, also when a step failed or left a file that cannot be read: the page says so.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.

    Returns
    -------
    Path
        Of ``group.html``.

    """
    out_dir = Path(out_dir)
    words = group_words()
    results = collect_group(out_dir)
    pen = GroupPen(out_dir)
    sections = group_sections(results, words, pen)
    troubles = trouble_section(results, words)
    position = next((i for i, section in enumerate(sections) if section.id == "methods"), len(sections))
    sections = (*sections[:position], troubles, *sections[position:])
    _remove_stale(pen)
    try_citations(out_dir, None, [compose(group_methods_facts(results), words)])
    page = Page("Group", _subtitle(results), (Group("group", "Group", sections),))
    return write_atomically(out_dir / "group.html", render(page))


def group_words():
    """Words of the group's report, and under ``report`` those of the participants'."""
    return tomllib.loads(data_text("group_report.toml")) | {"report": tomllib.loads(data_text("report.toml"))}


def _subtitle(results):
    """What the page is about, in one line."""
    if not results.n_participants:
        return "Nothing was finished"
    parts = [scans_in_words(results)]
    if len(results.sites) > 1:
        parts.append(count(len(results.sites), "site"))
    if results.grid is not None:
        spectrum = kernel_in_words(results.spectra.metadata.get("Kernel"), results.grid.names)
        parts.append(f"{count(len(results.clusters), 'cluster')}, {spectrum} each")
    return capital(" · ".join(parts))


def _remove_stale(pen):
    """Remove figures of an earlier report that this one does not have."""
    for path in pen.folder.glob(f"{pen.stem}_*.svg") if pen.folder.is_dir() else ():
        if path.name not in pen.written:
            path.unlink(missing_ok=True)
