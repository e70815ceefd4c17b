"""Nipype's plugins SLURM and SLURMGraph, made to survive what happens on a cluster.

Nipype's own SLURM plugin ends with a TypeError when a job is cancelled or its node dies
(nipy/nipype#3372) and with a KeyError where LOGNAME is unset, asks the scheduler once per job
and look, books neither processors nor memory, takes the result of an earlier run for that of a
job that died, and leaves its jobs in the queue when it is interrupted. Its SLURMGraph returns
before anything has run and hides what sbatch refuses.
"""

import logging
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from nipype.pipeline.plugins.slurm import SLURMPlugin
from nipype.pipeline.plugins.slurmgraph import SLURMGraphPlugin
from nipype.pipeline.plugins.tools import report_crash

LOGGER = logging.getLogger("mrspec_prep")
LOOK_SECONDS = 5.0  # between two questions to the scheduler, one for all jobs
PATIENCE_SECONDS = 3600.0  # without an answer of the scheduler
PYTHON_GB = 1.0  # of Python and its libraries, beside what a step needs
JOB_LOST = (
    "SlurmJobDied: job {job} left the queue without a result ({state}): cancelled, out of memory or time, or its node "
    "died. Its output: {log}. Remedy: give more memory or time in sbatch_args, then run the same command again\n"
)


class SlurmQueue:
    """Which of our jobs are in the queue: one question for all of them, every few seconds.

    Parameters
    ----------
    look_seconds : float

    """

    def __init__(self, look_seconds=LOOK_SECONDS):
        self.look_seconds = look_seconds
        self._jobs, self._submitted = set(), {}
        self._asked, self._answered = -math.inf, time.monotonic()

    def add(self, job):
        """Remember a job that was just submitted: earlier answers do not know it."""
        self._submitted[job] = time.monotonic()

    def holds(self, job):
        """Whether a job waits, runs or was put back into the queue after its node died.

        Raises
        ------
        RuntimeError
            The scheduler has not answered for an hour.

        """
        if time.monotonic() - self._asked >= self.look_seconds:
            self._look()
        return job in self._jobs or self._submitted.get(job, -math.inf) >= self._answered

    def _look(self):
        self._asked = now = time.monotonic()
        done = subprocess.run(["squeue", "--me", "-h", "-r", "-o", "%A"], capture_output=True, text=True)
        if done.returncode == 0:
            self._jobs, self._answered = {int(word) for word in done.stdout.split()}, now
        elif now - self._answered > PATIENCE_SECONDS:
            raise RuntimeError(f"squeue has not answered for an hour: {done.stderr.strip()}")
        else:  # the last answer holds; jobs submitted since count as queued
            LOGGER.warning("squeue does not answer and will be asked again: %s", done.stderr.strip())


def cancel(jobs):
    """Take jobs out of the queue."""
    if jobs:
        subprocess.run(["scancel", *map(str, sorted(jobs))], capture_output=True)


def booking(node, given=""):
    """Options of sbatch for the processors and memory of a step, where the user named none.

    Parameters
    ----------
    node : nipype Node
    given : str
        The user's own options.

    Returns
    -------
    str

    """
    words = given.split()
    options = []
    if not any(word.startswith(("--cpus-per-task", "-c")) for word in words):
        options.append(f"--cpus-per-task={node.n_procs}")
    if not any(word.startswith("--mem") for word in words):
        options.append(f"--mem={math.ceil((node.mem_gb + PYTHON_GB) * 1024)}M")
    return " ".join(options)


def lost(job, log):
    """Cause, in words, of a job that left no result."""
    done = subprocess.run(["scontrol", "-o", "show", "job", str(job)], capture_output=True, text=True)
    states = [word.partition("=")[2] for word in done.stdout.split() if word.startswith("JobState=")]
    return JOB_LOST.format(job=job, state=states[0] if states else "state no longer known", log=log)


