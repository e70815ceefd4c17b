"""Labels with a plus sign, which BIDS allows: from the command line to the page, the group and a reader of results."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import pytest
from bids import BIDSLayout

from mrspec_prep.bids.output.derivative_dataset import known_datasets
from mrspec_prep.bids.output.derivatives import pybids_config
from mrspec_prep.bids.uris import path_of_uri
from mrspec_prep.cli import history
from mrspec_prep.cli import run as command
from tests.reports.browser import CHROMIUM, browser
from tests.reports.test_viewer import IN_SIGHT, READY
from tests.test_end_to_end import validator_errors

ZEBRA = Path(__file__).parents[1] / "bids_examples" / "zebra_t2star-adc"
PEOPLE = {"01+a": ("a+b", "c"), "02": ("a+b",), "01": ("a+b",)}
STEM = "sub-01+a_ses-a+b"
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def write_study(root):
    """Two scans of 6 x 6 x 2 voxels of every person and session; their masks beside, without a session."""
    for label, sessions in PEOPLE.items():
        for session in sessions:
            folder = root / f"sub-{label}" / f"ses-{session}" / "dwi"
            folder.mkdir(parents=True)
            for scan in ("te078", "te150"):
                for path in (ZEBRA / "sub-01" / "dwi").glob(f"*{scan}*"):
                    target = folder / path.name.replace("sub-01_acq-", f"sub-{label}_ses-{session}_acq-x+").replace(
                        "+te", "+"
                    )
                    if path.name.endswith(".gz"):
                        nib.save(nib.load(path).slicer[9:15, 9:15, 1:3], target)
                    else:
                        shutil.copy(path, target)
    for name in ("dataset_description.json", "README"):
        shutil.copy(ZEBRA / name, root)
    rows = [f"sub-{label}\t{group}" for label, group in zip(PEOPLE, "aab", strict=True)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tgroup", *rows]) + "\n")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of the study, its results under ``out`` and the exit code."""
    folder = tmp_path_factory.mktemp("a+b")
    bids = write_study(folder / "bids")
    (folder / "filter.json").write_text('{"dwi": {"session": "ses-a+b", "acquisition": ["x+078", "x+150"]}}')
    words = [bids, folder / "out", "participant", "group", "-w", folder / "work", "--nprocs", "1", "--sloppy",
             "--participant-label", "sub-01+a", "02", "--session-label", "ses-a+b",
             "--bids-database-dir", folder / "db", "--bids-filter-file", folder / "filter.json",
             "--mask", "automatic", "--noise", "300",
             "--set", "kernel.points=[6,6]", "--set", "inspect.n_clusters=2", "--set", "group.n_clusters=2",
             "--set", "nnls.regions.a+b.t2star=[40, 90]"]  # fmt: skip
    code = command.run(list(map(str, words)))
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    return folder, code


def test_both_levels_end_well_and_only_what_was_asked_for_is_there(place):
    folder, code = place
    assert code == 0
    assert sorted(p.name for p in (folder / "out").glob("sub-*")) == [
        "sub-01+a",
        "sub-01+a.html",
        "sub-02",
        "sub-02.html",
    ]
    assert [p.name for p in (folder / "out" / "sub-01+a").glob("ses-*")] == ["ses-a+b"]
    written = folder / "out" / "sub-01+a" / "ses-a+b" / "dwi"
    assert (written / f"{STEM}_model-adct2star_param-a+b_desc-nnls_dwimap.nii.gz").is_file()
    assert (written / f"{STEM}_seg-group_dseg.nii.gz").is_file()
    assert 'href="sub-01%2Ba.html"' in (folder / "out" / "group.html").read_text()
    table = (folder / "out" / "group_participants.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in table[1:]] == [["sub-01+a", "ses-a+b"], ["sub-02", "ses-a+b"]]


def test_the_validator_finds_no_error_in_data_and_results(place):
    assert validator_errors(place[0] / "bids") == []
    assert validator_errors(place[0] / "out") == []


def test_sources_lead_back_to_their_files(place):
    out, bids = place[0] / "out", place[0] / "bids"
    roots = known_datasets(out, bids)
    sidecars = sorted((out / "sub-01+a").rglob(f"{STEM}_*.json"))
    assert len(sidecars) > 10
    for sidecar in sidecars:
        for uri in json.loads(sidecar.read_text())["Sources"]:
            assert path_of_uri(uri, roots).is_file(), (sidecar.name, uri)


def test_pybids_reads_the_labels(place):
    config = ["bids", "derivatives", pybids_config()]
    layout = BIDSLayout(place[0] / "out", config=config, validate=False, is_derivative=True)
    assert layout.get_subjects() == ["01+a", "02"]
    (found,) = layout.get(subject="01+a", session="a+b", param="a+b", suffix="dwimap", extension=".nii.gz")
    assert found.entities["model"] == "adct2star"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_viewer_of_the_page_works(place):
    with browser() as page:
        page.open(place[0] / "out" / "sub-01+a.html")
        page.js(IN_SIGHT)
        page.wait(READY)
        assert page.messages == []
        for link in ("ses-a+b_dwi_clusters", "ses-a+b_dwi_viewer"):
            assert (
                page.js(f"document.querySelector('a[href=\"#{link}\"]').click(), document.querySelector(':target').id")
                == link
            )
