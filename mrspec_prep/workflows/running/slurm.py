"""Nipype's plugins SLURM and SLURMGraph, made to survive what happens on a cluster.

Nipype's own SLURM plugin ends with a TypeError when a job is cancelled or its node dies
(nipy/nipype#3372) and with a KeyError where LOGNAME is unset, asks the scheduler once per job
and look, books neither processors nor memory, takes the result of an earlier run for that of a
job that died, and leaves its jobs in the queue when it is interrupted. Its SLURMGraph returns
before anything has run and hides what sbatch refuses.
"""

import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path

from nipype.pipeline.plugins.slurm import SLURMPlugin
from nipype.pipeline.plugins.slurmgraph import SLURMGraphPlugin
from nipype.pipeline.plugins.tools import report_crash

from mrspec_prep.workflows.running.slurm_queue import (
    LOOK_SECONDS,
    SlurmQueue,
    booking,
    cancel,
    lost,
    split_options,
    submit,
)


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
        log = Path(scriptfile).parent / "slurm-%j.out"
        given = f"{self._sbatch_args or ''} {node.plugin_args.get('sbatch_args', '')}"
        words = ["-J", ".".join([node._id, *reversed((node._hierarchy or "").split(".")), os.environ["LOGNAME"]])]
        words += ["-o", str(log), *split_options(given), *booking(node, given).split()]
        note = partial(self._note, folder=node.output_dir(), log=log)
        return submit([*words, str(scriptfile)], note, self._jobid_re, self._queue.look_seconds)

    def _note(self, job, folder, log):
        self._pending[job] = folder
        self._queue.add(job)
        self._logs[job] = str(log).replace("%j", str(job))

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
                self._submit(scripts[-1], node, [jobs[before] for before in dependencies[number]], jobs.append)
                self._queue.add(jobs[-1])
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

    def _submit(self, script, node, before, note):
        given = f"{self._sbatch_args} {node.plugin_args.get('sbatch_args', '')}"
        words = ["-J", node._id, "-o", f"{script}.out", *split_options(given), *booking(node, given).split()]
        if before:
            words += [f"--dependency=afterok:{':'.join(map(str, before))}", "--kill-on-invalid-dep=yes"]
        submit([*words, str(script)], note, pause=self._queue.look_seconds)

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
