"""The report of one participant: finished derivatives in, ``sub-<label>.html`` and figures out."""

import tomllib
from pathlib import Path

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.reports.citations import try_citations, write_citations
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.crashes import collect_crashes
from mrspec_prep.reports.html import Group, Page, Section, render, verdict_block
from mrspec_prep.reports.maps.words import by_model, model_title
from mrspec_prep.reports.methods import compose, methods_facts
from mrspec_prep.reports.sections import Pen, series_sections
from mrspec_prep.reports.verdict import PROBLEM, Verdict
from mrspec_prep.reports.words import capital, count, kernel_in_words

MAX_LOG_LINES = 200  # of a crash file shown in the page


def build_subject_report(out_dir, subject):
    """Write the report of a participant from what is finished, and the dataset's citations.

    Works when a step is missing, failed or left a file that cannot be read: the page says so.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.
    subject : str
        Label with or without ``sub-``.

    Returns
    -------
    Path
        Of ``sub-<label>.html``.

    """
    out_dir, subject = Path(out_dir), str(subject).removeprefix("sub-")
    words = tomllib.loads(data_text("report.toml"))
    crashes = collect_crashes(out_dir, subject)
    found = collect_series(out_dir, subject)
    groups, written = [], set()
    for series in found:
        pen = Pen(out_dir, subject, series.slug)
        sections = series_sections(series, words, pen, bool(crashes), 1 / len(found))
        groups.append(Group(series.slug, series.title, tuple(sections)))
        written |= pen.written
    troubles = _trouble_section(found, crashes, words)
    if not found:
        nothing = Verdict(PROBLEM, words["verdict"]["nothing"], ())
        section = Section("verdict", words["sections"]["verdict"], "Verdict", (verdict_block(nothing),))
        groups.append(Group("results", "Results", (section, troubles)))
    elif len(groups) == 1:
        groups = [Group(groups[0].slug, groups[0].title, _with_troubles(groups[0].sections, troubles))]
    else:
        groups.append(Group("participant", "Whole participant", (troubles,)))
    page = Page(f"Participant {subject}", _subtitle(found), tuple(groups))
    _remove_stale(out_dir / f"sub-{subject}" / "figures", written)
    try_citations(out_dir, subject, _methods_texts(found, words))
    return write_atomically(out_dir / f"sub-{subject}.html", render(page))


def build_boilerplate(out_dir, subject):
    """Write the methods text and references of what is finished, and nothing else.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.
    subject : str
        Label with or without ``sub-``.

    Returns
    -------
    Path
        Of ``logs/CITATION.md``; ``.bib`` and ``.html`` lie beside it.

    """
    out_dir, subject = Path(out_dir), str(subject).removeprefix("sub-")
    words = tomllib.loads(data_text("report.toml"))
    write_citations(out_dir, subject, _methods_texts(collect_series(out_dir, subject), words))
    return out_dir / "logs" / "CITATION.md"


def _methods_texts(found, words):
    return [compose(methods_facts(series, words), words, own=False) for series in found]


def _subtitle(found):
    """What the page is about, in one line."""
    if not found:
        return "Nothing was finished"
    kinds = []
    for series in found:
        spectrum = f", {kernel_in_words(series.kernel, series.grid.names)}" if series.grid else ""
        mapped = "".join(f", {model_title(model)} maps" for model in by_model(series) if model)
        counted = ", number of compartments" * (series.n_compartments is not None)
        kinds.append(f"{series.title}{spectrum}{mapped}{counted}")
    many = f"{count(len(found), 'series', 'series')}: " if len(found) > 1 else ""
    return capital(f"{many}{'; '.join(kinds)}")


def _with_troubles(sections, troubles):
    """Sections of a single series with what went wrong before the methods, as the reader expects."""
    position = next((i for i, s in enumerate(sections) if s.id.endswith("methods")), len(sections))
    return (*sections[:position], troubles, *sections[position:])


def _trouble_section(found, crashes, words):
    """Errors of the run and gaps in what is finished, in plain words."""
    blocks = []
    for crash in crashes:
        cause = crash.cause.partition(":")[2].strip() or crash.cause
        text = f"The step {crash.step.replace('_', ' ')} failed: {cause}"
        blocks.append({"kind": "alert", "level": "problem", "text": text})
        lines = crash.text.splitlines()
        shown = "\n".join(lines[-MAX_LOG_LINES:])
        blocks.append({"kind": "details", "summary": f"Log ({crash.file})", "text": shown})
    for series in found:
        for name, problem in series.unreadable:
            text = f"{name} cannot be read ({problem}). Delete it and run again."
            blocks.append({"kind": "alert", "level": "problem", "text": text})
        missing = [words["steps"][step] for step in series.missing_steps()]
        if missing:
            text = f"Not there for {series.title}: {', '.join(missing)}."
            blocks.append({"kind": "alert", "level": "caution", "text": text})
    if not blocks:
        blocks.append({"kind": "alert", "level": "good", "text": "No step failed and nothing is missing."})
    return Section("errors", words["sections"]["errors"], "Errors", tuple(blocks))


def _remove_stale(folder, written):
    """Remove figures of an earlier report that this one does not have."""
    if folder.is_dir():
        for path in folder.glob("*.svg"):
            if path.name not in written:
                path.unlink(missing_ok=True)
