"""Methods text and references of the whole dataset: ``logs/CITATION.md``, ``.bib`` and ``.html``."""

import html
import logging
from pathlib import Path

from mrspec_prep.bids.atomic import write_if_changed, write_json
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.locks import dataset_lock
from mrspec_prep.bids.output.catalogue import load_bibliography
from mrspec_prep.reports.methods import cited_keys, numbered, reference_in_words
from mrspec_prep.reports.words import join

LOGGER = logging.getLogger("mrspec_prep")
OPENING = "This text may be copied into a manuscript as it is. It is dedicated to the public domain (CC0)."
MOST_NAMES = 8  # participants named before a paragraph; of more, the first


def write_citations(out_dir, subject, texts):
    """Note what was done for one participant (or the group) and write the citation of the dataset anew.

    Participants treated alike share a paragraph. Jobs that end at the same time wait for one
    another, so that the last one sees all.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.
    subject : str or None
        Label; None for the group level.
    texts : sequence of str
        Methods text of each series, with ``[@key]`` citations.

    """
    logs = Path(out_dir) / "logs"
    (logs / "methods").mkdir(parents=True, exist_ok=True)
    with dataset_lock(out_dir):
        name = "group" if subject is None else f"sub-{subject}"
        write_json(logs / "methods" / f"{name}.json", {"texts": list(texts)})
        paragraphs = _paragraphs(logs / "methods")
        keys = list(dict.fromkeys(key for _, text in paragraphs for key in cited_keys(text)))
        write_if_changed(logs / "CITATION.md", _markdown(paragraphs, keys))
        write_if_changed(logs / "CITATION.bib", _bibtex(keys))
        write_if_changed(logs / "CITATION.html", _page(paragraphs, keys))


def try_citations(out_dir, subject, texts):
    """``write_citations`` of a report, which tells the same: where it cannot be done, that is only a warning."""
    try:
        write_citations(out_dir, subject, texts)
    except (InputError, OSError) as error:
        LOGGER.warning("The methods text in %s is not up to date: %s", Path(out_dir) / "logs" / "CITATION.md", error)
        LOGGER.warning("Remedy: run again with --reports-only once that is mended")


def _paragraphs(folder):
    """(whom it is about, text) of every distinct text, in order of the first participant."""
    by_text = {}
    for path in [*sorted(folder.glob("sub-*.json")), *folder.glob("group.json")]:
        for text in read_json(path)["texts"]:
            subjects = by_text.setdefault(text, [])
            if path.stem not in subjects:
                subjects.append(path.stem)
    if len(by_text) == 1:
        return [("", text) for text in by_text]
    return [(_who(subjects), text) for text, subjects in by_text.items()]


def _who(subjects):
    """Whom a paragraph is about: names, or how many there are."""
    if subjects == ["group"]:
        return "Group level"
    return join(subjects) if len(subjects) <= MOST_NAMES else f"{subjects[0]} and {len(subjects) - 1} others"


def _markdown(paragraphs, keys):
    parts = ["# Methods", "", OPENING, ""]
    for subjects, text in paragraphs:
        parts += [f"{subjects}: {numbered(text, keys)}" if subjects else numbered(text, keys), ""]
    parts += ["## References", ""]
    for position, key in enumerate(keys, 1):
        reference, doi = reference_in_words(key)
        parts.append(f"{position}. {reference}" + (f" https://doi.org/{doi}" if doi else ""))
    return "\n".join(parts) + "\n"


def _bibtex(keys):
    entries = load_bibliography()
    return "\n\n".join(entries[key]["source"] for key in sorted(keys)) + "\n"


def _page(paragraphs, keys):
    body = [f"<p>{html.escape(OPENING)}</p>"]
    for subjects, text in paragraphs:
        label = f"<strong>{html.escape(subjects)}:</strong> " if subjects else ""
        body.append(f"<p>{label}{html.escape(numbered(text, keys))}</p>")
    items = []
    for key in keys:
        reference, doi = reference_in_words(key)
        link = f' <a href="https://doi.org/{html.escape(doi)}">doi:{html.escape(doi)}</a>' if doi else ""
        items.append(f"<li>{html.escape(reference)}{link}</li>")
    style = "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:16px/1.6 system-ui,sans-serif;color:#1b2733}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Methods</title>'
        f"<style>{style}</style></head>\n<body><h1>Methods</h1>\n"
        + "\n".join(body)
        + f"\n<h2>References</h2>\n<ol>\n{chr(10).join(items)}\n</ol>\n</body></html>\n"
    )
