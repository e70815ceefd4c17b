"""What MkDocs calls while it builds the site: pages from code, links out of docs/, equations."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from mkdocs.exceptions import PluginError  # noqa: E402
from mkdocs.structure.files import File  # noqa: E402

from docs.builder import command_line, links, maths, messages, outputs, pages, settings  # noqa: E402

#: what stands in place of a line `<!-- made: NAME -->`
MADE = {"command line": command_line.text, "settings": settings.text, "maps": outputs.text, "messages": messages.text}


def on_files(files, config):
    """Add the pages that lie elsewhere in the repository."""
    for target, source in pages.ELSEWHERE.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put in what is made from code, and turn links to files of the repository into links of the site."""
    for name, make in MADE.items():
        markdown = markdown.replace(f"<!-- made: {name} -->", make())
    return pages.with_site_links(markdown, page.file.src_uri)


def on_page_content(html, page, config, files):
    """Set the equations."""
    return maths.with_mathml(html)


def on_post_build(config):
    """Refuse a site with a dead link or anchor, or one that would ask for something from outside."""
    try:
        links.check_site(config["site_dir"])
    except ValueError as error:
        raise PluginError(str(error)) from error
