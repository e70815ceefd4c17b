"""Compilation and threads: numba that runs without a writable cache, blocks of voxels on a thread pool."""

import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

import numba
from numba.core.caching import FunctionCache
from threadpoolctl import ThreadpoolController

LOGGER = logging.getLogger("mrspec_prep")
#: what unpickling and linking raise of files that are cut, empty or zeros
DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, LookupError, RuntimeError
)  # fmt: skip
#: sums may be reordered by the compiler (vector registers), never by the number of threads
REORDERED_SUMS = {"reassoc", "contract", "nsz", "arcp"}
SETTINGS = {"nogil": True, "fastmath": REORDERED_SUMS}


def compiled(function):
    """Compile to machine code that releases the GIL; cached on disk where a cache folder can be written."""
    return _compile(function, SETTINGS)


def compiled_within(function):
    """The same for a function that becomes part of its callers' code, wherever it is called.

    Called by its name it could be either of two copies, the one compiled in this process or the one in the cache,
    whose sums may have another order: the first run on a machine would differ from the next in the last bits.
    Costs compilation where callers are many.
    """
    return _compile(function, SETTINGS | {"forceinline": True})


def _compile(function, settings):
    try:
        dispatcher = numba.njit(function, cache=True, **settings)
        dispatcher._cache = LenientCache(function)
    except RuntimeError:  # numba: "no locator available", no folder is writable
        return numba.njit(function, **settings)
    return dispatcher


class LenientCache(FunctionCache):
    """Numba's cache of compiled code; files that a dead node or a full disk damaged cost a compilation, not the run."""

    def load_overload(self, sig, target_context):
        """Compiled code, or None where there is none that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGED as error:
            LOGGER.warning("Compiled code in %s is damaged (%s) and compiled again", self.cache_path, error)
            try:
                self.flush()
            except OSError:
                self.disable()
            return None
        except OSError as error:  # a network disk that stumbles, a file of another user: nothing is wrong with the code
            LOGGER.debug("Compiled code in %s cannot be read: %s", self.cache_path, error)
            return None

    def save_overload(self, sig, data):
        """Save compiled code where that is possible.

        Code that links what another process has compiled and saved meanwhile may have no object of its own ("no
        compiled object yet"); it serves this process, and the next one compiles it.
        """
        try:
            super().save_overload(sig, data)
        except OSError as error:
            LOGGER.warning("Compiled code cannot be kept in %s: %s", self.cache_path, error.strerror)
            self.disable()
        except DAMAGED as error:
            LOGGER.debug("Compiled code is not kept in %s: %s", self.cache_path, error)


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
