"""Memory of steps: what the resource monitor measured, and what the next run sets aside for it."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from mrspec_prep.bids.output.derivatives import read_table
from mrspec_prep.workflows.running.execution import nodes_as_run

TABLES = "*_resources.tsv"  # in the logs folder of a dataset; named after runs, so that the last name is the newest
MARGIN = 1.2  # of what is set aside over what was measured
LEAST_GB = 0.2


@dataclass(frozen=True)
class StepMemory:
    """What is set aside for the steps of one series [GB].

    Attributes
    ----------
    estimate : float
        Of every step, by arithmetic.
    limit : float
        What the run may use in all.
    measured : dict of str to float
        Step: peak that was measured over the estimate of then.

    """

    estimate: float
    limit: float = math.inf
    measured: dict = field(default_factory=dict)

    def of(self, step):
        """Memory of a step: the estimate, corrected by what was measured."""
        measured = self.measured.get(step)
        expected = self.estimate if measured is None else max(self.estimate * measured * MARGIN, LEAST_GB)
        return min(expected, self.limit)


def resources_used(workflow, series=None):
    """Peak memory [GB] and duration [s] of every step that ran under the resource monitor.

    Parameters
    ----------
    workflow : nipype workflow
        After its run.
    series : dict of str to (str, float), optional
        Name of a series' workflow with that of its participant, or of a step of the group: hash of its settings, and
        estimate [GB].

    Returns
    -------
    dict of str to list
        Columns step, settings, mem_peak_gb, mem_reserved_gb, mem_estimated_gb, seconds; steps without a record are
        left out.

    """
    columns = {
        name: [] for name in ("step", "settings", "mem_peak_gb", "mem_reserved_gb", "mem_estimated_gb", "seconds")
    }
    for node in nodes_as_run(workflow):
        results = Path(node.output_dir()) / f"result_{node.name}.pklz"
        runtime = getattr(node.result, "runtime", None) if results.is_file() else None
        peak = getattr(runtime, "mem_peak_gb", None)
        if peak is None:
            continue
        settings, estimate = (series or {}).get(series_of(node), (None, math.nan))
        values = (node.fullname, settings, float(peak), float(node.mem_gb), estimate, float(runtime.duration))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def kind_of_step(step):
    """Name of a step without its place in the graph; the steps that map a few members of a group each are of a kind."""
    return re.sub(r"^(save_maps)_\d+$", r"\1", step.rpartition(".")[2])


def series_of(node):
    """Names of the workflows of participant and series that a node belongs to; at the group level, its own."""
    return ".".join(node.fullname.split(".")[1:3])


def table_in_words(columns):
    """Lines of text: every kind of step, its largest peak beside what was set aside, and its longest duration."""
    rows = {}
    for step, peak, reserved, seconds in zip(
        *(columns[name] for name in ("step", "mem_peak_gb", "mem_reserved_gb", "seconds")), strict=True
    ):
        name = kind_of_step(step)
        rows[name] = tuple(map(max, rows.get(name, (0.0, 0.0, 0.0)), (peak, reserved, seconds)))
    ordered = sorted(rows.items(), key=lambda row: -row[1][0])
    return [f"{'step':24} {'peak GB':>8} {'set aside':>10} {'seconds':>8}"] + [
        f"{name:24} {peak:8.2f} {reserved:10.2f} {seconds:8.1f}" for name, (peak, reserved, seconds) in ordered
    ]


def measured_before(log_dir):
    """What the newest tables of a dataset say of memory.

    Parameters
    ----------
    log_dir : path
        The logs folder of the dataset.

    Returns
    -------
    dict of str to dict of str to float
        Hash of settings: step: largest peak over the estimate. Newer tables win; tables without these columns, or
        that cannot be read, tell nothing.

    """
    found = {}
    for path in sorted(Path(log_dir).glob(TABLES)):
        columns = _columns(path)
        newest = {}
        for step, settings, peak, estimate in columns:
            if settings not in ("", "n/a") and math.isfinite(estimate) and estimate > 0:
                ratios = newest.setdefault(settings, {})
                name = kind_of_step(step)
                ratios[name] = max(ratios.get(name, 0.0), peak / estimate)
        for settings, ratios in newest.items():
            found[settings] = found.get(settings, {}) | ratios
    return found


def _columns(path):
    """Rows of (step, settings, peak, estimate); none of a table of another kind."""
    try:
        columns, _ = read_table(path)
        rows = zip(*(columns[n] for n in ("step", "settings", "mem_peak_gb", "mem_estimated_gb")), strict=True)
        return [(str(step), str(settings), float(peak), float(estimate)) for step, settings, peak, estimate in rows]
    except (KeyError, ValueError, IndexError, OSError):
        return []  # an older version's: estimates by arithmetic stand
