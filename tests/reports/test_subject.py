"""The page: whole, in order, alone in the world, the same every time, and there even when a step failed."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.reports import citations
from mrspec_prep.reports.sections import _told
from mrspec_prep.reports.subject import build_boilerplate, build_subject_report

VOID = {"meta", "link", "img", "br", "hr", "input"}
SMALL = (20, 22, 2)
ORDER = [
    "At a glance", "Look at any voxel", "Acquisition", "Region of interest and noise", "What this protocol can tell",
    "Spectra",
    "Tissue clusters and spectral fractions", "How many clusters", "Parameter maps", "Residuals", "Errors and gaps",
    "Methods",
]  # fmt: skip


class Balance(HTMLParser):
    """Collects tags that are not closed, and every address."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.sources, self.links, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.sources += [attributes[name] for name in ("src", "data", "srcset", "poster") if name in attributes]
        self.links += [(tag, attributes["href"])] if "href" in attributes else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def parsed(path):
    page = Balance()
    page.feed(path.read_text())
    return page


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write):
    """A finished participant and its report, built once."""
    base = tmp_path_factory.mktemp("whole")
    out = write(base / "out", base / "raw", shape=SMALL)
    return out, build_subject_report(out, "sub-01")


def test_sections_come_in_the_order_of_the_contract(whole):
    text = whole[1].read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ORDER


def test_page_asks_the_network_for_nothing(whole):
    page = parsed(whole[1])
    allowed = ("data:image/svg+xml;base64,", "data:image/png;base64,")
    assert page.sources and all(source.startswith(allowed) for source in page.sources)
    for tag, link in page.links:
        assert link.startswith(("#", "https://doi.org/")) if tag == "a" else link == "data:,"
    text = whole[1].read_text()
    assert "@import" not in text and "url(" not in text
    assert re.search(r"Content-Security-Policy\" content=\"default-src &#39;none&#39;; script-src &#39;sha256-", text)


def test_page_is_well_formed_and_links_arrive(whole):
    page = parsed(whole[1])
    assert page.wrong == [] and page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for tag, link in page.links if link.startswith("#")} <= set(page.ids)


def test_page_is_a_few_megabytes_and_figures_lie_beside_it(whole):
    out, page = whole
    assert page.stat().st_size < 4e6
    names = {path.name for path in (out / "sub-01" / "figures").glob("*.svg")}
    wanted = ["roi", "snr", "spectra", "clusters", "responsibilities", "fractions", "selection", "residual", "t2star"]
    for name in wanted:
        assert f"sub-01_dwi_{name}.svg" in names


def test_peaks_are_named_in_the_units_of_the_reader(whole):
    text = whole[1].read_text()
    assert "largest peak: D, T2*" in text
    row = re.search(r"Cluster 1 <button.*?</tr>", text, re.DOTALL)[0]
    assert "0.75 µm²/ms, 62 ms (80" in row and "2.9 µm²/ms, 420 ms (20" in row


def test_equal_derivatives_give_equal_pages_and_no_figure_is_left_over(whole, tmp_path):
    out, page = whole
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    shutil.copytree(out.parent / "raw", tmp_path / "raw")
    stale = copy / "sub-01" / "figures" / "sub-01_dwi_stale.svg"
    stale.write_text("<svg/>")
    again = build_subject_report(copy, "01")
    assert again.read_bytes() == page.read_bytes()
    assert not stale.exists()
    for path in sorted((out / "sub-01" / "figures").iterdir()):
        assert path.read_bytes() == (copy / "sub-01" / "figures" / path.name).read_bytes()


def test_validator_finds_no_error_beside_a_report(whole):
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), str(whole[0]), "--format", "json"]
    issues = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=100).stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_citations_that_cannot_be_written_fail_no_report(participant, monkeypatch, caplog):
    out = participant(kernel="t2", shape=(14, 16, 1), steps=("nnls",))

    def held(out_dir):
        raise InputError("another job has held the dataset", remedy="end it")

    monkeypatch.setattr(citations, "dataset_lock", held)
    monkeypatch.setattr(citations.LOGGER, "propagate", True)
    assert build_subject_report(out, "01").is_file()
    assert "CITATION.md is not up to date: another job" in caplog.text
    with pytest.raises(InputError, match="another job"):
        build_boilerplate(out, "01")


