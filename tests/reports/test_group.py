"""The group's page: whole, in order, alone in the world, built from files alone, also when some are missing."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_study import Study
from mrspec_prep.bids.output.derivatives import read_table, write_table
from mrspec_prep.reports.group.collect import collect_group, read_cluster_map
from mrspec_prep.reports.group.figures import grouped_order
from mrspec_prep.reports.group.methods import group_methods_facts
from mrspec_prep.reports.group.page import build_group_report, group_words
from mrspec_prep.reports.group.verdict import judge_group, site_remarks
from mrspec_prep.reports.methods import compose
from tests.reports.group_study import write_group

SMALL = Study(n_participants=8, n_repeated=1, shape=(10, 10, 2), protocols=("placenta", "short"))
ORDER = [
    "At a glance", "Look at any cluster, participant or voxel", "Who is in, and who is not", "Sites",
    "Canonical spectra", "Proportions of every participant",
    "Do participants differ", "How many clusters", "Cluster maps", "How far to trust it", "Errors and gaps", "Methods",
]  # fmt: skip


class Addresses(HTMLParser):
    """Every source, link and id of a page."""

    def __init__(self):
        super().__init__()
        self.sources, self.links, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.ids += [attributes["id"]] if "id" in attributes else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished group and its page, built once; the first participant has a page of its own."""
    out = write_group(tmp_path_factory.mktemp("whole") / "out", SMALL)
    (out / "sub-01.html").write_text("<!DOCTYPE html>")
    return out, build_group_report(out)


@pytest.fixture
def results(tmp_path):
    """Function that reads a group written with given settings, without maps or page."""

    def make(study=SMALL, **settings):
        return collect_group(write_group(tmp_path / "out", study, maps=False, **settings))

    return make


def said(results):
    verdict = judge_group(results, group_words())
    return verdict, " ".join(remark.text for remark in verdict.remarks)


def test_sections_come_in_order_and_the_verdict_says_what_was_found(whole):
    text = whole[1].read_text()
    assert re.findall(r"<h2>(.*?)</h2>", text) == ORDER
    first = text[text.index("What was measured") : text.index("Look at any cluster")]
    assert "Nine scans of eight participants; two sites; " in first and "TE 78" in first
    assert first.count('class="swatch"') == 8 and "whose shares are nearest to the mean" in first
    assert "SNR of all volumes" in text and ">SNR<" not in text
    assert "nine scans of eight participants" in text and "two sites, two protocols" in text
    assert "One scan could not take part" in text and "no noise map: run the participant again" in text
    assert "5 control and 3 pathological participants were compared" in text and "56 ways" in text
    assert "All clusters together, the proportions differ between the groups (p = 0.018)" in text


def test_page_is_alone_in_the_world_and_its_links_arrive(whole):
    out, path = whole
    page = Addresses()
    page.feed(path.read_text())
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    for link in page.links:
        assert link.startswith(("#", "https://doi.org/")) or (out / link).is_file()
    assert "sub-01.html" in page.links and "sub-02.html" not in page.links
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    text = path.read_text()
    held = text.count('<script type="application/json"') + text.count('<script type="application/octet-stream"')
    assert held > 9 and text.count("<script") == 1 + held and text.count("<script>") == 1
    assert "effect: pathological − control<" in text
    assert "@import" not in text and "url(" not in text and str(out) not in text


def test_figures_lie_beside_the_page_and_equal_files_give_equal_pages(whole):
    out, path = whole
    names = {figure.name for figure in (out / "figures").glob("*.svg")}
    wanted = ["sites", "spectra", "overlay", "proportions", "comparison", "selection", "maps_1"]
    assert names == {f"group_{name}.svg" for name in wanted}
    before = path.read_bytes()
    (out / "figures" / "group_stale.svg").write_text("<svg/>")
    assert build_group_report(out).read_bytes() == before
    assert not (out / "figures" / "group_stale.svg").exists()


def test_validator_finds_no_error_beside_the_page(whole):
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), str(whole[0]), "--format", "json"]
    issues = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=100).stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_methods_cite_what_ran_and_nothing_else(whole):
    markdown = (whole[0] / "logs" / "CITATION.md").read_text()
    assert "One set of canonical spectra was estimated over nine scans of eight participants" in markdown
    assert "two protocols enter" in markdown and "Bayesian information criterion" in markdown
    assert "distribution-free intervals" in markdown and "Repeated scans" in markdown
    assert "Kruskal" not in markdown and "atlas" not in markdown and "[@" not in markdown and "{" not in markdown


def test_map_and_reference_of_a_scan_are_found_again(whole):
    found = collect_group(whole[0])
    for name, series in zip(found.column("participant_id"), found.column("series"), strict=True):
        scan = read_cluster_map(whole[0], str(name), str(series))
        assert scan.labels.data.max() <= 8 and scan.reference.shape == scan.labels.data.shape
    first, second = (read_cluster_map(whole[0], "sub-08", s).labels.data for s in found.column("series")[-2:])
    assert not np.array_equal(first, second)  # two sessions of one participant
    assert read_cluster_map(whole[0], "sub-77", "sub-77_desc-compressed_spectra.h5") is None


