"""Entry point: words to a plan, the plan to results, results to an exit code."""

import contextlib
import errno
import logging
import os
import shlex
import signal
import sys
import time
import uuid

import psutil

from mrspec_prep.bids.atomic import remove_all_leftovers
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_warnings
from mrspec_prep.cli.group import run_group
from mrspec_prep.cli.history import WorkDirError, anyone_finished
from mrspec_prep.cli.messages import start_logging
from mrspec_prep.cli.parser import EXIT_FAILED, EXIT_OK, EXIT_USAGE, build_parser
from mrspec_prep.cli.participants import run_participants
from mrspec_prep.cli.places import check_links, check_output
from mrspec_prep.cli.resources import find_resources
from mrspec_prep.cli.settings import run_settings
from mrspec_prep.interfaces.group.dask_cluster import check_dask
from mrspec_prep.interfaces.interrupts import RECEIVED, Interrupted, interrupt
from mrspec_prep.options import OptionsError
from mrspec_prep.reports.crashes import with_remedy
from mrspec_prep.workflow_files import WorkflowNotFoundError

LOGGER = logging.getLogger("mrspec_prep")
OTHERS_WRITE = 0o002  # nobody beside user and group may change what a run leaves, whatever the system's own mask
CLEAN_SECONDS = 5  # for temporary files, in all; schedulers kill 30 s after they asked a run to end
END_SECONDS = 5  # until killed workers are gone
USAGE_ERRORS = (InputError, OptionsError, WorkflowNotFoundError, WorkDirError)


def main(argv=None):
    """Run the command line and exit with its code, which no signal changes once it is known."""
    code = run(argv)
    _ignore_signals()
    sys.exit(code)


def run(argv=None):
    """Run the command line.

    Returns
    -------
    int
        0 all done; 1 something failed; 2 usage or input error found before computing;
        130 or 143 interrupted.

    """
    args = build_parser().parse_args(argv)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4().hex[:8]}"
    out_dir, bids_dir = args.out_dir.expanduser().absolute(), args.bids_dir.expanduser().absolute()
    try:
        _listen()
        return _run_and_say(argv, args, run_id, out_dir, bids_dir)
    except Interrupted as stop:
        return _end_interrupted(stop, out_dir, argv)


def _run_and_say(argv, args, run_id, out_dir, bids_dir):
    """Exit code of a run, whose errors are told in words."""
    os.umask(os.umask(0) | OTHERS_WRITE)
    try:
        _check_words(argv)
        check_output(bids_dir, out_dir)
        check_links(out_dir, ["logs", "logs/inputs"], through=False)
        check_links(out_dir, ["logs/group", "tpl-group"])
        log_file = start_logging(out_dir, run_id, args.verbose)
    except InputError as error:
        print(f"mrspec_prep: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(
            f"mrspec_prep: error: cannot write to {out_dir}: {error.strerror}. Remedy: give another OUT_DIR",
            file=sys.stderr,
        )
        return EXIT_USAGE
    try:
        return _run(args, run_id)
    except USAGE_ERRORS as error:
        LOGGER.error("%s", error)
        LOGGER.error("Nothing was computed. Log: %s", log_file)
        return EXIT_USAGE
    except OSError as error:
        LOGGER.error("%s: %s. %s", error.filename or out_dir, error.strerror or error, _remedy(error))
        LOGGER.error("FAILED: the run could not go on. Log: %s", log_file)
        return EXIT_FAILED
    except MemoryError as error:
        LOGGER.debug("Out of memory", exc_info=True)
        LOGGER.error("%s", with_remedy(f"MemoryError: {error}"))
        LOGGER.error("FAILED: the run could not go on. Log: %s", log_file)
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - nobody is to read a traceback who did not ask for one
        LOGGER.debug("An error that nobody foresaw", exc_info=True)
        LOGGER.error("An error of mrspec_prep itself: %s: %s", type(error).__name__, error)
        LOGGER.error("FAILED: the run could not go on. Please report this with the log: %s", log_file)
        return EXIT_FAILED


def _end_interrupted(stop, out_dir, argv):
    """End the workers, remove what they were writing, and say how to go on; no further signal disturbs that."""
    _ignore_signals()
    _kill_children()
    remove_all_leftovers(out_dir, time.monotonic() + CLEAN_SECONDS)
    LOGGER.error("Interrupted. To go on where it stopped, type the same command again: %s", _command(argv))
    RECEIVED.clear()  # a signal ends this run, not the next one of the same process
    return 128 + stop.signal


def _check_words(argv):
    """Raise InputError where a word is not UTF-8: it could be written into no file of settings or results."""
    for word in sys.argv[1:] if argv is None else argv:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError("not UTF-8", value=word, remedy="rename the file or folder") from error


def _ignore_signals():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _listen():
    """From now on Ctrl-C and a scheduler's SIGTERM interrupt the run; who ignores Ctrl-C (nohup) goes on doing so."""
    RECEIVED.clear()
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)


def _kill_children():
    """End the worker processes, or the exit would wait for their current steps.

    Python's own resource tracker is left: it ends with us and cleans up after the workers.
    """
    killed = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if not any("resource_tracker" in word for word in child.cmdline()):
                child.kill()
                killed.append(child)
    psutil.wait_procs(killed, timeout=END_SECONDS)


def _remedy(error):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Remedy: make space on that disk and type the same command again"
    return "Remedy: check the disk and its permissions, then type the same command again"


def _command(argv):
    return shlex.join(["mrspec_prep", *(sys.argv[1:] if argv is None else argv)])


def _check_dask(args):
    if "group" not in args.analysis_level:
        remedy = "add group to the levels, or leave --dask out"
        raise InputError("--dask serves the group level", value=args.dask, remedy=remedy)
    check_dask(args.dask)


def _run(args, run_id):
    """The levels asked for, participants first; the group goes on without those that failed."""
    if args.dask:
        _check_dask(args)
    settings = run_settings(args)
    for words in filter_warnings(settings.filters):
        LOGGER.warning(words)
    resources = find_resources(args.nprocs, args.omp_nthreads, args.mem_gb)
    code, failed = EXIT_OK, []
    if "participant" in args.analysis_level:
        code, failed = run_participants(args, settings, run_id, resources)
        if code == EXIT_USAGE:
            return code
    if "group" not in args.analysis_level:
        return code
    try:
        group_code = run_group(args, settings, run_id, resources)
    except USAGE_ERRORS as error:
        if "participant" not in args.analysis_level:
            raise
        if args.dry_run and not anyone_finished(settings.out_dir):
            LOGGER.info("The group is planned once participants are finished: ask again then")
            return code
        LOGGER.error("FAILED: the group level was not run: %s", error)
        return EXIT_FAILED
    if failed:
        LOGGER.error("FAILED at the participant level: %s", ", ".join(f"sub-{subject}" for subject in failed))
    return max(code, group_code)
