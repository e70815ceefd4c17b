"""The faults: each strikes a run of a round at a random moment, and says which exit codes it may have."""

import os
import resource
import signal
import subprocess
import time

import psutil

from benchmarks.faults.checks import check_words
from benchmarks.faults.rounds import a_worker
from mrspec_prep.bids.atomic import PARTIAL

ENDED = (0, 1)  # codes of a fault that strikes while steps are computed, or after the last


def kill_worker(this):
    """SIGKILL to a worker, as for lack of memory."""
    process = this.start()
    if worker := a_worker(this, process):
        worker.kill()
    return this.wait(process), ENDED


def starve_worker(this):
    """No further memory for a worker."""
    process = this.start()
    if worker := a_worker(this, process):
        try:
            used = worker.memory_info().vms
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (used, used))
        except (psutil.NoSuchProcess, ProcessLookupError):
            pass
    return this.wait(process), ENDED


def kill_run(this):
    """SIGKILL to the run itself; its workers must end by themselves."""
    process = this.start()
    struck = this.later(process)
    process.kill()
    return this.wait(process), (-9,) if struck else (0, -9)


def _signalled(this, *numbers, group=False):
    process = this.start()
    while process.exitcode is None and "started" not in "".join(this.said()):
        time.sleep(0.05)  # the first moments, while Python and the libraries start, have a test of their own
    struck = this.later(process)
    for number in numbers:
        if process.exitcode is None:
            os.killpg(process.pid, number) if group else os.kill(process.pid, number)
            time.sleep(this.moments.uniform(0, 1))
    code = this.wait(process)
    return code, (128 + numbers[0],) if struck and code else (0, 128 + numbers[0])


def ctrl_c(this):
    """SIGINT to all processes, as a terminal sends it."""
    return _signalled(this, signal.SIGINT, group=True)


def sigterm(this):
    """SIGTERM to the run."""
    return _signalled(this, signal.SIGTERM)


def sigterm_twice(this):
    """SIGTERM to all processes, twice, as some schedulers do."""
    return _signalled(this, signal.SIGTERM, signal.SIGTERM, group=True)


def _on_small_disk(this, folder, smallest, largest):
    folder.mkdir()
    size = int(this.moments.uniform(smallest, largest))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], capture_output=True).returncode:
        return small_files(this)
    code = this.wait(this.start())
    subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
    return code, (0, 1, 2)


def full_output(this):
    """OUT_DIR on a disk that fills up."""
    return _on_small_disk(this, this.out, 8, 2500)


def full_work(this):
    """The work directory on a disk that fills up."""
    return _on_small_disk(this, this.work, 8, 1500)


def small_files(this):
    """No file may grow beyond some kilobytes."""
    limit = int(this.moments.uniform(2e3, 6e4))
    return this.wait(this.start(limits=(resource.RLIMIT_FSIZE, (limit, limit)))), (0, 1, 2)


def read_only(this):
    """OUT_DIR, or the work directory, cannot be written."""
    folder = this.moments.choice((this.out, this.work))
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=200m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        folder.chmod(0o555)
    code = this.wait(this.start())
    folder.chmod(0o755) if mounted.returncode else subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    return code, (2,)


def unreadable_input(this):
    """An input image is gone, cut, a folder, or a pipe, from a random moment on."""
    victim = this.moments.choice(sorted(this.bids.rglob("*_dwi.*")))
    aside = this.folder / "aside"
    process = this.start()
    this.later(process)
    victim.rename(aside)
    kind = this.moments.choice(("gone", "cut", "folder", "pipe", "loop"))
    if kind == "cut":
        victim.write_bytes(aside.read_bytes()[: aside.stat().st_size // 2])
    elif kind == "folder":
        victim.mkdir()
    elif kind == "pipe":
        os.mkfifo(victim)
    elif kind == "loop":
        victim.symlink_to(victim)
    code = this.wait(process)
    if victim.is_dir() and not victim.is_symlink():
        victim.rmdir()
    else:
        victim.unlink(missing_ok=True)
    aside.rename(victim)
    return code, (0, 1, 2)


def two_tasks(this):
    """Two array tasks begin at the same time, on one OUT_DIR; one work directory or two."""
    works = [this.work, this.moments.choice((this.work, this.folder / "work2"))]
    tasks = [
        this.start("--participant-label", label, work=work, name=f"task{label}")
        for label, work in zip(("01", "02"), works, strict=True)
    ]
    codes = [this.wait(task) for task in tasks]
    for label, code in zip(("01", "02"), codes, strict=True):
        check_words(this, code, f"task{label}")
    return max(codes, key=lambda code: code is None or code), (0,)


def same_twice(this):
    """The same command typed twice at the same time: one works, the other says so."""
    tasks = [this.start(name="fault"), this.start(name="second")]
    codes = sorted(this.wait(task) or 0 for task in tasks)
    if codes != [0, 2]:
        this.wrong.append(f"codes {codes} of the same command twice")
    return 0, (0,)


def stale(this):
    """Locks and temporary files of a run that a power cut ended, and damaged intermediate results."""
    process = this.start()
    if this.later(process):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if this.out.is_dir():
        (this.out / f".README.{os.uname().nodename}+1+ab{PARTIAL}").write_text("half")
    found = sorted(p for p in this.work.rglob("*") if p.is_file() and p.suffix in (".npz", ".npy", ".pklz", ".json"))
    for path in this.moments.sample(found, min(3, len(found))):
        damage(this, path)
    return this.wait(this.start()), (0,)


def damage(this, path):
    """Cut a file, empty it, make it zeros, or remove it."""
    size, kind = path.stat().st_size, this.moments.choice(("half", "empty", "zeros", "gone"))
    if kind == "gone":
        path.unlink()
    else:
        path.write_bytes({"half": path.read_bytes()[: size // 2], "empty": b"", "zeros": bytes(size)}[kind])


FAULTS = (
    kill_worker, starve_worker, kill_run, ctrl_c, sigterm, sigterm_twice, full_output, full_work, small_files,
    read_only, unreadable_input, two_tasks, same_twice, stale,
)  # fmt: skip
