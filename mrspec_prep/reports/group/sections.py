"""Sections of the group's report, in reading order; a section without data is left out."""

from pathlib import Path

import numpy as np

from mrspec_prep.bids.output.group_files import numbered_columns
from mrspec_prep.reports.cluster_words import cluster_name, color_of
from mrspec_prep.reports.collect import UNREADABLE
from mrspec_prep.reports.facts import grid_in_words
from mrspec_prep.reports.group.collect import read_cluster_map
from mrspec_prep.reports.group.comparison import comparison_blocks
from mrspec_prep.reports.group.figures import grouped_order, proportions_figure, sites_figure
from mrspec_prep.reports.group.methods import group_methods_facts
from mrspec_prep.reports.group.mosaic import group_maps_figure
from mrspec_prep.reports.group.overview import cluster_in_words, group_overview, protocol_in_words
from mrspec_prep.reports.group.participants import causes_in_words, excluded_table, participants_table
from mrspec_prep.reports.group.verdict import holders, site_remarks
from mrspec_prep.reports.group.viewer import group_viewer_blocks, shown_scans
from mrspec_prep.reports.html import Section, table_block
from mrspec_prep.reports.methods import cited_keys, compose, numbered, reference_in_words
from mrspec_prep.reports.sections import Pen, peak_table, selection_blocks
from mrspec_prep.reports.spectrum_figures import overlay_figure, spectra_figure
from mrspec_prep.reports.words import count, join, number, percent

MOST_MAPS = 32  # scans whose maps are drawn
ROWS = 16  # scans per figure of maps, at most


class GroupPen(Pen):
    """Writes the group's figures below ``figures`` and gives blocks that hold them."""

    def __init__(self, out_dir):
        self.folder = Path(out_dir) / "figures"
        self.stem, self.shown, self.written = "group", "figures", set()


def group_sections(results, words, pen):
    """All sections that have something to show, but for the errors.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.
    pen : GroupPen

    Returns
    -------
    list of Section

    """
    viewer = tuple(group_viewer_blocks(results, words))
    parts = {
        "verdict": lambda *_: group_overview(results, words),
        "viewer": lambda *_: viewer,
        "participants": lambda *given: _participants(*given, shown_scans(viewer)),
        "sites": _sites,
        "spectra": _spectra,
        "proportions": _proportions,
        "comparison": comparison_blocks,
        "selection": _selection,
        "maps": _maps,
        "trust": _trust,
        "components": _components,
        "methods": _methods,
    }
    found = []
    for name, make in parts.items():
        blocks = tuple(make(results, words, pen))
        if blocks:
            found.append(Section(name, words["sections"][name], words["short"][name], blocks))
    return found


def _participants(results, words, pen, shown):
    if not results.table:
        return
    if (~results.included).any():
        yield excluded_table(results)
    if results.included.any():
        yield participants_table(results, words, shown)


def _sites(results, words, pen):
    sites = results.sites
    if not sites or not results.proportions.size:
        return
    codes = np.array([sites.index(str(site)) for site in results.column("site")])
    measures = []
    for key, label, expected in (("snr", "signal-to-noise ratio", None), ("residual", "residual / noise", 1.0)):
        if (values := results.column(key)) is not None:
            measures.append((label, values, expected))
    texts = [remark.text for remark in site_remarks(results, words["verdict"])]
    if texts:
        yield {"kind": "list", "entries": texts}
    gains = words["captions"]["gains"] if results.gains else ""
    if len(sites) > 1 or measures:
        figure = sites_figure(sites, codes, measures, results.proportions, results.colors)
        yield pen.figure(figure, "sites", _site_caption(words["captions"], measures, gains))
    yield _site_table(results, sites, codes)


def _site_caption(captions, measures, gains):
    text = captions["sites"].format(strips=captions["strips"] if measures else "", gains=gains).strip()
    return text.replace("Right: Mean", "Right: mean")


