"""Pages: a specification of plain blocks in, one self-contained HTML text out."""

import base64
import hashlib
import re
from dataclasses import dataclass, field

import jinja2

from mrspec_prep import __version__
from mrspec_prep.bids.output.catalogue import data_text

SIGNS = {"good": "✓", "caution": "!", "problem": "×"}
SCRIPTS = {  # of each kind of block that is alive, in the order of loading
    "viewer": (
        "viewer_data.js",
        "viewer_plots.js",
        "viewer.js",
        "viewer_slices.js",
        "viewer_input.js",
        "viewer_panel.js",
        "viewer_group.js",
        "viewer_start.js",
    ),
    "table": ("tables.js",),
}


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
        paragraph, heading, list, table, figure, details, alert, references, overview, viewer.

    Returns
    -------
    str

    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    template = environment.from_string(data_text("report.html.j2"))
    script = _script(page)
    style = data_text("report.css") + (data_text("viewer.css") if "viewer" in _alive(page) else "")
    text = template.render(page=page, css=style, script=script, policy=_policy(script), size="\0" * 6) + "\n"
    return text.replace("\0" * 6, f"{len(text.encode()) / 1e6:.1f} MB".rjust(6))


def _alive(page):
    """Kinds of blocks of a page that come with a script."""
    blocks = [block for group in page.groups for section in group.sections for block in section.blocks]
    return {block["kind"] for block in blocks if block["kind"] == "viewer" or block.get("sortable")}


def _script(page):
    """The page's one script; empty where nothing in it is alive."""
    return "\n".join(data_text(name) for kind in SCRIPTS if kind in _alive(page) for name in SCRIPTS[kind])


def _policy(script):
    """What the page may load and run: its own script, pictures that it holds, and nothing from the network."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    return f"default-src 'none'; {allowed}img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


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


def table_block(headers, rows, note="", colors=(), words=False, sortable=False, folded=""):
    """Block of a table; ``colors`` puts a swatch before each row, ``words`` aligns all cells left.

    A cell is text, or a dict of ``text``, ``href`` for a link (or None), and ``show`` for a button: ``viewer`` and
    ``label``, ``what`` (cluster, scan) and ``index`` of what the viewer shows then. Rows of a ``sortable`` one can be
    sorted and filtered by the reader. A ``folded`` one, which repeats what a figure shows, opens under these words.
    """
    kind = {"kind": "table", "headers": headers, "rows": rows, "note": note, "sortable": sortable, "folded": folded}
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
