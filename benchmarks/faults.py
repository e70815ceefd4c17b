"""Randomised faults on a small run of two participants: every one ends in a true code, in words, and loses nothing.

usage: python -m benchmarks.faults WORK [--rounds 50] [--seed 0] [--only FAULT ...]

Each round runs mrspec_prep on the cropped bundled example with one fault from ``FAULTS`` at a random moment, and then
types the same command again without it. Checked after the fault: the exit code is one that the fault may have and
agrees with the last line; what failed is told with a remedy and no traceback; every file in OUT_DIR is whole and none
is a temporary one; no process is left; it did not take longer than ``PATIENCE``. Checked after the second run: code 0,
and every result has the bytes of an undisturbed run. Full and read-only disks are mounted (tmpfs), which needs root;
without it these rounds limit the size of files instead. Ends with a table, and with exit code 1 where anything did not
hold.

To spend the time on faults, runs and workers are forked from a process that has loaded the libraries, and four of five
rounds write pages without figures. ``--whole`` starts each run as a user does.
"""

import argparse
import atexit
import gzip
import html
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import h5py
import nibabel as nib
import psutil

from benchmarks.kill_and_resume import digests
from mrspec_prep.bids.atomic import PARTIAL, write_atomically
from mrspec_prep.cli import participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import reportlets
from mrspec_prep.reports.crashes import collect_crashes

ZEBRA = Path(__file__).parents[1] / "bids_examples" / "zebra_t2star-adc"
QUICK = ["--sloppy", "--noise", "0.03", "--mask", "automatic", "--set", "kernel.points=[6,6]"]
QUICK += ["--set", "inspect.n_clusters=2", "--nprocs", "2", "--mem", "4g"]
PATIENCE = 400  # s
GRACE = 10  # s for processes to be gone
LAST_LINES = {0: "Finished without errors", 1: "FAILED", 2: "Nothing was computed"}
LAST_LINES |= dict.fromkeys((130, 143), "Interrupted")
ENDED = (0, 1)  # codes of a fault that strikes while steps are computed, or after the last
FORKED = "plugin: MultiProc\nplugin_args: {mp_context: fork}\n"


def _run(words, said, limits, true_pages):
    """Be one run: a child that has loaded the libraries already."""
    os.setsid()
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1), os.dup2(handle, 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115, PTH123
    if limits:
        resource.setrlimit(*limits)
    if not true_pages:
        reportlets.build_subject_report = participants.build_subject_report = quick_report
    code = 70
    try:
        command.main(words)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - what Python itself would print
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    os._exit(code)


def _exec(words, said, limits):
    """Be one run as a user starts it."""
    os.setsid()
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1), os.dup2(handle, 2)
    if limits:
        resource.setrlimit(*limits)
    os.execv(words[0], words)


def quick_report(out_dir, subject):
    """Page without figures that tells what failed, as the true one does."""
    notes = "".join(f"<p>{html.escape(f'{n.step}: {n.cause}')}</p>" for n in collect_crashes(out_dir, subject))
    return write_atomically(Path(out_dir) / f"sub-{subject}.html", f"<html>{notes}</html>\n")


@dataclass
class Round:
    """One round: its folders, its moments, and what was wrong with it."""

    folder: Path
    moments: random.Random
    duration: float
    whole: bool = False
    true_pages: bool = True
    remedy: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    sessions: list = field(default_factory=list)

    def __post_init__(self):
        self.bids, self.out, self.work = (self.folder / name for name in ("bids", "out", "work"))

    def start(self, *more, work=None, limits=None, name="fault"):
        """Start a run in a session of its own; its words go to a file."""
        words = [self.bids, self.out, "participant", "-w", work or self.work, *QUICK, *more]
        said = self.folder / f"{name}.txt"
        if not self.whole:
            plugin = self.folder / "plugin.yml"
            plugin.write_text(FORKED)
            words += ["--use-plugin", plugin]
        words = [str(word) for word in words]
        if self.whole:
            words = (_exec, ([sys.executable, "-m", "mrspec_prep", *words], said, limits))
        else:
            words = (_run, (words, said, limits, self.true_pages))
        process = get_context("fork").Process(target=words[0], args=words[1])
        process.start()
        self.sessions.append(process.pid)
        return process

    def wait(self, process):
        """Exit code of a run; None, and a note, where it hangs."""
        process.join(PATIENCE)
        if process.exitcode is None:
            self.wrong.append("hangs")
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return None
        return process.exitcode

    def later(self, process):
        """Wait for a random moment of the run; whether it is still running then."""
        end = time.monotonic() + self.moments.uniform(0, self.duration)
        while time.monotonic() < end and process.exitcode is None:
            time.sleep(0.05)
        return process.exitcode is None

    def said(self, name="fault"):
        """Lines that a run said."""
        path = self.folder / f"{name}.txt"
        return path.read_text(errors="replace").splitlines() if path.is_file() else []


