import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.interfaces.group import dask_cluster
from mrspec_prep.interfaces.group.dask_cluster import check_dask, read_cluster_file

EXAMPLE = Path(__file__).parents[2] / "workflows" / "hpc" / "dask_slurm.yml"


@pytest.mark.parametrize("words", ["tcp://node1:8786", "local:4", str(EXAMPLE)])
def test_without_dask_the_error_names_the_command_that_installs_it(monkeypatch, words):
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"is not installed\. Remedy: pip install \"mrspec_prep\[hpc\]\""):
        check_dask(words)


@pytest.mark.parametrize("words", ["local:0", "local:", "node1:8786", "no/such/file.yml"])
def test_what_is_neither_address_nor_file_is_refused(words):
    with pytest.raises(InputError, match="neither an address nor a file.*Remedy: give the address"):
        check_dask(words)


def test_the_example_names_slurm():
    content = read_cluster_file(EXAMPLE)
    assert content["cluster"] == "dask_jobqueue.SLURMCluster"
    assert content["workers"] >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster: [", "not valid YAML"),
        ("cluster: dask_jobqueue.SLURMCluster", "needs the keys cluster and workers"),
        ("{cluster: dask_jobqueue.SLURMCluster, workers: 2, keyword: 3}", "found cluster, workers, keyword"),
        ("{cluster: dask_jobqueue.SLURMCluster, workers: 0}", "a number of at least 1"),
        ("{cluster: dask_jobqueue.SLURMCluster, workers: 2, keywords: 3}", "settings by name"),
        ("{cluster: SLURMCluster, workers: 2}", "a module and a class"),
    ],
)
def test_a_wrong_file_is_refused_with_what_would_do(tmp_path, text, message):
    path = tmp_path / "cluster.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        check_dask(str(path))


INTERRUPTED = """
import signal, sys
from mrspec_prep.interfaces.group.dask_cluster import dask_client
from mrspec_prep.interfaces.interrupts import Interrupted, interrupt

signal.signal(signal.SIGTERM, interrupt)
try:
    with dask_client(sys.argv[1]) as client:
        client.submit(abs, -1).result()  # no worker ever comes
except Interrupted as stop:
    sys.exit(128 + stop.signal)
"""


def test_an_interrupted_group_leaves_no_worker_in_the_queue(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="needs the extra hpc")
    fakes = {
        "sbatch": "touch queued-$$; echo Submitted batch job $$\n",
        "scancel": 'for n in "$@"; do rm -f queued-$n; done\n',
    }
    for name, text in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    cluster = tmp_path / "cluster.yml"
    keywords = "{cores: 1, memory: 1GB, walltime: '01:00:00', scheduler_options: {dashboard_address: ':0'}}"
    cluster.write_text(f"cluster: dask_jobqueue.SLURMCluster\nworkers: 2\nkeywords: {keywords}\n")
    command = [sys.executable, "-c", INTERRUPTED, str(cluster)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 100
    while len(list(tmp_path.glob("queued-*"))) < 2:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=25)
    assert process.returncode == 143, said
    assert not list(tmp_path.glob("queued-*"))
