"""Processors and memory this job was given: by the user, by Slurm, by the cgroup, by the machine."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from mrspec_prep.bids.errors import InputError

MOST_THREADS_PER_STEP = 8
SHARE = 0.9  # of the memory found, where the user names none
SMALLEST_STEP_GB = 0.3  # Python with the libraries that every step loads; 0.25 measured


@dataclass(frozen=True)
class Resources:
    """What a run may use."""

    nprocs: int
    omp_nthreads: int
    mem_gb: float
    source: str  #: where the numbers come from, in words
    threads_given: bool = False  #: ``omp_nthreads`` is the user's
    own_gb: float = 0.0  #: of ``mem_gb``, what this process itself holds

    @property
    def steps_gb(self):
        """Memory left for steps [GB]; with one processor they run in this process."""
        return self.mem_gb if self.nprocs == 1 else self.mem_gb - self.own_gb

    @property
    def memory_in_words(self):
        """Memory of the run and what of it is left for steps."""
        if self.nprocs == 1 or not self.own_gb:
            return f"{self.mem_gb:.1f} GB of memory"
        return f"{self.mem_gb:.1f} GB of memory, {self.own_gb:.1f} GB of it this command's own"

    def beside_this_process(self):
        """The same, with what this process holds now taken off what steps may use."""
        return replace(self, own_gb=psutil.Process().memory_info().rss / 1e9)

    def check(self):
        """Raise InputError where this process and the smallest step do not fit into the memory of the run."""
        needed = max(self.own_gb, SMALLEST_STEP_GB) if self.nprocs == 1 else self.own_gb + SMALLEST_STEP_GB
        if needed <= self.mem_gb:
            return
        alone = max(self.own_gb, SMALLEST_STEP_GB) <= self.mem_gb
        raise InputError(
            f"too little memory: this command itself holds {self.own_gb:.2f} GB, and a step needs at least "
            f"{SMALLEST_STEP_GB:.1f} GB",
            value=f"{self.mem_gb:.2f} GB",
            remedy=f"--mem {math.ceil(1000 * needed / 100) * 100}m or more, and as much for the job"
            + ", or --nprocs 1, which computes steps in this command itself" * alone,
        )

    def shared_by(self, n_series):
        """The same for so many series at once: threads of a step as few as keep all processors busy.

        Steps of several series side by side lose less than the threads of one step, which has parts that are not
        parallel.
        """
        if self.threads_given:
            return self
        threads = max(1, self.nprocs // max(n_series, 1))
        return replace(self, omp_nthreads=min(threads, MOST_THREADS_PER_STEP))


def find_resources(nprocs=None, omp_nthreads=None, mem_gb=None, environ=os.environ, cgroup=Path("/sys/fs/cgroup")):
    """Resources of this job; a number given by the user wins.

    Parameters
    ----------
    nprocs, omp_nthreads : int, optional
    mem_gb : float, optional
    environ : mapping
        For SLURM_CPUS_PER_TASK, SLURM_CPUS_ON_NODE, SLURM_MEM_PER_NODE, SLURM_MEM_PER_CPU.
    cgroup : Path
        Mount point of the control group file system (v2, or v1 below it).

    """
    cpus, cpu_source = _processors(environ, cgroup)
    memory, memory_source = _memory_gb(environ, cgroup, cpus)
    nprocs = nprocs or cpus
    omp = min(omp_nthreads or min(nprocs, MOST_THREADS_PER_STEP), nprocs)
    source = f"processors: {cpu_source}; memory: {memory_source}"
    return Resources(nprocs, omp, mem_gb or memory * SHARE, source, omp_nthreads is not None)


def _processors(environ, cgroup):
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environ.get(name, "").isdigit() and int(environ[name]) > 0:
            return int(environ[name]), name
    available = len(os.sched_getaffinity(0))
    quota = _read(cgroup / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        return min(available, max(1, int(quota[0]) // int(quota[1]))), "cgroup"
    v1 = _read(cgroup / "cpu/cpu.cfs_quota_us").strip(), _read(cgroup / "cpu/cpu.cfs_period_us").strip()
    if v1[0].isdigit() and v1[1].isdigit():
        return min(available, max(1, int(v1[0]) // int(v1[1]))), "cgroup"
    return available, "machine"


def _memory_gb(environ, cgroup, cpus):
    if environ.get("SLURM_MEM_PER_NODE", "").isdigit() and int(environ["SLURM_MEM_PER_NODE"]) > 0:
        return int(environ["SLURM_MEM_PER_NODE"]) / 1024, "SLURM_MEM_PER_NODE"
    if environ.get("SLURM_MEM_PER_CPU", "").isdigit() and int(environ["SLURM_MEM_PER_CPU"]) > 0:
        return int(environ["SLURM_MEM_PER_CPU"]) * cpus / 1024, "SLURM_MEM_PER_CPU"
    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _read(cgroup / name).strip()
        if limit.isdigit() and int(limit) < total:
            return int(limit) / 1e9, "cgroup"
    return total / 1e9, "machine"


def _read(path):
    try:
        return path.read_text()
    except OSError:
        return ""  # no such control file here: the next source answers
