"""The Slurm plugins against stand-ins for sbatch and squeue; ``make test-slurm`` has a real Slurm."""

import os
import sys
import time

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from mrspec_prep.workflows.running.execution import configure_nipype, failures_of, run_graph
from mrspec_prep.workflows.running.slurm_queue import SlurmQueue, booking

SBATCH = """#!{python}
import subprocess, sys, pathlib, re
folder = pathlib.Path({folder!r})
number = len(list(folder.glob("job-*"))) + 1
words, script = sys.argv[1:-1], sys.argv[-1]
(folder / f"job-{{number}}").write_text("\\n".join(words))
dependencies = re.findall(r"\\d+", next((w for w in words if w.startswith("--dependency")), ""))
met = all((folder / f"ok-{{other}}").exists() for other in dependencies)
if "killed" not in pathlib.Path(script).name and met:
    if subprocess.run(["bash", script], capture_output=True).returncode == 0:
        (folder / f"ok-{{number}}").touch()
print(number if "--parsable" in words else f"Submitted batch job {{number}}")
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "slurm"
    folder.mkdir()
    scripts = {"sbatch": SBATCH.format(python=sys.executable, folder=str(folder)), "squeue": "#!/bin/sh\n"}
    scripts["scontrol"] = "#!/bin/sh\necho JobId=$5 JobState=CANCELLED Reason=None\n"
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("LOGNAME", raising=False)
    return folder


def _add(number):
    return number + 1


def _node(name, number=None):
    node = pe.Node(Function(function=_add, input_names=["number"], output_names=["out"]), name, n_procs=3, mem_gb=2)
    if number is not None:
        node.inputs.number = number
    return node


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph"])
def test_a_job_that_dies_fails_its_step_in_words_and_the_others_go_on(tmp_path, slurm, plugin, monkeypatch):
    monkeypatch.setattr("mrspec_prep.workflows.running.execution.FILE_SECONDS", 0.1)
    crash_dir = tmp_path / "crash"
    configure_nipype(crash_dir, verbose=False)
    workflow = pe.Workflow("some_wf", base_dir=str(tmp_path / "work"))
    killed, after, other = _node("killed", 1), _node("after"), _node("other", 1)
    workflow.connect(killed, "out", after, "number")
    workflow.add_nodes([other])
    heard = []
    error = run_graph(
        workflow,
        plugin=plugin,
        plugin_args={"look_seconds": 0.0, "sbatch_args": "--time=5"},
        progress=lambda node, status: heard.append((node.name, status)),
    )
    assert error is not None
    assert {("other", "end"), ("killed", "exception")} <= set(heard)
    assert ("after", "end") not in heard
    (failure,) = failures_of("01", crash_dir)
    assert failure.step == "killed"
    assert failure.cause.startswith("SlurmJobDied: job ") and "(CANCELLED)" in failure.cause
    words = (slurm / "job-1").read_text().split()
    assert {"--time=5", "--cpus-per-task=3", "--mem=3072M"} <= set(words)


def test_only_what_the_user_left_open_is_booked():
    node = _node("step")
    assert booking(node) == "--cpus-per-task=3 --mem=3072M"
    assert booking(node, "-c 8 --time=5") == "--mem=3072M"
    assert booking(node, "--cpus-per-task=1 --mem-per-cpu=4G") == ""


def test_a_job_is_queued_until_an_answer_that_could_know_it_says_otherwise(slurm):
    queue = SlurmQueue(look_seconds=0.05)
    assert not queue.holds(1)
    queue.add(2)
    assert queue.holds(2)  # the last answer is older than the job
    time.sleep(0.06)
    assert not queue.holds(2)
    (slurm / "squeue").write_text("#!/bin/sh\necho Socket timed out >&2; exit 1\n")
    queue.add(3)
    time.sleep(0.06)
    assert queue.holds(3) and not queue.holds(2)  # nothing new is concluded without an answer
