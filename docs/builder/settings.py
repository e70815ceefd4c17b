"""Reference of workflow files, from the settings themselves: their `#:` comments say meaning and unit."""

import ast
import inspect
import json
import textwrap
from dataclasses import MISSING, fields

from docs.builder.tables import table
from mrspec_prep.options import Options


def text():
    """Markdown: a section and a table of keys for every section of a workflow file."""
    parts = []
    for section in fields(Options):
        if section.default_factory is MISSING:
            continue
        kind = section.default_factory
        rows = [(f"`{key.name}`", f"`{_default(key)}`", meaning) for key, meaning in documented_keys(kind)]
        summary = inspect.getdoc(kind).splitlines()[0]
        parts.append(f"## `[{section.name}]`\n\n{summary}\n\n{table(['key', 'default', 'meaning'], rows)}\n")
    return "\n".join(parts)


def documented_keys(kind):
    """Fields of a section's dataclass with what its `#:` comments say.

    Returns
    -------
    list of (dataclasses.Field, str)

    Raises
    ------
    ValueError
        A key without such a comment.

    """
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    where = {node.target.id: node for node in tree.body if isinstance(node, ast.AnnAssign)}
    return [(key, _meaning(kind, key.name, where[key.name], lines)) for key in fields(kind)]


def _meaning(kind, name, node, lines):
    """Comment behind a field, or in the lines above it."""
    _, mark, behind = lines[node.end_lineno - 1].partition("#: ")
    above, row = [], node.lineno - 2
    while lines[row].lstrip().startswith("#: "):
        above.insert(0, lines[row].strip().removeprefix("#: "))
        row -= 1
    words = behind if mark else " ".join(above)
    if not words:
        raise ValueError(f"{kind.__name__}.{name} has no `#:` comment that says what it means, with its unit")
    return words.replace("``", "`")


def _default(key):
    """Default as a workflow file has it."""
    value = key.default_factory() if key.default is MISSING else key.default
    return "{}" if value == {} else json.dumps(value)
