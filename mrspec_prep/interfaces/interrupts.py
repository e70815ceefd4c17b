"""Signals that ask a run to end: raised as an exception, or held back while something must not be torn in two."""

import time
from contextlib import contextmanager

RECEIVED: list[tuple[int, float]] = []  #: signals that asked this process to end, and when [s]
HOLDS: list[str] = []  #: what is being done to its end, innermost last
PATIENCE = 5.0  # s: schedulers and users send a signal twice; the second must not disturb the end that the first began


class Interrupted(BaseException):
    """Someone asked the run to end: Ctrl-C, or a scheduler."""

    def __init__(self, number):
        self.signal = number


def interrupt(number, _frame=None):
    """Signal handler: remember the signal, and raise it as an exception unless it is held back.

    Nipype makes of an exception in a step that runs in this process the failure of that step; ``run_graph`` raises it
    again. A signal that follows the first at once is remembered only.
    """
    now = time.monotonic()
    RECEIVED.append((number, now))
    if not HOLDS and (len(RECEIVED) == 1 or now - RECEIVED[0][1] > PATIENCE):
        raise Interrupted(RECEIVED[0][0])


def raise_received():
    """Raise Interrupted where a signal came."""
    if RECEIVED:
        raise Interrupted(RECEIVED[0][0])


@contextmanager
def held(what):
    """Hold signals back until the end of the block, and raise Interrupted then where one came.

    Parameters
    ----------
    what : str
        That must not be interrupted, in words; it should take a few seconds at most.

    """
    before = len(RECEIVED)
    HOLDS.append(what)
    try:
        yield
    finally:
        HOLDS.pop()
    if len(RECEIVED) > before and not HOLDS:
        raise_received()
