import errno
import fcntl
import json
import multiprocessing
import os
import random
import threading
import time
from pathlib import Path

import pytest

from mrspec_prep.bids import locks
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.locks import dataset_lock
from mrspec_prep.bids.output.derivatives import start_dataset

N_JOBS, N_TIMES = 6, 5


def without_locks(handle, how):
    """A file system that knows no locks."""
    raise OSError(errno.ENOSYS, "Function not implemented")


def work(out_dir, number, no_locks, begin):
    if no_locks:
        fcntl.flock = without_locks
    begin.wait(60)
    for turn in range(N_TIMES):
        start_dataset(out_dir, out_dir / "raw", {f"job{number}x{turn}": out_dir / "inputs" / f"{number}x{turn}"})


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # jobs only write files
@pytest.mark.parametrize("no_locks", [False, True])
def test_jobs_that_begin_together_lose_no_link(tmp_path, no_locks):
    context = multiprocessing.get_context("fork")
    begin = context.Event()
    jobs = [context.Process(target=work, args=(tmp_path, number, no_locks, begin)) for number in range(N_JOBS)]
    for job in jobs:
        job.start()
    begin.set()
    for job in jobs:
        job.join(100)
    assert [job.exitcode for job in jobs] == [0] * N_JOBS
    links = json.loads((tmp_path / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"raw", *(f"job{number}x{turn}" for number in range(N_JOBS) for turn in range(N_TIMES))}
    assert {path.name for path in (tmp_path / "logs").glob(".*")} == {".lock"}


def test_a_dataset_that_is_never_let_go_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.2)
    words = "another job has held the dataset.*Remedy: is a job"
    with dataset_lock(tmp_path), pytest.raises(InputError, match=words), dataset_lock(tmp_path):
        pass
    with dataset_lock(tmp_path):
        pass


def test_jobs_that_take_turns_are_waited_for(tmp_path, monkeypatch):
    """One that holds it much longer than we wait for one, and looks as if it were ever another."""
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.5)
    taken, path = threading.Event(), tmp_path / "logs/.lock"

    def others():
        with dataset_lock(tmp_path):
            taken.set()
            for turn in range(15):
                time.sleep(0.1)
                os.utime(path, (turn, turn))

    thread = threading.Thread(target=others)
    thread.start()
    taken.wait(20)
    began = time.monotonic()
    with dataset_lock(tmp_path):
        assert time.monotonic() - began > 1
        assert time.time() - path.stat().st_mtime < 20
    thread.join()


def test_what_a_killed_job_left_where_there_are_no_locks_grows_old(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", without_locks)
    (tmp_path / "logs").mkdir()
    marker = tmp_path / "logs/.lock-held"
    marker.touch()
    os.utime(marker, (time.time() - locks.WAIT_SECONDS,) * 2)
    with dataset_lock(tmp_path):
        assert marker.is_file()
    assert not marker.exists()
    for path in (marker, marker.with_name(".lock-held-old")):  # killed while it removed what another had left
        path.touch()
        os.utime(path, (time.time() - locks.WAIT_SECONDS,) * 2)
    with dataset_lock(tmp_path):
        pass
    assert {path.name for path in marker.parent.iterdir()} == {".lock"}


def test_who_held_it_too_long_removes_no_marker_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", without_locks)
    marker = tmp_path / "logs/.lock-held"
    with dataset_lock(tmp_path):
        monkeypatch.setattr(locks, "OLD_SECONDS", 0.0)  # as if stopped for minutes, while another took over
        marker.write_text("another's")
    assert marker.read_text() == "another's"


def take_over(out_dir, begin, n_turns):
    """Hold the dataset again and again, alone, and now and then be killed in it; each look and step takes its time."""
    fcntl.flock, unlink, chance = without_locks, Path.unlink, random.Random(os.getpid())

    def slow(path, **more):
        time.sleep(chance.choice([0, 0.02]))
        unlink(path, **more)

    Path.unlink = slow
    begin.wait(60)
    for _ in range(n_turns):
        lock = dataset_lock(out_dir)
        lock.__enter__()
        inside = os.open(out_dir / "inside", os.O_CREAT | os.O_EXCL)  # fails where another is inside
        time.sleep(0.001)
        os.close(inside)
        unlink(out_dir / "inside")
        if chance.random() < 0.5:
            long_ago = time.time() - 2 * locks.WAIT_SECONDS
            os.utime(out_dir / "logs/.lock-held", (long_ago, long_ago))  # as if killed: never let go, and old by now
            kept.append(lock)
        else:
            lock.__exit__(None, None, None)


kept = []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # jobs only write files
def test_only_one_takes_over_what_a_killed_job_left(tmp_path):
    context = multiprocessing.get_context("fork")
    begin = context.Event()
    jobs = [context.Process(target=take_over, args=(tmp_path, begin, 12)) for _ in range(12)]
    for job in jobs:
        job.start()
    begin.set()
    for job in jobs:
        job.join(100)
    assert [job.exitcode for job in jobs] == [0] * len(jobs)


def test_other_errors_of_the_disk_are_not_taken_for_missing_locks(tmp_path, monkeypatch):
    def failing(handle, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", failing)
    with pytest.raises(OSError, match="Input/output error"), dataset_lock(tmp_path):
        pass
