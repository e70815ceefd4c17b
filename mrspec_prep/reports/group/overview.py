"""The first screen of a group: what was measured, whether to trust it, what was found."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.reports.collect import UNREADABLE
from mrspec_prep.reports.facts import CONTRAST_OF_AXIS
from mrspec_prep.reports.group.collect import read_cluster_map
from mrspec_prep.reports.group.scan import scan_results
from mrspec_prep.reports.group.verdict import judge_group, scans_in_words
from mrspec_prep.reports.html import verdict_block
from mrspec_prep.reports.overview import palette, picture_of
from mrspec_prep.reports.resolution import RELAXATION, marginal_peaks, mean_in_words, title_of_found
from mrspec_prep.reports.words import capital, count, number, percent, place_in_words

RANGES = (("b", 1.0, "s/mm²"), ("TE", 1e3, "ms"), ("TI", 1e3, "ms"))
MOST_ENTRIES = 12  # clusters that are named on the first screen


def group_overview(results, words):
    """The block of the first screen.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.

    Yields
    ------
    dict

    """
    entries = group_key_figures(results)
    figures = {"kind": "key_figures", "entries": entries} if entries else None
    yield {"kind": "overview", "verdict": verdict_block(judge_group(results, words)), "measured": measured(results),
           "found": found_clusters(results), "figures": figures}  # fmt: skip


def measured(results):
    """Scans, sites and protocols in one sentence; empty where nothing took part."""
    if not results.n_participants:
        return ""
    parts = [capital(scans_in_words(results))]
    if len(results.sites) > 1:
        parts.append(count(len(results.sites), "site"))
    protocols = [protocol_in_words(protocol) for protocol in results.about.get("Protocols", [])]
    return "; ".join([*parts, *protocols]) + "."


def protocol_in_words(protocol):
    """``330 encodings, b 0–1600 s/mm² (14 values), TE 78–222 ms (5 values)``."""
    parts = [f"{protocol.get('n_encodings')} encodings"]
    for name, factor, unit in RANGES:
        values = np.array(protocol.get(name) or [], float) * factor
        if len(values) > 1:
            parts.append(f"{name} {values.min():g}–{values.max():g} {unit} ({len(values)} values)")
    return ", ".join(parts)


def group_key_figures(results):
    """Numbers of the first screen, by name."""
    entries = []

    def add(name, value, unit=""):
        entries.append({"name": name, "value": value, "unit": unit})

    if results.n_participants:
        add("participants", number(results.n_participants))
        if results.included.sum() > results.n_participants:
            add("scans", number(int(results.included.sum())))
        if (~results.included).any():
            add("left out", number(int((~results.included).sum())))
        add("sites", number(len(results.sites)))
    voxels = results.column("n_voxels")
    if voxels is not None:
        add("voxels", number(int(voxels.sum())))
    if results.clusters:
        add("clusters", str(len(results.clusters)))
    for key, name, digits in (("snr", "median SNR of all volumes", 0), ("residual", "residual / noise", 2)):
        if (values := results.column(key)) is not None:
            add(name, f"{np.nanmedian(values):.{digits}f}")
    return entries


def found_clusters(results):
    """Clusters with share and largest peak, and the map of the scan that is most like all; None without clusters."""
    if not results.clusters:
        return None
    entries = []
    for index, cluster in enumerate(results.clusters[:MOST_ENTRIES]):
        share = percent(cluster["weight"]) if "weight" in cluster else ""
        entries.append({"name": str(index + 1), "color": results.colors[index], "share": share,
                        "text": cluster_in_words(results, index)})  # fmt: skip
    means = [axis for axis in results.unresolved if axis in RELAXATION]
    title = title_of_found(results.grid, results.unresolved, means)
    return {"title": title, "entries": entries} | _typical_map(results)


def cluster_in_words(results, index):
    """Largest peak of a cluster; along axes that are not resolved its mean."""
    grid, peaks, unresolved = results.grid, results.clusters[index].get("peaks") or [], results.unresolved
    if unresolved:
        spectrum, contrasts = results.spectra.spectra[index], results.contrasts
        lowest = {name: float(values[0]) for name, values in contrasts.items()}
        means = [mean_in_words(spectrum, grid, axis, contrasts[CONTRAST_OF_AXIS[axis]]) for axis in unresolved]
        return ", ".join(text for text in (marginal_peaks(spectrum, grid, unresolved, lowest), *means) if text)
    symbols = [axis_entry(axis)["symbol"] for axis in grid.names]
    places = place_in_words(peaks[0], grid) if peaks else []
    return ", ".join(f"{s} {place}" for s, place in zip(symbols, places, strict=bool(peaks)))


def _typical_map(results):
    """Picture of the cluster map of the scan whose shares are nearest to the mean; empty where none can be read."""
    shares = results.proportions
    nothing = {"source": "", "aspect": "1", "slices": ""}
    if not shares.size:
        return nothing
    index = int(np.argmin(((np.sqrt(shares) - np.sqrt(shares.mean(axis=0))) ** 2).sum(axis=1)))
    who, series = (str(results.column(name)[index]) for name in ("participant_id", "series"))
    try:
        found = read_cluster_map(results.out_dir, who, series)
    except UNREADABLE:  # the section of the maps says which file and why
        return nothing
    if found is None or not (found.labels.data > 0).any():
        return nothing
    labels = np.clip(np.nan_to_num(found.labels.data), 0, len(results.colors)).astype(int)
    scan = scan_results(found, results.spectra, None)
    picture = picture_of(scan, labels > 0, palette(results.colors)[labels])
    name = results.names()[index]
    return picture | {"slices": f"{picture['slices']} Here in {name}, whose shares are nearest to the mean."}
