"""Diffusion images with several echo times as one series per echo time."""

from dataclasses import replace

import numpy as np

SAME = 1e-3  # relative: echo times that differ by less are one


def split_images(group):
    """Groups of images of one echo time each.

    Parameters
    ----------
    group : list of Described
        Images that encode one signal.

    Returns
    -------
    list of list of Described
        The group itself where it is no diffusion, or an image has several echo times or none.

    """
    times = [image.table.echo_time for image in group]
    if group[0].name.datatype != "dwi" or any(t is None or np.ptp(t) > SAME * t.max() for t in times):
        return [group]
    level = _levels(np.array([t[0] for t in times]))
    return [[image for image, own in zip(group, level, strict=True) if own == i] for i in np.unique(level)]


def split_by_echo_time(series):
    """Parts of a diffusion series, one per echo time of its volumes, each named by its echo time.

    Parameters
    ----------
    series : Series

    Returns
    -------
    list of Series
        The series itself where it is no diffusion or has one echo time.

    """
    if series.datatype != "dwi" or "echo_time" not in series.encodings.varying():
        return [series]
    times = series.encodings.echo_time
    level = _levels(times)
    return [_part(series, np.flatnonzero(level == i), times[level == i].mean()) for i in np.unique(level)]


def named_by_echo_time(series):
    """Series with ``acq-te<ms>`` where no ``acq-`` tells it from those of other echo times."""
    if "acquisition" in series.entities:
        return series
    return replace(series, entities=series.entities | {"acquisition": f"te{series.encodings.echo_time[0]:.0f}"})


def _levels(times):
    """Number of the echo time, in rising order, that each of some times stands for."""
    order = np.argsort(times, kind="stable")
    rising = times[order]
    level = np.empty(len(times), int)
    level[order] = np.cumsum(np.insert(np.diff(rising) > SAME * rising[1:], 0, 0))
    return level


def _part(series, rows, echo_time):
    files = np.unique(series.volumes[rows, 0])
    share = f"{len(rows)} of {len(series.encodings)} volumes"
    return replace(
        series,
        images=tuple(series.images[file] for file in files),
        volumes=np.column_stack([np.searchsorted(files, series.volumes[rows, 0]), series.volumes[rows, 1]]),
        encodings=series.encodings.take(rows),
        entities=series.entities | {"acquisition": f"te{echo_time:.0f}"},
        notes=(*series.notes, f"One series per echo time was asked for: this is {echo_time:g} ms, {share}."),
    )
