"""Jobs in the queue of a scheduler: submitted, looked after, cancelled; no interrupt loses sight of one."""

import logging
import math
import os
import re
import shlex
import subprocess
import tempfile
import time

from mrspec_prep.interfaces.interrupts import RECEIVED, held

LOGGER = logging.getLogger("mrspec_prep")
LOOK_SECONDS = 5.0  # between two questions to the scheduler, one for all jobs
PATIENCE_SECONDS = 3600.0  # without an answer of the scheduler
ANSWER_SECONDS = 5.0  # for the scheduler to answer a submission once the run is to end
CANCEL_SECONDS = 8.0  # for it to cancel; schedulers kill a run 30 s after they asked it to end
POLL_SECONDS = 0.05
PYTHON_GB = 1.0  # of Python and its libraries, beside what a step needs
FULL_SECONDS = 86400.0  # while the queue takes no more of a user whose jobs, ours among them, fill it
JOB_ID = "Submitted batch job ([0-9]+)"
PARSABLE = re.compile("^([0-9]+)(?:;.*)?$", re.MULTILINE)  # what sbatch says with --parsable, which users may give
FULL = re.compile("MaxSubmitJob")
BUSY = re.compile(
    "Socket timed out|temporarily un|not available at the moment|MaxSubmitJob|Unable to contact slurm|slurm_receive_msg"
)
REFUSED = "Remedy: sbatch_args of the plugin file, or fewer --omp-nthreads"
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


def submit(words, note, pattern=JOB_ID, pause=LOOK_SECONDS):
    """Submit a job; where the scheduler is too busy for one more, ask again.

    Parameters
    ----------
    words : sequence of str
        Options of sbatch and the script.
    note : callable
        Called with the number of the job before any interrupt is heard.
    pattern : str
        Of what sbatch says; its first group is the number.
    pause : float
        Between two attempts [s].

    Returns
    -------
    int

    Raises
    ------
    RuntimeError
        sbatch refuses it.

    """
    command, begun, said = ["sbatch", *words], time.monotonic(), False
    while True:
        with held("a job is submitted"):
            code, out, error = _answer(command)
            found = re.search(pattern, out) or PARSABLE.search(out)
            if code == 0 and found:
                job = int(found[1])
                note(job)
                return job
        patience = FULL_SECONDS if FULL.search(error) and _queued() else PATIENCE_SECONDS
        if not BUSY.search(error) or time.monotonic() - begun > patience:
            why = " ".join((error or out or "no answer").split()).removeprefix("sbatch: error: ")
            raise RuntimeError(f"sbatch refused a job: {why}. {REFUSED}. The command was: {shlex.join(command)}")
        if not said:
            LOGGER.warning("sbatch takes no further job now and will be asked again: %s", error)
        said = True
        time.sleep(pause)


def _queued():
    """Whether jobs of this user are in the queue: it empties, and takes more then."""
    code, out, _ = _answer(["squeue", "--me", "-h", "-o", "%A"])
    return code == 0 and bool(out)


def _answer(command):
    """Exit code, output and errors of a command, which hears no Ctrl-C; killed where the run is to end and it hangs."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=error, text=True, start_new_session=True
            )
        except OSError as problem:
            remedy = "run this where the scheduler's commands are, or without --use-plugin"
            raise RuntimeError(f"{command[0]} cannot be run: {problem.strerror}. Remedy: {remedy}") from problem
        while process.poll() is None:
            if RECEIVED and time.monotonic() - RECEIVED[0][1] > ANSWER_SECONDS:
                process.kill()
            time.sleep(POLL_SECONDS)
        for stream in (out, error):
            stream.seek(0)
        return process.returncode, out.read().strip(), error.read().strip()


def cancel(jobs, command="scancel"):
    """Take jobs out of the queue; say which ones could not be.

    Parameters
    ----------
    jobs : collection of int or str
    command : str
        Of the scheduler, that takes their numbers.

    """
    if not jobs:
        return
    words = [command, *map(str, sorted(jobs))]
    with held("jobs are cancelled"):
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=CANCEL_SECONDS, start_new_session=True)
            trouble = done.stderr.strip() if done.returncode else None
        except (subprocess.TimeoutExpired, OSError) as error:
            trouble = str(error)
        if trouble is None:
            LOGGER.info("%d job(s) in the queue cancelled", len(jobs))
        else:
            LOGGER.error("Jobs may still be in the queue (%s). Remedy: type %s", trouble, shlex.join(words))


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


def split_options(given):
    """Options of sbatch as words; variables of the environment stand for their values."""
    return shlex.split(os.path.expandvars(given))


def lost(job, log):
    """Cause, in words, of a job that left no result."""
    done = subprocess.run(["scontrol", "-o", "show", "job", str(job)], capture_output=True, text=True)
    states = [word.partition("=")[2] for word in done.stdout.split() if word.startswith("JobState=")]
    return JOB_LOST.format(job=job, state=states[0] if states else "state no longer known", log=log)
