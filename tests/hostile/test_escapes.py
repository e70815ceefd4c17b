"""Names, links, patterns, texts of strangers: none leads out of its folder, breaks a table or is part of a page."""

import json
import os
import re
import shutil

import pytest

from benchmarks.fuzz_targets import make_study
from mrspec_prep.bids.dataset import select_participants
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import filled_in
from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import read_table, table_text
from mrspec_prep.cli import history
from mrspec_prep.cli.history import WorkDirError, claim_work_dir, finished_key, remove_stale
from mrspec_prep.cli.places import check_links
from mrspec_prep.cli.run import run
from mrspec_prep.options import SelectOptions
from mrspec_prep.reports import html
from mrspec_prep.reports.crashes import cause_of

SCRIPT = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _free_locks():
    yield
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()


@pytest.mark.parametrize("label", ["a b", "<script>", "x\ty", "x\nOSError: y", "$x^2$", "a\"'b", "..", "%2e", "a_b"])
def test_a_label_of_other_signs_than_letters_and_digits_is_refused_and_the_others_go_on(tmp_path, label):
    folder, files = make_study(tmp_path / "bids")
    other = tmp_path / "bids" / f"sub-{label}" / "dwi"
    other.mkdir(parents=True)
    for name, content in files.items():
        (other / name.replace("01", label, 1)).write_bytes(content)
    layout = open_layout(tmp_path / "bids")
    assert find_series(layout, "01", SelectOptions())
    with pytest.raises(InputError, match=r"letters, digits and \+ only") as refused:
        find_series(layout, label, SelectOptions())
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("label", ["../sub-01", "01/../01", "/etc", "*", "", "+", "01+", "../+01"])
def test_a_label_from_the_command_line_that_is_a_path_is_no_participant(tmp_path, label):
    make_study(tmp_path / "bids")
    with pytest.raises(InputError, match="choose from: 01"):
        select_participants(tmp_path / "bids", [label])


def test_entities_of_an_image_that_are_no_labels_are_refused(tmp_path):
    folder, files = make_study(tmp_path / "bids")
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("sub-01_", "sub-01_acq-<b>_")))
    with pytest.raises(InputError, match="label of the acquisition"):
        find_series(open_layout(tmp_path / "bids"), "01", SelectOptions())


@pytest.mark.parametrize(
    "pattern", ["{subject.__class__}.nii", "{subject:>9999999999}.nii", "{0}.nii", "{session!r}", "x\0.nii", "{.nii"]
)
def test_a_pattern_can_hold_nothing_but_subject_and_session(pattern):
    with pytest.raises(InputError, match="only {subject} and {session}"):
        filled_in(pattern, {"subject": "01"})
    assert str(filled_in("/x/{subject}_{session}.nii", {"subject": "01", "session": "a"})) == "/x/01_a.nii"


def test_a_record_of_finished_files_removes_nothing_outside_its_participant(tmp_path):
    out = tmp_path / "out"
    kept = [tmp_path / "raw" / "dwi" / "x.nii", out / "sub-02" / "dwi" / "x.nii", out / "sub-01" / "dwi" / "x.nii"]
    for path in (*kept, out / "sub-01" / "log" / "finished.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    names = ["../raw/dwi/x.nii", "sub-01/../../raw/dwi/x.nii", str(kept[0]), "sub-02/dwi/x.nii", "sub-01/dwi/x.nii"]
    (out / "sub-01" / "log" / "finished.json").write_text(json.dumps({"key": "a", "files": names}))
    assert remove_stale(out, "01", set()) == ["sub-01/dwi/x.nii"]
    assert [path.exists() for path in kept] == [True, True, False]


RECORDS = ("", "[1]", '{"key": 3, "files": []}', '{"files": 7}', '{"key": "a", "files": [3]}', "\0")


@pytest.mark.parametrize("content", RECORDS)
def test_a_damaged_record_means_an_unfinished_participant(tmp_path, content):
    (tmp_path / "sub-01" / "log").mkdir(parents=True)
    (tmp_path / "sub-01.html").write_text("")
    (tmp_path / "sub-01" / "log" / "finished.json").write_text(content)
    assert finished_key(tmp_path, "01") is None
    assert remove_stale(tmp_path, "01", set()) == []


def test_links_in_out_dir_that_lead_elsewhere_are_refused_before_anything_is_written(tmp_path, capsys):
    make_study(tmp_path / "bids")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "sub-01" / "ses-1").mkdir(parents=True)
    elsewhere.mkdir()
    (out / "inside").mkdir()
    (out / "sub-01" / "figures").symlink_to(out / "inside")
    check_links(out, ["sub-01"])
    words = [str(tmp_path / "bids"), str(out), "participant", "-w", str(tmp_path / "work"), "--nprocs", "1"]
    for name in ("sub-01/ses-1/dwi", "logs/inputs/sub-01", "logs/inputs", "logs/group/run"):
        link = out / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.rmdir() if link.is_dir() else None
        link.symlink_to(elsewhere)
        assert run(words) == 2
        assert f"{link}: this link leads out of OUT_DIR" in capsys.readouterr().err
        link.unlink()
    shutil.rmtree(out / "logs")
    (out / "logs").symlink_to(elsewhere)
    assert run(words) == 2
    assert "leads out of OUT_DIR" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())


