"""Pages: a specification of plain blocks in, one self-contained HTML text out."""

import base64
import re
from dataclasses import dataclass, field

import jinja2

from mrspec_prep import __version__
from mrspec_prep.bids.catalogue import data_text

SIGNS = {"good": "✓", "caution": "!", "problem": "×"}


@dataclass(frozen=True)
class Section:
    """A titled part of a page; ``short`` is its name in the navigation."""

    id: str
    title: str
    short: str
    blocks: tuple = ()


@dataclass(frozen=True)
class Group:
    """Sections of one series, or of what concerns the whole participant."""

    slug: str
    title: str
    sections: tuple = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    groups: tuple = ()
    version: str = field(default=__version__)


def render(page):
    """HTML text of a page; every value is escaped, nothing is fetched.

    Parameters
    ----------
    page : Page
        Blocks are dicts with a ``kind`` that ``data/report.html.j2`` knows: verdict, key_figures,
        paragraph, heading, list, table, figure, details, alert, references.

    Returns
    -------
    str

    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    template = environment.from_string(data_text("report.html.j2"))
    return template.render(page=page, css=data_text("report.css")) + "\n"


def figure_block(svg, caption, file):
    """Block of a figure: the SVG travels inside the page as a data address.

    Parameters
    ----------
    svg : str
    caption : str
    file : str
        Where the same figure lies beside the page.

    """
    encoded = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    width, height = _size(svg)
    source = f"data:image/svg+xml;base64,{encoded}"
    return {"kind": "figure", "source": source, "caption": caption, "file": file, "width": width, "height": height}


def verdict_block(verdict):
    """Block of a verdict."""
    return {
        "kind": "verdict",
        "level": verdict.level,
        "sign": SIGNS[verdict.level],
        "headline": verdict.headline,
        "remarks": verdict.remarks,
    }


def table_block(headers, rows, note="", colors=(), words=False):
    """Block of a table; ``colors`` puts a swatch before each row, ``words`` aligns all cells left.

    A cell is text, or a dict of ``text`` and ``href`` for a link.
    """
    kind = {"kind": "table", "headers": headers, "rows": rows, "note": note}
    return kind | {"colors": list(colors), "style": "words" if words else "numbers"}


def _size(svg):
    """Width and height of an SVG [pixel of 1/96 inch]."""
    match = re.search(r'<svg[^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    if match is None:
        match = re.search(r'height="([\d.]+)pt"[^>]*?width="([\d.]+)pt"', svg)
        height, width = match.groups()
    else:
        width, height = match.groups()
    return round(float(width) * 4 / 3), round(float(height) * 4 / 3)
