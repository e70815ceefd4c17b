"""Whether a run of many participants keeps the processors busy, and stays within its memory.

    python -m benchmarks.many_participants SCRATCH [--participants 20] [--nprocs 2] [--mem 4g] [-- OPTIONS]

Writes a simulated study below SCRATCH (``benchmarks.simulated_study``), runs the command on it and looks at the
processes of the run every 50 ms (threads) and every second (memory), from the first step to the last. Printed:

- busy: processor time over processors x time, of the run alone; on a machine that others use too it reads low;
- wanted: mean over looks of the threads that run or wait for a processor, counted up to the processors there are;
- memory: largest sum of the proportional set sizes of all processes of the run [GB], beside ``--mem``;
- serial: seconds before the first step (reading, planning) and after the last (summary).
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.simulated_study import main as write_study

EVERY, EVERY_MEMORY = 0.05, 1.0  # s


class Watch:
    """Looks at a process and all that came from it."""

    def __init__(self, process):
        self.process, self.start = process, time.perf_counter()
        self.ticks, self.looks, self.memory, self.commands = {}, [], [], {}

    def look(self, with_memory):
        """Processor time so far of every process seen, threads that want a processor, memory."""
        wanted, held = 0, 0
        for one in [self.process, *self.process.children(recursive=True)]:
            try:
                times = one.cpu_times()
                self.ticks[one.pid] = times.user + times.system
                wanted += _wanting(one.pid)
                held += one.memory_full_info().pss if with_memory else 0
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
                continue  # ended between two looks
        now = time.perf_counter() - self.start
        self.looks.append((now, wanted, sum(self.ticks.values())))
        if with_memory:
            self.memory.append((now, held / 1e9))


def _wanting(pid):
    """Threads of a process in state R: running, or waiting for a processor."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return states.count("R")


def run(command):
    """Run the command under watch; the watch, and the times [s] of all lines that say a step started or is done."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch, lines = Watch(psutil.Process(process.pid)), []

    def read():
        lines.extend((time.perf_counter() - watch.start, line.rstrip()) for line in process.stdout)

    reader = threading.Thread(target=read)
    reader.start()
    next_memory = 0.0
    while process.poll() is None:
        now = time.perf_counter() - watch.start
        try:
            watch.look(now >= next_memory)
        except psutil.NoSuchProcess:
            break
        next_memory = now + EVERY_MEMORY if now >= next_memory else next_memory
        time.sleep(EVERY)
    reader.join()
    return watch, lines, process.wait()


def report(watch, lines, args):
    """Print the figures."""
    steps = [at for at, line in lines if line.endswith((": started", ": done"))]
    first, last, end = steps[0], steps[-1], watch.looks[-1][0]
    inside = np.array([look for look in watch.looks if first <= look[0] <= last])
    busy = (inside[-1, 2] - inside[0, 2]) / (inside[-1, 0] - inside[0, 0]) / args.nprocs
    wanted = np.minimum(inside[:, 1], args.nprocs).mean() / args.nprocs
    print(f"{args.participants} participants, {args.nprocs} processors, {args.mem}: {last - first:.0f} s of steps")
    print(f"busy {busy:.2f}; wanted {wanted:.2f} (idle looks: {np.mean(inside[:, 1] == 0):.3f})")
    print(f"memory: largest {max(held for _, held in watch.memory):.2f} GB")
    print(f"serial: {first:.1f} s before the first step, {end - last:.1f} s after the last")


def main():
    """Write the study, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--participants", type=int, default=20)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--mem", default="4g")
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 32, 6))
    parser.add_argument("options", nargs="*", help="of mrspec_prep, after --")
    args = parser.parse_args()
    study = args.scratch / "study"
    if not study.exists():
        write_study([str(study), "-n", str(args.participants), "--pathological", str(args.participants // 2),
                     "--repeated", "0", "--shape", *map(str, args.shape)])  # fmt: skip
    out = args.scratch / f"out_{int(time.time())}"
    command = [sys.executable, "-m", "mrspec_prep", study / "bids", out, "participant", "--mem", args.mem]
    command += ["-d", f"masks={study / 'bids/derivatives/masks'}", "-w", args.scratch / f"work_{out.name}"]
    watch, lines, code = run([str(word) for word in [*command, "--nprocs", args.nprocs, *args.options]])
    print("\n".join(line for _, line in lines[-4:]))
    if code:
        raise SystemExit(f"the run ended with exit code {code}")
    report(watch, lines, args)


if __name__ == "__main__":
    main()
