"""Compilation: numba that runs without a writable cache, and a cache that many runs share."""

import logging
import pickle
from pathlib import Path

import numba
from filelock import FileLock, Timeout
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock

LOGGER = logging.getLogger("mrspec_prep")
#: what unpickling and linking raise of files that are cut, empty or zeros
DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, LookupError, RuntimeError
)  # fmt: skip
#: sums may be reordered by the compiler (vector registers), never by the number of threads
REORDERED_SUMS = {"reassoc", "contract", "nsz", "arcp"}
SETTINGS = {"nogil": True, "fastmath": REORDERED_SUMS}
QUIET_SECONDS = 5  # that another run may compile before we say that we wait for it
TURN_SECONDS = 300  # before we compile beside it


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
        dispatcher._cache = SharedCache(function)
    except RuntimeError:  # numba: "no locator available", no folder is writable
        return numba.njit(function, **settings)
    compile_alone = dispatcher.compile

    def compile_in_turn(signature):
        with TURN:
            return compile_alone(signature)

    dispatcher.compile = compile_in_turn
    return dispatcher


class Turn:
    """The right to compile for the cache, held by one process at a time.

    Numba's index of a function's compiled code is read, extended and written: of two processes that save at once, for
    other arguments or another processor, one entry is lost, or names the code of the other. Code that calls code which
    another process saves meanwhile may not link. Whoever finds no code takes the turn, looks once more, and holds the
    turn until the code is saved, with all that it calls. Nothing is locked where the code is there. A process that
    ends gives its turn back; where the disk knows no locks, or the wait is too long, all compile at once.
    """

    def __init__(self):
        self._depth, self._lock = 0, None

    def __enter__(self):
        global_compiler_lock.acquire()
        self._depth += 1

    def __exit__(self, *_):
        self._depth -= 1
        if not self._depth and self._lock is not None:
            self._lock.release()
            self._lock = None
        global_compiler_lock.release()

    def take(self):
        """Wait for the turn. Returns whether it is newly held: another process may have saved code meanwhile."""
        if self._lock is not None or not self._depth:
            return False
        try:
            path = Path(FunctionCache(Turn.take).cache_path) / "compiling.lock"  # where the code of this file is kept
            self._lock = FileLock(path, thread_local=False)
            try:
                self._lock.acquire(timeout=QUIET_SECONDS)
            except Timeout:
                LOGGER.info("Another process is compiling loops; waiting for it (lock: %s)", path)
                self._lock.acquire(timeout=TURN_SECONDS)
        except (Timeout, OSError, NotImplementedError, RuntimeError) as error:  # RuntimeError: no folder is writable
            LOGGER.debug("Compiling without a turn: %s", error)
            self._lock = None
        return self._lock is not None


TURN = Turn()


class SharedCache(FunctionCache):
    """Numba's cache of compiled code, shared by runs that begin at once.

    Files that a dead node or a full disk damaged cost a compilation, not the run.
    """

    def load_overload(self, sig, target_context):
        """Compiled code, or None where there is none that can be read and it is this process's turn to compile."""
        code = self._load_whole(sig, target_context)
        if code is None and TURN.take():
            code = self._load_whole(sig, target_context)
        return code

    def _load_whole(self, sig, target_context):
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

        Where turns could not be taken, code that links what another process has compiled and saved meanwhile may have
        no object of its own ("no compiled object yet"); it serves this process, and the next one compiles it.
        """
        try:
            super().save_overload(sig, data)
        except OSError as error:
            LOGGER.warning("Compiled code cannot be kept in %s: %s", self.cache_path, error.strerror)
            self.disable()
        except DAMAGED as error:
            LOGGER.debug("Compiled code is not kept in %s: %s", self.cache_path, error)