@pytest.mark.parametrize(
    "source",
    [
        "bids:raw:../secret/sub-08/dwi/sub-08_desc-x_dwi.nii",
        "bids:raw:%2e%2e/secret/sub-08/dwi/sub-08_desc-x_dwi.nii",
        None,
        7,
    ],
)
def test_sources_of_strangers_show_no_image_of_other_places(whole, tmp_path, source):
    """A source that leads out of its dataset is passed over, although a reference image lies where it leads."""
    out = shutil.copytree(whole[0], tmp_path / "out", ignore=shutil.ignore_patterns("*_desc-reference_*"))
    reference = next(whole[0].rglob("*_desc-reference_dwiref.json"))
    for folder in (tmp_path / "raw/sub-08/figures", tmp_path / "secret/sub-08/figures"):
        folder.mkdir(parents=True)
        for path in (reference, reference.with_suffix(".nii.gz")):
            shutil.copy(path, folder / f"sub-08_desc-reference_dwiref.{path.name.partition('.')[2]}")
    series = str(collect_group(out).column("series")[-1])
    for sources, found in (([source], False), (source, False), (["bids:raw:sub-08/dwi/sub-08_desc-x_dwi.nii"], True)):
        for sidecar in (out / "sub-08").rglob("*_seg-group_dseg.json"):
            sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Sources": sources}))
        scan = read_cluster_map(out, "sub-08", series)
        assert scan.labels.data.any() and (scan.reference is not None) == found
    assert read_cluster_map(out, "../out/sub-08", series) is None


def test_a_site_that_stands_out_is_named(results):
    verdict, text = said(results(odd_site=True))
    assert "Site south stands out: its signals are explained worse" in text and verdict.level == "caution"
    quiet = results(left_out=False)
    assert [remark.text for remark in site_remarks(quiet, group_words()["verdict"])] == [
        "The sites do not differ visibly in noise, residual or proportions."
    ]


def test_a_group_without_warnings_is_good_and_one_from_its_own_site_is_not(results):
    assert said(results(left_out=False))[0].level == "good"
    found = results(left_out=False)
    found.comparison_facts["Comparisons"][0]["SiteTellsGroup"] = True
    verdict, text = said(found)
    assert verdict.level == "caution" and "a difference between groups may be one between sites" in text


def test_a_cluster_of_one_participant_is_an_oddity(results):
    found = results(Study(n_participants=8, n_pathological=1, shape=(10, 10, 2)))
    found.table["proportion_8"] = np.where(found.table["participant_id"] == "sub-08", 0.3, 0.0)
    assert "Cluster 8 lies almost wholly in one participant" in said(found)[1]


def test_a_group_of_one_participant_is_no_group(results):
    one = Study(n_participants=1, n_pathological=0, shape=(10, 10, 2))
    verdict, text = said(results(one, left_out=False))
    assert "This group is one participant" in text and verdict.level == "caution"
    assert "This group is one participant" not in said(results(one, left_out=False, frozen=True))[1]
    assert "This group is one participant" not in said(results(left_out=False))[1]


def test_without_groups_nothing_is_compared_and_that_is_said(results):
    found = results(compare="n/a")
    assert "Nothing was compared: participants.tsv has no column" in said(found)[1]
    assert found.groups()[1] == [""]


def test_a_frozen_atlas_is_said_and_no_number_was_chosen(results):
    found = results(frozen=True)
    text, words = said(found)[1], group_words()
    assert "of a published atlas" in text and "number of clusters" not in text and "chose" not in text
    methods = compose(group_methods_facts(found), words)
    assert "(placenta_desc-inspect_spectra.h5) were held fixed" in methods and "number of clusters" not in methods


def test_missing_and_broken_files_are_told(tmp_path):
    out = write_group(tmp_path / "out", SMALL, maps=False)
    (out / "group_desc-inspect_spectra.h5").write_bytes(b"half")
    folder = out / "logs" / "group" / "run"
    folder.mkdir(parents=True)
    (folder / "crash-1.txt").write_text("Node: group.fit\n\nTraceback\nMemoryError: <b>12 GB</b> asked\n")
    text = build_group_report(out).read_text()
    assert "group_desc-inspect_spectra.h5 cannot be read" in text and "Nothing was finished" in text
    (out / "group_participants.tsv").write_text("subject\n01\n")
    assert "group_participants.tsv cannot be read" in build_group_report(out).read_text()
    assert "The step fit failed: &lt;b&gt;12 GB&lt;/b&gt; asked" in text
    empty = build_group_report(tmp_path / "empty").read_text()
    assert "Nothing was finished" in empty and "Not there: the table of participants and the spectra" in empty


def test_scans_are_ordered_by_group_then_by_what_differs_most():
    shares = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
    order, starts = grouped_order(shares, ["a", "b", "a", "b"], ["b", "a"])
    assert order.tolist() == [3, 1, 0, 2] and starts.tolist() == [0, 2, 4]


def test_many_scans_fit_on_a_page(tmp_path):
    out = write_group(tmp_path / "out", Study(n_participants=6, shape=(8, 8, 2)), maps=False)
    table, about = read_table(out / "group_participants.tsv")
    many = {name: np.concatenate([values[:6]] * 40) for name, values in table.items()}
    many["participant_id"] = np.array([f"sub-{i:03d}" for i in range(240)])
    write_table(out / "group_participants.tsv", many, about)
    page = build_group_report(out)
    assert "240 participants" in page.read_text() and page.stat().st_size < 4e6
