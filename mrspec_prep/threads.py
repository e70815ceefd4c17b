"""Threads: blocks of voxels on a thread pool, and linear algebra kept to one thread."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

from threadpoolctl import ThreadpoolController

_threads = ContextVar("threads", default=None)


@contextmanager
def using_threads(n_threads):
    """Context in which voxel loops run on ``n_threads`` threads, whatever OMP_NUM_THREADS says."""
    token = _threads.set(n_threads)
    try:
        yield
    finally:
        _threads.reset(token)


def available_threads():
    """Threads to use: those of ``using_threads``, else OMP_NUM_THREADS, else the cores this process may run on."""
    if _threads.get() is not None:
        return max(1, _threads.get())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(cores, int(wanted))) if wanted.isdigit() else cores


def for_blocks(n_items, block_size, work, n_threads=None):
    """Call ``work(start, stop)`` for consecutive blocks, on threads; results in block order.

    The partition depends on ``n_items`` and ``block_size`` only, so that sums over
    blocks do not depend on the number of threads.

    Parameters
    ----------
    n_items, block_size : int
    work : callable
        Releases the GIL (compiled code) and writes to its own block only.
    n_threads : int, optional
        Default: ``available_threads()``.

    Returns
    -------
    list
        What ``work`` returned, in block order.

    """
    bounds = [(start, min(start + block_size, n_items)) for start in range(0, n_items, block_size)]
    n_threads = min(n_threads or available_threads(), max(1, len(bounds)))
    if n_threads == 1:
        return [work(*bound) for bound in bounds]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda bound: work(*bound), bounds))


_controller = None


def single_threaded_blas():
    """Context in which BLAS uses one thread, so that its sums do not depend on the machine's load."""
    global _controller
    if _controller is None:
        _controller = ThreadpoolController()
    return _controller.limit(limits=1, user_api="blas")
