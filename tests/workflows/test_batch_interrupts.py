"""Runs whose steps are jobs of a scheduler are interrupted: no job of theirs is left in the queue."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from mrspec_prep.interfaces import interrupts
from mrspec_prep.interfaces.interrupts import Interrupted, held, interrupt
from mrspec_prep.workflows.running import slurm_queue
from mrspec_prep.workflows.running.execution import configure_nipype, run_graph
from mrspec_prep.workflows.running.slurm_queue import cancel, submit

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
#: a scheduler whose jobs never end: one file per job, which its own command removes
FAKES = {
    "sbatch": 'n=$(ls | grep -c "^job-"); n=$((n + 1)); touch job-$n queued-$n; echo Submitted batch job $n\n',
    "qsub": 'n=$(ls | grep -c "^job-"); n=$((n + 1)); touch job-$n queued-$n; echo $n.server\n',
    "squeue": 'ls | sed -n "s/^queued-//p"\n',
    "qstat": "echo job_state = R\n",
    "scancel": 'for n in "$@"; do rm queued-$n; done\n',
    "qdel": 'for n in "$@"; do rm queued-$n; done\n',
    "scontrol": "echo JobState=UNKNOWN\n",
}


@pytest.fixture
def queue(tmp_path, monkeypatch):
    folder = tmp_path / "queue"
    folder.mkdir()
    for name, text in FAKES.items():
        fake(folder, name, text)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "me")
    return folder


def fake(folder, name, text):
    (folder / name).write_text(f"#!/bin/sh\ncd {folder}\n{text}")
    (folder / name).chmod(0o755)


@pytest.fixture
def listening():
    earlier = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    interrupts.RECEIVED.clear()
    yield
    interrupts.RECEIVED.clear()
    for number, handler in earlier.items():
        signal.signal(number, handler)


def _one(number):
    return number


def three_steps(folder):
    workflow = pe.Workflow("some_wf", base_dir=str(folder / "work"))
    for name in ("a", "b", "c"):
        node = pe.Node(Function(function=_one, input_names=["number"], output_names=["out"]), name)
        node.inputs.number = 1
        workflow.add_nodes([node])
    return workflow


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph", "PBS"])
def test_an_interrupted_graph_leaves_no_job_in_the_queue(tmp_path, queue, listening, plugin, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where Nipype leaves what qstat says
    configure_nipype(tmp_path / "crash", verbose=False)

    def stop():
        while len(list(queue.glob("job-*"))) < 3:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop)
    watcher.start()
    with pytest.raises(Interrupted):
        run_graph(three_steps(tmp_path), plugin=plugin, plugin_args={"look_seconds": 0.05})
    watcher.join()
    assert len(list(queue.glob("job-*"))) == 3
    assert not list(queue.glob("queued-*"))


def test_a_job_that_is_being_submitted_when_the_signal_comes_is_known(queue, listening):
    fake(queue, "sbatch", "kill -TERM $PPID; sleep 0.3; echo Submitted batch job 7\n")
    jobs = []
    with pytest.raises(Interrupted):
        submit(["script.sh"], jobs.append)
    assert jobs == [7]


def test_a_scheduler_that_never_answers_does_not_keep_an_interrupted_run(queue, listening, monkeypatch):
    monkeypatch.setattr(slurm_queue, "ANSWER_SECONDS", 0.2)
    fake(queue, "sbatch", "kill -INT $PPID; sleep 60\n")
    start = time.monotonic()
    with pytest.raises(Interrupted):
        submit(["script.sh"], lambda job: None)
    assert time.monotonic() - start < 20


def test_jobs_that_could_not_be_cancelled_are_named_with_the_command(queue, listening, monkeypatch, caplog):
    monkeypatch.setattr(slurm_queue, "CANCEL_SECONDS", 0.2)
    fake(queue, "scancel", "exec sleep 60\n")
    cancel({12, 3})
    assert "Remedy: type scancel 3 12" in caplog.text
    fake(queue, "scancel", "echo Unable to contact slurm controller >&2; exit 1\n")
    cancel([4])
    assert "(Unable to contact slurm controller). Remedy: type scancel 4" in caplog.text


def test_a_full_queue_is_asked_again_and_a_refusal_is_told(queue, listening, caplog, monkeypatch):
    busy = "echo sbatch: error: QOSMaxSubmitJobPerUserLimit >&2; exit 1"
    fake(queue, "sbatch", f"if [ -e asked ]; then echo Submitted batch job 5; else touch asked; {busy}; fi\n")
    assert submit(["script.sh"], lambda job: None, pause=0.01) == 5
    assert "takes no further job now" in caplog.text
    fake(queue, "sbatch", "echo sbatch: error: Invalid account >&2; exit 1\n")
    with pytest.raises(RuntimeError, match="sbatch refused a job: Invalid account. Remedy"):
        submit(["script.sh"], lambda job: None)
    (queue / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(queue))
    with pytest.raises(RuntimeError, match="sbatch cannot be run.*Remedy"):
        submit(["script.sh"], lambda job: None)


@pytest.mark.parametrize("said", ["17", "17;cluster", "sbatch: note 3 of the site\n17"])
def test_the_number_of_a_job_is_read_with_parsable_too(queue, listening, said):
    fake(queue, "sbatch", f"printf '%s\\n' '{said}'\n")
    assert submit(["--parsable", "script.sh"], lambda job: None) == 17


@pytest.mark.parametrize("others", [True, False])
def test_a_queue_full_of_our_jobs_is_waited_for_longer(queue, listening, monkeypatch, others):
    monkeypatch.setattr(slurm_queue, "PATIENCE_SECONDS", 0.0)
    busy = "echo sbatch: error: QOSMaxSubmitJobPerUserLimit >&2; exit 1"
    fake(queue, "sbatch", f"if [ -e asked ]; then echo Submitted batch job 5; else touch asked; {busy}; fi\n")
    fake(queue, "squeue", "echo 4\n" if others else "true\n")
    if others:
        assert submit(["script.sh"], lambda job: None, pause=0.01) == 5
    else:
        with pytest.raises(RuntimeError, match="QOSMaxSubmitJobPerUserLimit"):
            submit(["script.sh"], lambda job: None, pause=0.01)


def test_what_is_held_is_done_to_its_end_and_the_signal_is_heard_after_it(listening):
    done = []
    with pytest.raises(Interrupted) as stopped, held("two things"):
        with held("one of them"):
            os.kill(os.getpid(), signal.SIGTERM)
            done.append(1)
        done.append(2)
    assert done == [1, 2] and stopped.value.signal == signal.SIGTERM


@pytest.mark.long
@pytest.mark.parametrize(("plugin", "number", "code"), [("SLURM", 2, 130), ("SLURM", 15, 143), ("SLURMGraph", 15, 143)])
def test_the_command_cancels_its_jobs_and_says_how_to_go_on(tmp_path, queue, plugin, number, code):
    (tmp_path / "plugin.yml").write_text(f"plugin: {plugin}\nplugin_args: {{look_seconds: 0.2}}\n")
    words = [ZEBRA, tmp_path / "out", "participant", "-w", tmp_path / "work", "--use-plugin", tmp_path / "plugin.yml"]
    command = [sys.executable, "-m", "mrspec_prep", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 150
    while not list(queue.glob("queued-*")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.3)
    start = time.monotonic()
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - start < 25
    assert process.returncode == code
    assert "job(s) in the queue cancelled" in said
    assert "type the same command again" in said.splitlines()[-1] and "Traceback" not in said
    assert not list(queue.glob("queued-*"))
