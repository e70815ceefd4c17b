"""Pages in a real browser: size, what the viewer costs unopened and opened, and how soon it answers.

    python -m benchmarks.report_viewer out/sub-01.html [more pages]

Processor times are those of the page's main thread in a headless Chromium; they do not depend on what else runs.
"""

import sys
from pathlib import Path

from tests.reports.browser import CHROMIUM, browser

VIEWER = "document.querySelector('.viewer')"
ANSWERS = 10  # voxels asked for


def measure(page, path):
    """Row of the table for one page."""
    seconds = page.open(path, height=300)
    loaded = page.work()
    held = "document.querySelectorAll('script[type=\"application/octet-stream\"]')"
    size = page.js(f"[...{held}].reduce((sum, block) => sum + block.text.length, 0)")
    page.js(f"{VIEWER}.querySelector('button').click()")
    page.wait(f"{VIEWER}.dataset.state === 'open' && !!{VIEWER}.dataset.shown")
    opened = page.work()
    step = f"const v = {VIEWER}.viewer.shown || {VIEWER}.viewer; v.state.at[0] += 1; await v.show();"
    page.js(f"(async () => {{ for (let i = 0; i < {ANSWERS}; i++) {{ {step} }} }})()")
    answer = (page.work() - opened) / ANSWERS
    return path.name, path.stat().st_size / 1e6, size / 1e6, seconds, loaded, opened, answer * 1e3, page.messages


def main(paths):
    """Print a table of the pages."""
    if CHROMIUM is None:
        sys.exit("no Chromium is installed: apt-get install chromium")
    print("page | MB | viewer MB | loaded, wall s | loaded, cpu s | viewer open, cpu s | an answer, cpu ms | console")
    with browser() as page:
        for path in paths:
            name, *numbers, messages = measure(page, Path(path))
            print(" | ".join([name, *(f"{number:.2f}" for number in numbers), "; ".join(messages) or "quiet"]))


if __name__ == "__main__":
    main(sys.argv[1:])
