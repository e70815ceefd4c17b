"""The pages of the documentation and what stands in their fenced blocks."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "workflows" / "README.md", ROOT / "bids_examples" / "README.md"]
)
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def name_of(page):
    """Path of a page within the repository."""
    return str(page.relative_to(ROOT))


def blocks(page, info):
    """Contents of the fenced blocks of a page whose info string is ``info``."""
    return [body for word, body in FENCE.findall(page.read_text(encoding="utf-8")) if word.strip() == info]


def prose(page):
    """Text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page):
    """Command lines of a page, as lists of words: its ``console`` and ``bash`` blocks, and code within sentences."""
    lines = []
    for body in blocks(page, "console"):
        joined = body.replace("\\\n", " ")
        lines += [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]
    for body in blocks(page, "bash"):
        lines += body.replace("\\\n", " ").splitlines()
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose(page)) if " " in code]
    return [words for line in lines for words in _split(line)]


def _split(line):
    """Words of each command of a line, without comments and variables set before it."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []  # code within a sentence that is no command
    found, current = [], []
    for word in words:
        if word in ("&&", "&", "|", "do", "done", ";"):
            found.append(current)
            current = []
        elif current or not re.fullmatch(r"[A-Z_]+=.*", word):
            current.append(word)
    return [command for command in [*found, current] if command]
