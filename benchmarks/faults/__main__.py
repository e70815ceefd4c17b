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
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.faults.checks import check_no_process, check_pages, check_whole, check_words
from benchmarks.faults.rounds import Round, clear, crop, load_all
from benchmarks.faults.strikes import FAULTS, full_output, read_only, same_twice, small_files, two_tasks
from benchmarks.kill_and_resume import digests
from mrspec_prep.bids.atomic import PARTIAL


def play(this, fault, expected):
    """One fault, and the same command again."""
    start = time.monotonic()
    code, allowed = fault(this)
    seconds = time.monotonic() - start
    if code not in allowed:
        this.wrong.append(f"code {code}, not one of {allowed}")
    check_no_process(this)
    if fault not in (two_tasks, same_twice):
        check_words(this, code)
    check_whole(this)
    if fault not in (two_tasks, same_twice, full_output, small_files, read_only):
        check_pages(this, code)
    left = [path.name for path in this.out.rglob(f"*{PARTIAL}")]
    if left and code != -9:
        this.wrong.append(f"temporary files left: {left}")
    again = this.wait(this.start(name="again"))
    if again != 0:
        this.wrong.append(f"the same command again: code {again}, {this.said('again')[-1:]}")
    check_words(this, again, "again")
    found = digests(this.out)
    different = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if different:
        this.wrong.append(f"{len(different)} results differ: {different[:4]}")
    if left := [path.name for path in this.out.rglob(f"*{PARTIAL}")]:
        this.wrong.append(f"temporary files after the second run: {left}")
    return code, seconds


def duration_of(this):
    """Seconds of an undisturbed run."""
    start = time.monotonic()
    this.wait(this.start())
    return time.monotonic() - start


def main():
    """Play all rounds and print what they gave."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    durations = {True: duration_of(reference)}
    expected = digests(reference.out)
    quick = Round(args.work.absolute() / "quick", moments, 0, args.whole, true_pages=args.whole)
    clear(quick.folder)
    shutil.copytree(reference.bids, quick.bids)
    durations[False] = duration_of(quick)
    print(
        f"undisturbed runs: {durations[True]:.1f} s, {durations[False]:.1f} s without figures, {len(expected)} results",
        flush=True,
    )
    faults = [fault for fault in FAULTS if not args.only or fault.__name__ in args.only]
    order = [faults[n % len(faults)] for n in range(args.rounds)]  # each as often as the others
    moments.shuffle(order)
    codes, bad, late = Counter(), 0, 0
    for number, fault in enumerate(order, start=1):
        pages = args.whole or number % 5 == 0
        folder, own = args.work.absolute() / f"round{number:02d}", random.Random(moments.random())
        this = Round(folder, own, durations[pages], args.whole, pages)
        clear(this.folder)
        shutil.copytree(reference.bids, this.bids)
        code, seconds = play(this, fault, expected)
        codes[fault.__name__, code] += 1
        bad += bool(this.wrong)
        late += not this.struck
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
    print(f"{args.rounds - bad} of {args.rounds} rounds passed; in {late} the run had ended before the fault")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
