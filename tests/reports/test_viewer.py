"""The viewer as a reader uses it, in a real headless Chromium, against numbers computed from the derivatives."""

import json
import re
import tomllib

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import read_json, read_map, read_table, write_json
from mrspec_prep.bids.output.measured import measured_volumes
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra, read_nnls_spectra
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.facts import encodings_of
from mrspec_prep.reports.html import Group, Page, Section, render, table_block
from mrspec_prep.reports.overview import overview_blocks
from mrspec_prep.reports.subject import build_subject_report
from mrspec_prep.reports.viewer.block import viewer_blocks
from mrspec_prep.reports.viewer.fits import _pack_sparse
from mrspec_prep.reports.viewer.packing import Block
from mrspec_prep.reports.viewer.signals import equal_encodings
from tests.reports.browser import CHROMIUM, browser
from tests.reports.viewer_study import KERNEL, SHAPE, write_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is not tried in a browser")
VIEWER = "document.querySelector('.viewer')"
IN_SIGHT = f"{VIEWER}.scrollIntoView({{behavior: 'instant'}})"
READY = f"{VIEWER}.dataset.state === 'open' && !!{VIEWER}.dataset.shown"
HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    out = write_study(base / "out", base / "raw")
    return out, build_subject_report(out, "01")


@pytest.fixture(scope="module")
def chromium():
    with browser() as page:
        yield page


@pytest.fixture
def opened(chromium, study):
    """The page with its viewer in sight and open."""
    chromium.open(study[1])
    chromium.js(IN_SIGHT)
    chromium.wait(READY)
    return chromium


class Truth:
    """What the derivatives and the images say of a voxel by its indices in the file."""

    def __init__(self, out):
        self.folder = out / "sub-01" / "dwi"
        self.columns, about = read_table(self.folder / "sub-01_desc-encodings_axes.tsv")
        self.groups = equal_encodings(self.columns)
        self.volumes = dict(measured_volumes(out, self.columns, about["Sources"]))
        found = read_nnls_spectra(self.folder / "sub-01_model-adct2_desc-nnls_spectra.h5")
        self.spectra, self.grid = np.full((*found.shape, found.grid.n_bins), np.nan), found.grid
        self.spectra[tuple(found.voxels.T)] = found.spectra()
        self.kernel = kernel_matrix(KERNEL, encodings_of(self.columns, about), self.grid)
        self.affine = read_map(self.folder / "sub-01_desc-roi_mask.nii.gz").affine

    def map(self, name, at):
        return float(read_map(self.folder / f"sub-01_{name}.nii.gz").data[at])

    def means(self, values):
        return np.bincount(self.groups, values) / np.bincount(self.groups)

    def signals(self, at):
        return np.array([self.volumes[e][at] for e in range(len(self.volumes))])

    def spectrum(self, at):
        return self.spectra[at]


def place(page):
    """Cursor of the viewer, as indices in the file."""
    return tuple(int(part) for part in page.js(f"{VIEWER}.dataset.shown").split(","))