class ResilientSLURM(SLURMPlugin):
    """One job per step; a job that dies fails its step with a cause, and the others go on."""

    def __init__(self, plugin_args=None):
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")  # in the names of the jobs
        super().__init__(plugin_args=plugin_args or {})
        self._queue = SlurmQueue(self.plugin_args.get("look_seconds", LOOK_SECONDS))
        self._logs = {}

    def run(self, graph, config, updatehash=False):
        """Run a graph; where that is interrupted, its jobs are cancelled."""
        try:
            super().run(graph, config, updatehash=updatehash)
        except BaseException:
            cancel(self._pending)
            raise

    def _submit_batchtask(self, scriptfile, node):
        for stale in Path(node.output_dir()).glob("result_*.pklz"):
            stale.unlink()  # of other settings: a job that dies must not be taken for it
        own = node.plugin_args.get("sbatch_args", "")
        booked = booking(node, f"{self._sbatch_args or ''} {own}")
        node.plugin_args = node.plugin_args | {"sbatch_args": f"{own} {booked}".strip()}
        job = super()._submit_batchtask(scriptfile, node)
        self._queue.add(job)
        self._logs[job] = Path(scriptfile).parent / f"slurm-{job}.out"
        return job

    def _is_pending(self, taskid):
        return self._queue.holds(taskid)

    def _get_result(self, taskid):
        result = super()._get_result(taskid)
        if result and isinstance(result["traceback"], str):  # Nipype's word for: no result was left
            result["traceback"] = [*result["traceback"].splitlines(True), lost(taskid, self._logs[taskid])]
        return result

    def _report_crash(self, node, result=None):
        if result is not None and isinstance(result["traceback"], str):
            result["traceback"] = result["traceback"].splitlines(True)
        return super()._report_crash(node, result=result)


class ResilientSLURMGraph(SLURMGraphPlugin):
    """All steps submitted at once, tied by dependencies; returns when the last job has left the queue."""

    def __init__(self, plugin_args=None):
        settings = dict(plugin_args or {})
        self._progress = settings.pop("status_callback", None)  # Nipype's graph plugins only warn about it
        super().__init__(plugin_args=settings)
        self._queue = SlurmQueue(settings.get("look_seconds", LOOK_SECONDS))

    def _submit_graph(self, pyfiles, dependencies, nodes):
        jobs, scripts = [], []
        try:
            for number, (pyfile, node) in enumerate(zip(pyfiles, nodes, strict=True)):
                scripts.append(self._write_script(Path(pyfile)))
                jobs.append(self._submit(scripts[-1], node, [jobs[before] for before in dependencies[number]]))
                self._tell(node, "start")
            self._wait(jobs, scripts, nodes)
        except BaseException:
            cancel(jobs)
            raise
        failed = [number for number, script in enumerate(scripts) if not _done(script).exists()]
        for number in failed:
            self._tell(nodes[number], "exception")
            if not any(before in failed for before in dependencies[number]):
                _report(nodes[number], jobs[number], scripts[number])
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(nodes)} steps failed or were not reached")

    def _write_script(self, pyfile):
        script = pyfile.with_name(f"batchscript_{pyfile.stem}.sh")
        words = shlex.join([sys.executable, str(pyfile)])
        script.write_text(f"{self._template.rstrip()}\n{words} && touch {shlex.quote(str(_done(script)))}\n")
        return script

    def _submit(self, script, node, before):
        given = f"{self._sbatch_args} {node.plugin_args.get('sbatch_args', '')}"
        words = ["sbatch", "--parsable", "-J", node._id, "-o", f"{script}.out"]
        words += [*shlex.split(given), *shlex.split(booking(node, given))]
        if before:
            words += [f"--dependency=afterok:{':'.join(map(str, before))}", "--kill-on-invalid-dep=yes"]
        done = subprocess.run([*words, str(script)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(words)}: {done.stderr.strip()}")
        job = int(done.stdout.strip().partition(";")[0])
        self._queue.add(job)
        return job

    def _wait(self, jobs, scripts, nodes):
        running = dict(enumerate(jobs))
        while running:
            for number in [number for number, job in running.items() if not self._queue.holds(job)]:
                del running[number]
                if _done(scripts[number]).exists():
                    self._tell(nodes[number], "end")
            time.sleep(min(1.0, self._queue.look_seconds))

    def _tell(self, node, status):
        if self._progress is not None:
            self._progress(node, status)


def _done(script):
    """File that a job leaves after its step succeeded."""
    return script.with_suffix(".done")


def _report(node, job, script):
    """Write a crash file for a step whose job died before it could write its own."""
    folder = Path(node.config["execution"]["crashdump_dir"])
    if not any(folder.glob(f"crash-*-{node._id}-*")):
        report_crash(node, traceback=[lost(job, f"{script}.out")])
