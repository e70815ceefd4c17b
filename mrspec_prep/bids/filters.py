"""BIDS filter files: which images the user asked for by the entities of their names."""

import difflib
import json
import re

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.names import LONG_NAMES, split_name

_SWITCHES = {"regex_search", "invalid_filters", "scope", "absolute_paths", "drop_invalid_filters"}  # of pybids' queries
_QUERIES = {"anat", "dwi", "mese", "megre", "irt1", "mrf"}
_FILTER_NAMES = LONG_NAMES | {"inversion": "inv"}
_FILTERABLE = {*LONG_NAMES.values(), "run", "echo", "inv", "part", "flip", "mt", "space", "desc", "chunk"} | {
    "datatype",
    "suffix",
    "extension",
}


def filter_images(images, filters):
    """Images that pass a BIDS filter file.

    Parameters
    ----------
    images : sequence of Path
    filters : dict
        Content of the filter file: ``dwi``, ``anat``, ``mese``, ``megre``, ``irt1``, ``mrf``
        -> entity -> value. ``null`` asks for the entity to be absent, ``"*"`` for any value, a list
        for one of several. Other keys are tolerated.

    Returns
    -------
    images : list of Path
    notes : list of str
        Entities that no file name can have, and that were therefore not applied.

    Raises
    ------
    InputError
        A filter that is not a set of entities.

    """
    parts = _parts(filters)
    unknown = {query: [key for key in wanted if key not in _FILTERABLE] for query, wanted in parts}
    notes = [
        f"The filter of {query} names {', '.join(keys)}, which no image name has; it was not applied."
        for query, keys in unknown.items()
        if keys
    ]
    return [path for path in images if _pass_all(split_name(path), parts)], notes


def filters_pass(name, filters):
    """Whether a ``Name`` passes a BIDS filter file; ``filters`` and errors as of ``filter_images``."""
    return _pass_all(name, _parts(filters))


def _parts(filters):
    """Queries that concern us, each with what is wanted of the entities by their long names."""
    parts = []
    for query, entities in filters.items():
        if query.lower() not in _QUERIES:
            continue
        if not isinstance(entities, dict):
            raise InputError(
                f"the filter of {query} must map entities to values",
                value=repr(entities)[:60],
                remedy='write {"session": "01"}',
            )
        wrong = [key for key, value in entities.items() if key not in _SWITCHES and not _is_value(value)]
        if wrong:
            raise InputError(
                f"the filter of {query} asks for something else than a text, a number, null or a list of these",
                value=f"{wrong[0]}: {entities[wrong[0]]!r}"[:60],
                remedy='write {"session": "01"}, {"run": [1, 2]} or {"acquisition": null} in --bids-filter-file',
            )
        parts.append((query, {_FILTER_NAMES.get(key, key): value for key, value in entities.items()}))
    return parts


def _is_value(value):
    if isinstance(value, list):
        return all(_is_value(item) and not isinstance(item, list) for item in value)
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def filter_warnings(filters):
    """What of a filter file looks meant for us and is not applied, in words.

    Parameters
    ----------
    filters : dict
        As of ``filter_images``.

    Returns
    -------
    list of str

    """
    words = []
    for query, wanted in _parts(filters):
        for key in (key for key in wanted if key not in _FILTERABLE | _SWITCHES):
            close = difflib.get_close_matches(key, _FILTERABLE | set(_FILTER_NAMES), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            words.append(f"--bids-filter-file: {query} names {key}, which no image name has; it was not applied{hint}")
    for query, wanted in filters.items():
        close = difflib.get_close_matches(query.lower(), _QUERIES, n=1, cutoff=0.75)
        if query in _FILTERABLE | set(_FILTER_NAMES):
            words.append(
                f"--bids-filter-file: {query} is no kind of image and was not applied; write "
                f'{{"dwi": {{"{query}": {json.dumps(wanted)[:60]}}}}}'
            )
        elif close and query.lower() not in _QUERIES:
            words.append(f"--bids-filter-file: {query} was not applied; did you mean {close[0]}?")
    return words


def _pass_all(name, parts):
    asked = {name.datatype, name.suffix.lower()}
    return all(query.lower() not in asked or _passes(name, wanted) for query, wanted in parts)


def _passes(name, wanted):
    has = name.entities | {"datatype": name.datatype, "suffix": name.suffix, "extension": name.extension}
    return all(_matches(has.get(key), value) for key, value in wanted.items() if key in _FILTERABLE)


def _matches(has, value):
    if isinstance(value, list):
        return any(_matches(has, item) for item in value)
    if value is None or value == "Query.NONE":
        return has is None
    if value in ("*", "Query.ANY"):
        return has is not None
    if value == "Query.OPTIONAL":
        return True
    return has is not None and _plain(has) == _plain(value)


def _plain(value):
    text = re.sub(r"^(?:sub|ses|acq|dir|run|rec|echo|inv|part)-", "", str(value))
    return int(text) if text.isdigit() else text.lower() if text.startswith(".") else text
