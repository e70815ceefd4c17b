"""A throw-away Slurm on this machine: one controller and a few nodes on loopback, without systemd.

Needs Slurm and munge from the distribution, as root (Debian, Ubuntu):
``apt-get install -y --no-install-recommends slurm-wlm munge``.
Nothing outside the given folder is written; ``with LoopbackSlurm(folder)`` ends what it started.
The nodes share the machine's processors and memory; there are no cgroups, so ``--mem`` is
booked but not enforced.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
REMEDY = "apt-get install -y --no-install-recommends slurm-wlm munge"
NODE_TIMEOUT = 5  # s without an answer until a node counts as dead
REQUEUE_DELAY = 5  # s until a job of a dead node starts again

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={requeue_delay}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/completed.txt
MpiDefault=none
SwitchType=switch/none
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
ReturnToService=2
KillWait=2
MinJobAge=600
SlurmctldTimeout=60
SlurmdTimeout={node_timeout}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmError(RuntimeError):
    """Slurm is not installed or does not come up; the message says what to do."""


class LoopbackSlurm:
    """A controller and ``n_nodes`` slurmd in a scratch folder.

    Parameters
    ----------
    folder : path
        Made where absent; logs, state, keys and process numbers.
    n_nodes, cpus : int
        Nodes n1, n2, ... and processors of each, whatever the machine has.
    memory_mb : int
        Memory of each node.

    """

    def __init__(self, folder, n_nodes=3, cpus=1, memory_mb=2000):
        self.folder = Path(folder).absolute()
        self.nodes = [f"n{number + 1}" for number in range(n_nodes)]
        self.cpus, self.memory_mb = cpus, memory_mb

    def __enter__(self):
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        if missing:
            raise SlurmError(f"not installed: {', '.join(missing)}. Remedy: {REMEDY}")
        if os.getuid() != 0:
            raise SlurmError("slurmd starts jobs of any user and runs as root here. Remedy: run as root")
        for name in ("state", "log", "run", "munge", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self.environ = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self.environ.setdefault("LOGNAME", "root")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *words, check=True):
        """Run a command under this Slurm and give what it printed."""
        done = subprocess.run([str(w) for w in words], env=self.environ, capture_output=True, text=True)
        if check and done.returncode:
            raise SlurmError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self):
        """Jobs in the queue as (id of the job or array task, name, state, node)."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i|%j|%T|%N").splitlines()
        return [tuple(line.split("|")) for line in lines]

    def kill_node(self, node):
        """Kill a node the hard way: its slurmd and every process of its jobs, by SIGKILL.

        Returns
        -------
        int
            Number of processes that died.

        """
        victims = [_process(self.folder / "run" / f"slurmd.{node}.pid")]
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURMD_NODENAME") == node and self._is_ours(process):
                    victims += [process, *(p for p in process.parents() if p.name() == "slurmstepd")]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # ended while we looked
        numbers = {process.pid for process in victims if process is not None}
        for number in numbers:
            _signal(number, signal.SIGKILL)
        return len(numbers)

    def revive_node(self, node):
        """Start the slurmd of a node again."""
        self.run("slurmd", "-N", node)

    def stop(self):
        """End every process that this Slurm started."""
        if (self.folder / "slurm.conf").is_file() and _process(self.folder / "run" / "slurmctld.pid"):
            self.run("scancel", "--full", "--signal=KILL", "--user=root", check=False)
        for path in [*sorted((self.folder / "run").glob("*.pid")), self.folder / "munge" / "munged.pid"]:
            process = _process(path)
            if process is not None:
                process.terminate()
                try:
                    process.wait(10)
                except psutil.TimeoutExpired:
                    process.kill()

    def _is_ours(self, process):
        return process.environ().get("SLURM_CONF") == str(self.folder / "slurm.conf")

    def _write_configuration(self):
        host, port = socket.gethostname().partition(".")[0], 16817
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + 1 + number} "
            f"CPUs={self.cpus} RealMemory={self.memory_mb} State=UNKNOWN"
            for number, node in enumerate(self.nodes)
        ]
        text = CONFIGURATION.format(
            host=host,
            port=port,
            folder=self.folder,
            nodes="\n".join(nodes),
            node_timeout=NODE_TIMEOUT,
            requeue_delay=REQUEUE_DELAY,
        )
        (self.folder / "slurm.conf").write_text(text)

    def _start(self):
        munge = self.folder / "munge"
        key = munge / "key"
        key.unlink(missing_ok=True)
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for folder in (self.folder, munge):
            folder.chmod(0o755)
        names = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "munged.pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        self.run("munged", "--force", *(f"--{option}={munge / name}" for option, name in names.items()))
        self.run("slurmctld", "-c")
        for node in self.nodes:
            self.revive_node(node)
        for _ in range(100):
            if len(self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).split()) == len(self.nodes):
                return
            time.sleep(0.2)
        raise SlurmError(f"the nodes did not come up in 20 s. Remedy: read {self.folder / 'log'}")


def _process(pid_file):
    """Process whose number a file holds, or None."""
    try:
        return psutil.Process(int(pid_file.read_text()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


def _signal(number, kind):
    try:
        os.kill(number, kind)
    except ProcessLookupError:
        return  # ended already
