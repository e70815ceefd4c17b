"""The first screen of one series: what was measured, whether to trust it, what was found."""

import base64
import io

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from mrspec_prep.bids.output.catalogue import axis_entry, load_catalogue, map_entry
from mrspec_prep.reports.cluster_words import color_of
from mrspec_prep.reports.collect import snr_map
from mrspec_prep.reports.compartments.words import NAMES, is_classified, shares_of
from mrspec_prep.reports.facts import CONTRASTS, known_contrasts, n_distinct_encodings
from mrspec_prep.reports.html import verdict_block
from mrspec_prep.reports.maps.collect import entry_of
from mrspec_prep.reports.maps.tables import short_name
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import by_model, trusted
from mrspec_prep.reports.mosaic import choose_view, stitch
from mrspec_prep.reports.resolution import marginal_peaks, title_of_found, unresolved_axes
from mrspec_prep.reports.schedule_section import is_schedule
from mrspec_prep.reports.style import color_range
from mrspec_prep.reports.verdict import SNR_LOW, judge
from mrspec_prep.reports.words import number, percent, place_in_words, rough, short

FEW_SLICES = 2
MOST_LABELS = 255
FEW_VALUES = 5  # of a contrast, which are named one by one
DIM = 0.55  # of the reference image behind colours
TISSUE = ("t2", "t2star", "t1", "diffusivity", "kurtosis")  # of the spectrum's maps, what a reader asks for first


def overview_blocks(series, words, crashed):
    """The block of the first screen.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    crashed : bool
        Whether a step of the participant failed.

    Yields
    ------
    dict

    """
    verdict = verdict_block(judge(series, words, crashed))
    found = found_in_words(series, words) if series.n_voxels else None
    figures = key_figures(series, words)
    yield {"kind": "overview", "verdict": verdict, "measured": measured_in_words(series), "found": found,
           "figures": {"kind": "key_figures", "entries": figures} if figures else None}  # fmt: skip


def measured_in_words(series):
    """The acquisition in one sentence; empty without a volume table."""
    if not series.columns:
        return ""
    n = number(len(next(iter(series.columns.values()))))
    if is_schedule(series.columns):
        return f"{n} frames of a fingerprinting series."
    parts = []
    known = known_contrasts(series.columns)
    for name, _, symbol, unit, title in CONTRASTS:
        values = np.unique(known[name]) if name in known else ()
        if 1 < len(values) <= FEW_VALUES:
            parts.append(f"{symbol} {', '.join(f'{value:g}' for value in values)} {unit}")
        elif len(values) > 1:
            parts.append(f"{symbol} {values[0]:g} to {values[-1]:g} {unit} ({len(values)} {title}s)")
    return f"{n} volumes: {'; '.join(parts)}." if parts else f"{n} volumes, all encoded alike."


def key_figures(series, words):
    """Numbers of the first screen, by name."""
    entries = []

    def add(name, value, unit="", of=""):
        entries.append({"name": name, "value": value, "unit": unit, "of": of})

    if series.roi is not None:
        add("voxels fitted", number(series.n_voxels))
    if series.columns:
        n = len(next(iter(series.columns.values())))
        add("frames" if is_schedule(series.columns) else "volumes", number(n))
        if not is_schedule(series.columns):
            add("encodings", number(n_distinct_encodings(series.columns)))
    snr = snr_map(series)
    if snr is not None and (snr > 0).any():
        middle = np.median(snr[snr > 0])
        add("median SNR", f"{middle:.{int(middle < SNR_LOW)}f}")
    for key in series.parameters:
        values = series.values(key)
        if key in TISSUE[:4] and values is not None and len(values):
            entry = map_entry(key)
            add(f"median {entry['symbol']}", rough(float(np.median(values))), entry["unit"], "spectra")
    for methods in by_model(series).values() if series.n_voxels else ():
        best = trusted(methods, series.roi.data.astype(bool), words).method
        for parameter in best.tissue:
            values = inside(best.maps[parameter], series.roi.data.astype(bool))
            if values is not None:
                entry = entry_of(best.maps[parameter], parameter, best.about_model)
                of = short_name(best, words)
                add(f"median {entry['symbol']}", rough(float(np.median(values))), entry["unit"], of)
    residual = series.values("residual")
    if residual is not None and len(residual):
        add("residual / noise", f"{np.median(residual):.2f}")
    if series.clusters:
        add("clusters", str(len(series.clusters)))
    if is_classified(series):
        shares = shares_of(series)
        add("one compartment", percent(shares[1]))
        add("several compartments", percent(shares[2:].sum()))
        add("undecided", percent(shares[0]))
    return told_apart(entries)


def told_apart(entries):
    """Key figures without ``of``, which is added to the names that several have."""
    names = [entry["name"] for entry in entries]
    found = []
    for entry in entries:
        of = entry.get("of")
        name = f"{entry['name']}, {of[:1].lower() + of[1:]}" if of and names.count(entry["name"]) > 1 else entry["name"]
        found.append({"name": name, "value": entry["value"], "unit": entry["unit"]})
    return found


def found_in_words(series, words):
    """Picture and list of what was found: clusters, else maps to be read first, else numbers of compartments."""
    roi = series.roi.data.astype(bool)
    if series.clusters and inside(series.labels, roi) is not None:
        return _clusters_found(series, roi)
    models = by_model(series)
    if models:
        best = trusted(next(iter(models.values())), roi, words).method
        maps = {p: (best.maps[p], entry_of(best.maps[p], p, best.about_model)) for p in best.tissue}
        return _maps_found(series, maps, roi)
    if is_classified(series):
        return _compartments_found(series, roi)
    maps = {key: (series.parameters[key], map_entry(key)) for key in TISSUE if key in series.parameters}
    return _maps_found(series, maps, roi)