def _site_table(results, sites, codes):
    """One row per site: how much it contributes, with which protocol, and its gain."""
    about = {str(site.get("name")): site for site in results.about.get("Sites", [])}
    who, voxels = results.column("participant_id"), results.column("n_voxels")
    protocols = {p.get("protocol"): p for p in results.about.get("Protocols", [])}
    headers = ["site", "participants", "scans", "voxels", "gain", "SNR of all volumes", "residual", "protocol"]
    rows = []
    for index, site in enumerate(sites):
        here = codes == index
        medians = [results.column(key) for key in ("snr", "residual")]
        used = [_protocol_in_words(protocols.get(n), n) for n in about.get(site, {}).get("protocols", [])]
        rows.append([
            site,
            number(len(set(who[here]))),
            number(int(here.sum())),
            number(int(voxels[here].sum())) if voxels is not None else "–",
            f"{results.gains[site]:.3f}" if site in results.gains else "–",
            "–" if medians[0] is None else f"{np.nanmedian(medians[0][here]):.0f}",
            "–" if medians[1] is None else f"{np.nanmedian(medians[1][here]):.2f}",
            "; ".join(used) or "–",
        ])  # fmt: skip
    keep = [i for i in range(len(headers)) if any(row[i] != "–" for row in rows)]
    return table_block([headers[i] for i in keep], [[row[i] for i in keep] for row in rows], words=True)


def _protocol_in_words(protocol, n):
    """``1: 330 encodings, b 0-1600 s/mm2 (14), TE 78-222 ms (5)``."""
    return str(n) if protocol is None else f"{n}: {protocol_in_words(protocol)}"


def _spectra(results, words, pen):
    grid = results.grid
    if grid is None:
        return
    captions = words["report"]["captions"]
    names = [cluster_name(cluster, index) for index, cluster in enumerate(results.clusters)]
    colors, peaks = results.colors, [cluster.get("peaks", []) for cluster in results.clusters]
    figure = spectra_figure(results.spectra.spectra, grid, names, colors, peaks)
    caption = captions[f"spectra_{min(len(grid.shape), 3)}d"].replace(" Grey: mean of the voxelwise spectra.", "")
    yield pen.figure(figure, "spectra", f"{caption} Grid: {grid_in_words(grid)}.")
    if len(grid.shape) == 2:
        yield pen.figure(
            overlay_figure(results.spectra.spectra, grid, names, colors, peaks), "overlay", captions["overlay"]
        )
    yield peak_table(results, "group", results.unresolved)


def _proportions(results, words, pen):
    if not results.proportions.size:
        return
    groups, levels = results.groups()
    sites = [str(site) for site in results.column("site")] if len(results.sites) > 1 else ()
    figure = proportions_figure(results.proportions, results.names(), groups, levels, results.colors, sites)
    yield pen.figure(figure, "proportions", words["captions"]["proportions"])


def _selection(results, words, pen):
    yield from selection_blocks(results, words["captions"]["selection"], pen)


