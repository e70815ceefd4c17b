"""Texts of strangers in a report, opened in a real browser: nothing of them runs, and all of them can be read."""

import tomllib

import numpy as np
import pytest

from benchmarks.simulated_study import Study
from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.group.collect import collect_group
from mrspec_prep.reports.group.overview import group_overview
from mrspec_prep.reports.group.page import group_words
from mrspec_prep.reports.group.participants import excluded_table, participants_table
from mrspec_prep.reports.group.viewer import group_viewer_blocks, shown_scans
from mrspec_prep.reports.html import Group, Page, Section, render
from mrspec_prep.reports.overview import overview_blocks
from mrspec_prep.reports.viewer.block import viewer_blocks
from tests.reports.browser import CHROMIUM, browser
from tests.reports.group_study import write_group
from tests.reports.viewer_study import write_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is not tried in a browser")
RUN = "window.hacked = 1"
TEXTS = (
    f"</script><script>{RUN}</script>",
    f"<!-- <script> <!--<script>{RUN}//",
    f'"\'`><img src=x onerror="{RUN}">',
    f"\u2028\u2029\u202e*/;{RUN};/*",
    f"${{{RUN}}}{{{{7*7}}}}{{%- raw %}}\\u003cb\\x3c",
    f"javascript:{RUN}",
    "&lt;b&gt;&#x3c;i&#x3e;&amp",
    "sehr" + "lang" * 600,
)
ALL = " ¦ ".join(TEXTS)
TOO_WIDE = (  # elements that stick out, but for those in a box that scrolls
    "[...document.querySelectorAll('body *')].filter((part) => part.getBoundingClientRect().right > 391 "
    "&& !part.closest('.scroll, nav, .aside, select')).map((part) => `${part.tagName}.${part.className}`).slice(0, 9)"
)
VIEWERS = "[...document.querySelectorAll('.viewer')]"


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield opened


def check(page, path, blocks, title="t"):
    """Open a page of these blocks at two widths, and look for what must not be there and what must."""
    section = Section("a", title, "A", tuple(blocks))
    path.write_text(render(Page(title, title, (Group("g", title, (section,)),))), encoding="utf-8")
    page.open(path)
    page.js(f"{VIEWERS}.forEach((root) => {{ root.viewer.open(); }})")
    page.wait(f"{VIEWERS}.every((root) => root.dataset.state === 'open' && root.dataset.shown)")
    assert page.js("window.hacked === undefined && document.querySelector('img[src=x]') === null")
    assert page.js("document.querySelectorAll('script:not([type])').length") == 1
    assert page.js("[...document.links].every((link) => !/^javascript/i.test(link.href))")
    assert page.messages == [] and page.requests == [path.resolve().as_uri()]
    page("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    assert page.js(TOO_WIDE) == []
    assert page.js("document.documentElement.scrollWidth") == 390
    return page.js("document.body.textContent")


def test_texts_of_a_participant(page, tmp_path):
    out = write_study(tmp_path / "out", tmp_path / "raw", label=ALL)
    words, (series,) = tomllib.loads(data_text("report.toml")), collect_series(out, "01")
    blocks = [*overview_blocks(series, words, False), *viewer_blocks(series, words, out)]
    blocks.append({"kind": "alert", "level": "problem", "text": ALL})
    blocks.append({"kind": "details", "summary": ALL, "text": ALL})
    text = check(page, tmp_path / "page.html", blocks, ALL)
    assert text.count(ALL) >= 6
    fractions = page.js("document.querySelector('.viewer').viewer.header.layers.map((layer) => layer.title)")
    assert f"Fraction slow{ALL}" in fractions or "Fraction slow" in fractions


def test_texts_of_a_group(page, tmp_path):
    study = Study(n_participants=4, n_pathological=2, shape=(8, 8, 2))
    out = write_group(tmp_path / "out", study, compare="group")
    results, words = collect_group(out), group_words()
    table = results.table  # as a stranger's file might fill it: our writer turns line separators into blanks
    for name in ("group", "site"):
        table[name] = np.array([f"{value} {ALL}" for value in table[name]])
    table["cause"] = np.array([ALL if cause != "n/a" else "n/a" for cause in table["cause"]])
    table["hands <b>"] = np.array([*TEXTS, *TEXTS][: len(table["site"])])
    viewer = tuple(group_viewer_blocks(results, words))
    tables = (participants_table(results, words, shown_scans(viewer)), excluded_table(results))
    text = check(page, tmp_path / "page.html", (*group_overview(results, words), *viewer, *tables))
    facts = page.js("document.querySelector('.scans .facts').textContent")
    assert ALL in facts and "control" in facts
    assert page.js("[...document.querySelectorAll('.scans optgroup')].every((g) => g.label.includes('</script>'))")
    assert text.count(ALL) > 2 * np.sum(results.included) and "hands <b>" in text
    page.js("document.querySelector('.clusters button').click()")
    page.wait("document.querySelector('.viewer').dataset.shown === 'cluster 1'")
    assert page.js("document.querySelector('[data-name=scans]').textContent").count(ALL) == np.sum(results.included)
    assert page.messages == [] and page.js("window.hacked === undefined")
