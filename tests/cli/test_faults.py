"""Places that cannot be written or trusted, and what earlier runs left, met by the command itself."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.fuzz_targets import make_study
from mrspec_prep.bids.atomic import PARTIAL
from mrspec_prep.cli import history, participants
from mrspec_prep.cli.run import run


@pytest.fixture
def place(tmp_path):
    make_study(tmp_path / "bids")
    yield tmp_path
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()


def command(place, out=None, work=None):
    words = [place / "bids", out or place / "out", "participant", "-w", work or place / "work", "--nprocs", "1"]
    return [str(word) for word in [*words, "--set", "inspect.n_clusters=2"]]


@pytest.mark.parametrize("name", ["/sys/kernel/mrspec_prep", "file/out"])
def test_an_output_folder_that_cannot_be_made_is_said_before_anything_is_read(place, capsys, name):
    (place / "file").write_text("")
    assert run(command(place, out=place / name)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot write to" in said and "Remedy" in said


@pytest.mark.parametrize("name", ["/sys/kernel/mrspec_prep", "file/work"])
def test_a_work_directory_that_cannot_be_made_is_said_before_anything_is_computed(place, capsys, name):
    (place / "file").write_text("")
    assert run(command(place, work=place / name)) == 2
    said = capsys.readouterr().err
    assert "cannot write to the work directory" in said and "Nothing was computed" in said.splitlines()[-1]


def test_an_error_nobody_foresaw_in_planning_one_participant_stops_no_other(place, capsys, monkeypatch):
    make_study(place / "more")
    (place / "more" / "sub-01").rename(place / "bids" / "sub-02")
    for path in (place / "bids" / "sub-02").rglob("sub-01*"):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    plan = participants.plan_participant

    def planned(layout, subject, **more):
        if subject == "01":
            raise MemoryError
        return plan(layout, subject, **more)

    monkeypatch.setattr(participants, "plan_participant", planned)
    assert run([*command(place), "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert "sub-01: an error of mrspec_prep itself: MemoryError" in said and "Remedy: give more memory" in said
    assert "FAILED: sub-01" in said.splitlines()[-1] and "Traceback" not in said


def test_lack_of_memory_in_the_run_itself_is_told_with_a_remedy(place, capsys, monkeypatch):
    def too_large(*args, **more):
        raise MemoryError

    monkeypatch.setattr(participants, "open_layout", too_large)
    assert run(command(place)) == 1
    said = capsys.readouterr().err.splitlines()
    assert "Remedy: give more memory" in said[-2] and said[-1].split(" ", 1)[1].startswith("FAILED")


def test_a_damaged_description_of_the_output_is_refused_and_stays(place, capsys):
    (place / "out").mkdir()
    description = place / "out" / "dataset_description.json"
    description.write_text('{"DatasetLinks": ')
    assert run(command(place)) == 2
    assert f"{description}: not valid JSON" in capsys.readouterr().err
    assert description.read_text() == '{"DatasetLinks": '
    description.write_text(json.dumps({"DatasetLinks": ["x"]}))
    assert run(command(place)) == 2
    assert "DatasetLinks must map names to places" in capsys.readouterr().err
    assert Path(place / "out" / "sub-01" / "dwi").exists() is False


def test_what_a_worker_was_writing_when_it_died_is_gone_when_the_run_ends(place, capsys, monkeypatch):
    left = place / "out/sub-01/dwi" / f".sub-01_dseg.json.{os.uname().nodename}+1+ab{PARTIAL}"

    def died(*_, **more):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text("half")
        return RuntimeError("a worker was killed")

    monkeypatch.setattr(participants, "run_graph", died)
    monkeypatch.setattr(participants, "_try_report", lambda *_: [])
    assert run(command(place)) == 1
    assert "a worker was killed" in capsys.readouterr().err
    assert left.parent.is_dir() and not left.exists()
