"""Tables on parameter maps: medians, doubtful voxels, agreement, components of the prior."""

import numpy as np

from mrspec_prep.bids.output.catalogue import cluster_color
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.maps.collect import AMPLITUDES, entry_of
from mrspec_prep.reports.maps.values import agreement, doubts, inside
from mrspec_prep.reports.words import decimals, percent, short

NONE = "\u2013"


def short_names(methods, words, line="\n", extra=None):
    """Short names of methods; ``extra`` takes the place of a second line."""
    names = [words["maps"]["methods"][method.method]["short"] for method in methods]
    if extra:
        names = [f"{name}\n{more}" for name, more in zip(names, extra, strict=True)]
    return [name.replace("\n", line) for name in names]


def short_name(method, words):
    """Short name of one method, on one line."""
    return short_names([method], words, " ")[0]


def colors_of(methods, words):
    """Colours of methods in curves and tables."""
    return [words["maps"]["methods"][method.method]["color"] for method in methods]


def parameters_of(methods):
    """Parameters of any method, tissue first."""
    longest = max(methods, key=lambda method: len(method.maps)).order
    return list(dict.fromkeys([*longest, *(p for method in methods for p in method.order)]))


def tissue_of(methods):
    """Parameters of the tissue, of any method."""
    return [parameter for parameter in parameters_of(methods) if parameter not in AMPLITUDES]


def shared_entry(methods, parameter):
    """Entry of ``maps.toml`` of a parameter, from the first method that has it."""
    owner = next(method for method in methods if parameter in method.maps)
    return entry_of(owner.maps[parameter], parameter, owner.about_model)


def header_of(entry):
    """Symbol of a map with its unit."""
    return f"{entry['symbol']} [{entry['unit']}]" if entry["unit"] else entry["symbol"]


def medians_table(methods, roi, words):
    """Table: a row per method, median and standard deviation of each parameter."""
    parameters = tissue_of(methods)
    rows = []
    for method in methods:
        cells = []
        for parameter in parameters:
            values, std = (inside(maps.get(parameter), roi) for maps in (method.maps, method.std))
            cells.append(_with_error(values, std))
        rows.append([short_name(method, words), *cells])
    spread = any(" ± " in cell for row in rows for cell in row[1:])
    headers = [
        "median ± std" if spread else "median",
        *(header_of(shared_entry(methods, parameter)) for parameter in parameters),
    ]
    note = "Medians over the region: of the map, and of its standard deviation in single voxels."
    note = note if spread else "Medians of the maps over the region."
    return table_block(headers, rows, note, colors_of(methods, words))


def intervals_table(methods, roi, words):
    """Table: a row per parameter, a column per method with the interval of a single voxel; None without any."""
    known = [method for method in methods if method.low and method.high]
    rows = []
    for parameter in tissue_of(known) if known else ():
        cells = []
        for method in known:
            ends = [inside(maps.get(parameter), roi) for maps in (method.low, method.high)]
            if any(end is None for end in ends):
                cells.append(NONE)
                continue
            low, high = (float(np.median(end)) for end in ends)
            digits = decimals((high - low) / 4)
            cells.append(f"{low:.{digits}f} to {high:.{digits}f}")
        rows.append([header_of(shared_entry(known, parameter)), *cells])
    if not rows:
        return None
    level = next(iter(known[0].low.values())).metadata.get("Level", 0.95)
    headers = ["interval", *(short_name(method, words) for method in known)]
    return table_block(headers, rows, words["maps"]["verdict"]["intervals_note"].format(level=percent(level)))


