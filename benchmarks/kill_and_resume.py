"""Kill a run at random moments, start it again, and compare every map with an undisturbed run.

usage: python -m benchmarks.kill_and_resume BIDS_DIR WORK [--level group] [--kills 10] [--seed 0] [-- OPTIONS]

OPTIONS are those of mrspec_prep. With ``--level group`` the participants are run once, undisturbed, and the group
level over them is killed.

Each round starts from the state the previous kill left behind; after the last kill the run is let to its end. All
maps must have the same bytes as those of a run that nothing disturbed, and no half-written file may be left in the
output.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

RESULTS = (".nii.gz", ".h5", ".tsv", ".json")


def command(bids_dir, out_dir, work_dir, level, extra):
    """The command line of one run."""
    words = [sys.executable, "-m", "mrspec_prep", bids_dir, out_dir, level, "-w", work_dir, *extra]
    return [str(word) for word in words]


def digests(out_dir):
    """SHA-256 of every result file below a derivatives folder."""
    files = [p for p in sorted(out_dir.rglob("*")) if p.is_file() and p.name.endswith(RESULTS)]
    files = [
        p for p in files if "log" not in p.relative_to(out_dir).parts and "logs" not in p.relative_to(out_dir).parts
    ]
    return {str(p.relative_to(out_dir)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def half_written(out_dir):
    """Temporary files left behind."""
    return [p for p in out_dir.rglob("*") if p.is_file() and ".partial" in p.name]


def run_and_kill(words, after):
    """Start a run and kill its whole process group after some seconds.

    Returns
    -------
    bool
        Whether it was still running.

    """
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def prepare(args, name, extra):
    """Give a group run the participants' results it reads; they are computed once."""
    if args.level == "participant":
        return
    finished = args.work / "participants"
    if not finished.is_dir():
        words = command(args.bids_dir, finished, args.work / "w0", "participant", extra)
        subprocess.run(words, check=True, capture_output=True)
    shutil.copytree(finished, args.work / name)  # with the times of the files, which tell a run what it has seen


def _split(words):
    """Our own words and those behind ``--``, which go to mrspec_prep."""
    position = words.index("--") if "--" in words else len(words)
    return words[:position], words[position + 1 :]


def main():
    """Run the comparison and exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--level", choices=("participant", "group"), default="participant")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    own, extra = _split(sys.argv[1:])
    args = parser.parse_args(own)
    moments = random.Random(args.seed)
    shutil.rmtree(args.work, ignore_errors=True)
    prepare(args, "whole", extra)
    start = time.time()
    subprocess.run(
        command(args.bids_dir, args.work / "whole", args.work / "w1", args.level, extra),
        check=True,
        capture_output=True,
    )
    duration = time.time() - start
    print(f"undisturbed run: {duration:.0f} s")
    words = command(args.bids_dir, args.work / "killed", args.work / "w2", args.level, extra)
    prepare(args, "killed", extra)
    done = 0
    while done < args.kills:
        after = moments.uniform(0.5, duration)
        alive = run_and_kill(words, after)
        left = half_written(args.work / "killed") if (args.work / "killed").exists() else []
        if alive:
            done += 1
            print(f"kill {done}: after {after:.1f} s, {len(left)} temporary file(s) left", flush=True)
        else:
            shutil.rmtree(args.work / "killed", ignore_errors=True)
            shutil.rmtree(args.work / "w2", ignore_errors=True)
            prepare(args, "killed", extra)
            duration = after
            print(f"  ended before {after:.1f} s: not counted, output and work directory emptied", flush=True)
    ended = subprocess.run(words, capture_output=True, text=True)
    print(f"last run: exit code {ended.returncode}")
    expected, found = digests(args.work / "whole"), digests(args.work / "killed")
    different = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    left = half_written(args.work / "killed")
    print(f"{len(expected)} result files, {len(different)} differ, {len(left)} temporary files left")
    for name in [*different, *left]:
        print(f"  {name}")
    return 1 if ended.returncode or different or left or not expected else 0


if __name__ == "__main__":
    sys.exit(main())
