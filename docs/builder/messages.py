"""Every message of refused input, settings and folders, from the program's own source."""

import ast
import re
from functools import cache
from pathlib import Path

from docs.builder.tables import table

PACKAGE = Path(__file__).parents[2] / "mrspec_prep"
KINDS = ("InputError", "OptionsError", "WorkflowNotFoundError", "WorkDirError")
VARIES = "…"
#: title of each part of the page: files of the package whose messages it holds, the first that fits
PARTS = {
    "Command line, folders, work directory": ("cli/", "bids/errors.py", "bids/yaml_files.py"),
    "Settings and workflow files": ("options/", "workflow_files.py"),
    "Fingerprinting": (
        *(f"bids/input/{name}.py" for name in ("fingerprints", "samplings", "schedules")),
        "workflows/planning/mrf.py",
    ),
    "Preprocessed images": ("bids/input/preprocessed", "bids/input/provenance.py"),
    "The group level": ("bids/cohort/", "workflows/planning/group.py", "interfaces/group/"),
    "Results of earlier runs": ("bids/output/", "reports/"),
    "Images, sidecars, tables": ("bids/",),
    "What a method needs": ("interfaces/", "workflows/"),
}


def text():
    """Markdown: a table of messages and remedies for every part of the program."""
    rows = {title: [] for title in PARTS}
    for path, problem, remedy in messages():
        rows[_part(path)].append((f"`{problem}`", remedy.replace("*", "\\*").replace("<", "&lt;")))
    tables = (f"### {title}\n\n{table(['message', 'remedy'], sorted(found))}\n" for title, found in rows.items())
    return "\n".join(tables)


@cache
def messages():
    """Messages of the errors that concern users.

    Returns
    -------
    tuple of (str, str, str)
        File of the package, problem and remedy, with ``…`` for what varies; without those that only pass on the words
        of another error.

    """
    found = []
    for path, tree in _trees(rf"\b({'|'.join(KINDS)})\(").items():
        for scope in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in ast.walk(scope):
                if not isinstance(call, ast.Call) or getattr(call.func, "id", None) not in KINDS or not call.args:
                    continue
                problem, inline, remedy = _words(call.args[0], scope).partition(". Remedy: ")
                if problem.strip(VARIES + " :"):
                    given = [word.value for word in call.keywords if word.arg == "remedy"]
                    remedy = remedy if inline else _words(given[0], scope) if given else ""
                    found.append((path.relative_to(PACKAGE).as_posix(), problem, remedy))
    return tuple(dict.fromkeys(found))


@cache
def tree_of(path):
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _trees(pattern):
    """Syntax trees of the package's files that hold a regular expression, by path."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path: tree_of(path) for path in paths if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)}


def _part(path):
    """Title of the part that a file's messages belong to; ValueError where none does."""
    for title, beginnings in PARTS.items():
        if path.startswith(beginnings):
            return title
    raise ValueError(f"docs/builder/messages.py: no part of the page holds messages of {path}")


def _words(node, scope):
    """Text of an expression, ``…`` for what the source does not say."""
    match node:
        case ast.Constant(value=str()):
            return node.value
        case ast.JoinedStr():
            return "".join(VARIES if isinstance(part, ast.FormattedValue) else part.value for part in node.values)
        case ast.BinOp(op=ast.Add()):
            return _words(node.left, scope) + _words(node.right, scope)
        case ast.IfExp():
            either = (_words(node.body, scope), _words(node.orelse, scope))
            return " / ".join(words for words in either if words.strip(VARIES))
        case ast.Name():
            given = [found for found in ast.walk(scope) if _assigns(found, node.id)]
            return _words(given[0].value, scope) if given else _constants().get(node.id, VARIES)
    return VARIES


def _assigns(node, name):
    return isinstance(node, ast.Assign) and any(getattr(target, "id", None) == name for target in node.targets)


@cache
def _constants():
    """Texts at the top of the package's files, by name; those that differ between files vary."""
    found = {}
    for tree in _trees(r"^[A-Z_]+ = [f(\"]").values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr):
                name, words = ast.unparse(node.targets[0]), _words(node.value, node)
                found[name] = words if found.get(name, words) == words else VARIES
    return found
