"""How far a long step is, said now and then."""

import logging
import time

LOGGER = logging.getLogger("mrspec_prep")
SECONDS_BETWEEN_WORDS = 10.0


class SpokenProgress:
    """Takes ``(step, n_steps)`` and says the share done and the time that is left, stage by stage; or takes words.

    Parameters
    ----------
    label : str
        What is being done, before each line.

    """

    def __init__(self, label):
        self.label = label
        self.began = self.said = time.monotonic()
        self.stage = None  #: number of steps, first step and its time of the stage under way

    def __call__(self, step, n_steps):
        """Take the number of steps done."""
        now = time.monotonic()
        if self.stage is None or self.stage[0] != n_steps or step < self.stage[1]:
            self.stage = n_steps, step, now
        _, first, began = self.stage
        if now - self.said < SECONDS_BETWEEN_WORDS or not first < step < n_steps:
            return
        self.said, share = now, step / n_steps
        left = (now - began) * (n_steps - step) / (step - first)
        bar = "#" * round(20 * share)
        LOGGER.info("%s: [%-20s] %3.0f %%, about %s left", self.label, bar, 100 * share, in_words(left))

    def words(self, what):
        """Take what is under way, in words, and say it where nothing was said for a while."""
        now = time.monotonic()
        if now - self.said >= SECONDS_BETWEEN_WORDS:
            self.said = now
            LOGGER.info("%s: %s, after %s", self.label, what, in_words(now - self.began))

    def done(self, what):
        """Say that the step has ended, and how long it took."""
        LOGGER.info("%s: %s in %s", self.label, what, in_words(time.monotonic() - self.began))


def in_words(seconds):
    """Duration as ``12 s`` or ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
