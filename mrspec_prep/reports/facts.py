"""Numbers of one series that the verdict, the tables and the methods text speak of."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.physics import Encodings
from mrspec_prep.reports.words import capital, count, join, number, short

#: column of the volume table, factor to display units, symbol, unit, name
CONTRASTS = (
    ("b", 1.0, "b", "s/mm²", "b-value"),
    ("TE", 1e3, "TE", "ms", "echo time"),
    ("TI", 1e3, "TI", "ms", "inversion time"),
    ("TR", 1e3, "TR", "ms", "repetition time"),
)
CONTRAST_OF_AXIS = {"diffusivity": "b", "kurtosis": "b", "t2": "TE", "t2star": "TE", "t1": "TI"}
MANY_ROWS = 24  # beyond this the acquisition table is crossed or summed up


def known_contrasts(columns):
    """Contrasts whose value is known for every volume: column -> values in display units, shells rounded."""
    found = {}
    for name, factor, *_ in CONTRASTS:
        values = columns.get(name)
        if values is not None and values.dtype.kind == "f" and len(values) and np.isfinite(values).all():
            found[name] = _shells(values) if name == "b" else np.round(values * factor, 2)
    return found


def distinct_values(columns):
    """Number of distinct values of each known contrast, by column."""
    return {name: len(np.unique(values)) for name, values in known_contrasts(columns).items()}


def n_distinct_encodings(columns):
    """Number of distinct encodings, direction ignored."""
    known = known_contrasts(columns)
    return len(np.unique(np.stack(list(known.values()), axis=1), axis=0)) if known else 0


def encodings_of(columns, acquisition):
    """Encodings of a volume table in BIDS units; None where it holds nothing that encodes."""
    numbers = {name: v for name, v in columns.items() if v.dtype.kind == "f" and np.isfinite(v).all()}
    times = {"echo_time": "TE", "inversion_time": "TI", "repetition_time": "TR"}
    axes = {axis: numbers[name] * 1e3 for axis, name in times.items() if name in numbers}
    if "b" in numbers:
        axes["bvalue"] = numbers["b"]
    if {"gx", "gy", "gz"} <= set(numbers):
        axes["direction"] = np.stack([numbers[name] for name in ("gx", "gy", "gz")], axis=1)
    efficiency = acquisition.get("InversionEfficiency")
    if "inversion_time" in axes and efficiency not in (None, 1.0):
        axes["inversion_efficiency"] = np.full(len(axes["inversion_time"]), float(efficiency))
    return Encodings(**axes) if set(axes) - {"direction", "inversion_efficiency"} else None


def ranges_in_words(columns):
    """Range of each contrast that varies: ``b 0-1600 s/mm2, TE 78-222 ms``."""
    known = known_contrasts(columns)
    parts = []
    for name, _, symbol, unit, _ in CONTRASTS:
        if name in known:
            low, high = known[name].min(), known[name].max()
            span = f"{low:g}" if low == high else f"{low:g}\u2013{high:g}"
            parts.append(f"{symbol} {span} {unit}")
    return ", ".join(parts)


def acquisition_table(columns):
    """The acquisition in few rows, by distinct encoding.

    Parameters
    ----------
    columns : dict of str to array
        Volume table in BIDS units.

    Returns
    -------
    dict
        ``headers`` and ``rows`` of text, and a ``note`` (what a cell holds).

    """
    known = known_contrasts(columns)
    varying = [name for name, values in known.items() if len(np.unique(values)) > 1]
    if not known:
        return {"headers": [], "rows": [], "note": "The volume table holds no encoding."}
    fixed = [f"{_symbol(n)} {known[n][0]:g} {_unit(n)}" for n in known if n not in varying]
    note = f"In all volumes: {', '.join(fixed)}." if fixed else ""
    n_groups = len(np.unique(np.stack([known[n] for n in varying], axis=1), axis=0)) if varying else 1
    if len(varying) == 2 and n_groups > MANY_ROWS:
        crossed = _crossed(known[varying[0]], known[varying[1]], *varying)
        return {**crossed, "note": f"Number of volumes. {note}".strip()}
    if n_groups > MANY_ROWS:
        return {**_summed(known, varying), "note": note, "words": True}
    return {**_listed(columns, known, varying), "note": note}


def grid_in_words(grid):
    """Grid of a spectrum: ``50 x 50 points (D 0.1-10 um2/ms, T2* 5-500 ms)``."""
    spans = []
    for name, values in zip(grid.names, grid.axes, strict=True):
        entry = axis_entry(name)
        spans.append(f"{entry['symbol']} {short(values[0])}\u2013{short(values[-1])} {entry['unit']}".strip())
    return f"{' × '.join(str(n) for n in grid.shape)} points ({', '.join(spans)})"


def _shells(bvalues):
    """b-values rounded as a protocol names them: scanners play 995 for 1000 [s/mm2]."""
    step = np.select([bvalues < 100, bvalues < 500], [1.0, 10.0], 50.0)
    return np.round(bvalues / step) * step


def _symbol(name):
    return next(c[2] for c in CONTRASTS if c[0] == name)


def _unit(name):
    return next(c[3] for c in CONTRASTS if c[0] == name)


def _header(name):
    return f"{_symbol(name)} [{_unit(name)}]"


def _listed(columns, known, varying):
    """One row per distinct encoding."""
    if not varying:
        return {"headers": ["volumes"], "rows": [[number(len(next(iter(known.values()))))]]}
    order = sorted(varying, key=lambda name: (name == "b", name))
    groups, inverse, counts = np.unique(
        np.stack([known[n] for n in order], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    directions = _directions(columns)
    headers, rows = [*(_header(n) for n in order), "volumes"], []
    for index, (group, n) in enumerate(zip(groups, counts, strict=True)):
        row = [*(f"{value:g}" for value in group), str(n)]
        if directions is not None:
            members = directions[inverse.ravel() == index]
            row.append(str(len(np.unique(members.round(3), axis=0))) if np.abs(members).any() else "\u2013")
        rows.append(row)
    return {"headers": headers + (["directions"] if directions is not None else []), "rows": rows}


def _crossed(down, across, down_name, across_name):
    """Counts of volumes, one contrast down and the other across; the one with more values goes down."""
    if len(np.unique(across)) > len(np.unique(down)):
        down, across, down_name, across_name = across, down, across_name, down_name
    columns = np.unique(across)
    rows = []
    for value in np.unique(down):
        counts = [int(((down == value) & (across == other)).sum()) for other in columns]
        rows.append([f"{value:g}", *(str(n) if n else "\u2013" for n in counts)])
    return {"headers": [_header(down_name), *(f"{_symbol(across_name)} {v:g} {_unit(across_name)}" for v in columns)],
            "rows": rows}  # fmt: skip


def _summed(known, varying):
    """One row per contrast: how many values, and which range."""
    rows = []
    for name in varying:
        values = np.unique(known[name])
        listed = join([f"{v:g}" for v in values]) if len(values) <= 12 else f"{values[0]:g} to {values[-1]:g}"
        title = capital(next(c[4] for c in CONTRASTS if c[0] == name))
        rows.append([title, str(len(values)), f"{listed} {_unit(name)}"])
    n = len(next(iter(known.values())))
    rows.append(["All", number(n), count(n, "volume")])
    return {"headers": ["contrast", "values", "which"], "rows": rows}


def _directions(columns):
    parts = [columns.get(name) for name in ("gx", "gy", "gz")]
    if any(part is None or part.dtype.kind != "f" for part in parts):
        return None
    table = np.nan_to_num(np.stack(parts, axis=1))
    return table if np.abs(table).any() else None
