"""The viewer of one series as a block of the page: a header in JSON, and compressed arrays beside it."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry, map_entry
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.bids.output.measured import canonical_order
from mrspec_prep.reports.collect import UNREADABLE
from mrspec_prep.reports.facts import encodings_of
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.schedule_section import is_schedule
from mrspec_prep.reports.style import color_range
from mrspec_prep.reports.verdict import noise_method
from mrspec_prep.reports.viewer.fits import MOST_NUMBERS, pack_axes, pack_kernel, pack_spectra, predictions
from mrspec_prep.reports.viewer.frames import add_frames
from mrspec_prep.reports.viewer.layers import layers_of, pack_layers
from mrspec_prep.reports.viewer.packing import Block, quantised, script_json
from mrspec_prep.reports.viewer.signals import (
    MOST_SIGNALS,
    OF_SIGMA,
    contrasts_of,
    equal_encodings,
    read_signals,
)
from mrspec_prep.reports.words import join, number, percent, place_in_words

MARGIN = 3  # voxels of the image shown around the region


def viewer_blocks(series, words, out_dir, share=1.0):
    """Block of the viewer; none where there is no region to look at.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    out_dir : path
        Derivative dataset, from which the measured images are found.
    share : float
        Of the page's size that this series may take.

    Yields
    ------
    dict

    """
    if series.roi is None or not series.roi.data.any():
        return
    images, details, measured = (Block(f"{series.slug}_data_{name}") for name in ("images", "spectra", "signals"))
    header = {"title": series.title, "slug": series.slug, "notes": []}
    header |= geometry(series, images)
    layers = layers_of(series, words)
    header["layers"], header["maps"] = pack_layers(layers, images)
    labels = next((layer.values for layer in layers if layer.group == "Clusters" and layer.kind == "label"), None)
    n = max(len(series.clusters), int(labels.max(initial=0)) if labels is not None else 0)
    header["clusters"] = clusters_of(series.clusters, series.cluster_spectra, n, details)
    for index, one in enumerate(header["clusters"]):
        one["n"] = int((labels == index + 1).sum()) if labels is not None else 0
    _add_details(header, series, words, out_dir, details, measured, labels, share)
    blocks = [{"name": block.name, "text": block.text()} for block in (images, details, measured) if block.size]
    size = sum(len(block["text"]) for block in blocks)
    parts = {"signals": "signals", "spectra": "spectrum", "fits": "fit", "kernel": "fit", "layers": "numbers"}
    shown = list(dict.fromkeys(word for part, word in parts.items() if header.get(part)))
    what = "voxel and cluster" if header["clusters"] else "voxel"
    intro = words["viewer"]["intro"].format(what=what, parts=join(shown)) if shown else ""
    yield {"kind": "viewer", "slug": series.slug, "title": series.title, "header": script_json(header),
           "blocks": blocks, "size": f"{size / 1e6:.1f}", "notes": header["notes"], "intro": intro}  # fmt: skip


def geometry(series, block, levels=None):
    """Box that is shown, its place in space, the region in it and the reference image behind.

    Parameters
    ----------
    series : SeriesResults
        With a region.
    block : Block
    levels : int, optional
        Grey levels up to twice white, where the image is cut; default: as many as 16 bits hold.

    Returns
    -------
    dict
        Part of the viewer's header.

    """
    roi = series.roi.data.astype(bool)
    box = []
    for axis in range(3):
        filled = np.flatnonzero(roi.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append((max(0, int(filled[0]) - MARGIN), min(roi.shape[axis], int(filled[-1]) + 1 + MARGIN)))
    cut = tuple(slice(*ends) for ends in box)
    affine = series.roi.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [low for low, _ in box]
    found = {
        "shape": [high - low for low, high in box],
        "file": indices_on_disk(series.roi, box),
        "affine": affine[:3].tolist(),
        "size": np.linalg.norm(affine[:3, :3], axis=0).tolist(),
        "plane": choose_view(roi, series.roi.affine).axis,
        "roi": block.add(roi[cut].astype("u1")),
        "n": int(roi.sum()),
    }
    if series.reference is not None and series.reference.data.shape == roi.shape:
        image = np.asarray(series.reference.data, float)
        norm = color_range(image[roi], map_entry("reference")["range"])
        most = 2 * float(norm.vmax if levels else image[roi].max())
        codes, scale = quantised(np.clip(image[cut], 0, most), most / levels if levels else None)
        found["image"] = block.add(codes) | {"scale": scale, "window": [float(norm.vmin), float(norm.vmax)]}
        about = series.reference.key != "frames"
        found["image_title"] = map_entry("reference" if about else "frames")["title"]
    return found


def indices_on_disk(roi, box):
    """Of each axis of the file: axis of the box, index on disk where the box begins, and step, 1 or -1."""
    return [[axis, box[axis][0] if step > 0 else roi.data.shape[axis] - 1 - box[axis][0], step]
            for axis, step in roi.turns]  # fmt: skip


def clusters_of(clusters, spectra, n, block):
    """What is known of each of ``n`` clusters wherever it lies: share, peaks in words and places, spectrum."""
    found = []
    for index in range(n):
        cluster = clusters[index] if index < len(clusters) else {}
        one = {"share": percent(cluster["weight"]) if "weight" in cluster else "", "peaks": []}
        for peak in (cluster.get("peaks") or [])[:3]:
            symbols = [axis_entry(axis)["symbol"] for axis in spectra.grid.names if axis in peak]
            places = [f"{s} {p}" for s, p in zip(symbols, place_in_words(peak, spectra.grid), strict=True)]
            at = [float(peak[axis]) for axis in spectra.grid.names if axis in peak]
            one["peaks"].append({"text": f"{', '.join(places)} ({percent(peak['fraction'])})", "at": at})
        if spectra is not None and index < len(spectra.spectra):
            one["spectrum"] = block.add(np.asarray(spectra.spectra[index], "<f4"))
        found.append(one)
    return found


def _add_details(header, series, words, out_dir, details, measured, labels, share):
    """Signals, fits and spectra; what cannot be had, or is too much, is said in a note."""
    notes, texts = header["notes"], words["viewer"]
    header["noise"] = noise_method(series)
    if series.grid is not None:
        header["axes"] = pack_axes(series.grid)
    if not series.columns:
        notes.append(texts["no_table"])
        return
    if is_schedule(series.columns):
        add_frames(header, series, words, out_dir, measured, read_map(series.paths["roi"]), share)
        return
    group_of = equal_encodings(series.columns)
    header["contrasts"], header["groups"] = contrasts_of(series.columns), group_of.tolist()
    if series.acquisition.get("Polarity") == "magnitude":
        header["magnitude"] = True
    law = series.acquisition.get("NoiseDistribution")
    if law in ("rician", "nc-chi"):
        notes.append(texts["floor"].format(law=law))
    labels = np.zeros(header["n"], int) if labels is None else labels.astype(int)
    try:
        on_disk = read_map(series.paths["roi"])
        _add_signals(header, series, texts, out_dir, measured, labels, group_of, on_disk, share)
        _add_fits(header, series, words, details, group_of, on_disk, share)
    except UNREADABLE as error:
        notes.append(texts["unreadable"].format(cause=str(error).replace(str(out_dir), "")))


def _add_signals(header, series, texts, out_dir, block, labels, group_of, on_disk, share):
    grid = on_disk.data.shape[:3], on_disk.affine
    try:
        found = read_signals(
            out_dir, series, grid, group_of, labels, len(header["clusters"]), int(MOST_SIGNALS * share)
        )
    except UNREADABLE as error:
        header["notes"].append(texts["no_signals"].format(cause=str(error).replace(str(out_dir), "")))
        return
    roi = series.roi.data.astype(bool)
    noise = inside(series.noise, roi)
    known = noise[noise > 0] if noise is not None else []
    step = float(np.median(known)) / OF_SIGMA if len(known) else None
    pack_signals(header, found, block, step)
    if found.level != "volume":
        n = number(found.values.shape[1]) if found.values is not None else "0"
        header["notes"].append(texts[f"only_{found.level}"].format(n=n, volumes=number(len(group_of))))


def pack_signals(header, found, block, step):
    """Add measured signals to a block, and the means of the clusters to the header.

    Parameters
    ----------
    header : dict
    found : Signals
    block : Block
    step : float or None
        To which signals are rounded.

    """
    header["signals"] = {"level": found.level}
    if found.values is not None:
        codes, scale = quantised(found.values, step)
        header["signals"] |= block.add(codes.T) | {"scale": scale, "step": step}
    for cluster, mean, spread in zip(header["clusters"], found.cluster_means, found.cluster_spreads, strict=True):
        if cluster["n"]:
            cluster |= {"mean": [round(v, 6) for v in mean.tolist()], "spread": [round(v, 6) for v in spread.tolist()]}


def _add_fits(header, series, words, block, group_of, on_disk, share):
    roi, texts = series.roi.data.astype(bool), words["viewer"]
    encodings = encodings_of(series.columns, series.acquisition)
    if encodings is None:
        return
    if series.grid is not None:
        header["kernel"] = pack_kernel(series.kernel, encodings, series.grid, group_of, block)
    if "nnls" in series.paths:
        order = canonical_order(on_disk.data.shape[:3], on_disk.affine)[roi]
        spectra = pack_spectra(series.paths["nnls"], order, block, int(MOST_NUMBERS * share))
        if spectra is None:
            header["notes"].append(texts["no_spectra"].format(file=series.paths["nnls"].name))
        else:
            header["spectra"] = spectra
    header["fits"] = []
    for title, values in predictions(series, on_disk.affine, encodings, group_of, words):
        codes, scale = quantised(values)
        header["fits"].append({"title": title} | block.add(codes.T) | {"scale": scale})
