"""A small simulated study on a real Slurm, a node and a participant killed on the way, against a laptop run.

    python -m benchmarks.slurm_study FOLDER [--participants 6] [--no-group]

Needs root, Slurm and munge (``apt-get install -y --no-install-recommends slurm-wlm munge``); takes 5 to 15 minutes.

1. The study is simulated, and run here without Slurm: the maps to compare with.
2. A Slurm of three nodes comes up on loopback, and ``workflows/hpc/slurm_array.sh`` submits the participants and the
   group. While they run, node n2 is killed (its slurmd and all processes of its jobs), and one participant on another
   node is killed as the kernel kills what needs too much memory.
3. Slurm starts the dead node's participant again on another node, where it goes on from its work directory. The killed
   one fails its task, so the group does not begin. The same line is typed again: only that participant is submitted.
4. All results must have the same bytes as those of the laptop run; every participant but the two must have been
   started once.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.kill_and_resume import digests, half_written
from benchmarks.simulated_study import Study, write_study
from benchmarks.slurm_cluster import LoopbackSlurm

ROOT = Path(__file__).parents[1]
DEAD_NODE = "n2"
PATIENCE = 1800  # s until the queue must be empty
REACHED = "nnls: done"  # in the log of a participant that has something to lose


def laptop_run(study, out_dir, levels):
    """The study without Slurm."""
    words = [sys.executable, "-m", "mrspec_prep", study["bids"], out_dir, *levels, "-w", f"{out_dir}_work"]
    subprocess.run([str(word) for word in [*words, "-d", f"masks={study['masks']}"]], check=True)


def submit(slurm, study, out_dir, group):
    """Type the line of the study; gives what the script says."""
    slurm.environ |= {
        "RUN": f"{sys.executable} -m mrspec_prep",
        "CPUS": "1",
        "MEM": "1800M",
        "GROUP": "yes" if group else "no",
        "GROUP_CPUS": "1",
        "GROUP_MEM": "1800M",
    }
    said = slurm.run(
        ROOT / "workflows" / "hpc" / "slurm_array.sh", study["bids"], out_dir, "-d", f"masks={study['masks']}"
    )
    print(said, end="", flush=True)
    return said


def logs_of(out_dir):
    """Output of every array task so far, by path."""
    return {path: path.read_text() for path in sorted((out_dir / "logs" / "slurm").glob("*_[0-9]*.out"))}


def on_node(out_dir, wanted):
    """Participant under way on a node that ``wanted`` accepts and far enough to lose something, and its node."""
    for text in logs_of(out_dir).values():
        starts = re.findall(r"^(sub-\w+) on (\w+), start", text, flags=re.MULTILINE)
        if starts and wanted(starts[-1][1]) and REACHED in text and "exit code" not in text:
            return starts[-1]
    return None


def kill_participant(name):
    """Kill the program of a participant as the kernel does when memory ends; its job's shell stays.

    Returns
    -------
    int
        Number of processes that died.

    """
    victims = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended while we looked
        if "mrspec_prep" in words and "SLURM_JOB_ID" in process.environ() and name.removeprefix("sub-") in words:
            victims.append(process.pid)
    for number in victims:
        os.kill(number, signal.SIGKILL)
    return len(victims)


def disturb(slurm, out_dir):
    """Wait for the moments, kill a node and a participant, and wait for the queue to empty.

    Returns
    -------
    dict of str to str
        What happened to whom: ``node`` and ``killed``, participants.

    """
    happened = {}
    for _ in until_empty(slurm):
        if "node" not in happened and (found := on_node(out_dir, lambda node: node == DEAD_NODE)):
            print(f"{found[0]} runs on {DEAD_NODE}: {slurm.kill_node(DEAD_NODE)} processes killed", flush=True)
            happened["node"] = found[0]
        elif "node" in happened and "killed" not in happened:
            found = on_node(out_dir, lambda node: node != DEAD_NODE)
            if found and found[0] != happened["node"] and kill_participant(found[0]):
                print(f"{found[0]} on {found[1]}: killed", flush=True)
                happened["killed"] = found[0]
    return happened


def until_empty(slurm):
    """Yield every half second until the queue is empty."""
    end = time.monotonic() + PATIENCE
    while slurm.jobs():
        if time.monotonic() > end:
            raise SystemExit(f"the queue is not empty after {PATIENCE} s: {slurm.jobs()}")
        yield
        time.sleep(0.5)


def starts_of(out_dir):
    """Starts and ends of every participant, in order: dict of name to list of words."""
    found = {}
    for text in logs_of(out_dir).values():
        for name, what in re.findall(r"^(sub-\w+)(?:: (exit code \d+)| on \w+, start \d+)", text, flags=re.MULTILINE):
            found.setdefault(name, []).append(what or "start")
    return found


def check(happened, second, out_dir, laptop_dir, n_participants, group):
    """What must hold, as (name, whether it does)."""
    starts = starts_of(out_dir)
    once = ["start", "exit code 0"]
    others = [name for name in starts if name not in happened.values()]
    yield "a node and a participant were killed on the way", set(happened) == {"node", "killed"}
    yield "every participant was started", len(starts) == n_participants
    yield "the dead node's participant was started again by Slurm", starts[happened["node"]] == ["start", *once]
    yield "the killed participant failed, and ended after resubmission", starts[happened["killed"]] == [
        "start", "exit code 137", *once
    ]  # fmt: skip
    yield "all others were started once", all(starts[name] == once for name in others)
    yield "only the killed one was submitted again", f"{n_participants - 1} of {n_participants}" in second
    if group:
        n_groups = len(list((out_dir / "logs" / "slurm").glob("*_group.out")))
        yield "the group began once, after the last participant", n_groups == 1
    yield "no half-written file", not half_written(out_dir)
    ours, theirs = digests(out_dir), digests(laptop_dir)
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    print(f"{len(theirs)} result files, differing: {', '.join(differing) or 'none'}")
    yield "all results have the bytes of the laptop run", bool(theirs) and not differing


def main():
    """Run the comparison and exit with 1 where anything does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made anew")
    parser.add_argument("--participants", type=int, default=6)
    parser.add_argument("--shape", type=int, nargs=3, default=(10, 10, 3))
    parser.add_argument("--no-group", action="store_true", help="participants only")
    args = parser.parse_args()
    folder = args.folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / "study").is_dir():
        parser.error(f"{folder} holds something else: give another folder")
    shutil.rmtree(folder, ignore_errors=True)
    written = write_study(folder / "study", Study(args.participants, 2, shape=tuple(args.shape)))
    bids_dir = next(iter(written.values()))
    study = {"bids": bids_dir, "masks": bids_dir / "derivatives" / "masks"}
    began = time.monotonic()
    laptop_run(study, folder / "laptop", ["participant"] if args.no_group else ["participant", "group"])
    print(f"laptop run: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    with LoopbackSlurm(folder / "slurm") as slurm:
        submit(slurm, study, folder / "out", not args.no_group)
        happened = disturb(slurm, folder / "out")
        second = submit(slurm, study, folder / "out", not args.no_group)
        for _ in until_empty(slurm):
            pass
    print(f"Slurm run: {time.monotonic() - began:.0f} s", flush=True)
    failed = []
    found = check(happened, second, folder / "out", folder / "laptop", args.participants, not args.no_group)
    for name, holds in found:
        print(f"{'ok    ' if holds else 'FAILED'} {name}", flush=True)
        failed += [name] * (not holds)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
