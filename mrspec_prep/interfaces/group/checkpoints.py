"""Checkpoints of a long fit: its arrays on disk every few steps, whole or not at all."""

import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path

import numpy as np

from mrspec_prep.bids.atomic import write_atomically

LOGGER = logging.getLogger("mrspec_prep")
KEPT = 2  # checkpoints on disk: the newest, and the one before it in case that one cannot be read
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def checkpoint_tag(**parts):
    """Sixteen hexadecimal digits that change with any part (plain values): checkpoints of another fit do not match."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoints:
    """Writes the states of a fit every few steps and finds the newest ones again.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    tag : str
        Of the fit: inputs, options, seed and version. Checkpoints with other tags are never read, and are removed
        with the first one written.
    every : int
        Steps between two checkpoints.

    """

    def __init__(self, folder, tag, every):
        self.folder, self.tag, self.every = Path(folder), tag, every
        self.n_steps = 0

    def load(self):
        """States of the newest checkpoint of this fit that can be read.

        Returns
        -------
        list of dict of str to array, or None

        """
        for path in reversed(self._files()):
            try:
                states = _unpacked(path.read_bytes(), self.tag)
            except UNREADABLE as error:
                LOGGER.warning("The checkpoint %s cannot be read (%s): the one before it is taken", path, error)
                continue
            self.n_steps = _step_of(path)
            return states
        return None

    def __call__(self, states):
        """Take the states after a step, and write them where it is time to.

        Parameters
        ----------
        states : list of dict of str to array

        """
        self.n_steps += 1
        if self.n_steps % self.every:
            return
        write_atomically(self.folder / f"{self.tag}_{self.n_steps:08d}.npz", _packed(states, self.tag))
        kept = self._files()[-KEPT:]
        for path in self.folder.glob("*.npz"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def clear(self):
        """Remove all of them: the fit has ended and its result is on disk."""
        for path in self.folder.glob("*.npz"):
            path.unlink(missing_ok=True)

    def _files(self):
        """Checkpoints of this fit, oldest first."""
        return sorted(self.folder.glob(f"{self.tag}_*.npz"))


def _step_of(path):
    return int(path.stem.rpartition("_")[2])


def _packed(states, tag):
    """States as the bytes of an npz; one entry per array, its name behind the number of the state."""
    arrays = {f"{i}|{name}": np.asarray(array) for i, state in enumerate(states) for name, array in state.items()}
    stream = io.BytesIO()
    np.savez(stream, tag=np.array(tag), n_states=np.array(len(states)), **arrays)
    return stream.getvalue()


def _unpacked(content, tag):
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        if str(stored["tag"]) != tag:
            raise ValueError(f"it belongs to the fit {stored['tag']}")
        states = [{} for _ in range(int(stored["n_states"]))]
        for key in stored.files:
            number, separator, name = key.partition("|")
            if separator:
                states[int(number)][name] = stored[key]
    return states
