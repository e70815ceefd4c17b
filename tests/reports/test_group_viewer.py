"""The viewer of a group in a real headless Chromium, against numbers computed from the group's files."""

import nibabel as nib
import numpy as np
import pytest

from benchmarks.simulated_study import Study
from mrspec_prep.bids.output.compressed import read_compressed
from mrspec_prep.bids.output.derivatives import MapFile, read_map
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.reports.collect import NAME_ENTITIES, SeriesResults
from mrspec_prep.reports.group import viewer as group_block
from mrspec_prep.reports.group.collect import collect_group
from mrspec_prep.reports.group.overview import found_clusters
from mrspec_prep.reports.group.page import group_words
from mrspec_prep.reports.group.participants import participants_table
from mrspec_prep.reports.group.viewer import group_viewer_blocks, shown_scans
from mrspec_prep.reports.html import Group, Page, Section, render
from mrspec_prep.reports.sections import peak_table
from mrspec_prep.reports.viewer.block import geometry
from mrspec_prep.reports.viewer.layers import Layer, pack_layers
from mrspec_prep.reports.viewer.packing import MISSING, Block
from tests.reports.browser import CHROMIUM, browser
from tests.reports.group_study import write_group

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is not tried")
VIEWER = "document.querySelector('.viewer')"
READY = f"{VIEWER}.dataset.state === 'open' && !!{VIEWER}.dataset.shown"
STUDY = Study(n_participants=3, n_pathological=1, n_repeated=1, shape=(9, 9, 3))
N_SCANS = 4


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = write_group(tmp_path_factory.mktemp("group") / "out", STUDY)
    (out / "sub-02.html").write_text("<p>the report of a participant</p>")
    return out


def write_page(out, path):
    """Viewer and tables of a group on a page of their own; the blocks of the viewer."""
    results, words = collect_group(out), group_words()
    blocks = tuple(group_viewer_blocks(results, words))
    tables = (participants_table(results, words, shown_scans(blocks)), peak_table(results, "group"))
    section = Section("a", "A", "A", (*blocks, *tables))
    path.write_text(render(Page("Group", "", (Group("group", "Group", (section,)),))))
    return results, blocks[0]


@pytest.fixture(scope="module")
def opened(study):
    with browser() as page:
        path = study / "page.html"
        page.results, page.block = write_page(study, path)
        page.open(path)
        page.js(f"{VIEWER}.scrollIntoView({{behavior: 'instant'}})")
        page.wait(READY)
        yield page


def show(page, index):
    """Press the button of a row of the participants' table by its key."""
    page.js(f"document.querySelector('button.show[data-what=scan][data-index=\"{index}\"]').focus()")
    page.press("Enter")
    page.wait(f"{VIEWER}.viewer.scan === {index} && {READY}")


def shown(page):
    return page.js(f"{VIEWER}.viewer.shown.header.title")


def rows(page, name):
    found = f"[...document.querySelectorAll('[data-name={name}] tbody tr')]"
    return page.js(f"{found}.map((row) => [...row.cells].map((cell) => cell.textContent))")


def truth(study, page, index):
    """Means over equal encodings (n_voxels, n_groups), their kernel, and the number of volumes of each."""
    who, series = (str(page.results.column(name)[index]) for name in ("participant_id", "series"))
    (path,) = study.glob(f"{who}/**/{series}")
    found = read_compressed(path)
    protocol = found.protocol
    signals = np.asarray(found.signals, float) @ protocol.projection.T
    kernel = kernel_matrix("adc-t2star", protocol.encodings, page.results.grid)
    groups = np.array(page.js(f"{VIEWER}.viewer.shown.header.groups"))
    averaging = (groups[:, None] == np.arange(groups.max() + 1)) / np.bincount(groups)
    return signals @ averaging, averaging.T @ kernel, np.bincount(groups)