def test_a_work_directory_that_others_may_write_is_refused(tmp_path, monkeypatch):
    work = tmp_path / "work"
    claim_work_dir(work, ["sub-01"])
    assert not work.stat().st_mode & 0o022
    (work / "mrspec_prep_wf").mkdir()
    (work / "mrspec_prep_wf").chmod(0o777)
    with pytest.raises(WorkDirError, match="code that runs in your name.*chmod o-w"):
        claim_work_dir(work, ["sub-02"])
    (work / "mrspec_prep_wf").chmod(0o755)
    work.chmod(0o777)
    with pytest.raises(WorkDirError, match="chmod o-w"):
        claim_work_dir(work, ["sub-03"])
    work.chmod(0o1777)
    claim_work_dir(work, ["sub-04"])
    work.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(work, 4321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: work.stat().st_uid + 1)
    with pytest.raises(WorkDirError, match="belongs to another user.*--work-dir of your own"):
        claim_work_dir(work, ["sub-05"])


def test_a_lock_that_cannot_be_had_is_told_in_words(tmp_path):
    (tmp_path / "work" / ".locks" / "sub-01.lock").mkdir(parents=True)
    with pytest.raises(WorkDirError, match="cannot be locked.*Remedy"):
        claim_work_dir(tmp_path / "work", ["sub-01"])


def test_a_message_is_one_printable_line_whatever_it_repeats():
    text = str(InputError("bad", file="a\nb", value="x\nMemoryError: y\x1b[31m\udcff" + "z" * 10_000, remedy="c\td"))
    assert text.isprintable() and len(text) < 2300
    assert cause_of(f"Traceback:\nmrspec_prep.bids.errors.InputError: {text}\n").startswith("InputError: a\\nb: bad")


def test_tabs_and_line_breaks_in_a_cell_break_no_table(tmp_path):
    values = ["a\tb", "c\nd", "e\r\nf", "g\u2028h", " ", SCRIPT]
    (tmp_path / "x.tsv").write_text(table_text({"name": values, "n": list(range(len(values)))}), encoding="utf-8")
    columns, _ = read_table(tmp_path / "x.tsv")
    assert columns["n"].tolist() == list(range(len(values)))
    assert columns["name"].tolist()[:4] == ["a b", "c d", "e f", "g h"]


def test_nothing_of_a_stranger_becomes_part_of_a_page():
    blocks = (
        {"kind": "paragraph", "text": SCRIPT},
        {"kind": "heading", "text": SCRIPT},
        html.table_block([SCRIPT], [[SCRIPT]], note=SCRIPT),
        {"kind": "list", "entries": [SCRIPT]},
    )
    page = html.Page(SCRIPT, SCRIPT, (html.Group("g", SCRIPT, (html.Section("s", SCRIPT, SCRIPT, blocks),)),))
    text = html.render(page)
    assert "<script>alert" not in text and "<img src=x" not in text
    assert len(re.findall("&lt;script&gt;alert", text)) >= 6
