"""What participants of one group must have in common: versions, kernel, grid, one series each."""

from collections import Counter

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.physics import AXIS_UNITS, Grid

SHOWN = 8  # participants named in a message
SAME = 1e-6  # relative: axes that differ by less are the same grid


def check_something_found(folders, out_dir, found, exclusions, left_out):
    """Raise InputError where no participant is left."""
    if found:
        return
    if not folders:
        raise InputError(
            "no output directory of the participant level",
            file=out_dir,
            remedy="run the participant level first, or give --derivatives site=PATH",
        )
    if exclusions:
        causes = "; ".join(f"sub-{e.subject}: {e.cause}" for e in exclusions[:SHOWN])
        more = f"; and {len(exclusions) - SHOWN} more" if len(exclusions) > SHOWN else ""
        raise InputError("no participant can take part", file=out_dir, value=f"{causes}{more}")
    if left_out:
        how = " and ".join(left_out)
        raise InputError(f"{how} leaves no participant", file=out_dir, remedy="ask for what the outputs hold")
    raise InputError("no participant has results", file=out_dir, remedy="run the participant level first")


def check_participants_once(found):
    """Raise InputError where one label is in two output directories."""
    places = {}
    for file, _ in found:
        places.setdefault(file.subject, {})[file.folder.root] = file.folder.site
    twice = {subject: roots for subject, roots in places.items() if len(roots) > 1}
    if twice:
        subject, roots = next(iter(twice.items()))
        where = ", ".join(f"{site} ({root})" for root, site in roots.items())
        raise InputError(
            f"sub-{subject} is in {len(roots)} output directories" + _and_others(len(twice) - 1, "participant"),
            value=where,
            remedy="give different people different labels, or leave the participant out of all directories but one "
            "(--participant-label chooses by label, in all directories)",
        )


def check_same_version(found):
    """Raise InputError where participants were processed with different versions (major.minor)."""
    by_version = _grouped(found, lambda header: ".".join(header.software_version.split(".")[:2]))
    if len(by_version) > 1:
        raise InputError(
            "participants were processed with different versions of mrspec_prep",
            value=_who(by_version),
            remedy="run the participant level again with one version for all, or select with --participant-label",
        )


def check_kernel(found, wanted):
    """Name of the kernel that the group is fitted with.

    Raises
    ------
    InputError
        Several, and none was asked for; or nobody has the one that was.

    """
    by_kernel = _grouped(found, lambda header: header.kernel)
    if wanted != "auto":
        if wanted not in by_kernel:
            raise InputError(
                f"no participant has a series with the kernel {wanted}",
                value=_who(by_kernel),
                remedy=f"--set kernel.name={next(iter(by_kernel))}",
            )
        return wanted
    if len(by_kernel) > 1:
        raise InputError(
            "series of different kernels, and one group has one kernel",
            value=_who(by_kernel),
            remedy=f"choose one, for example --set kernel.name={next(iter(by_kernel))}, or use --bids-filter-file",
        )
    return next(iter(by_kernel))


def one_series_each(found, kernel):
    """Files with the kernel, one per participant and session.

    Returns
    -------
    found : list of (CompressedFile, CompressedHeader)
    others : list of (CompressedFile, str)
        One file of each participant and session that has none with the kernel, and the cause.

    Raises
    ------
    InputError
        A participant has several in one session.

    """
    kept, without = {}, {}
    for file, header in found:
        key = (file.folder.root, file.subject, file.session)
        (kept if header.kernel == kernel else without).setdefault(key, []).append((file, header))
    several = {key: pairs for key, pairs in kept.items() if len(pairs) > 1}
    if several:
        pairs = next(iter(several.values()))
        raise InputError(
            f"sub-{pairs[0][0].subject} has {len(pairs)} series with the kernel {kernel} in one session"
            + _and_others(len(several) - 1, "participant"),
            file=pairs[0][0].path.parent,
            value=", ".join(file.path.name for file, _ in pairs),
            remedy=f"choose one: {_how_to_choose([file for file, _ in pairs])}",
        )
    others = []
    for key, pairs in without.items():
        if key not in kept:
            has = ", ".join(sorted({header.kernel for _, header in pairs}))
            others.append((pairs[0][0], f"it has no series with the kernel {kernel}, only {has}"))
    return [pair for pairs in kept.values() for pair in pairs], others