def click(page, right, up):
    """Click in the main slice at parts of its width and height; shape, plane and cursor of the box that is shown."""
    page.js(IN_SIGHT)
    left, top, width, height = page.js(
        "(() => { const b = document.querySelector('.views canvas').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    page.js(f"delete {VIEWER}.dataset.shown")
    page.click(left + right * width, top + (1 - up) * height)
    page.wait(READY)
    return page.js(f"[{VIEWER}.viewer.header.shape, {VIEWER}.viewer.state.plane, {VIEWER}.viewer.state.at]")


def choose_map(page, title):
    """Lay a map over the image; the titles of all."""
    titles = page.js("[...document.querySelectorAll('.viewer select')[0].options].map((o) => o.textContent)")
    page.js(f"(() => {{ const s = document.querySelector('.viewer select'); s.value = {titles.index(title) - 1};"
            "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    return titles


def table(page, name):
    """Rows of a table of the panel, as texts."""
    rows = f"[...document.querySelectorAll('[data-name={name}] tbody tr')]"
    return page.js(f"{rows}.map((row) => [...row.cells].map((cell) => cell.textContent))")


def number(text):
    return float(text.replace("\u2212", "-").split()[0])


def test_the_page_is_quiet_alone_and_soon_interactive(opened, study):
    assert opened.messages == []
    assert opened.requests == [study[1].resolve().as_uri()]
    assert opened.work() < 3
    assert f"({study[1].stat().st_size / 1e6:.1f} MB)" in opened.js("document.querySelector('footer').textContent")


def test_nothing_is_unpacked_before_the_viewer_is_in_sight(chromium, study):
    chromium.open(study[1], height=300)
    assert chromium.js(f"{VIEWER}.dataset.state === 'waiting' && {VIEWER}.viewer.data.blocks") == {}
    assert chromium.js(f"{VIEWER}.querySelector('button').offsetHeight > 0")
    chromium.js(f"{VIEWER}.querySelector('button').click()")
    chromium.wait(READY)


@pytest.mark.parametrize(("right", "up"), [(0.5, 0.5), (0.3, 0.62), (0.72, 0.35)])
def test_a_click_shows_the_numbers_of_the_derivatives(opened, study, right, up):
    shape, plane, drawn = click(opened, right, up)
    at, truth = place(opened), Truth(study[0])
    across = [axis for axis in range(3) if axis != plane]
    for axis, part in zip(across, (right, up), strict=True):
        assert drawn[axis] == int(part * shape[axis])
    signals, spectrum = truth.signals(at), truth.spectrum(at)
    sigma = truth.map("desc-noise_dwimap", at)
    fit, means = truth.means(truth.kernel @ spectrum), truth.means(signals)
    viewer = f"{VIEWER}.viewer"
    shown = opened.js(f"(() => {{ const v = {viewer}, s = v.data.signals(v.voxel), f = v.data.fit('spectrum', v.voxel);"
                      "return [s.volumes, f.values, [...f.spectrum], v.data.sigmaOf(v.voxel)]; })()")  # fmt: skip
    assert np.abs(np.array(shown[0]) - signals).max() <= sigma / 8
    assert np.allclose(shown[1], fit, atol=0.01 * sigma)
    assert np.abs(np.array(shown[2]) - spectrum).max() <= 2e-3 * spectrum.max()
    assert shown[3] == pytest.approx(sigma, rel=1e-3)
    rows = table(opened, "signals")
    residuals = (means - fit) * np.sqrt(np.bincount(truth.groups)) / sigma
    for row, mean, value, left in zip(rows, means, fit, residuals, strict=True):
        assert number(row[3]) == pytest.approx(mean, abs=sigma / 16 + 0.006 * abs(mean))
        assert number(row[4]) == pytest.approx(value, abs=0.02 * sigma + 0.006 * abs(value))
        assert number(row[5]) == pytest.approx(left, abs=0.1)
    numbers = {row[0]: row[1] for row in table(opened, "numbers") if len(row) == 2}
    assert number(numbers["Mean T2"]) == pytest.approx(truth.map("model-adct2_param-t2_desc-nnls_dwimap", at), rel=0.01)
    value, error = numbers["Fraction slow"].split(" ± ")
    assert number(value) == pytest.approx(truth.map("model-adct2_param-slow_desc-nnls_dwimap", at), abs=0.005)
    assert number(error) == pytest.approx(truth.map("model-adct2_param-slow_desc-nnlsstd_dwimap", at), abs=0.001)
    cluster = int(truth.map("seg-inspect_dseg", at))
    certain = read_map(truth.folder / "sub-01_seg-inspect_probseg.nii.gz").data[at][cluster - 1]
    assert numbers["Tissue clusters"] == f"Cluster {cluster}"
    assert number(numbers[f"Probability: cluster {cluster}"]) == pytest.approx(certain, abs=0.001)


@pytest.mark.parametrize("axes", ["LAS", "RAS", "PSR"])
def test_a_voxel_is_named_by_its_indices_in_the_file(chromium, tmp_path, axes):
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), SHAPE) @ np.diag([2.0, 3.0, 4.0, 1])
    out = write_study(tmp_path / "out", tmp_path / "raw", affine=affine)
    chromium.open(build_subject_report(out, "01"))
    chromium.js(IN_SIGHT)
    chromium.wait(READY)
    noise = nib.load(out / "sub-01" / "dwi" / "sub-01_desc-noise_dwimap.nii.gz")
    for right, up in ((0.4, 0.5), (0.6, 0.35)):
        click(chromium, right, up)
        words = chromium.js("document.querySelector('.where').textContent").replace("\u2212", "-")
        at = tuple(map(int, re.match(r"Voxel (\d+), (\d+), (\d+)", words).groups()))
        place_mm = [float(found) for found in re.findall(r"\b[xyz] (-?[\d.]+)", words)]
        assert place_mm == pytest.approx(nib.affines.apply_affine(noise.affine, at), abs=0.51)
        numbers = {row[0]: row[1] for row in table(chromium, "numbers") if len(row) == 2}
        assert number(numbers["Noise"]) == pytest.approx(noise.get_fdata()[at], rel=0.006)


