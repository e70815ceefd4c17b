import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrspec_prep.bids.atomic import PARTIAL, remove_all_leftovers

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
TWO_WORKERS = """
import time
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe
from mrspec_prep.workflows.running.execution import configure_nipype, run_graph

def wait(path):
    import os, time
    from pathlib import Path
    Path(path).write_text(str(os.getpid()))
    time.sleep(100)

if __name__ == "__main__":
    configure_nipype("FOLDER", verbose=False)
    workflow = pe.Workflow("two_wf", base_dir="FOLDER")
    for name in ("one", "two"):
        node = pe.Node(Function(function=wait, input_names=["path"], output_names=["out"]), name)
        node.inputs.path = f"FOLDER/{name}.pid"
        workflow.add_nodes([node])
    run_graph(workflow, plugin="MultiProc", plugin_args={"n_procs": 2, "memory_gb": 8})
"""


def _ctrl_c(process):
    """What a terminal does: every process of the group hears it."""
    os.killpg(process.pid, signal.SIGINT)


def _scancel(process):
    """What some schedulers do: the run hears it twice, its workers too."""
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize(("stop", "code"), [(_ctrl_c, 130), (_scancel, 143)])
def test_an_interrupted_run_ends_soon_says_how_to_go_on_and_leaves_nothing_behind(tmp_path, stop, code):
    words = [sys.executable, "-m", "mrspec_prep", ZEBRA, tmp_path / "out", "participant", "-w", tmp_path / "my work"]
    process = subprocess.Popen(
        [str(w) for w in words] + ["--nprocs", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if "roi: started" in line:
            break
    time.sleep(0.5)
    (tmp_path / "out/sub-01" / f".x.{os.uname().nodename}+1+ab{PARTIAL}").write_text("a worker was writing this")
    stop(process)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "type the same command again" in said.splitlines()[-1]
    typed = said.splitlines()[-1].split("again: ")[1]
    assert shlex.split(typed) == ["mrspec_prep", *map(str, words[3:]), "--nprocs", "2"]
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob(f"*{PARTIAL}"))
    time.sleep(0.5)
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "out")], capture_output=True, text=True).stdout
    assert not left.strip()


def test_the_end_of_an_interrupted_run_does_not_wait_for_a_large_dataset(tmp_path):
    left = [tmp_path / f"sub-{number}" / f".x.{os.uname().nodename}+1+ab{PARTIAL}" for number in range(3)]
    for path in left:
        path.parent.mkdir()
        path.write_text("half")
    remove_all_leftovers(tmp_path, until=time.monotonic() - 1)
    assert all(path.exists() for path in left)
    remove_all_leftovers(tmp_path, until=time.monotonic() + 60)
    assert not any(path.exists() for path in left)


def test_a_signal_while_the_libraries_are_loading_is_answered_in_words():
    loading = "class Slow(types.ModuleType):\n    def __getattr__(self, name): os.kill(os.getpid(), signal.SIGINT)\n"
    start = 'sys.modules["mrspec_prep.cli.run"] = Slow("run")\nfrom mrspec_prep.cli.start import main\nmain()\n'
    code = f"import os, signal, sys, types\n{loading}{start}"
    command = [sys.executable, "-c", code, "bids", "out", "participant"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr.count("\n")) == (130, 1)
    assert "interrupted before anything was begun" in ended.stderr


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["--help"], 0), (["bids", "out", "nobody"], 2)])
def test_words_that_need_no_libraries_load_none(words, code):
    script = "import sys; sys.modules['mrspec_prep.cli.run'] = None\nfrom mrspec_prep.cli.start import main\nmain()"
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr


def test_workers_end_when_the_run_itself_is_killed(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TWO_WORKERS.replace("FOLDER", str(tmp_path)))
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    pids = [tmp_path / "one.pid", tmp_path / "two.pid"]
    _until(lambda: all(pid.is_file() and pid.read_text() for pid in pids))
    process.kill()
    process.wait()
    workers = [int(pid.read_text()) for pid in pids]
    _until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), seconds=20)


def _until(reached, seconds=60):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)