def _clusters_found(series, roi):
    labels = np.nan_to_num(series.labels.data).clip(0, MOST_LABELS).astype(int)
    clusters, grid = series.clusters, series.cluster_spectra.grid
    unresolved = unresolved_axes(series)
    known = known_contrasts(series.columns)
    lowest = {name: float(values.min()) for name, values in known.items()}
    table = palette([_color(series, m) for m in range(max(len(clusters), labels.max()))])
    entries = []
    for m, cluster in enumerate(clusters):
        share = percent(cluster["weight"]) if "weight" in cluster else ""
        if unresolved:
            peak = marginal_peaks(series.cluster_spectra.spectra[m], grid, unresolved, lowest)
            text = ", ".join([*([peak] if peak else []), *_means(series, labels[roi] == m + 1, unresolved)])
        else:
            text = ", ".join(_peak(cluster, grid))
        entries.append({"name": str(m + 1), "color": _color(series, m), "share": share, "text": text})
    title = title_of_found(grid, unresolved, [axis for axis in unresolved if axis in series.parameters])
    return {"title": title, "entries": entries} | picture_of(series, roi, table[labels])


def _color(series, index):
    """Colour of a cluster, also of one that only the map knows."""
    return color_of(series.clusters[index] if index < len(series.clusters) else {}, index)


def _peak(cluster, grid):
    """Place of the largest peak, in words."""
    peaks = cluster.get("peaks") or [{}]
    known = [axis for axis in grid.names if axis in peaks[0]]
    places = zip(known, place_in_words(peaks[0], grid), strict=True)
    return [f"{axis_entry(axis)['symbol']} {place}" for axis, place in places]


def _means(series, inside_cluster, axes):
    """Median of the map of each axis over the voxels of a cluster, in words."""
    found = []
    for axis in axes if inside_cluster.any() else ():
        entry, values = map_entry(axis), series.values(axis)
        if values is not None:
            found.append(f"{entry['symbol']} {rough(float(np.median(values[inside_cluster])))} {entry['unit']}")
    return found


def _maps_found(series, maps, roi):
    entries, drawn = [], None
    for found, entry in maps.values():
        values = inside(found, roi)
        values = None if values is None else values[np.isfinite(values)]
        if values is None or not len(values):
            continue
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        unit = f" {entry['unit']}" if entry["unit"] else ""
        text = f"{short(middle)}{unit} (middle half: {short(low)} to {short(high)})"
        entries.append({"name": entry["title"], "color": "", "share": "", "text": text})
        drawn = drawn or (found, entry)
    if drawn is None:
        return None
    found, entry = drawn
    norm = color_range(found.data[roi].astype(float), entry["range"])
    colors = matplotlib.colormaps[entry["colormap"]](norm(np.where(roi, found.data, np.nan)))[..., :3]
    title = f"{entry['title']}, and medians over the region"
    return {"title": title, "entries": entries} | picture_of(series, roi, colors)


def _compartments_found(series, roi):
    about, shares = load_catalogue()["ncomp"]["labels"], shares_of(series)
    table = np.array([to_rgb(label["color"]) for label in about])
    names = ["undecided", *NAMES]
    swatches = [{"name": names[k], "color": about[k]["color"]} for k in range(5)]
    entries = [swatch | {"share": percent(share), "text": ""} for swatch, share in zip(swatches, shares, strict=True)]
    colors = table[series.n_compartments.data.astype(int)]
    return {"title": map_entry("ncomp-dseg")["title"], "entries": entries} | picture_of(series, roi, colors)


def palette(colors):
    """(n + 1, 3) colours of labels, label 0 black."""
    return np.array([(0.0, 0.0, 0.0), *(to_rgb(color) for color in colors)])


def picture_of(series, roi, colors):
    """Few slices of colours (x, y, z, 3) in the region, the reference image around it, as a PNG in a data address."""
    view = choose_view(roi, series.roi.affine, FEW_SLICES)
    grey = np.zeros(roi.shape)
    if series.reference is not None and series.reference.data.shape == roi.shape:
        top = np.percentile(series.reference.data[roi], 98)
        grey = DIM * np.clip(series.reference.data / (top if top > 0 else 1.0), 0, 1)
    shown = np.where(roi[..., None], np.nan_to_num(colors), grey[..., None])
    image = np.stack([stitch(shown[..., c], view, len(view.slices)) for c in range(3)], axis=-1)
    opaque = np.isfinite(image).all(axis=-1, keepdims=True)  # not between the slices
    image = np.concatenate([np.nan_to_num(image), opaque], axis=-1)
    stream, pixels = io.BytesIO(), np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    matplotlib.image.imsave(stream, pixels, format="png", metadata={"Software": None})
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    aspect = image.shape[1] * view.pixel[0] / (image.shape[0] * view.pixel[1])
    places = ", ".join(label.replace(" ", "\u00a0").replace("-", "\u2212") for label in view.labels)
    side = " Left of the image is left of the person." if view.axis else ""
    return {"source": f"data:image/png;base64,{encoded}", "aspect": f"{aspect:.3f}", "slices": f"{places}.{side}"}