def doubts_table(methods, roi, words):
    """Table: a row per method, residual and shares of doubtful voxels; None where nothing is known."""
    limit = words["maps"]["limits"]["risk"]
    rows = []
    for method in methods:
        found, residual = doubts(method, roi, limit), inside(method.extras.get("residual"), roi)
        shares = (found.worst_bound and found.worst_bound[1], found.not_converged, found.outside, found.at_risk)
        row = [f"{np.median(residual):.2f}" if residual is not None else NONE]
        rows.append([short_name(method, words), *row, *(NONE if share is None else percent(share) for share in shares)])
    headers = ["of voxels", "residual / noise", "at a bound", "unsettled", "outside model", f"risk > {short(limit)}"]
    keep = [i for i in range(len(headers)) if i == 0 or any(row[i] != NONE for row in rows)]
    shown = [[row[i] for i in keep] for row in rows]
    note = " ".join(words["maps"]["verdict"]["doubts_notes"][i - 1] for i in keep[1:])
    return table_block([headers[i] for i in keep], shown, note, colors_of(methods, words)) if len(keep) > 1 else None


def _with_error(values, std):
    """Median of a map and of its standard deviation, to the digits that this one is worth."""
    if values is None:
        return NONE
    middle = float(np.median(values))
    if std is None:
        return short(middle)
    error = float(np.median(std))
    digits = decimals(error)
    return f"{middle:.{digits}f} ± {error:.{digits}f}"


def agreement_table(others, reference, roi, words):
    """Table: every parameter by every method against least squares."""
    rows, colors = [], []
    for parameter in tissue_of([reference, *others]):
        entry, std = shared_entry([reference, *others], parameter), inside(reference.std.get(parameter), roi)
        values = inside(reference.maps[parameter], roi) if parameter in reference.maps else None
        digits = 4 if values is None else decimals(0.01 * float(np.median(np.abs(values))))
        digits = decimals(0.1 * float(np.median(std))) if std is not None else digits
        for method in others:
            found = agreement(method, reference, parameter, roi)
            if found is None:
                continue
            rows.append([
                short_name(method, words),
                header_of(entry),
                f"{found.difference:+.{digits}f}".replace("-", "\u2212"),
                f"{found.correlation:.3f}" if np.isfinite(found.correlation) else NONE,
                NONE if found.beyond is None else percent(found.beyond),
                NONE if found.ratio is None else f"{found.ratio:.2f}",
            ])  # fmt: skip
            colors.append(words["maps"]["methods"][method.method]["color"])
    against = words["maps"]["methods"][reference.method]["title"]
    headers = [f"against {against}", "parameter", "median difference", "correlation", "beyond 2 std", "std ratio"]
    keep = [i for i in range(len(headers)) if i < 4 or any(row[i] != NONE for row in rows)]
    shown = [[row[i] for i in keep] for row in rows]
    note = " ".join(words["maps"]["verdict"]["agree_notes"][: len(keep) - 3])
    return table_block([headers[i] for i in keep], shown, note, colors)


def components_table(mixed, found, roi, words):
    """Table: a row per number of a component, a column per method with its share and medians."""
    parameters = tissue_of(mixed)
    rows = []
    for index in range(max(map(len, found))):
        cells = []
        for method, parts in zip(mixed, found, strict=True):
            if index >= len(parts) or not parts[index]["medians"]:
                cells.append(NONE)
                continue
            values = [_rounded(parts[index]["medians"].get(name), method, name, roi) for name in parameters]
            cells.append(f"{percent(parts[index]['share'])}: {', '.join(values)}")
        rows.append([str(index + 1), *cells])
    symbols = ", ".join(header_of(shared_entry(mixed, parameter)) for parameter in parameters)
    headers = ["component", *(short_name(method, words) for method in mixed)]
    colors = [cluster_color(index) for index in range(len(rows))]
    note = f"Share of the voxels in which the component is the most probable, and their medians: {symbols}."
    return table_block(headers, rows, note, colors)


def _rounded(value, method, parameter, roi):
    """Value to the digits that the method's standard deviation in single voxels is worth."""
    if value is None:
        return NONE
    std = inside(method.std.get(parameter), roi)
    return short(value) if std is None else f"{value:.{decimals(float(np.median(std)))}f}"
