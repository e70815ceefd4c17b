"""Tables of who took part in a group and who did not."""

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mrspec_prep.bids.output.derivative_dataset import linked_datasets
from mrspec_prep.reports.group.collect import participants_columns
from mrspec_prep.reports.group.verdict import MOST_NAMES
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.words import capital, count, join, number, percent, short

MOST_COLUMNS = 6  # of participants.tsv shown
DASH = "–"


def participants_table(results, words, packed=()):
    """One row per scan that took part, linked to the participant's own report where there is one.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.
    packed : collection of int
        Rows that the viewer can show.

    """
    count_of = int(results.included.sum())
    who = results.column("participant_id")
    columns = {"participant": [_cell(results, str(name), row, packed) for row, name in enumerate(who)]}
    if results.column("session") is not None:
        columns["session"] = _texts(results.column("session"))
    if len(results.sites) > 1:
        columns["site"] = _texts(results.column("site"))
    for name in _others(results):
        columns[name.replace("_", " ")] = _texts(results.column(name))
    makers = {
        "n_voxels": ("voxels", lambda value: number(int(value))),
        "snr": ("SNR of all volumes", lambda value: f"{value:.0f}"),
        "residual": ("residual", lambda value: f"{value:.2f}"),
        "certainty": ("certainty", lambda value: f"{value:.2f}"),
        "unexplained": ("not explained", percent),
    }
    for name, (title, text) in makers.items():
        values = results.column(name)
        if values is not None:
            columns[title] = [text(value) if np.isfinite(value) else DASH for value in values]
    shares = results.proportions
    if shares.size:
        main = shares.argmax(axis=1)
        columns["main cluster"] = [f"{m + 1} ({percent(shares[row, m])})" for row, m in enumerate(main)]
    rows = [[column[row] for column in columns.values()] for row in range(count_of)]
    shown = {"SNR of all volumes", "residual", "certainty"} & set(columns)
    note = words["captions"]["participants_note"] if shown else ""
    colors = [results.colors[m] for m in main] if shares.size else ()
    return table_block(list(columns), rows, note, colors, words=True, sortable=len(rows) > 1)


def _cell(results, participant, row, packed):
    """Cell of a participant's name: linked, with a button that shows the scan."""
    cell = {"text": participant, "href": report_address(results, participant, row)}
    if row in packed:
        cell["show"] = {"viewer": "group", "what": "scan", "index": row, "label": f"Show the maps of {participant}"}
    return cell


def excluded_table(results):
    """One row per scan that was left out, with its cause."""
    rows = []
    for index in np.flatnonzero(~results.included):
        cells = {name: str(results.table[name][index]) for name in ("participant_id", "session", "site", "cause")}
        who = cells["participant_id"] + (f" {cells['session']}" if cells["session"] not in ("nan", "n/a") else "")
        rows.append([who, cells["site"] if cells["site"] != "nan" else DASH, cells["cause"]])
    return table_block(["left out", "site", "cause"], rows, words=True)


def causes_in_words(results):
    """One sentence per cause for which scans were left out."""
    found = {}
    if results.table:
        out = ~results.included
        for who, cause in zip(results.table["participant_id"][out], results.table["cause"][out], strict=True):
            found.setdefault(str(cause), []).append(str(who))
    sentences = []
    for cause, who in found.items():
        more = [f"{len(who) - MOST_NAMES} more"] if len(who) > MOST_NAMES else []
        scans = capital(count(len(who), "scan"))
        sentences.append(f"{scans} left out ({join([*who[:MOST_NAMES], *more])}): {cause}")
    return sentences


def _others(results):
    """Columns of participants.tsv, the one compared first, that hold something and are not all different texts."""
    names = [name for name in participants_columns(results.table) if results.column(name) is not None]
    return sorted(names, key=lambda name: name != results.compared)[:MOST_COLUMNS]


def _texts(values):
    if values.dtype.kind == "f":
        return [short(value) if np.isfinite(value) else DASH for value in values]
    return [DASH if str(value) == "n/a" else str(value) for value in values]


def report_address(results, participant, row):
    """Address of a participant's report, seen from the group's; None where there is none in this dataset or its site's.

    Parameters
    ----------
    results : GroupResults
    participant : str
        ``sub-<label>``.
    row : int
        Among the scans that took part.

    """
    name = f"{participant}.html"
    if (results.out_dir / name).is_file():
        return quote(name)
    site = str(results.column("site")[row]) if results.sites else ""
    root = linked_datasets(results.out_dir).get(site)
    if root is not None and (Path(root) / name).is_file():
        way = os.path.relpath((Path(root) / name).resolve(), results.out_dir.resolve())
        return quote(Path(way).as_posix())
    return None
