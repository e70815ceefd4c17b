"""Nipype's MultiProc, made to end when a worker is killed, to finish one participant after the other, not to poll."""

import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from traceback import format_exception

from nipype import config
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

SAMPLE_SECONDS = 0.5  # between two looks at the memory of a step
WAIT_SECONDS = 0.5  # for a step to end before Nipype's loop is gone through again
RUN_SECONDS = 1.0  # between two looks of a worker whether the run is still there
LOGGER = logging.getLogger("mrspec_prep")
ERASE_LINE = "\r\x1b[K"
NIPYPE_LOGGERS = ("nipype.workflow", "nipype.interface", "nipype.utils")
NO_SPACE = "No space left on device"
DISK_FULL = f"OSError: {NO_SPACE}: the disk of the work directory is full. Remedy: make space there or --work-dir"
WORKER_DIED = (
    "WorkerDied: the process computing this step was killed from outside, most often for lack of memory. "
    "Remedy: give more memory (--mem and the job's own limit) or fewer processes (--nprocs), then run the same "
    "command again"
)


def quiet_nipype(level):
    """Set the level of Nipype's own loggers in this process."""
    for name in NIPYPE_LOGGERS:
        logging.getLogger(name).setLevel(level)


def monitor_resources(enabled):
    """Switch Nipype's resource monitor on or off in this process; its configuration alone is read only once."""
    config.update_config({
        "monitoring": {"enabled": str(enabled).lower()},
        "execution": {"resource_monitor_frequency": str(SAMPLE_SECONDS)},
    })  # fmt: skip
    config.resource_monitor = enabled


def _start_forkserver(modules):
    """Start the process that forks the workers, with the modules that they would load one by one.

    It is deaf to Ctrl-C from its first moment on, as they will be: a terminal sends it to every process; the run hears
    it and ends the others. Modules are not sought in the folder where the command was typed.
    """
    resource_tracker.ensure_running()
    forkserver.set_forkserver_preload(["__main__", *modules])
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    safe_path = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
        if safe_path is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe_path


def _start_worker(folder, level, monitor, log_files=()):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where no server forked it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the pool ends its workers with it when one of them died
    threading.Thread(target=_end_with_run, daemon=True).start()
    process_initializer(folder)
    quiet_nipype(level)
    monitor_resources(monitor)
    _speak(log_files)


def _end_with_run():
    """End this process when the run is gone: one that is killed with SIGKILL leaves no worker behind."""
    run, parent = parent_process(), os.getppid()  # the parent is the run, or the server that forks for it
    while run.is_alive() and os.getppid() == parent:
        time.sleep(RUN_SECONDS)
    os._exit(1)


def _speak(log_files):
    """Let the steps of this worker say how far they are: on the terminal, and in the log files of the run."""
    if LOGGER.handlers:
        return
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    terminal = logging.StreamHandler()
    over_the_bar = ERASE_LINE if sys.stderr.isatty() else ""  # the run draws it again
    terminal.setFormatter(logging.Formatter(f"{over_the_bar}%(asctime)s %(message)s", "%H:%M:%S"))
    LOGGER.addHandler(terminal)
    for path in log_files:
        handler = logging.FileHandler(path, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOGGER.addHandler(handler)


def participant_of(node):
    """Part of the graph that a node belongs to: its participant's workflow, at the participant level."""
    return tuple(node.fullname.split(".")[:2])


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc that reports a killed worker as the failure of the steps in flight.

    Nipype's own waits for ever for the result of a worker that was SIGKILLed (out of
    memory). Here the broken pool is replaced, the steps in flight fail with a cause, and
    the other participants go on. Workers log at the level of ``plugin_args["log_level"]``.

    Workers are forked from a process that has loaded ``plugin_args["modules"]``: they begin at once and share memory.

    Steps of the first participant that has any go first: a run that is stopped leaves finished participants, not a
    beginning of all of them. What is ready is sent as soon as a step ends.
    """

    def __init__(self, plugin_args=None):
        if (plugin_args or {}).get("mp_context") == "forkserver":
            _start_forkserver(plugin_args.get("modules", ()))
        super().__init__(plugin_args=plugin_args)
        self._sent = None
        self._renew_pool()

    def _send_procs_to_workers(self, updatehash=False, graph=None):
        """Send what is ready; where nothing ended since, wait for a step that does."""
        if self.pending_tasks and self._sent == self._progress():
            futures = [self._task_obj[taskid] for taskid, _ in self.pending_tasks]
            wait(futures, timeout=WAIT_SECONDS, return_when=FIRST_COMPLETED)
            return
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        self._sent = self._progress()

    def _progress(self):
        return int(self.proc_done.sum()), int(self.proc_pending.sum())

    def _sort_jobs(self, jobids, scheduler="tsort"):
        """Ready steps in the order of their participants, unless a plugin file names another ``scheduler``."""
        if scheduler not in (None, "tsort"):
            return super()._sort_jobs(jobids, scheduler=scheduler)
        places = {name: place for place, name in enumerate(dict.fromkeys(map(participant_of, self.procs)))}
        return sorted(jobids, key=lambda job: (places[participant_of(self.procs[job])], job))

    def _renew_pool(self):
        self.pool.shutdown(wait=False)
        self.pool = ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_start_worker,
            initargs=(
                self._cwd,
                self.plugin_args.get("log_level", logging.CRITICAL),
                self.plugin_args.get("monitor", False),
                [handler.baseFilename for handler in LOGGER.handlers if isinstance(handler, logging.FileHandler)],
            ),
            mp_context=get_context(self.plugin_args.get("mp_context")),
        )

    def _async_callback(self, args):
        try:
            result = args.result()
        except (BrokenProcessPool, CancelledError):
            self._fail(args, WORKER_DIED + "\n")
            return
        except Exception as error:  # noqa: BLE001 - Nipype's own worker code failed, on a full disk for example
            text = "".join(format_exception(error))
            self._fail(args, text + (f"{DISK_FULL}\n" if NO_SPACE in text else ""))
            return
        self._taskresult[result["taskid"]] = result

    def _fail(self, future, text):
        taskid = next((key for key, known in self._task_obj.items() if known is future), None)
        if taskid is not None:
            lines = text.splitlines(keepends=True)
            self._taskresult[taskid] = {"result": None, "traceback": lines, "taskid": taskid}

    def _submit_job(self, node, updatehash=False):
        try:
            return super()._submit_job(node, updatehash=updatehash)
        except BrokenProcessPool:
            self._taskid -= 1
            self._renew_pool()
            return super()._submit_job(node, updatehash=updatehash)

    def _get_result(self, taskid):
        future = self._task_obj[taskid]
        if future.done() and taskid not in self._taskresult:
            self._async_callback(future)
        return super()._get_result(taskid)
