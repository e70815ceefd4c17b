"""What the user reads on the terminal and in the log."""

import contextlib
import logging
import os
import sys

from mrspec_prep.bids.atomic import write_atomically
from mrspec_prep.bids.output.derivatives import table_text
from mrspec_prep.cli.progress import TerminalHandler
from mrspec_prep.workflows.running.measured_memory import table_in_words

LOGGER = logging.getLogger("mrspec_prep")


class _LogFile(logging.FileHandler):
    """Log file that a full disk cuts short without a traceback for every line on the terminal."""

    def handleError(self, record):  # noqa: N802 - name of the base class
        """Let the line go; the terminal has it."""


def start_logging(out_dir, run_id, verbose=0):
    """Log to the terminal and to ``OUT_DIR/logs``.

    Returns
    -------
    Path
        The log file.

    """
    folder = out_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log_file = folder / f"{run_id}.log"
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    terminal = TerminalHandler() if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.DEBUG if verbose else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    written = _LogFile(log_file, encoding="utf-8")
    written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.addHandler(terminal)
    LOGGER.addHandler(written)
    return log_file


def show(text):
    """Print to the standard output; a reader who has gone (``| head``) is no error, and gets no more of it.

    Raises
    ------
    OSError
        It cannot be written, as on a full disk; its ``filename`` says so.

    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # no descriptor of its own
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def say_plans(plans):
    """Say which workflow each series gets and why, and what of its files is worth a warning.

    Parameters
    ----------
    plans : list of ParticipantPlan
        Of the participants that will be computed.

    """
    for plan in plans:
        for series_plan in plan.series:
            series = series_plan.series
            name = f"sub-{plan.subject}" + f" ses-{series.session}" * bool(series.session)
            LOGGER.info("%s, %s: workflow %s (%s)", name, series.datatype, series_plan.workflow, series_plan.why)
            for note in series.notes:
                LOGGER.warning("%s, %s: note: %s", name, series.datatype, note)


def summarise(plans, refused, failures, out_dir):
    """Say what was done and what was not; the last line agrees with the exit code.

    Returns
    -------
    list of str
        Labels of the participants that failed or were refused.

    """
    for failure in failures:
        cause = failure.cause.removeprefix("InputError: ") if failure.is_input_error else failure.cause
        LOGGER.error("sub-%s failed in step %s: %s", failure.subject, failure.step, cause)
        LOGGER.error("  details: %s", failure.crash_file)
    for subject, error in refused.items():
        LOGGER.error("sub-%s was not processed: %s", subject, error)
    for subject in sorted({*(plan.subject for plan in plans), *refused}):
        report = out_dir / f"sub-{subject}.html"
        if report.is_file():
            LOGGER.info("Report: %s", report)
    failed = sorted({failure.subject for failure in failures} | set(refused))
    if failed:
        n_done = len({plan.subject for plan in plans} - set(failed))
        LOGGER.error("FAILED: %s (%d participant(s) done)", ", ".join(f"sub-{s}" for s in failed), n_done)
    else:
        LOGGER.info("Finished without errors: %d participant(s)", len(plans))
    return failed


def save_measured(used, path):
    """Write what the steps used of memory, and say it in words.

    Parameters
    ----------
    used : dict of str to list
        From ``resources_used``.
    path : Path
        Of the table.

    """
    write_atomically(path, table_text(used))
    LOGGER.info("Peak memory, which the next run with these settings sets aside (%s):", path)
    for line in table_in_words(used):
        LOGGER.info("  %s", line)
