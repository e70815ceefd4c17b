"""What a protocol can resolve, before anything is fitted, in words."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics import AXIS_SYMBOLS, kernel_axes, kernel_matrix
from mrspec_prep.spectra.compiled import single_threaded_blas
from mrspec_prep.spectra.integration import RESOLVING_VALUES, SOURCES, distinct_values

SOURCE_WORDS = {
    "bvalue": ("b-value", "s/mm2"),
    "echo_time": ("echo time", "ms"),
    "inversion_time": ("inversion time", "ms"),
}
COUNT_WORDS = ("No", "One", "Two")
DECAYED = 0.05  # a signal that has fallen to this part before the first encoding is lost


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What a protocol can tell apart.

    Attributes
    ----------
    resolved : tuple of str
        Axes with enough distinct encodings to hold structure.
    n_components : int
        Singular values of the kernel above the noise: independent numbers the signal holds.
    singular_values : (n,) array
        Of K over the square root of its number of bins.
    snr : float
    statements : tuple of str
        Plain sentences.

    """

    resolved: tuple[str, ...]
    n_components: int
    singular_values: np.ndarray
    snr: float
    statements: tuple[str, ...]


def identify(kernel_name, encodings, grid, snr):
    """Say what a protocol can resolve at a signal-to-noise ratio.

    Parameters
    ----------
    kernel_name : str
    encodings : Encodings
    grid : Grid
    snr : float
        Of the volumes with the most signal, one volume, S0 = 1.

    Returns
    -------
    Identifiability

    Raises
    ------
    ValueError
        SNR not a positive number, or a kernel that the encodings cannot weigh.

    """
    if not (np.isfinite(snr) and snr > 0):
        raise ValueError(f"snr must be a number > 0, got {snr}")
    kernel = kernel_matrix(kernel_name, encodings, grid)
    with single_threaded_blas():
        values = np.linalg.svd(kernel / np.sqrt(grid.n_bins), compute_uv=False)
    n_components = int((values > 1.0 / snr).sum())
    axes = kernel_axes(kernel_name)
    resolved = tuple(axis for axis in axes if len(distinct_values(encodings, axis)) >= RESOLVING_VALUES)
    statements = [_axis_statement(axis, encodings) for axis in axes]
    statements += [text for axis in resolved if (text := _lost_statement(axis, encodings))]
    statements.append(
        f"At SNR {snr:.3g} the signal holds {n_components} independent number{'s' * (n_components != 1)} "
        f"(singular values of the kernel above the noise) for a spectrum of {grid.n_bins} bins; "
        "regularisation fills in the rest."
    )
    return Identifiability(resolved, n_components, values, float(snr), tuple(statements))


def _axis_statement(axis, encodings):
    """One sentence on the number of encodings along an axis."""
    values, symbol = distinct_values(encodings, axis), AXIS_SYMBOLS[axis]
    word, unit = SOURCE_WORDS[SOURCES[axis]]
    n = len(values)
    if n < 2:
        return f"{COUNT_WORDS[n]} {word}: {symbol} cannot be measured."
    if n == 2:
        return f"Two {word}s: the data hold a mean {symbol}, not {symbol} structure."
    return f"{n} {word}s from {values[0]:g} to {values[-1]:g} {unit}: {symbol} structure can be resolved."


def _lost_statement(axis, encodings):
    """One sentence on components that have decayed before the first encoding."""
    if axis not in ("t2", "t2star"):
        return ""
    shortest = distinct_values(encodings, axis)[0]
    limit = -shortest / np.log(DECAYED)
    if limit < 1.0:
        return ""
    return (
        f"Components with {AXIS_SYMBOLS[axis]} below about {limit:.0f} ms have lost {1 - DECAYED:.0%} of their signal "
        f"at the shortest echo time ({shortest:g} ms) and are hardly seen."
    )
