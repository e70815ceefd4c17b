"""What every map, axis and column is called, measured in and drawn with: ``data/maps.toml``."""

import tomllib
from functools import cache
from importlib.resources import files

BIBLIOGRAPHY = "citations.bib"


@cache
def load_catalogue():
    """Whole content of ``data/maps.toml``."""
    return tomllib.loads(data_text("maps.toml"))


def data_text(name):
    """Text of a file of the package's ``data`` folder."""
    return files("mrspec_prep").joinpath("data", name).read_text(encoding="utf-8")


def map_entry(key):
    """Entry of one map.

    Raises
    ------
    ValueError
        No such map; the known ones are listed.

    """
    return _entry("maps", "map", key)


def uncertainty_entry(kind):
    """Entry of one kind of uncertainty map: std, low, high, min or max; posteriorstd, ... of parameter maps.

    Raises
    ------
    ValueError
        No such kind; the known ones are listed.

    """
    return _entry("uncertainties", "uncertainty", kind)


def axis_entry(name):
    """Entry of one spectral axis.

    Raises
    ------
    ValueError
        No such axis; the known ones are listed.

    """
    return _entry("axes", "axis", name)


def method_entry(name):
    """Entry of one method of parameter maps, with or without hyphens.

    Raises
    ------
    ValueError
        No such method; the known ones are listed.

    """
    return _entry("methods", "method", name.replace("-", ""))


def model_entry(name):
    """Entry of one signal model, with or without hyphens.

    Raises
    ------
    ValueError
        No such model; the known ones are listed.

    """
    return _entry("models", "model", name.replace("-", ""))


def _entry(table, what, key):
    entries = load_catalogue()[table]
    if key not in entries:
        raise ValueError(f"unknown {what} {key!r}; data/maps.toml knows {', '.join(sorted(entries))}")
    return entries[key]


def column_entries(names):
    """Sidecar descriptions of the table columns that are known, by column name."""
    columns = load_catalogue()["columns"]
    return {name: dict(columns[name]) for name in names if name in columns}


def cluster_color(index):
    """Colour of cluster ``index`` (from 0) as ``#rrggbb``; repeats after the last."""
    colors = load_catalogue()["cluster_colors"]
    return colors[index % len(colors)]


def references_of(keys):
    """DOIs (or titles, where there is none) of bibliography keys, for sidecars.

    Raises
    ------
    ValueError
        A key that ``data/citations.bib`` does not hold.

    """
    entries = load_bibliography()
    missing = [key for key in keys if key not in entries]
    if missing:
        raise ValueError(f"data/citations.bib does not hold {', '.join(missing)}")
    found = [entries[key] for key in keys]
    return [f"doi:{e['doi']}" if "doi" in e else e["title"].replace("{", "").replace("}", "") for e in found]


@cache
def load_bibliography():
    """Entries of ``data/citations.bib``: key -> {type, field: text, ..., source}.

    A small reader for our own file: one field per line, braces around every value.
    """
    entries, current = {}, None
    for line in data_text(BIBLIOGRAPHY).splitlines():
        text = line.strip()
        if text.startswith("@"):
            kind, _, key = text[1:].partition("{")
            current = {"type": kind.lower(), "source": [line]}
            entries[key.rstrip(",")] = current
        elif current is not None and text:
            current["source"].append(line)
            name, separator, value = text.partition("=")
            if separator:
                current[name.strip().lower()] = value.strip().rstrip(",").removeprefix("{").removesuffix("}")
    for entry in entries.values():
        entry["source"] = "\n".join(entry["source"])
    return entries