def workers_of(process):
    """Processes that compute the steps of a run: those that have no children themselves."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [one for one in below if not one.children() and not any("tracker" in word for word in one.cmdline())]
    except psutil.NoSuchProcess:
        return []


def a_worker(this, process):
    """A worker, at a random moment or as soon after it as there is one; None where the run ended before."""
    this.later(process)
    while process.exitcode is None:
        if workers := workers_of(process):
            return this.moments.choice(workers)
        time.sleep(0.05)
    return None


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
        _check_words(this, code, f"task{label}")
    return max(codes, key=lambda code: code is None or code), (0,)


def same_twice(this):
    """The same command typed twice at the same time: one works, the other says so."""
    tasks = [this.start(name="fault"), this.start(name="second")]
    codes = sorted(this.wait(task) or 0 for task in tasks)
    if codes != [0, 2]:
        this.wrong.append(f"codes {codes} of the same command twice")
    return 0, (0,)


def stale(this):
    """Locks and temporary files of a run that a power cut ended, and a damaged intermediate result."""
    process = this.start()
    if this.later(process):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if this.out.is_dir():
        (this.out / f".README.{os.uname().nodename}+1+ab{PARTIAL}").write_text("half")
    found = sorted(p for p in this.work.rglob("*") if p.is_file() and p.suffix in (".npz", ".npy", ".pklz", ".json"))
    for path in this.moments.sample(found, min(2, len(found))):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = this.wait(this.start())
    if code == 1 and any("--clean-workdir" in line for line in this.said()):
        this.remedy = ["--clean-workdir"]
        return code, (1,)
    return code, (0,)


FAULTS = (
    kill_worker, starve_worker, kill_run, ctrl_c, sigterm, sigterm_twice, full_output, full_work, small_files,
    read_only, unreadable_input, two_tasks, same_twice, stale,
)  # fmt: skip


def check_whole(this):
    """Note every file of OUT_DIR that is not whole."""
    for path in sorted(this.out.rglob("*")) if this.out.is_dir() else []:
        if not path.is_file() or "log" in path.parts or "logs" in path.parts:
            continue
        try:
            if path.name.endswith(".nii.gz"):
                gzip.decompress(path.read_bytes())
                nib.load(path).get_fdata()
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".h5":
                h5py.File(path).close()
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                raise ValueError("no end")
        except (OSError, ValueError, EOFError) as error:
            this.wrong.append(f"{path.name} is not whole: {error}")


def check_no_process(this):
    """Note processes of the round's sessions that are left."""
    end = time.monotonic() + GRACE
    while left := [process for process in psutil.process_iter() if _is_of(process, this.sessions)]:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    for process in left:
        this.wrong.append(f"process left: {process.pid}")
        process.kill()


def _is_of(process, sessions):
    try:
        return os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def _check_words(this, code, name="fault"):
    """Note where what a run said does not agree with its code."""
    lines = this.said(name)
    last = lines[-1] if lines else ""
    if any("Traceback" in line for line in lines):
        this.wrong.append("a traceback")
    if code in LAST_LINES and LAST_LINES[code] not in last and not (code == 2 and "error:" in last):
        this.wrong.append(f"code {code}, last line: {last}")
    if code in (1, 2) and not any("Remedy" in line for line in lines):
        this.wrong.append(f"code {code} without a remedy: {last}")


