"""One round: its folders, the runs it starts and what they said; the small dataset of all rounds."""

import atexit
import html
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
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import psutil

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.cli import participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import reportlets
from mrspec_prep.reports.crashes import collect_crashes

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
QUICK = ["--sloppy", "--noise", "0.03", "--mask", "automatic", "--set", "kernel.points=[6,6]"]
QUICK += ["--set", "inspect.n_clusters=2", "--nprocs", "2", "--mem", "4g"]
PATIENCE = 400  # s
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
    struck: bool = True  #: the fault came while the run was under way
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
        self.struck = process.exitcode is None
        return self.struck

    def said(self, name="fault"):
        """Lines that a run said."""
        path = self.folder / f"{name}.txt"
        return path.read_text(errors="replace").splitlines() if path.is_file() else []


def workers_of(process):
    """Processes that compute the steps of a run: without children, and neither its tracker nor the server of others."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [one for one in below if not one.children() and not _serves(one, process)]
    except psutil.NoSuchProcess:
        return []


def _serves(one, process):
    words = " ".join(one.cmdline())
    return "tracker" in words or ("forkserver" in words and one.ppid() == process.pid)


def a_worker(this, process):
    """A worker, at a random moment or as soon after it as there is one; None where the run ended before."""
    this.later(process)
    while process.exitcode is None:
        if workers := workers_of(process):
            return this.moments.choice(workers)
        time.sleep(0.05)
    return None


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
