import os
import threading
import time
from pathlib import Path

import pytest

from mrspec_prep.bids import layout as layout_module
from mrspec_prep.bids.dataset import list_participants, select_participants, select_sessions
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.layout import find_images, open_layout, participant_files
from mrspec_prep.bids.names import natural_key, split_name
from mrspec_prep.options import SelectOptions


def test_a_name_is_split_into_long_entities():
    name = split_name("/data/sub-x/ses-y/sub-01/ses-b/dwi/sub-01_ses-b_acq-te060_dir-AP_run-02_dwi.nii.gz")
    assert name.entities == {"subject": "01", "session": "b", "acquisition": "te060", "direction": "AP", "run": "02"}
    assert (name.suffix, name.extension, name.datatype) == ("dwi", ".nii.gz", "dwi")


def test_natural_order():
    assert sorted(["echo-10", "echo-2", "echo-01"], key=natural_key) == ["echo-01", "echo-2", "echo-10"]


def test_participants_are_listed_without_indexing(tiny):
    for label in ("10", "2", "A"):
        tiny.path(f"sub-{label}/x").parent.mkdir(exist_ok=True)
    tiny.text("sub-file", "not a folder")
    assert list_participants(tiny.root) == ["2", "10", "A"]
    assert select_participants(tiny.root, ["sub-2", "2", "A"]) == ["2", "A"]
    assert select_participants(tiny.root, None) == ["2", "10", "A"]


def test_participants_with_a_session_are_told_from_those_without(tiny):
    for label, session in (("01", "pre"), ("01", "post"), ("02", "pre"), ("03", "x+y")):
        tiny.path(f"sub-{label}/ses-{session}/x").parent.mkdir(exist_ok=True)
    tiny.path("sub-04/x").parent.mkdir(exist_ok=True)
    everybody = ["01", "02", "03", "04", "05"]
    assert select_sessions(tiny.root, everybody, ["ses-pre"]) == ["01", "02"]
    assert select_sessions(tiny.root, everybody, ["post", "x+y"]) == ["01", "03"]
    with pytest.raises(InputError, match="no session mid in the dataset.*choose from: post, pre, x"):
        select_sessions(tiny.root, everybody, ["pre", "mid"])
    with pytest.raises(InputError, match="separate labels by spaces"):
        select_sessions(tiny.root, everybody, ["pre,post"])


def test_a_missing_participant_lists_the_valid_ones(tiny):
    tiny.dwi("")
    with pytest.raises(InputError, match="no participant 07.*choose from: 01"):
        select_participants(tiny.root, ["07"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "dataset_description.json").unlink(), "dataset_description.json is missing"),
        (lambda root: (root / "dataset_description.json").write_text("{'a'}"), "not valid JSON.*line 1"),
        (lambda root: (root / "dataset_description.json").write_text("[1]"), "must hold an object"),
        (lambda root: (root / "dataset_description.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda root: (root / "dataset_description.json").write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
    ],
)
def test_what_is_no_dataset_is_refused(tiny, spoil, message):
    tiny.dwi("")
    spoil(tiny.root)
    with pytest.raises(InputError, match=message):
        open_layout(tiny.root)


def test_missing_file_or_empty_dataset_is_refused(tiny):
    with pytest.raises(InputError, match="BIDS_DIR does not exist"):
        list_participants(tiny.root / "nowhere")
    with pytest.raises(InputError, match="not a folder"):
        list_participants(tiny.root / "dataset_description.json")
    with pytest.raises(InputError, match="no participant folder"):
        list_participants(tiny.root)


@pytest.mark.parametrize("with_database", [False, True])
def test_without_validation_a_dataset_needs_no_description(tiny, tmp_path, with_database):
    tiny.dwi("")
    description = tiny.root / "dataset_description.json"
    for spoil in (lambda: description.write_text("{oops"), description.unlink):
        spoil()
        with pytest.raises(InputError, match="dataset_description.json"):
            open_layout(tiny.root, ["01"])
        layout = open_layout(tiny.root, ["01"], tmp_path / "db" if with_database else None, validate=False)
        assert [path.name for path in find_images(layout, "01", SelectOptions())] == ["sub-01_dwi.nii.gz"]


def test_no_permission_is_said(tiny, monkeypatch):
    tiny.dwi("")
    monkeypatch.setattr(layout_module.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="no permission.*chmod"):
        open_layout(tiny.root)


