import json
import multiprocessing

import pytest

from mrspec_prep.cli.history import (
    WorkDirError,
    claim_work_dir,
    finished_key,
    forget_finished,
    mark_finished,
    remove_stale,
)


def make_outputs(out_dir, names):
    for name in names:
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (out_dir / "sub-01.html").write_text("report")


NAMES = ("sub-01/dwi/sub-01_a_dwimap.nii.gz", "sub-01/dwi/sub-01_b_dwimap.nii.gz", "sub-01/figures/a.svg")


def test_a_finished_participant_is_known_by_its_key_until_a_file_is_cut_or_missing(tmp_path):
    make_outputs(tmp_path, NAMES)
    assert finished_key(tmp_path, "01") is None
    mark_finished(tmp_path, "01", "abc")
    assert finished_key(tmp_path, "01") == "abc"
    for name in (*NAMES, "sub-01.html"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1])
        assert finished_key(tmp_path, "01") is None
        (tmp_path / name).unlink()
        assert finished_key(tmp_path, "01") is None
        (tmp_path / name).write_bytes(content)
        assert finished_key(tmp_path, "01") == "abc"


def test_a_record_without_sizes_means_an_unfinished_participant(tmp_path):
    make_outputs(tmp_path, NAMES)
    mark_finished(tmp_path, "01", "abc")
    record = tmp_path / "sub-01/log/finished.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({"key": content["key"], "files": content["files"]}))
    assert finished_key(tmp_path, "01") is None
    assert remove_stale(tmp_path, "01", [tmp_path / NAMES[0]]) == [NAMES[1]]


def test_files_of_earlier_settings_go_and_nothing_else(tmp_path):
    make_outputs(tmp_path, NAMES)
    mark_finished(tmp_path, "01", "abc")
    foreign = tmp_path / "sub-01/dwi/sub-01_by-hand_dwimap.nii.gz"
    foreign.write_text("not ours")
    removed = remove_stale(tmp_path, "01", [tmp_path / NAMES[0]])
    assert removed == [NAMES[1]]
    assert foreign.is_file()
    assert (tmp_path / NAMES[2]).is_file()
    assert json.loads((tmp_path / "sub-01/log/finished.json").read_text())["key"] == "abc"


def test_a_run_of_one_session_leaves_the_results_of_the_others(tmp_path):
    first, old, new = (f"sub-01/ses-{s}/dwi/sub-01_ses-{s}_{m}_dwimap.nii.gz" for s, m in ("1a", "2a", "2b"))
    whole = "sub-01/dwi/sub-01_a_dwimap.nii.gz"
    make_outputs(tmp_path, [first, old, new, whole])
    mark_finished(tmp_path, "01", "abc")
    assert remove_stale(tmp_path, "01", [tmp_path / new], within=("ses",)) == [old]
    mark_finished(tmp_path, "01", "def")
    assert remove_stale(tmp_path, "01", [tmp_path / "sub-01/dwi/sub-01_b_dwimap.nii.gz"], within=("ses",)) == [whole]
    mark_finished(tmp_path, "01", "ghi")
    assert remove_stale(tmp_path, "01", [tmp_path / new]) == [first]


def test_a_run_of_filtered_images_leaves_the_results_of_the_others(tmp_path):
    first, old, new = (f"sub-01/dwi/sub-01_run-{r}_desc-{m}_dwimap.nii.gz" for r, m in ("1a", "2a", "2b"))
    make_outputs(tmp_path, [first, old, new])
    mark_finished(tmp_path, "01", "abc")
    assert remove_stale(tmp_path, "01", [tmp_path / new], within=("ses", "run")) == [old]
    assert (tmp_path / first).is_file()


def test_a_participant_begun_again_is_unfinished_but_its_files_stay_known(tmp_path):
    make_outputs(tmp_path, NAMES)
    mark_finished(tmp_path, "01", "abc")
    forget_finished(tmp_path, "01")
    assert finished_key(tmp_path, "01") is None
    assert remove_stale(tmp_path, "01", [tmp_path / NAMES[0]]) == [NAMES[1]]
    forget_finished(tmp_path, "02")
    assert not (tmp_path / "sub-02").exists()


def hold(work_dir, claimed, release):
    claim_work_dir(work_dir, ["sub-01"])
    claimed.set()
    release.wait(30)


def test_two_runs_never_work_on_one_participant_in_one_place(tmp_path):
    context = multiprocessing.get_context("spawn")  # a server of forks may have been ended by the test of an interrupt
    claimed, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "work", claimed, release))
    other.start()
    assert claimed.wait(30)
    with pytest.raises(WorkDirError, match="another mrspec_prep is working on sub-01"):
        claim_work_dir(tmp_path / "work", ["sub-01"])
    claim_work_dir(tmp_path / "work", ["sub-02"])
    (tmp_path / "work" / "theirs").mkdir()
    with pytest.raises(WorkDirError, match="cannot be emptied now"):
        claim_work_dir(tmp_path / "work", ["sub-06"], clean=True)
    assert (tmp_path / "work" / "theirs").is_dir()
    release.set()
    other.join(30)


def test_only_our_own_work_directory_is_emptied(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(WorkDirError, match="not made by mrspec_prep"):
        claim_work_dir(tmp_path, ["sub-03"], clean=True)
    assert (tmp_path / "precious.txt").is_file()
    ours = claim_work_dir(tmp_path / "ours", ["sub-04"])
    (ours / "old").mkdir()
    claim_work_dir(ours, ["sub-05"], clean=True)
    assert not (ours / "old").exists()


def test_a_folder_that_held_something_else_is_used_but_never_emptied(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    claim_work_dir(tmp_path, ["sub-07"])
    with pytest.raises(WorkDirError, match="not made by mrspec_prep"):
        claim_work_dir(tmp_path, ["sub-08"], clean=True)
    assert (tmp_path / "precious.txt").is_file()
