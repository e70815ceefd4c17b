"""The built site leads nowhere else and asks for nothing from outside: links, anchors, pictures, scripts."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ASKED_FOR = {"src", "srcset", "data", "poster"}  # what a browser fetches by itself, beside stylesheets


class _Page(HTMLParser):
    """What a page links to, what it asks for, and the places in it that can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.asked = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {key: value for key, value in attrs if value}
        self.places |= {given[key] for key in ("id", "name") if key in given}
        self.asked += [given[key] for key in sorted(ASKED_FOR & {*given})]
        if "href" in given:
            (self.links if tag == "a" else self.asked).append(given["href"])


def check_site(site):
    """Check every page of a built site.

    Parameters
    ----------
    site : path

    Raises
    ------
    ValueError
        Names each page with a link that leads nowhere, or with something that would be fetched from outside.

    """
    site = Path(site).resolve()
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    wrong = []
    for path, page in pages.items():
        outside = [link for link in page.asked if urlsplit(link).scheme in ("http", "https") or link.startswith("//")]
        dead = [link for link in page.links + page.asked if _is_dead(link, path, pages)]
        wrong += [f"{path.name}: {link} is fetched from outside" for link in outside]
        wrong += [f"{path.name}: {link} leads nowhere" for link in dead]
    if wrong:
        raise ValueError("the site is not whole:\n" + "\n".join(sorted(wrong)))


def _is_dead(link, path, pages):
    """Whether a link within the site leads to no file of it, or to no place of its page."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return True
    return bool(parts.fragment) and target in pages and unquote(parts.fragment) not in pages[target].places