def test_only_the_participants_asked_for_are_indexed(tiny):
    for label in ("01", "02", "012"):
        tiny.image(f"sub-{label}/dwi/sub-{label}_dwi")
    tiny.image("derivatives/masks/sub-01/dwi/sub-01_mask")
    layout = open_layout(tiny.root, ["01"])
    assert [Path(p).name for p in layout.files] == ["dataset_description.json", "sub-01_dwi.nii.gz"]


def test_folders_above_the_dataset_do_not_name_the_participant(tmp_path):
    root = tmp_path / "sub-99" / "ses-7" / "a b#c" / "anat"
    (root / "sub-01" / "dwi").mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    (root / "sub-01" / "dwi" / "sub-01_dwi.nii.gz").touch()
    layout = open_layout(root, ["01"])
    assert [p.name for p in find_images(layout, "01", SelectOptions())] == ["sub-01_dwi.nii.gz"]
    assert participant_files(layout, "99") == []


def test_one_of_a_hundred_participants_is_found_quickly(tiny):
    for label in range(100):
        folder = tiny.path(f"sub-{label:03d}/dwi/x").parent
        for number in range(10):
            (folder / f"sub-{label:03d}_acq-{number}_dwi.nii.gz").touch()
    start = time.perf_counter()
    images = find_images(open_layout(tiny.root, ["050"]), "050", SelectOptions())
    assert len(images) == 10
    assert time.perf_counter() - start < 2


def test_a_loop_of_links_stops_one_participant_only(tiny):
    tiny.dwi("")
    tiny.image("sub-02/dwi/sub-02_dwi", 2, bval=[0, 500])
    (tiny.root / "sub-01" / "dwi" / "again").symlink_to(tiny.root / "sub-01")
    layout = open_layout(tiny.root, ["01", "02"])
    assert len(find_images(layout, "02", SelectOptions())) == 1
    with pytest.raises(InputError, match="again: symbolic links form a loop of folders"):
        find_images(layout, "01", SelectOptions())


def test_a_link_to_itself_is_refused(tiny):
    image = tiny.dwi("")
    image.unlink()
    image.symlink_to(image)
    with pytest.raises(InputError, match=f"{image.name}: symbolic links form a loop"):
        tiny.find()


def test_content_that_was_not_fetched_is_said(tiny):
    image = tiny.dwi("")
    image.unlink()
    image.symlink_to("../../.git/annex/objects/xyz")
    with pytest.raises(InputError, match="points to a file that is not here.*datalad get"):
        tiny.find()


def test_linked_folders_are_followed(tiny, tmp_path):
    image = tiny.dwi("")
    image.parent.rename(tmp_path / "elsewhere")
    image.parent.symlink_to(tmp_path / "elsewhere")
    assert len(tiny.find()) == 1


def test_a_database_is_shared_and_renewed(tiny, tmp_path):
    tiny.dwi("")
    tiny.image("sub-02/dwi/sub-02_dwi", 2, bval=[0, 500])
    folder = tmp_path / "deep" / "database"
    first = open_layout(tiny.root, ["01"], folder)
    assert len(participant_files(first, "02")) == 3
    stamp = (folder / "layout_index.sqlite").stat().st_mtime_ns
    open_layout(tiny.root, ["02"], folder)
    assert (folder / "layout_index.sqlite").stat().st_mtime_ns == stamp
    tiny.image("sub-03/dwi/sub-03_dwi", 2, bval=[0, 500])
    (tiny.root / "sub-04").mkdir()
    assert len(participant_files(open_layout(tiny.root, ["03", "04"], folder), "03")) == 3


def test_a_database_in_a_folder_that_cannot_be_written_is_read(tiny, tmp_path, monkeypatch):
    tiny.dwi("")
    open_layout(tiny.root, ["01"], tmp_path / "db")
    (tmp_path / "db.lock").unlink()
    access = os.access
    monkeypatch.setattr(layout_module.os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert len(participant_files(open_layout(tiny.root, ["01"], tmp_path / "db"), "01")) == 4
    assert not (tmp_path / "db.lock").exists()


def test_jobs_that_start_together_build_one_database(tiny, tmp_path):
    tiny.dwi("")
    found, jobs = [], []
    for _ in range(4):
        job = threading.Thread(target=lambda: found.append(len(open_layout(tiny.root, ["01"], tmp_path / "db").files)))
        job.start()
        jobs.append(job)
    for job in jobs:
        job.join()
    assert found == [5] * 4


def test_what_is_no_database_is_refused(tiny, tmp_path):
    tiny.dwi("")
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "layout_index.sqlite").write_text(
        "nothing of the kind, and long enough to be read as a header" * 99
    )
    with pytest.raises(InputError, match="no database.*delete this folder"):
        open_layout(tiny.root, ["01"], tmp_path / "db")