def check_same_grid(found):
    """Grid that all share.

    Raises
    ------
    InputError
        There are several.

    """
    grids, by_hash = [], {}
    for _, header in found:
        if header.grid_hash not in by_hash:
            match = next((i for i, grid in enumerate(grids) if _same(grid, header.grid)), len(grids))
            if match == len(grids):
                grids.append(header.grid)
            by_hash[header.grid_hash] = match
    if len(grids) > 1:
        by_grid = _grouped(found, lambda header: by_hash[header.grid_hash])
        raise InputError(
            "the spectra of participants are on different grids",
            value=_who({in_words(grids[index]): who for index, who in by_grid.items()}),
            remedy=f"run the participant level for all with one grid: {to_type(covering(grids))}",
        )
    return grids[0]


def covering(grids):
    """Grid that reaches over all of several of one kernel, with the most points that one of them has on each axis."""
    axes = {}
    for name in grids[0].names:
        given = [getattr(grid, name) for grid in grids]
        if all(_same_axis(given[0], axis) for axis in given):
            axes[name] = given[0]
            continue
        low, high, n = min(axis[0] for axis in given), max(axis[-1] for axis in given), max(map(len, given))
        linear = low <= 0 or all(_same_axis(axis, np.linspace(axis[0], axis[-1], len(axis))) for axis in given)
        axes[name] = np.linspace(low, high, n) if linear else np.geomspace(low, high, n)
    return Grid(**axes)


def in_words(grid):
    """Axes of a grid as ``diffusivity 0.125 to 40 um2/ms (50 points), ...``."""
    return ", ".join(
        f"{name} {axis[0]:.6g} to {axis[-1]:.6g} {AXIS_UNITS[name]} ({len(axis)} points)"
        for name, axis in zip(grid.names, grid.axes, strict=True)
    )


def to_type(grid):
    """Options that give a grid its ends and its points, or its values where they are not logarithmic."""
    words = []
    for name, axis in zip(grid.names, grid.axes, strict=True):
        if axis[0] > 0 and _same_axis(axis, np.geomspace(axis[0], axis[-1], len(axis))):
            words.append(f"--set 'kernel.{name}=[{axis[0]:.9g},{axis[-1]:.9g}]'")
        else:
            words.append(f"--set 'kernel.grid.{name}=[{','.join(f'{value:.9g}' for value in axis)}]'")
    by_hand = all("kernel.grid" in word for word in words)
    return " ".join(words if by_hand else [*words, f"--set 'kernel.points=[{','.join(str(n) for n in grid.shape)}]'"])


def _same(first, second):
    return first.names == second.names and all(map(_same_axis, first.axes, second.axes))


def _same_axis(first, second):
    return len(first) == len(second) and np.allclose(first, second, rtol=SAME, atol=0)


def _grouped(found, kind):
    """Participants by a property of their files, the most frequent first."""
    counts = Counter(kind(header) for _, header in found)
    groups = {value: [] for value, _ in counts.most_common()}
    for file, header in found:
        label = f"sub-{file.subject}" + (f"_ses-{file.session}" if file.session else "")
        groups[kind(header)].append(label)
    return groups


def _who(groups):
    """Groups of participants in words, as ``0.1: sub-01, sub-02; 0.2: sub-03``."""
    parts = []
    for value, labels in groups.items():
        labels = list(dict.fromkeys(labels))
        more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        parts.append(f"{value}: {', '.join(labels[:SHOWN])}{more}")
    return "; ".join(parts)


def _and_others(n, what):
    return f", and so {'is' if n == 1 else 'are'} {n} more {what}{'s' * (n > 1)}" if n else ""


def _how_to_choose(files):
    """What tells series of one session apart, as a filter or an option."""
    first = files[0]
    kinds = {file.entities["datatype"] for file in files}
    if len(kinds) > 1:
        return f"--set select.datatype={first.entities['datatype']}"
    for key in ("run", "acquisition", "direction", "reconstruction"):
        values = {file.entities.get(key) for file in files}
        if len(values) == len(files):
            value = "null" if first.entities.get(key) is None else f'"{first.entities[key]}"'
            return f'--bids-filter-file with {{"{first.entities["datatype"]}": {{"{key}": {value}}}}}'
    return "--bids-filter-file"