@needs_chromium
def test_a_row_of_the_table_shows_its_participant_and_links_to_its_report(opened, study):
    assert opened.block["scans"][1]["name"] == "02"
    assert opened.js("document.querySelectorAll('button.show').length") == N_SCANS + len(opened.results.clusters)
    show(opened, 1)
    assert shown(opened) == "02"
    assert opened.js("document.querySelector('.scans a').getAttribute('href')") == "sub-02.html"
    facts = opened.js("document.querySelector('.scans .facts').textContent")
    assert "control" in facts and f"{int(opened.results.column('n_voxels')[1])} voxels" in facts
    show(opened, 0)
    assert opened.js("document.querySelector('.scans a')") is None
    opened.js("document.getElementById('group_v_next').focus()")
    opened.press("Enter")
    opened.wait(f"{VIEWER}.viewer.scan === 1 && {READY}")
    assert opened.js("document.activeElement.id") == "group_v_next"
    assert opened.messages == [] and opened.requests == [(study / "page.html").resolve().as_uri()]


@needs_chromium
def test_a_cluster_shows_its_share_in_every_scan_and_stays_when_the_scan_changes(opened, study):
    show(opened, 0)
    opened.js("document.querySelector('button.show[data-what=cluster][data-index=\"1\"]').click()")
    opened.wait(f"{VIEWER}.dataset.shown === 'cluster 2'")
    shares = opened.results.proportions[:, 1]
    found = rows(opened, "scans")
    assert [row[-2] for row in found] == [f"{100 * share:.1f} %" for share in sorted(shares, reverse=True)]
    assert [row[0] for row in found] == [opened.results.names()[i] for i in np.argsort(-shares, kind="stable")]
    assert opened.js("document.querySelectorAll('.shares circle').length") == N_SCANS * len(opened.results.clusters)
    means, kernel, counts = truth(study, opened, 0)
    (path,) = study.glob("sub-01/**/*_seg-group_dseg.nii.gz")
    data = f"{VIEWER}.viewer.shown.data"
    labels = opened.js(f"[...{data}.values({data}.header.layers[0].values)].map(Math.round)")
    own = np.array(labels) == 2
    assert abs(own.mean() - shares[0]) < 1e-6
    drawn = opened.js(f"{VIEWER}.viewer.shown.aboutCluster(1)")
    in_order = means[rows_in_order(path)]
    mean = in_order[own].mean(axis=0)
    assert drawn["signals"]["means"] == pytest.approx(mean, rel=1e-4, abs=1e-3)
    assert drawn["signals"]["errors"] == pytest.approx(in_order[own].std(axis=0), rel=1e-3, abs=1e-3)
    shape = kernel @ opened.results.spectra.spectra[1]
    fit = shape * (counts * shape * mean).sum() / (counts * shape**2).sum()
    assert drawn["signals"]["fit"] == pytest.approx(fit, rel=1e-3)
    show(opened, 2)
    assert opened.js(f"{VIEWER}.dataset.shown") == "cluster 2"
    opened.js("[...document.querySelectorAll('.shares circle.other')][0].dispatchEvent(new MouseEvent('click'))")
    opened.wait(f"{VIEWER}.viewer.scan === 0 && {READY}")
    assert opened.messages == []


def rows_in_order(path):
    """Row of the compressed signals of each voxel in the viewer's order: the study's images run to the left."""
    inside = read_map(path).data > 0
    rows = np.cumsum(inside.ravel()).reshape(inside.shape) - 1
    return rows[::-1][inside[::-1]]


@needs_chromium
def test_a_voxel_is_named_by_its_indices_in_the_file(opened, study):
    show(opened, 0)
    (path,) = study.glob("sub-01/**/*_seg-group_dseg.nii.gz")
    labels = nib.load(path)
    viewer = f"{VIEWER}.viewer.shown"
    opened.js(f"(v => {{ v.state.cluster = -1; v.move(0, v.state.at[0] > 2 ? -2 : 2); }})({viewer})")
    opened.wait(f"{VIEWER}.dataset.shown === {viewer}.original().join(',')")
    told = "[v.original(), v.position(v.state.at), v.data.clusterOf(v.voxel)]"  # of one moment
    at, place, cluster = opened.js(f"(v => {told})({viewer})")
    assert place == pytest.approx(nib.affines.apply_affine(labels.affine, at))
    assert cluster + 1 == labels.dataobj[tuple(at)]