def test_an_answer_takes_no_time(opened):
    click(opened, 0.4, 0.4)
    before = opened.work()
    for _ in range(5):
        opened.js(f"{VIEWER}.viewer.move(0, 1) || {VIEWER}.viewer.move(0, -1)")
    opened.wait(READY)
    assert opened.work() - before < 5 * 0.1


def test_keys_move_by_voxels_and_slices_and_focus_is_seen(opened):
    click(opened, 0.5, 0.5)
    before, in_file = list(place(opened)), ((0, -1), (2, 1), (1, 1))  # runs left, up, front
    assert opened.js("document.activeElement === document.querySelector('.views canvas')")
    h, v = [axis for axis in range(3) if axis != opened.js(f"{VIEWER}.viewer.state.plane")]
    for key, axis, step in (("ArrowLeft", h, -1), ("ArrowUp", v, 1), ("ArrowRight", h, 1), ("ArrowDown", v, -1)):
        opened.press(key)
        along, sign = in_file[axis]
        before[along] += sign * step
        opened.wait(f"{VIEWER}.dataset.shown === '{','.join(map(str, before))}'")
    along, sign = in_file[3 - h - v]
    opened.press("PageUp")
    before[along] += sign
    opened.wait(f"{VIEWER}.dataset.shown === '{','.join(map(str, before))}'")
    assert opened.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    said = opened.js("document.querySelector('[role=status]').textContent")
    assert f"Voxel {', '.join(map(str, before))}" in said
    opened.press("Tab")
    assert opened.js("document.activeElement.matches('.viewer input, .viewer select, .viewer canvas')")


def ends(page):
    """Black and white of the image, first and last value of the map's colours."""
    viewer = f"{VIEWER}.viewer"
    return page.js(f"[...{viewer}.state.window, {viewer}.range()[0], {viewer}.range().at(-1)]")


