"""``--dask``: the workers of the group level, from an address, a YAML file or this machine.

dask is imported only where the option is given; it comes with ``pip install "mrspec_prep[hpc]"``.
"""

import importlib
import logging
import re
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.yaml_files import read_yaml
from mrspec_prep.interfaces.interrupts import held

LOGGER = logging.getLogger("mrspec_prep")
INSTALL = 'pip install "mrspec_prep[hpc]"'
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss|inproc)://\S+")
LOCAL = re.compile(r"local:([1-9][0-9]*)")
FORMS = "give the address of a scheduler (tcp://host:8786), a YAML file (see workflows/hpc/dask_slurm.yml), or local:4"
END_SECONDS = 15  # schedulers kill a run 30 s after they asked it to end
KEYS = {"cluster": str, "keywords": dict, "workers": int}


def check_dask(words):
    """Refuse what ``--dask`` cannot use, before anything is computed.

    Parameters
    ----------
    words : str
        Address of a scheduler, a YAML file, or ``local:N``.

    Raises
    ------
    InputError
        None of these, a file that does not say which cluster, or dask is not installed.

    """
    if not ADDRESS.fullmatch(words) and not LOCAL.fullmatch(words):
        cluster = read_cluster_file(_existing(words))["cluster"]
        _need(cluster.partition(".")[0])
    _need("distributed")


def read_cluster_file(path):
    """Class, keywords and number of workers of a cluster file.

    Returns
    -------
    dict
        ``cluster``: import path of the class; ``keywords``: its arguments; ``workers``: how many to start.

    Raises
    ------
    InputError
        Not YAML, an unknown or missing key, a value of the wrong kind.

    """
    example = "see workflows/hpc/dask_slurm.yml"
    content = read_yaml(path, "the cluster file", example)
    if (
        not isinstance(content, dict)
        or set(content) - set(KEYS)
        or "cluster" not in content
        or "workers" not in content
    ):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            "needs the keys cluster and workers, and may have keywords", file=path, value=found, remedy=example
        )
    content = {"keywords": {}} | content
    for key, kind in KEYS.items():
        if not isinstance(content[key], kind) or content[key] is True or (kind is int and content[key] < 1):
            raise InputError(f"{key} must be {_WORDS[kind]}", file=path, value=content[key], remedy=example)
    if "." not in content["cluster"]:
        raise InputError("cluster must name a module and a class", file=path, value=content["cluster"], remedy=example)
    return content


_WORDS = {str: "an import path, as dask_jobqueue.SLURMCluster", dict: "settings by name", int: "a number of at least 1"}


@contextmanager
def dask_executor(words, plan, members, scale, tag):
    """Executor of a group's fit on the workers that ``--dask`` names; None, for threads of this process, where empty.

    Parameters
    ----------
    words : str
        As ``check_dask`` takes them, or empty.
    plan : dict
        Members' and protocols' files.
    members : list of Member
    scale : str
    tag : str
        Names the fit.

    """
    if not words:
        yield None
        return
    from mrspec_prep.interfaces.group.dask_shards import DaskExecutor

    with dask_client(words) as client:
        yield DaskExecutor(client, plan, [member.signals.shape for member in members], scale, tag)


@contextmanager
def dask_client(words):
    """Client of the workers that ``--dask`` names; a cluster that was started here ends with the context.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        As ``check_dask``; or a cluster file whose class or keywords the installed libraries do not have, or a
        scheduler that does not answer.

    """
    check_dask(words)
    from distributed import Client

    if ADDRESS.fullmatch(words):
        try:
            client = Client(words, timeout=30)
        except OSError as error:
            raise InputError(
                "no dask scheduler answers", value=words, remedy="start one (dask scheduler) or check the address"
            ) from error
        with client:
            yield client
        return
    with _cluster(words) as cluster, Client(cluster) as client:
        yield client


@contextmanager
def _cluster(words):
    """Cluster that is closed, its jobs cancelled, however the block ends; a signal waits for that."""
    cluster = None
    try:
        with held("workers are asked for"):
            cluster = _started(words)
        yield cluster
    finally:
        if cluster is not None:
            with held("workers are ended"):
                _end(cluster)


def _started(words):
    local = LOCAL.fullmatch(words)
    if local:
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=int(local[1]), threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
    path = _existing(words)
    content = read_cluster_file(path)
    module, _, name = content["cluster"].rpartition(".")
    cluster = None
    try:
        cluster = getattr(importlib.import_module(module), name)(**content["keywords"])
        cluster.scale(content["workers"])
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        if cluster is not None:
            _end(cluster)
        raise InputError("the cluster cannot be started", file=path, value=error, remedy=FORMS) from error
    LOGGER.info("group: %d dask worker(s) asked for by %s", content["workers"], path)
    return cluster


def _end(cluster):
    """Close a cluster, within the time that a scheduler leaves a run that it asked to end."""
    try:
        cluster.close(timeout=END_SECONDS)
    except TimeoutError:
        LOGGER.error(
            "The dask cluster did not end within %d s. Its workers end by themselves when they miss their scheduler; "
            "jobs that wait may still be in the queue (squeue --me)",
            END_SECONDS,
        )


def _existing(words):
    path = Path(words).expanduser()
    if not path.is_file():
        raise InputError("--dask: neither an address nor a file", value=words, remedy=FORMS)
    return path


def _need(library):
    if find_spec(library) is None:
        raise InputError(f"--dask needs {library}, which is not installed", remedy=INSTALL)
