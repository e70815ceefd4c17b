"""How far a run is: a bar per participant on a terminal, a line per step in a job's log."""

import logging
import shutil
import sys

from tqdm import tqdm

from mrspec_prep.workflows.participant import participant_workflow_name, subject_of

LOGGER = logging.getLogger("mrspec_prep")
BAR = "{desc} {bar:24} {n_fmt}/{total_fmt} steps, {elapsed}, about {remaining} left {postfix}"
WORDS = {"start": "started", "end": "done", "exception": "FAILED"}


class Progress:
    """Takes the statuses of Nipype; remembers the participants whose report was written.

    Parameters
    ----------
    n_steps : dict of str to int
        Steps of each participant, by label; from ``steps_of``.
    stream : text stream
        Bars are drawn where it is a terminal; there the lines go to the log file alone.

    """

    def __init__(self, n_steps, stream=None):
        self.n_steps, self.stream = n_steps, sys.stderr if stream is None else stream
        self.subjects_done, self.started, self.ended, self.bars = set(), set(), set(), {}
        self.level = logging.DEBUG if self.stream.isatty() else logging.INFO

    def __call__(self, node, status):
        """Take a status: start, end or exception; a step left out ends without having started."""
        place = node.fullname.partition(".")[2]
        subject = subject_of(place.partition(".")[0])
        if status == "start":
            self.started.add(node.fullname)
        if status == "end" and node.name == "report":
            self.subjects_done.add(subject)
        self._draw(node, status, subject)
        if status == "end" and node.fullname not in self.started and not node.run_without_submitting:
            return
        level = logging.INFO if status == "exception" else self.level
        shown = f"sub_{subject}.{place.partition('.')[2].replace('_wf', '')}"
        LOGGER.log(level, "%s: %s", shown, WORDS.get(status, status))

    def close(self):
        """Leave the bars as they are."""
        for bar in self.bars.values():
            bar.close()

    def _draw(self, node, status, subject):
        if not self.stream.isatty() or subject not in self.n_steps:
            return
        if subject not in self.bars:
            width, height = shutil.get_terminal_size()  # of no size in some containers, where tqdm would be silent
            how = {"bar_format": BAR, "ascii": " #", "file": self.stream, "ncols": width - 1, "nrows": height}
            self.bars[subject] = tqdm(total=self.n_steps[subject], desc=f"sub-{subject}", **how)
        bar = self.bars[subject]
        bar.set_postfix_str(node.name if status == "start" else "FAILED" * (status == "exception"), refresh=False)
        if status == "end" and node.fullname not in self.ended:
            self.ended.add(node.fullname)
            bar.update(min(1, bar.total - bar.n))
        if status == "end" and node.name == "report":
            bar.update(bar.total - bar.n)
            bar.close()
        bar.refresh()


def steps_of(workflow, subjects):
    """Number of steps of each participant in a workflow.

    Returns
    -------
    dict of str to int

    """
    names = workflow.list_node_names()
    return {s: sum(name.startswith(f"{participant_workflow_name(s)}.") for name in names) for s in subjects}


class TerminalHandler(logging.Handler):
    """Writes lines to standard error, above the bars where there are any."""

    def emit(self, record):
        """Write one line."""
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except OSError:
            self.handleError(record)