def test_a_database_folder_that_cannot_be_written_is_refused(tiny, tmp_path):
    tiny.dwi("")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written here.*--bids-database-dir"):
        open_layout(tiny.root, ["01"], tmp_path / "file" / "db")


def test_sessions_are_selected(tiny):
    for session in ("a", "b"):
        tiny.image(f"sub-01/ses-{session}/dwi/sub-01_ses-{session}_dwi", 2, bval=[0, 1000], sidecar={"EchoTime": 0.08})
    assert [s.session for s in tiny.find()] == ["a", "b"]
    assert [s.session for s in tiny.find(sessions=["ses-b", "b"])] == ["b"]
    assert [s.session for s in tiny.find(sessions=["c", "b"])] == ["b"]
    with pytest.raises(InputError, match="no session c.*choose from: a, b"):
        tiny.find(sessions=["c"])


@pytest.mark.parametrize("with_database", [False, True])
def test_labels_may_hold_a_plus_sign(tiny, tmp_path, with_database):
    for label, session in (("01+a", "a+b"), ("01", "a+b"), ("01aa", "aab")):
        name = f"sub-{label}/ses-{session}/dwi/sub-{label}_ses-{session}_acq-x+y_dwi"
        tiny.image(name, 2, bval=[0, 1000], sidecar={"EchoTime": 0.08})
    layout = open_layout(tiny.root, ["sub-01+a"], tmp_path / "db" if with_database else None)
    (series,) = find_series(layout, "01+a", SelectOptions(), ["ses-a+b"], {"dwi": {"acquisition": "x+y"}})
    assert series.entities == {"subject": "01+a", "session": "a+b", "acquisition": "x+y"}
    with pytest.raises(InputError, match="no image to read"):
        find_series(layout, "01+a", SelectOptions(), None, {"dwi": {"session": "aab"}})


def test_sessions_of_a_participant_without_any(tiny):
    tiny.dwi("")
    with pytest.raises(InputError, match="leave the session out"):
        tiny.find(sessions=["a"])


def test_datatype_and_suffix_are_selected(tiny):
    tiny.dwi("")
    for echo in (1, 2):
        tiny.image(f"sub-01/anat/sub-01_echo-{echo}_MESE", sidecar={"EchoTime": 0.01 * echo})
    assert [s.suffix for s in tiny.find()] == ["MESE", "dwi"]
    assert [s.suffix for s in tiny.find(datatype="anat")] == ["MESE"]
    assert [s.suffix for s in tiny.find(suffix="dwi")] == ["dwi"]
    with pytest.raises(InputError, match="no image to read.*suffix IRT1"):
        tiny.find(suffix="IRT1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sub-01/dwi/sub-02_dwi", "disagree about the subject"),
        ("sub-01/dwi/dwi", "disagree about the subject"),
        ("sub-01/ses-a/dwi/sub-01_ses-b_dwi", "disagree about the session"),
        ("sub-01/dwi/sub-01_ses-b_dwi", "disagree about the session"),
    ],
)
def test_a_name_that_contradicts_its_folder_is_refused(tiny, name, message):
    tiny.image(name, 2, bval=[0, 1000])
    with pytest.raises(InputError, match=message):
        tiny.find()


def test_an_image_that_is_there_twice_is_refused(tiny):
    path = tiny.dwi("")
    path.with_suffix("").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="there twice"):
        tiny.find()


def test_an_unreadable_folder_is_refused(tiny, monkeypatch):
    tiny.dwi("")
    real = Path.iterdir

    def refuse(folder):
        if folder.name == "dwi":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    layout = open_layout(tiny.root, ["01"])
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="dwi: no permission"):
        find_images(layout, "01", SelectOptions())