@needs_chromium
def test_a_voxel_shows_signals_within_an_eighth_of_the_noise(opened, study):
    show(opened, 3)
    means, *_ = truth(study, opened, 3)
    viewer = f"{VIEWER}.viewer.shown"
    every = f"Array.from({{ length: {viewer}.header.n }}, (_, i) => {viewer}.data.signals(i).means)"
    found = np.array(opened.js(every))
    sigma = opened.js(f"{viewer}.data.sigmaOf(0)")
    assert np.allclose(np.sort(found, axis=0), np.sort(means, axis=0), atol=sigma / 8)
    opened("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    assert opened.js("document.documentElement.scrollWidth") == 390


def test_what_a_page_cannot_hold_is_told(study, tmp_path, monkeypatch):
    monkeypatch.setattr(group_block, "MOST_TEXT", 1)
    _, block = write_page(study, tmp_path / "page.html")
    assert [scan["packed"] for scan in block["scans"]] == [True, False, False, False]
    assert any("three scans of 4" in note for note in block["notes"])
    monkeypatch.setattr(group_block, "MOST_TEXT", 1e9)
    monkeypatch.setattr(group_block, "MOST_SIGNALS", 10)
    _, block = write_page(study, tmp_path / "page.html")
    assert any("signals are shown of clusters" in note for note in block["notes"])


def test_lost_signals_are_told_and_maps_still_shown(tmp_path):
    out = write_group(tmp_path / "out", STUDY)
    for path in out.glob("sub-01/**/*_desc-compressed_spectra.h5"):
        path.write_bytes(path.read_bytes()[:-40])
    for path in out.glob("sub-02/**/*_desc-compressed_spectra.h5"):
        path.unlink()
    _, block = write_page(out, tmp_path / "page.html")
    assert all(scan["packed"] for scan in block["scans"])
    told = " ".join(block["notes"])
    assert "Of 01 not all can be shown" in told and "Of 02 not all can be shown: the compressed signals" in told
    assert str(tmp_path) not in told


def test_a_cluster_map_of_another_run_is_told_and_the_page_still_made(tmp_path):
    out = write_group(tmp_path / "out", STUDY)
    (path,) = out.glob("sub-01/**/*_seg-group_dseg.nii.gz")
    image = nib.load(path)
    labels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(labels == 1, 12, labels).astype(np.uint8), image.affine, image.header), path)
    results, block = write_page(out, tmp_path / "page.html")
    assert [scan["packed"] for scan in block["scans"]].count(False) == 1
    assert "the cluster map has a cluster 12, and the group has 8 spectra" in " ".join(block["notes"])
    assert found_clusters(results)["entries"]


def test_far_values_do_not_coarsen_the_steps_of_a_map():
    """A hundred steps or more lie in the bulk of a map, and far values keep theirs, within 16 bits."""
    values = np.append(np.linspace(10, 20, 1000), [900.0, np.nan])
    layer = Layer("Trust", "Noise", "", values, {"colormap": "gray", "range": "zero"}, {})
    block = Block("b")
    (head,), _ = pack_layers([layer], block, 250)
    low, step = head["values"]["scale"]
    planes = np.frombuffer(b"".join(block.parts), np.uint8).reshape(2, -1).astype(int)
    codes = planes[0] + 256 * planes[1]
    assert step < 0.1 and codes[-1] == MISSING
    np.testing.assert_allclose(low + step * codes[:-1], values[:-1], atol=step)


def test_a_bright_voxel_does_not_coarsen_the_grey_levels():
    image = np.random.default_rng(0).uniform(50, 150, (9, 9, 9))
    image[4, 4, 4] = 1e6
    scan = SeriesResults((None, "dwi", *(None for _ in NAME_ENTITIES)))
    scan.roi = MapFile(np.ones(image.shape, bool), np.eye(4), {}, "roi")
    scan.reference = MapFile(image, np.eye(4), {}, "reference")
    found = geometry(scan, Block("b"), 250)["image"]
    assert found["scale"][1] < 2
