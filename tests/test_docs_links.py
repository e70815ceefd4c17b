"""A site with a dead link, or one that asks for something outside, is not built."""

import pytest

from docs.builder.links import check_site


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><h2 id="here">x</h2><a href="#here">y</a><a href="https://e.org">z</a>'
        '<a href="b.html#there">b</a><a href=".">top</a>'
    )
    (tmp_path / "b.html").write_text('<a name="there"></a><img src="a.png"><img src="data:image/png;base64,AA">')
    (tmp_path / "index.html").write_text('<a href="a.html">a</a>')
    for name in ("a.css", "a.png"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_a_whole_site_passes(site):
    check_site(site)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<a href="c.html">', "new.html: c.html leads nowhere"),
        ('<a href="b.html#here">', "b.html#here leads nowhere"),
        ('<a href="#there">', "#there leads nowhere"),
        ('<img src="missing.png">', "missing.png leads nowhere"),
        ('<img src="https://e.org/a.png">', "a.png is fetched from outside"),
        ('<script src="//e.org/a.js"></script>', "a.js is fetched from outside"),
        ('<link rel="stylesheet" href="https://e.org/a.css">', "a.css is fetched from outside"),
    ],
)
def test_what_is_missing_or_outside_is_named(site, text, said):
    (site / "new.html").write_text(text)
    with pytest.raises(ValueError, match="the site is not whole") as caught:
        check_site(site)
    assert said in str(caught.value)