def check_pages(this, code):
    """Note failed participants whose page does not tell, and finished ones that are called failed."""
    if code not in (0, 1):
        return
    last = this.said()[-1]
    for subject in ("01", "02"):
        page, record = this.out / f"sub-{subject}.html", this.out / f"sub-{subject}" / "log" / "finished.json"
        done = record.is_file() and json.loads(record.read_text())["key"] is not None
        if done == (f"sub-{subject}" in last):
            this.wrong.append(f"sub-{subject} is {'done' if done else 'not done'}, last line: {last}")
        notes = collect_crashes(this.out, subject)
        if page.is_file() and notes and not done and html.escape(notes[0].step) not in page.read_text():
            this.wrong.append(f"the page of sub-{subject} does not tell of {notes[0].step}")


def play(this, fault, expected):
    """One fault, and the same command again."""
    start = time.monotonic()
    code, allowed = fault(this)
    seconds = time.monotonic() - start
    if code not in allowed:
        this.wrong.append(f"code {code}, not one of {allowed}")
    check_no_process(this)
    if fault not in (two_tasks, same_twice):
        _check_words(this, code)
    check_whole(this)
    if fault not in (two_tasks, same_twice, full_output, small_files, read_only):
        check_pages(this, code)
    left = [path.name for path in this.out.rglob(f"*{PARTIAL}")]
    if left and code != -9:
        this.wrong.append(f"temporary files left: {left}")
    again = this.wait(this.start(*this.remedy, name="again"))
    if again != 0:
        this.wrong.append(f"the same command again: code {again}, {this.said('again')[-1:]}")
    _check_words(this, again, "again")
    found = digests(this.out)
    different = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if different:
        this.wrong.append(f"{len(different)} results differ: {different[:4]}")
    if left := [path.name for path in this.out.rglob(f"*{PARTIAL}")]:
        this.wrong.append(f"temporary files after the second run: {left}")
    return code, seconds


def crop(bids):
    """The example's two participants, 6 x 6 x 1 voxels of each."""
    shutil.copytree(ZEBRA, bids, ignore=shutil.ignore_patterns("derivatives"))
    for path in bids.rglob("*.nii.gz"):
        nib.save(nib.load(path).slicer[9:15, 9:15, 1:2], path)


def load_all(this):
    """Run once in this process, so that the runs forked from it find everything loaded and compiled."""
    words = [this.bids, this.folder / "first", "participant", "-w", this.folder / "first_work", *QUICK, "--nprocs", "1"]
    code = command.run([str(word) for word in words])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return code


def clear(folder):
    """Remove a round's folder and what is mounted in it."""
    for name in ("out", "work"):
        if (folder / name).is_mount():
            subprocess.run(["umount", "-l", folder / name], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def main():
    """Play all rounds and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="start each run as a user does, with true pages")
    parser.add_argument("--only", nargs="+", choices=[fault.__name__ for fault in FAULTS], default=[])
    args = parser.parse_args()
    moments = random.Random(args.seed)
    reference = Round(args.work.absolute() / "reference", moments, 0, args.whole)
    clear(reference.folder)
    crop(reference.bids)
    if not args.whole and load_all(reference) != 0:
        return 1
    start = time.monotonic()
    reference.wait(reference.start())
    duration, expected = time.monotonic() - start, digests(reference.out)
    print(f"undisturbed run: {duration:.0f} s, {len(expected)} results", flush=True)
    faults = [fault for fault in FAULTS if not args.only or fault.__name__ in args.only]
    order = [faults[n % len(faults)] for n in range(args.rounds)]  # each as often as the others
    moments.shuffle(order)
    codes, bad = Counter(), 0
    for number, fault in enumerate(order, start=1):
        this = Round(args.work.absolute() / f"round{number:02d}", random.Random(moments.random()), duration, args.whole)
        this.true_pages = args.whole or number % 5 == 0
        clear(this.folder)
        shutil.copytree(reference.bids, this.bids)
        code, seconds = play(this, fault, expected)
        codes[fault.__name__, code] += 1
        bad += bool(this.wrong)
        print(
            f"{number:3d} {fault.__name__:16} code {code!s:4} {seconds:4.0f} s  {'; '.join(this.wrong) or 'ok'}",
            flush=True,
        )
        if not this.wrong:
            clear(this.folder)
    for fault in faults:
        found = ", ".join(
            f"{n} x {code}" for (name, code), n in sorted(codes.items(), key=str) if name == fault.__name__
        )
        print(f"{fault.__name__:16} {found:30} {fault.__doc__.splitlines()[0]}")
    print(f"{args.rounds - bad} of {args.rounds} rounds passed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
