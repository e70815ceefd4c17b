"""Fingerprinting for the viewer: measured frames and what the fitted tissue gives under the schedule."""

import numpy as np

from mrspec_prep.bids.output.measured import canonical_order, measured_frames
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp
from mrspec_prep.reports.collect import UNREADABLE
from mrspec_prep.reports.maps.tables import short_name
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import by_model, trusted
from mrspec_prep.reports.viewer.packing import quantised
from mrspec_prep.reports.viewer.signals import MOST_SIGNALS, OF_SIGMA
from mrspec_prep.reports.words import number

MS = 1e3  # ms per s
AT_ONCE = 10_000  # voxels whose frames, all of them, are in memory at a time


def schedule_of(columns, acquisition):
    """Schedule of a volume table in BIDS units."""
    efficiency = float(acquisition.get("InversionEfficiency", 1.0))
    times = (np.asarray(columns[name], float) * MS for name in ("TR", "TE", "TI"))
    return Schedule(np.asarray(columns["flip_angle"], float), *times, efficiency)


def add_frames(header, series, words, out_dir, block, on_disk, share):
    """Frames of every voxel, turned by its phase, and those of each method's T1, T2 and M0.

    Parameters
    ----------
    header : dict
        Of the viewer; grows.
    series : SeriesResults
        Of fingerprinting.
    words : dict
        Content of ``data/report.toml``.
    out_dir : path
    block : Block
        Takes the frames.
    on_disk : MapFile
        The region as its file has it.
    share : float
        Of the page's size that this series may take.

    """
    texts, roi = words["viewer"], series.roi.data.astype(bool)
    methods = [method for methods in by_model(series).values() for method in _in_order(methods, roi, words)]
    fitted = {short_name(method, words): found for method in methods if (found := _tissue(method, roi)) is not None}
    n_frames, n_voxels = len(series.columns["flip_angle"]), int(roi.sum())
    every = max(1, -(-n_voxels * n_frames * (1 + len(fitted)) // max(1, int(MOST_SIGNALS * share))))
    kept = np.arange(0, n_frames, every)
    frames = None
    try:
        where = canonical_order(on_disk.data.shape[:3], on_disk.affine)[roi]
        frames = read_frames(out_dir, series, kept, where, on_disk.data.shape[:3])
    except UNREADABLE as error:
        header["notes"].append(texts["no_signals"].format(cause=str(error).replace(str(out_dir), "")))
    header["contrasts"] = [{"symbol": "frame", "unit": "", "name": "frame", "values": kept.tolist()}]
    header["groups"] = list(range(len(kept)))
    schedule, header["fits"] = schedule_of(series.columns, series.acquisition), []
    phase = next((found["phase"] for found in fitted.values() if found["phase"] is not None), None)
    for title, found in fitted.items():
        codes, scale = quantised(predicted_frames(schedule, found, kept, magnitude=phase is None))
        header["fits"].append({"title": title} | block.add(codes.T) | {"scale": scale})
    sigma = next((s for m in methods if isinstance(s := m.metadata.get("NoiseStd"), int | float) and s > 0), None)
    header["sigma"] = sigma
    if frames is None:
        return
    values = np.abs(frames) if phase is None else (frames * np.exp(-1j * phase[:, None])).real
    codes, scale = quantised(values, sigma / OF_SIGMA if sigma else None)
    header["signals"] = {"level": "encoding"} | block.add(codes.T) | {"scale": scale}
    header["notes"].append(texts["frames" if phase is None else "turned_frames"])
    if every > 1:
        said = {"every": number(every), "n": number(len(kept)), "all": number(n_frames)}
        header["notes"].append(texts["few_frames"].format(**said))


def read_frames(out_dir, series, kept, where, shape):
    """Frames of the voxels of a region.

    Parameters
    ----------
    out_dir : path
    series : SeriesResults
    kept : (n,) int array
        Frames that are wanted.
    where : (n_voxels,) int array
        Places in the C order of the image.
    shape : (x, y, z)
        Of the image.

    Returns
    -------
    (n_voxels, n) complex64 array

    Raises
    ------
    InputError
        As ``measured_frames``.

    """
    found, row_of = np.zeros((len(where), len(kept)), np.complex64), {int(frame): i for i, frame in enumerate(kept)}
    for frame, volume in measured_frames(out_dir, series.acquisition.get("Sources"), shape, int(kept[-1]) + 1):
        if frame in row_of:
            found[:, row_of[frame]] = volume.ravel()[where]
    return found


def predicted_frames(schedule, tissue, kept, magnitude=False):
    """Frames of fitted tissue; NaN where there is none.

    Parameters
    ----------
    schedule : Schedule
    tissue : dict
        ``t1``, ``t2`` [ms] and ``m0``, each (n_voxels,).
    kept : (n,) int array
        Frames that are wanted.
    magnitude : bool
        Without sign.

    Returns
    -------
    (n_voxels, n) array

    """
    t1, t2, m0 = (np.asarray(tissue[name], float) for name in ("t1", "t2", "m0"))
    there = np.isfinite(t1) & np.isfinite(t2) & np.isfinite(m0) & (t1 > 0) & (t2 > 0)
    found = np.full((len(t1), len(kept)), np.nan)
    rows = np.flatnonzero(there)
    for start in range(0, len(rows), AT_ONCE):
        now = rows[start : start + AT_ONCE]
        found[now] = m0[now, None] * simulate_fisp(schedule, t1[now], t2[now])[:, kept]
    return np.abs(found) if magnitude else found


def _in_order(methods, roi, words):
    """The method to be read first, then the others."""
    first = trusted(methods, roi, words).method
    return [first, *(method for method in methods if method is not first)]


def _tissue(method, roi):
    """T1, T2, M0 and phase of a method, or None where a map is missing."""
    found = {name: inside(method.maps.get(name), roi) for name in ("t1", "t2", "m0")}
    if any(values is None for values in found.values()):
        return None
    return found | {"phase": inside(method.extras.get("phase"), roi)}
