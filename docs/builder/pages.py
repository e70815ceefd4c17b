"""Pages of the site that lie elsewhere in the repository, and links between the two."""

import posixpath
import re

#: page of the site: file of the repository
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGES.md",
    "workflow_list.md": "workflows/README.md",
    "bids_examples.md": "bids_examples/README.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def source_of(page):
    """Path in the repository of a page of the site."""
    return ELSEWHERE.get(page, f"docs/{page}")


def with_site_links(markdown, page):
    """Links to files of the repository as links of the site; to what the site does not hold, as plain words.

    Parameters
    ----------
    markdown : str
    page : str
        Page of the site, from whose place in the repository the links go out.

    """
    folder = posixpath.dirname(source_of(page))
    site = {source: target for target, source in ELSEWHERE.items()} | {"README.md": "index.md"}

    def rewritten(match):
        words, target, anchor = match.groups(default="")
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in site:
            return f"[{words}]({site[path]}{anchor})"
        if path.startswith("docs/"):
            return f"[{words}]({path.removeprefix('docs/')}{anchor})"
        return words if path in words else f"{words} (`{path}`)"

    return LINK.sub(rewritten, markdown)
