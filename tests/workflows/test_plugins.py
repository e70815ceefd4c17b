import subprocess
import sys
import threading

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from mrspec_prep.reports.crashes import cause_of
from mrspec_prep.workflows.running.execution import configure_nipype, failures_of, run_graph
from mrspec_prep.workflows.running.multiproc import ResilientMultiProc


def _die():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def _live(path):
    from pathlib import Path

    Path(path).write_text("done")
    return path


@pytest.mark.timeout(120)
def test_a_killed_worker_ends_the_run_with_its_cause_and_the_others_go_on(tmp_path):
    crash_dir = tmp_path / "crash"
    configure_nipype(crash_dir, verbose=False)
    workflow = pe.Workflow("killed_wf", base_dir=str(tmp_path / "work"))
    killed = pe.Node(Function(function=_die, input_names=[], output_names=["out"]), "killed")
    first = pe.Node(Function(function=_live, input_names=["path"], output_names=["out"]), "first")
    first.inputs.path = str(tmp_path / "done.txt")
    then = pe.Node(Function(function=_live, input_names=["path"], output_names=["out"]), "then")
    then.inputs.path = str(tmp_path / "then.txt")
    workflow.add_nodes([killed, first, then])
    error = run_graph(workflow, plugin="MultiProc", plugin_args={"n_procs": 1, "memory_gb": 1})
    assert error is not None
    failures = failures_of("01", crash_dir)
    assert "killed" in {failure.step for failure in failures}
    assert all("lack of memory" in failure.cause for failure in failures)
    in_flight = {failure.step for failure in failures}
    for step, name in (("first", "done.txt"), ("then", "then.txt")):
        assert step in in_flight or (tmp_path / name).read_text() == "done"


def _sleep(path):
    import time

    time.sleep(3)
    return path


@pytest.mark.timeout(120)
def test_a_killed_worker_beside_others_ends_the_run_and_its_process(tmp_path):
    configure_nipype(tmp_path / "crash", verbose=False)
    workflow = pe.Workflow("beside_wf", base_dir=str(tmp_path / "work"))
    killed = pe.Node(Function(function=_die, input_names=[], output_names=["out"]), "killed")
    beside = pe.Node(Function(function=_sleep, input_names=["path"], output_names=["out"]), "beside")
    beside.inputs.path = "x"
    workflow.add_nodes([killed, beside])
    assert run_graph(workflow, plugin="MultiProc", plugin_args={"n_procs": 2, "memory_gb": 2}) is not None
    assert "killed" in {failure.step for failure in failures_of("01", tmp_path / "crash")}
    threads = [thread for thread in threading.enumerate() if "ExecutorManager" in type(thread).__name__]
    for thread in threads:  # Python waits for them at its exit
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


LOADED = """
import sys
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe
from mrspec_prep.interfaces.reportlets import GroupReport
from mrspec_prep.workflows.running.execution import configure_nipype, modules_of, run_graph

def loaded():
    import sys
    return sorted(sys.modules)

if __name__ == "__main__":
    configure_nipype("crash", verbose=False)
    report = pe.Workflow("report_wf")
    report.add_nodes([pe.Node(GroupReport(out_dir="."), "report")])
    workflow = pe.Workflow("loaded_wf", base_dir="work")
    workflow.add_nodes([pe.Node(Function(function=loaded, input_names=[], output_names=["out"]), "loaded")])
    plugin_args = {"n_procs": 2, "memory_gb": 1, "modules": modules_of(report)}
    assert run_graph(workflow, plugin="MultiProc", plugin_args=plugin_args) is None
    (node,) = workflow._create_flat_graph().nodes()
    node.base_dir = workflow.base_dir
    print(*node.result.outputs.out)
"""


def test_workers_begin_with_the_modules_of_their_steps_and_none_of_the_folder(tmp_path):
    """A ``matplotlib.py`` among somebody's data is not the library."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/run.py").write_text(LOADED)
    (tmp_path / "matplotlib.py").write_text("open('run', 'w')")
    command = [sys.executable, "scripts/run.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    loaded = ended.stdout.split()
    assert {"mrspec_prep.interfaces.reportlets", "mrspec_prep.reports.group.page", "matplotlib.figure"} <= set(loaded)
    assert not (tmp_path / "run").exists()


class _Future:
    def result(self):
        raise FileNotFoundError("result.pklz") from OSError(28, "No space left on device")


def test_a_worker_that_cannot_write_its_result_fails_its_step_with_the_cause():
    plugin = ResilientMultiProc(plugin_args={"n_procs": 1, "memory_gb": 1})
    future = _Future()
    plugin._task_obj[7] = future
    plugin._async_callback(future)
    text = "".join(plugin._taskresult[7]["traceback"])
    assert cause_of(text).startswith("OSError: No space left on device: the disk of the work directory is full. Remedy")
    plugin.pool.shutdown()


def _note(path, name):
    from pathlib import Path

    with Path(path).open("a") as file:
        file.write(name + "\n")
    return path


def test_a_participant_is_finished_before_the_next_is_begun(tmp_path):
    notes = tmp_path / "notes.txt"
    workflow = pe.Workflow("all_wf", base_dir=str(tmp_path / "work"))
    for subject in ("01", "02", "03"):
        participant = pe.Workflow(f"sub_{subject}_wf")
        steps = []
        for step in "abc":
            node = pe.Node(Function(function=_note, input_names=["path", "name"], output_names=["path"]), step)
            node.inputs.name = f"{subject}{step}"
            steps.append(node)
        steps[0].inputs.path = str(notes)
        participant.connect([(steps[0], steps[1], [("path", "path")]), (steps[1], steps[2], [("path", "path")])])
        workflow.add_nodes([participant])
    configure_nipype(tmp_path / "crash", verbose=False)
    assert run_graph(workflow, plugin="MultiProc", plugin_args={"n_procs": 1, "memory_gb": 1}) is None
    assert notes.read_text().split() == [f"{subject}{step}" for subject in ("01", "02", "03") for step in "abc"]


def _too_large():
    import numpy

    return numpy.ones(10**14)


def _full():
    from pathlib import Path

    Path("/dev/full").write_text("x" * 100_000)


def test_lack_of_memory_and_a_full_disk_in_a_step_are_told_with_a_remedy(tmp_path):
    configure_nipype(tmp_path / "crash", verbose=False)
    workflow = pe.Workflow("machine_wf", base_dir=str(tmp_path / "work"))
    for function in (_too_large, _full):
        node = pe.Node(Function(function=function, input_names=[], output_names=["out"]), function.__name__.strip("_"))
        workflow.add_nodes([node])
    assert run_graph(workflow, plugin="Linear") is not None
    causes = {failure.step: failure.cause for failure in failures_of("01", tmp_path / "crash")}
    assert set(causes) == {"too_large", "full"}
    assert "Unable to allocate" in causes["too_large"] and "Remedy: give more memory" in causes["too_large"]
    assert "No space left on device" in causes["full"] and "Remedy: make space" in causes["full"]
