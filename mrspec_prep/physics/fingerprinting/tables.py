"""Schedules from tables: the columns of a schedule file, in its units (degrees, s)."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from mrspec_prep.physics.checks import real_array
from mrspec_prep.physics.fingerprinting.schedule import Schedule

INTERLEAF = "interleaf"
NEEDED = ("flip_angle", "repetition_time", "echo_time")
OPTIONAL = ("inversion_time", "phase", INTERLEAF)
EFFICIENCY = "inversion_efficiency"
SHORT = {"flip_angle": "FA", "repetition_time": "TR", "echo_time": "TE", "inversion_time": "TI"}  # not read
LONGEST = {"repetition_time": 1.0, "echo_time": 0.5, "inversion_time": 20.0}  # s, medians: above, ms were written
SAME_PHASE = 1e-3  # degrees: excitations whose phases differ by less have one
MS_PER_S = 1e3
COLUMNS = "columns flip_angle [deg], repetition_time, echo_time [s], and if there are any inversion_time [s, NaN: none]"


def schedule_of(given):
    """Schedule that a schedule or a table of columns stands for.

    Parameters
    ----------
    given : Schedule, mapping of str to array, or table
        A table is anything with ``columns`` that gives a column by its name (a data frame), or a structured array.
        Columns are named as in a schedule file and in its units: ``flip_angle`` [degrees], ``repetition_time``,
        ``echo_time``, ``inversion_time`` [s], ``phase`` [degrees]. ``inversion_efficiency`` is one number. Other
        columns are passed over.

    Returns
    -------
    Schedule
        Times [ms].

    Raises
    ------
    ValueError
        No table, columns missing, milliseconds where seconds are due, excitations of several phases, or what
        ``Schedule`` refuses.

    """
    if isinstance(given, Schedule):
        return given
    names = _names(given)
    missing = [name for name in NEEDED if name not in names]
    strange = [name for name in names if name not in (*NEEDED, *OPTIONAL, EFFICIENCY)]
    for absent in (*missing, *(name for name in OPTIONAL if name not in names)):
        close = [name for name in strange if name.upper() == SHORT.get(absent)]
        close = close or get_close_matches(absent, strange, 1, 0.75)
        if close:
            raise ValueError(f"the schedule has a column {close[0]}: is {absent} meant? Give {COLUMNS}")
    if missing:
        found = ", ".join(names) or "none"
        raise ValueError(f"the schedule lacks {', '.join(missing)}; its columns: {found}. Give {COLUMNS}")
    columns = {name: real_array(given[name], name).astype(float) for name in (*NEEDED, *OPTIONAL) if name in names}
    for name, longest in LONGEST.items():
        values = columns.get(name)
        if values is not None and np.isfinite(values).any() and np.nanmedian(values) > longest:
            raise ValueError(
                f"{name} of the schedule is {np.nanmedian(values):g} in most frames: a table holds seconds; divide by "
                "1000, or give a Schedule, which holds ms"
            )
    if not one_phase(columns.get("phase")):
        raise ValueError("the excitations differ in phase, and the signal model (FISP) knows one phase")
    inversions = columns.get("inversion_time")
    inverted = None if inversions is None or np.isnan(inversions).all() else inversions * MS_PER_S
    efficiency = np.unique(real_array(given[EFFICIENCY], EFFICIENCY)) if EFFICIENCY in names else np.ones(1)
    if len(efficiency) != 1:
        raise ValueError(f"{EFFICIENCY} must be one number for the whole schedule, got {len(efficiency)}")
    return Schedule(columns["flip_angle"], *(columns[n] * MS_PER_S for n in NEEDED[1:]), inverted, float(efficiency[0]))


def one_phase(phase):
    """Whether the excitations have one phase [degrees]; True where none is given."""
    if phase is None or np.isnan(phase).all():
        return True
    turned = (phase - np.ravel(phase)[0] + 180) % 360 - 180
    return bool(np.abs(turned).max() <= SAME_PHASE)  # NaN among numbers: False


def _names(given):
    """Names of the columns."""
    if isinstance(given, Mapping):
        return [str(name) for name in given]
    names = getattr(getattr(given, "dtype", None), "names", None)
    if names is None:
        names = getattr(given, "columns", None)
    if names is None:
        raise ValueError(
            f"schedule must be a Schedule, a mapping or a table, got {type(given).__name__}. Give {COLUMNS}"
        )
    return [str(name) for name in names]
