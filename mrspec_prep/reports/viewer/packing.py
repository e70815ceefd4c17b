"""Arrays as short text inside a page: quantised, their bytes sorted by significance, compressed, base64."""

import base64
import gzip
import json

import numpy as np

LEVELS = 65534  # of a quantised value; one more code says that there is none
MISSING = 65535


class Block:
    """A run of arrays that a browser inflates together.

    Parameters
    ----------
    name : str
        Of the element that holds it in the page.

    """

    def __init__(self, name):
        self.name = name
        self.parts = []
        self.size = 0  #: bytes before compression

    def add(self, array):
        """Append an array of 1, 2 or 4 bytes a value; what a browser needs to find it."""
        array = np.ascontiguousarray(array)
        planes = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).T
        place = {"block": self.name, "at": self.size, "type": _TYPES[array.dtype.str], "n": int(array.size)}
        self.parts.append(planes.tobytes())
        self.size += array.nbytes
        return place

    def text(self):
        """Base64 of the compressed bytes; the same every time."""
        return compressed_text(b"".join(self.parts))


def compressed_text(content):
    """Bytes as base64 of what gzip makes of them."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


_TYPES = {"|u1": "u1", "<u2": "u2", "<i4": "i4", "<f4": "f4"}


def quantised(values, step=None):
    """Values as 16-bit codes: code x step + low; NaN and infinity have the code ``MISSING``.

    Parameters
    ----------
    values : float array
    step : float, optional
        Distance of two codes; default, and where the range asks for it: as fine as the range allows.

    Returns
    -------
    codes : uint16 array
    scale : [float, float]
        Low and step.

    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    finest = (high - low) / LEVELS
    step = max(step or 0.0, finest) or 1.0
    codes = np.full(values.shape, MISSING, "<u2")
    codes[known] = np.round((values[known] - low) / step)
    return codes, [low, step]


def plain_json(content):
    """JSON without a blank too many."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def script_json(content):
    """JSON that can stand in a script element: nothing in it can end the element."""
    text = plain_json(content)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