def test_citations_are_those_of_the_text(whole):
    logs = whole[0] / "logs"
    markdown, bibliography = (logs / "CITATION.md").read_text(), (logs / "CITATION.bib").read_text()
    assert "InSpect" in markdown and "[@" not in markdown and "{" not in markdown
    keys = re.findall(r"@\w+\{(\w+),", bibliography)
    assert {"slator2019inspect", "schwarz1978", "hutter2018zebra"} <= set(keys)
    assert len(re.findall(r"^\d+\. ", markdown, re.MULTILINE)) == len(keys)
    assert "akaike1974" not in keys and "veraart2016" not in keys
    page = Balance()
    page.feed((logs / "CITATION.html").read_text())
    assert page.wrong == [] and page.sources == []


def test_one_dimension_and_one_slice(participant):
    out = participant(kernel="t2", shape=(22, 26, 1))
    text = build_subject_report(out, "01").read_text()
    assert "largest peak: T2" in text and "sub-01/figures/sub-01_anat_t2.svg" in text


def test_three_dimensions(participant):
    out = participant(kernel="t1-t2-adc", shape=(14, 16, 2), steps=("nnls",))
    text = build_subject_report(out, "01").read_text()
    assert "T1-T2-D spectrum" in text and "sub-01_dwi_spectra.svg" in text


@pytest.mark.parametrize("steps", [(), ("nnls",), ("inspect",)])
def test_a_step_that_is_missing_is_said(participant, steps):
    out = participant(shape=(14, 16, 2), steps=steps)
    text = build_subject_report(out, "01").read_text()
    assert "The analysis is incomplete" in text
    gap = re.search(r"Not there for .*?</p>", text)[0]
    assert ("the voxelwise spectra" in gap) == ("nnls" not in steps)
    assert ("the tissue clusters" in gap) == ("inspect" not in steps)


def test_crashes_and_broken_files_are_told_in_words_and_escaped(participant):
    out = participant(shape=(14, 16, 2), steps=("nnls",))
    for run, cause in (("run1", "ValueError: old"), ("run2", "MemoryError: <script>alert(1)</script> 12 GB asked")):
        folder = out / "sub-01" / "log" / run
        folder.mkdir(parents=True)
        (folder / "crash-1.txt").write_text(f"Node: wf.sub_01_wf.fit_inspect\n\nTraceback\n{cause}\n")
    os.utime(out / "sub-01" / "log" / "run1" / "crash-1.txt", (1, 1))
    (out / "sub-01" / "dwi" / "sub-01_desc-noise_dwimap.nii.gz").write_bytes(b"half")
    (out / "sub-01" / "dwi" / "sub-01_model-adct2star_desc-nnls_spectra.h5").write_bytes(b"half")
    text = build_subject_report(out, "01").read_text()
    assert "The step fit inspect failed: &lt;script&gt;alert(1)&lt;/script&gt; 12 GB asked" in text
    assert "<script>alert" not in text and "ValueError: old" not in text
    assert "sub-01_desc-noise_dwimap.nii.gz cannot be read" in text
    assert str(out) not in text


def test_nothing_finished_still_gives_a_page(tmp_path):
    folder = tmp_path / "sub-07" / "log" / "run"
    folder.mkdir(parents=True)
    (folder / "crash-x.txt").write_text("Node: a.check\nInputError: no bval. Remedy: add it\n")
    text = build_subject_report(tmp_path, "07").read_text()
    assert "Nothing was finished" in text and "no bval. Remedy: add it" in text


def test_several_series_have_their_own_part(participant):
    for session in ("a", "b"):
        out = participant(shape=(14, 16, 2), steps=("nnls",), entities={"session": session})
    page = build_subject_report(out, "01")
    text, parts = page.read_text(), parsed(page)
    assert "Two series" in text and "Session a" in text.replace("session a", "Session a")
    assert {"ses-a_dwi", "ses-b_dwi", "participant"} <= set(parts.ids)


def test_participants_treated_alike_share_a_citation(tmp_path, write):
    for subject in ("01", "02"):
        out = write(tmp_path / "out", tmp_path / "raw", subject=subject, shape=(14, 16, 1), steps=())
        build_subject_report(out, subject)
    assert (out / "logs" / "CITATION.md").read_text().count("Results included here") == 1


def test_an_axis_whose_components_cannot_be_told_apart_is_not_called_resolved():
    about = {"ResolvedAxes": ["diffusivity", "t2"], "SeparableFactor": {"diffusivity": 2.1, "t2": "n/a"}}
    assert [_told(axis, about) for axis in ("diffusivity", "t2", "t1")] == [
        "its structure", "its mean only in single voxels", "its mean only",
    ]  # fmt: skip
