"""Running a graph and telling what failed, in words."""

import contextlib
import gc
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from nipype import config as nipype_config

from mrspec_prep.interfaces.interrupts import raise_received
from mrspec_prep.reports.crashes import read_crash
from mrspec_prep.workflows.running.batch import CancellingLSF, CancellingOAR, CancellingPBS, CancellingSGE
from mrspec_prep.workflows.running.multiproc import ResilientMultiProc, monitor_resources, quiet_nipype
from mrspec_prep.workflows.running.slurm import ResilientSLURM, ResilientSLURMGraph

LOGGER = logging.getLogger("mrspec_prep")
POLL_SECONDS = 0.05
FILE_SECONDS = 20  # until the result of a job on another machine shows on a shared disk
#: plugins of Nipype that end or hang when a worker dies, or leave their jobs in the queue, and ours
RESILIENT = {"MultiProc": ResilientMultiProc, "SLURM": ResilientSLURM, "SLURMGraph": ResilientSLURMGraph}
RESILIENT |= {"PBS": CancellingPBS, "SGE": CancellingSGE, "LSF": CancellingLSF, "OAR": CancellingOAR}


@dataclass(frozen=True)
class Failure:
    """A step that failed."""

    subject: str
    step: str
    cause: str
    crash_file: Path
    is_input_error: bool


def configure_nipype(crash_dir, verbose, stop_on_first_crash=False, monitor=False):
    """Set Nipype's global configuration: content hashes, text crash files, quiet logs."""
    level = "INFO" if verbose else "CRITICAL"  # failures reach the user from the crash files, in words
    nipype_config.update_config({
        "execution": {
            "crashdump_dir": str(crash_dir),
            "crashfile_format": "txt",
            "hash_method": "content",
            "poll_sleep_duration": str(POLL_SECONDS),
            "remove_unnecessary_outputs": "false",
            "create_report": "false",
            "check_version": "false",
            "job_finished_timeout": str(FILE_SECONDS),
            "stop_on_first_crash": str(stop_on_first_crash).lower(),
        },
        "logging": {"workflow_level": level, "interface_level": level, "utils_level": level},
    })  # fmt: skip
    monitor_resources(monitor)
    quiet_nipype(level)


def draw_graph(workflow, path):
    """Write the graph for Graphviz (``.dot``), and as a picture where Graphviz is installed.

    Returns
    -------
    Path
        The picture, or the ``.dot`` file where there is none.

    """
    if shutil.which("dot"):
        return Path(workflow.write_graph(str(path), graph2use="colored", format="svg"))
    workflow.write_hierarchical_dotfile(dotfilename=str(path), colored=True)
    LOGGER.warning("Graphviz is not installed: the graph is written as text for its program dot")
    return Path(path)


def run_graph(workflow, *, plugin="MultiProc", plugin_args=None, progress=None):
    """Run a workflow to its end.

    A failing node stops only what depends on it. Which nodes failed is read afterwards
    from the crash files (``failures_of``), whatever plugin ran them.

    Returns
    -------
    Exception or None
        What the plugin raised at its end; nodes that failed make it raise.

    Raises
    ------
    Interrupted
        A signal came while it ran.

    """
    plugin_args = dict(plugin_args or {})

    def told(node, status):
        raise_received()
        if progress is not None:
            progress(node, status)

    plugin_args["status_callback"] = told
    with contextlib.chdir(workflow.base_dir) if nipype_config.resource_monitor else contextlib.nullcontext():
        gc.freeze()  # Nipype collects garbage twice a step, through all that was ever loaded: a quarter second each
        try:
            ended = _run(workflow, plugin, plugin_args)  # the monitor leaves its records where it is started
        finally:
            gc.unfreeze()
    raise_received()
    return ended


def _run(workflow, plugin, plugin_args):
    if plugin == "MultiProc":
        plugin_args.setdefault("mp_context", "forkserver")
        plugin_args.setdefault("modules", modules_of(workflow))
        plugin_args.setdefault("raise_insufficient", False)
        plugin_args.setdefault("log_level", logging.getLogger("nipype.workflow").level)
        plugin_args.setdefault("monitor", nipype_config.resource_monitor)
    runner = RESILIENT[plugin](plugin_args=plugin_args) if plugin in RESILIENT else plugin
    try:
        workflow.run(plugin=runner, plugin_args=plugin_args)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the summary must still be written
        return error
    return None


def modules_of(workflow):
    """Names of the modules that the steps of a workflow load, those of ``_loaded_late`` with them."""
    interfaces = {type(node.interface) for node in nodes_as_run(workflow)}
    late = (name for interface in interfaces for name in getattr(interface, "_loaded_late", ()))
    return sorted({interface.__module__ for interface in interfaces} | set(late))


def derivatives_of(workflow, participant_workflow):
    """Derivatives that the saving nodes of one participant wrote, with the files beside them of the same name.

    Returns
    -------
    set of Path

    """
    written = set()
    for node in nodes_as_run(workflow):
        if participant_workflow in node.fullname.split(".") and node.name.startswith("save"):
            for path in map(Path, node.result.outputs.out_files):
                written |= set(path.parent.glob(path.name.partition(".")[0] + ".*"))
    return written


def nodes_as_run(workflow):
    """Nodes with their place in the whole graph and below the work directory.

    The nodes of nested workflows know neither until the graph is flattened, which Nipype does on a copy.
    """
    nodes = workflow._create_flat_graph().nodes()
    for node in nodes:
        node.base_dir = workflow.base_dir
    return list(nodes)


def failures_of(subject, log_dir):
    """Failures of one participant, read from the crash files of this run."""
    found = []
    for crash_file in sorted(Path(log_dir).glob("crash-*.txt")):
        note = read_crash(crash_file)
        found.append(Failure(subject, note.step, note.cause, crash_file, "InputError" in note.cause.partition(":")[0]))
    return found