def _maps(results, words, pen):
    if not results.proportions.size:
        return
    groups, levels = results.groups()
    order, starts = grouped_order(results.proportions, groups, levels)
    chosen = order if len(order) <= MOST_MAPS else order[np.linspace(0, len(order) - 1, MOST_MAPS).round().astype(int)]
    rows, broken = [], []
    for index in chosen:
        try:
            row = _map_row(results, groups, index)
        except UNREADABLE as error:
            broken.append(f"The cluster map of {results.names()[index]} cannot be read ({error}).")
            continue
        if row is not None:
            rows.append(row)
    example = f"{results.column('participant_id')[0]}/dwi/*_seg-group_dseg.nii.gz"
    some = words["captions"]["maps_some"].format(shown=len(chosen), all=len(order), example=example)
    which = some if len(chosen) < len(order) else ""
    n_parts = -(-len(rows) // ROWS)
    for part in range(n_parts):
        first, last = len(rows) * part // n_parts, len(rows) * (part + 1) // n_parts
        figure = group_maps_figure(rows[first:last], results.colors)
        caption = words["captions"]["maps"].format(which=which).strip()
        yield pen.figure(figure, f"maps_{part + 1}", caption if part == 0 else "The same, further scans.")
    for text in broken:
        yield {"kind": "alert", "level": "problem", "text": text}


def _map_row(results, groups, index):
    """What a row of the figure of maps shows of one scan, or None where no map was written."""
    participant = str(results.column("participant_id")[index])
    found = read_cluster_map(results.out_dir, participant, str(results.column("series")[index]))
    if found is None or not (found.labels.data > 0).any():
        return None
    site = str(results.column("site")[index]) if len(results.sites) > 1 else ""
    return {
        "name": results.names()[index],
        "note": "\n".join(part for part in (groups[index], site) if part),
        "labels": found.labels.data.astype(int),
        "reference": found.reference,
        "affine": found.labels.affine,
        "proportions": results.proportions[index],
    }


def _trust(results, words, pen):
    if results.spectra is None or not results.proportions.size:
        return
    about, entries = results.spectra.metadata, []
    if about.get("Steps") is not None:
        settled = "and had settled" if about.get("Converged") else "and had not settled"
        entries.append(f"The fit took {number(about['Steps'])} steps {settled}.")
    certainty = results.column("certainty")
    if certainty is not None:
        low = results.names()[int(np.nanargmin(certainty))]
        entries.append(
            f"Voxels belong to their most probable cluster with probability {np.nanmedian(certainty):.2f} on average "
            f"in the middle scan, {np.nanmin(certainty):.2f} in the least certain one ({low})."
        )
    for protocol in results.about.get("Protocols", []):
        ranks = protocol.get("ranks")
        if ranks:
            text = _protocol_in_words(protocol, protocol.get("protocol"))
            entries.append(f"Protocol {text}: {count(int(ranks), 'independent number')} of each voxel were used.")
    if entries:
        yield {"kind": "list", "entries": entries}
    yield _spread_table(results, words)


def _spread_table(results, words):
    """Where the voxels of each cluster come from."""
    share, names, spread = holders(results)
    shares, sites = results.proportions, results.sites
    codes = np.array([sites.index(str(site)) for site in results.column("site")])
    voxels = results.column("n_voxels")
    rows, colors = [], []
    for index, cluster in enumerate(results.clusters):
        per_site = np.array([(shares[codes == s, index] * voxels[codes == s]).sum() for s in range(len(sites))])
        most = int(per_site.argmax())
        rows.append([
            f"Cluster {index + 1}",
            cluster_in_words(results, index) or "–",
            percent(spread[index]),
            f"{percent(share[index])} ({names[index].removeprefix('sub-')})",
            f"{percent(per_site[most] / max(per_site.sum(), 1e-12))} ({sites[most]})",
        ])  # fmt: skip
        colors.append(color_of(cluster, index))
    headers = ["cluster", "largest peak", "scans that hold it", "most in one participant", "most in one site"]
    keep = slice(None) if len(sites) > 1 else slice(0, 4)
    return table_block(headers[keep], [row[keep] for row in rows], words["captions"]["spread"], colors, words=True)


def _components(results, words, pen):
    found = results.components
    if found is None:
        return
    if found.metadata.get("Statements"):
        yield {"kind": "list", "entries": list(found.metadata["Statements"])}
    names = [f"Component {i + 1} · {percent(c['weight'])}" for i, c in enumerate(found.clusters)]
    colors = [color_of(component, index) for index, component in enumerate(found.clusters)]
    peaks = [component.get("peaks", []) for component in found.clusters]
    caption = words["report"]["captions"]["components"]
    yield pen.figure(spectra_figure(found.spectra, found.grid, names, colors, peaks), "components", caption)
    weights = numbered_columns(results.table, "weight")
    if weights:
        headers = ["scan", *(f"component {i + 1}" for i in range(len(weights)))]
        columns = [results.table[name][results.included] for name in weights]
        rows = [[name, *(percent(column[i]) for column in columns)] for i, name in enumerate(results.names())]
        yield table_block(headers, rows, "Mean weight of each component in every scan.")


def _methods(results, words, pen):
    text = compose(group_methods_facts(results), words)
    keys = cited_keys(text)
    yield {"kind": "paragraph", "text": numbered(text)}
    entries = []
    for key in keys:
        reference, doi = reference_in_words(key)
        entries.append({"text": reference, "doi": doi})
    yield {"kind": "references", "entries": entries}


def trouble_section(results, words):
    """Errors of the run and files that are missing or cannot be read, in plain words."""
    blocks = []
    for crash in results.crashes:
        cause = crash.cause.partition(":")[2].strip() or crash.cause
        text = f"The step {crash.step.replace('_', ' ')} failed: {cause}"
        blocks.append({"kind": "alert", "level": "problem", "text": text})
        blocks.append({"kind": "details", "summary": f"Log ({crash.file})", "text": crash.text[-20_000:]})
    for name, problem in results.unreadable:
        text = f"{name} cannot be read ({problem}). Delete it and run the group again."
        blocks.append({"kind": "alert", "level": "problem", "text": text})
    there = {"the table of participants": bool(results.table), "the spectra": results.spectra is not None}
    missing = [name for name, found in there.items() if not found]
    if missing:
        blocks.append({"kind": "alert", "level": "caution", "text": f"Not there: {join(missing)}."})
    blocks += [{"kind": "alert", "level": "caution", "text": text} for text in causes_in_words(results)]
    if not blocks:
        blocks.append({"kind": "alert", "level": "good", "text": "No step failed and nothing is missing."})
    return Section("errors", words["sections"]["errors"], words["short"]["errors"], tuple(blocks))