def test_brightness_and_colours_follow_drags_and_keys_and_go_back(opened):
    choose_map(opened, "Mean diffusivity")
    click(opened, 0.5, 0.5)
    where, first = place(opened), ends(opened)
    left, top, width, height = opened.js(
        "(() => { const b = document.querySelector('.views canvas').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    start = (left + width / 2, top + height / 2)
    opened.drag(start, (start[0], start[1] + 125), "right")
    darker = ends(opened)
    assert darker[:2] == pytest.approx([end + (first[1] - first[0]) / 2 for end in first[:2]])
    opened.drag(start, (start[0] + 250, start[1]), "right")
    assert ends(opened)[1] - ends(opened)[0] == pytest.approx(np.e * (first[1] - first[0]))
    assert ends(opened)[2:] == first[2:] and place(opened) == where
    opened.drag(start, (start[0] - 250, start[1]), "right", modifiers=8)
    colours = ends(opened)[2:]
    assert colours[1] - colours[0] == pytest.approx((first[3] - first[2]) / np.e, rel=1e-6)
    told = opened.js("document.querySelector('.stage > .note').textContent").replace("\u2212", "-")
    assert f"black at {ends(opened)[0]:.0f}, white at " in told
    opened.double_click(*start)
    assert ends(opened) == first
    opened.press("c")
    opened.press("B", modifiers=8)
    low, high, first_colour, _ = ends(opened)
    assert high - low == pytest.approx((first[1] - first[0]) * np.exp(-0.15)) and first_colour < first[2]
    assert opened.js("document.querySelector('[role=status]').textContent").startswith("Colours from ")
    opened.press("r")
    opened.press("R", modifiers=8)
    assert ends(opened) == first
    drag = "[...document.querySelectorAll('.viewer select')].find((s) => /brightness/.test(s.textContent))"
    opened.js(f"(() => {{ const s = {drag}; s.value = 'image'; s.dispatchEvent(new Event('change')); }})()")
    assert opened.js("document.querySelector('.views canvas').style.touchAction") == "none"
    opened.drag(start, (start[0] + 90, start[1] + 40))
    assert ends(opened)[:2] != first[:2] and place(opened) == where
    assert opened.messages == []


def test_a_cluster_shows_its_mean_signal_and_spectrum(opened, study):
    opened.js("document.querySelector('.clusters button').focus()")
    opened.press("Enter")
    opened.wait(f"{VIEWER}.dataset.shown === 'cluster 1'")
    truth = Truth(study[0])
    labels = read_map(truth.folder / "sub-01_seg-inspect_dseg.nii.gz").data
    means = truth.means(np.array([truth.volumes[e][labels == 1].mean() for e in range(len(truth.volumes))]))
    stored = read_cluster_spectra(truth.folder / "sub-01_model-adct2_desc-inspect_spectra.h5").spectra[0]
    shape, counts = truth.means(truth.kernel @ stored), np.bincount(truth.groups)
    scaled = shape * (counts * shape * means).sum() / (counts * shape**2).sum()
    rows = table(opened, "signals")
    assert [number(row[3]) for row in rows] == pytest.approx(means, rel=0.006)
    assert [number(row[4]) for row in rows] == pytest.approx(scaled, rel=0.006)
    assert opened.js("document.querySelector('.clusters button').getAttribute('aria-pressed')") == "true"
    assert f"{int((labels == 1).sum())} voxels" in opened.js("document.querySelector('.where').textContent")


def test_a_map_comes_with_its_colours_and_their_ends(opened):
    titles = choose_map(opened, "Mean diffusivity")
    wanted = ["Tissue clusters", "Probability: cluster 2", "Mean diffusivity", "Fraction slow", "Signal-to-noise ratio"]
    assert set(wanted) <= set(titles)
    opened.wait(READY)
    assert opened.js("document.querySelector('.bar-text').textContent").count("µm²/ms") == 2
    assert opened.js("!document.querySelector('.bar').hidden")


def test_a_phone_shows_it_without_scrolling_sideways(chromium, study):
    chromium.open(study[1], width=390, height=844, scale=2, mobile=True)
    assert chromium.js("document.documentElement.scrollWidth") == 390
    chromium.js(IN_SIGHT)
    chromium.wait(READY)
    assert chromium.js("document.documentElement.scrollWidth") == 390
    assert chromium.js("document.querySelector('.views canvas').getBoundingClientRect().right") <= 390


def test_paper_shows_figures_and_the_viewer_only_where_it_was_opened(opened, study):
    def displayed():
        opened("Emulation.setEmulatedMedia", media="print")
        shown = opened.js(
            f"[{VIEWER}, document.querySelector('nav')].map((part) => getComputedStyle(part).display)"
            ".concat([...document.querySelectorAll('main figure img')].every((image) => image.complete))"
        )
        opened("Emulation.setEmulatedMedia", media="")
        return shown

    assert displayed() == ["grid", "none", True]
    assert opened.printed().startswith(b"%PDF")
    opened.open(study[1], height=300)
    assert displayed() == ["none", "none", True]


def test_nothing_that_a_file_says_is_run_and_lost_images_are_told(chromium, tmp_path):
    out = write_study(tmp_path / "out", tmp_path / "raw", label=HOSTILE)
    (tmp_path / "raw" / "sub-01" / "dwi" / "sub-01_dwi.nii.gz").unlink()
    sidecar = out / "sub-01" / "dwi" / "sub-01_model-adct2_desc-inspect_spectra.json"
    about = read_json(sidecar)
    about["Clusters"][0]["color"] = HOSTILE
    write_json(sidecar, about)
    words, (series,) = tomllib.loads(data_text("report.toml")), collect_series(out, "01")
    blocks = (*overview_blocks(series, words, False), *viewer_blocks(series, words, out))
    page = tmp_path / "page.html"
    page.write_text(render(Page(HOSTILE, HOSTILE, (Group("a", HOSTILE, (Section("b", HOSTILE, HOSTILE, blocks),)),))))
    chromium.open(page)
    chromium.js(IN_SIGHT)
    chromium.wait(READY)
    assert chromium.js("window.hacked === undefined && document.querySelector('img[src=x]') === null")
    assert chromium.messages == [] and chromium.requests == [page.resolve().as_uri()]
    text = chromium.js("document.body.textContent")
    assert HOSTILE in text and "Measured signals are not shown: " in text and str(tmp_path) not in text
    assert chromium.js("document.querySelectorAll('.panel svg.plot').length") == 1  # the spectrum


def test_clusters_whose_map_is_lost_can_still_be_chosen(chromium, tmp_path):
    out = write_study(tmp_path / "out", tmp_path / "raw")
    (lost,) = (out / "sub-01" / "dwi").glob("*_seg-inspect_dseg.nii.gz")
    lost.unlink()
    words, (series,) = tomllib.loads(data_text("report.toml")), collect_series(out, "01")
    page = tmp_path / "page.html"
    section = Section("b", "B", "B", tuple(viewer_blocks(series, words, out)))
    page.write_text(render(Page("P", "", (Group("a", "A", (section,)),))))
    chromium.open(page)
    chromium.js(IN_SIGHT)
    chromium.wait(READY)
    chromium.js(f"{VIEWER}.viewer.state.layer = {VIEWER}.viewer.header.layers.findIndex((l) => l.kind === 'value')")
    chromium.js(f"{VIEWER}.viewer.chooseCluster(1)")
    chromium.wait(f"{VIEWER}.dataset.shown === 'cluster 2'")
    assert chromium.js(f"{VIEWER}.viewer.aboutCluster(1).color") == chromium.js("NEUTRAL")
    assert chromium.js("document.querySelectorAll('.panel svg.plot').length") >= 1
    assert chromium.messages == []


def test_spectra_of_any_dimension_have_plots(opened):
    for sizes, n_plots in (((30,), 1), ((6, 7), 1), ((3, 4, 5), 3)):
        axes = [{"name": "x", "symbol": "D", "unit": "ms", "values": np.geomspace(1, 50, n).tolist()} for n in sizes]
        drawn = opened.js(
            f"(() => {{ const data = {{ header: {{ axes: {json.dumps(axes)} }} }}, n = {int(np.prod(sizes))};"
            "const figure = spectrumPlot(data, Float64Array.from({ length: n }, (_, i) => i), '#0072b2', []);"
            "return figure.querySelectorAll('svg').length; })()"
        )
        assert drawn == n_plots
    assert opened.messages == []


def test_spectra_stored_bin_by_bin_are_those_of_the_file(opened):
    rng = np.random.default_rng(0)
    spectra = np.maximum(rng.normal(size=(4, 6)), 0).astype(np.float32)
    block = Block("b")
    stored = _pack_sparse(spectra, block, 1000)
    header = {"spectra": stored, "axes": [{"values": [0] * 6}], "shape": [1, 1, 4]}
    found = opened.js(
        f"(async () => {{ const held = document.createElement('script'); held.type = 'x'; held.id = 'b';"
        f"held.textContent = '{block.text()}'; document.body.append(held);"
        f"const data = new ViewerData({json.dumps(header)}); data.blocks.b = await inflate('b');"
        "return [0, 1, 2, 3].map((voxel) => [...data.spectrum(voxel)]); })()"
    )
    assert np.allclose(found, spectra)
    assert _pack_sparse(spectra, block, 3) is None


def test_tables_sort_and_filter(chromium, tmp_path):
    rows = [["sub-b", "1\u202f200", "site one"], ["sub-a", "98", "site two"], ["sub-c", "–", "site one"]]
    blocks = (table_block(["who", "voxels", "site"], rows, sortable=True),)
    page = tmp_path / "page.html"
    page.write_text(render(Page("t", "", (Group("a", "A", (Section("b", "B", "B", blocks),)),))))
    chromium.open(page)
    shown = "[...document.querySelectorAll('tbody tr:not([hidden])')].map((row) => row.cells[0].textContent)"
    button = "document.querySelectorAll('th button')[1].click()"
    assert chromium.js(f"{button}; {shown}") == ["sub-a", "sub-b", "sub-c"]
    assert chromium.js(f"{button}; {shown}") == ["sub-c", "sub-b", "sub-a"]
    assert chromium.js("document.querySelectorAll('th')[1].getAttribute('aria-sort')") == "descending"
    chromium.js("document.querySelector('.filter input').focus()")
    chromium("Input.insertText", text="ONE")
    assert chromium.js(shown) == ["sub-c", "sub-b"]
    assert chromium.js("document.querySelector('.filter output').textContent") == "2 of 3"
    assert chromium.messages == []


def test_a_browser_that_lacks_something_says_so(chromium, study):
    added = chromium("Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream")
    chromium.open(study[1])
    chromium.js(IN_SIGHT)
    chromium.wait(f"{VIEWER}.dataset.state === 'failed'")
    chromium("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
    assert "it lacks DecompressionStream" in chromium.js(f"{VIEWER}.textContent")
    assert chromium.messages == []
