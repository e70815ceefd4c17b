"""Sections of a report on one series, in reading order; a section without data is left out."""

from pathlib import Path

import numpy as np

from mrspec_prep.bids.atomic import write_if_changed
from mrspec_prep.bids.output.catalogue import axis_entry, map_entry
from mrspec_prep.reports.cluster_words import cluster_name, color_of, legend_of
from mrspec_prep.reports.collect import snr_map
from mrspec_prep.reports.compartments.section import compartment_blocks
from mrspec_prep.reports.component_section import component_blocks
from mrspec_prep.reports.facts import acquisition_table, grid_in_words, known_contrasts
from mrspec_prep.reports.figures import cluster_figure, map_figure, outline_figure, strips_figure
from mrspec_prep.reports.html import Section, figure_block, table_block
from mrspec_prep.reports.maps.section import map_blocks, prior_blocks, trust_blocks
from mrspec_prep.reports.methods import cited_keys, compose, methods_facts, numbered, reference_in_words
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.overview import overview_blocks
from mrspec_prep.reports.resolution import unresolved_axes
from mrspec_prep.reports.scan_cnn.section import scan_blocks
from mrspec_prep.reports.schedule_section import is_schedule, schedule_blocks
from mrspec_prep.reports.spectrum_figures import (
    MAX_PEAKS,
    NEUTRAL,
    overlay_figure,
    protocol_figure,
    selection_figure,
    spectra_figure,
)
from mrspec_prep.reports.uncertainty import limits_table, uncertainty_blocks
from mrspec_prep.reports.verdict import GAP_OK, noise_method
from mrspec_prep.reports.viewer.block import viewer_blocks
from mrspec_prep.reports.words import capital, join, number, percent, place_in_words, power, printed_units, short

SHORT = {
    "verdict": "Verdict",
    "viewer": "Viewer",
    "acquisition": "Acquisition",
    "mask": "Region and noise",
    "identifiability": "What it can tell",
    "spectra": "Spectra",
    "clusters": "Clusters",
    "selection": "Cluster number",
    "components": "Components",
    "parameters": "Maps",
    "modelmaps": "Model maps",
    "modeltrust": "Trust",
    "scancnn": "Network",
    "modelprior": "Learned",
    "compartments": "Compartments",
    "uncertainty": "Uncertainty",
    "residuals": "Residuals",
    "methods": "Methods",
}
CHECKS = ("residual", "gap")  # parameters that have a section of their own
STRIP_SLICES = 4
ENOUGH_DEGREES = 15  # of the noise level, above which the Gaussian count of clusters holds (benchmarks.noise_models)


class Pen:
    """Writes the figures of one series and gives blocks that hold them.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.
    subject : str
        Label.
    slug : str
        Tells the series from others of the participant.

    """

    def __init__(self, out_dir, subject, slug):
        self.out_dir = Path(out_dir)
        self.folder = self.out_dir / f"sub-{subject}" / "figures"
        self.stem = f"sub-{subject}_{slug}"
        self.shown = f"sub-{subject}/figures"
        self.written = set()

    def figure(self, svg, name, caption):
        """Write a figure and give its block."""
        path = write_if_changed(self.folder / f"{self.stem}_{name}.svg", svg)
        self.written.add(path.name)
        return figure_block(svg, caption, f"{self.shown}/{path.name}")


def series_sections(series, words, pen, crashed, share=1.0):
    """All sections of one series that have something to show.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    pen : Pen
    crashed : bool
        Whether a step of the participant failed.
    share : float
        Of the page's room for the viewer's data that this series may take.

    Returns
    -------
    list of Section

    """
    parts = {
        "verdict": lambda: overview_blocks(series, words, crashed),
        "viewer": lambda: viewer_blocks(series, words, pen.out_dir, share),
        "acquisition": lambda: _acquisition(series, words, pen),
        "mask": lambda: _mask(series, words, pen),
        "identifiability": lambda: _identifiability(series),
        "spectra": lambda: _spectra(series, words, pen),
        "clusters": lambda: _clusters(series, words, pen),
        "selection": lambda: _selection(series, words, pen),
        "components": lambda: component_blocks(series, words, pen),
        "parameters": lambda: _parameters(series, words, pen),
        "uncertainty": lambda: uncertainty_blocks(series, words, pen),
        "modelmaps": lambda: map_blocks(series, words, pen),
        "modeltrust": lambda: trust_blocks(series, words, pen),
        "scancnn": lambda: scan_blocks(series, words, pen),
        "modelprior": lambda: prior_blocks(series, words, pen),
        "compartments": lambda: compartment_blocks(series, words, pen),
        "residuals": lambda: _residuals(series, words, pen),
        "methods": lambda: _methods(series, words),
    }
    found = []
    for name, make in parts.items():
        blocks = tuple(make())
        if blocks:
            found.append(Section(f"{series.slug}_{name}", words["sections"][name], SHORT[name], blocks))
    return found


def _acquisition(series, words, pen):
    if not series.columns:
        return
    about = series.acquisition
    sentences = []
    if about.get("Joined"):
        sentences.append(_sentence(about["Joined"]))
    if about.get("Workflow"):
        why = f": {about['WhyWorkflow']}" if about.get("WhyWorkflow") else ""
        sentences.append(_sentence(f"Workflow {about['Workflow']}{why}"))
    if sentences:
        yield {"kind": "paragraph", "text": " ".join(sentences)}
    if about.get("Notes"):
        yield {"kind": "list", "entries": [_sentence(note) for note in dict.fromkeys(about["Notes"])]}
    if is_schedule(series.columns):
        yield from schedule_blocks(series.columns, words, pen)
        return
    contrasts = {name: values for name, values in known_contrasts(series.columns).items() if name != "TR"}
    n_varying = sum(len(np.unique(values)) > 1 for values in contrasts.values())
    if n_varying:
        caption = words["captions"]["protocol" if n_varying > 1 else "protocol_1"]
        yield pen.figure(protocol_figure(series.columns), "protocol", caption)
    folded = "Numbers of volumes as a table" if n_varying else ""
    table = acquisition_table(series.columns)
    yield table_block(**table | {"note": table["note"].removeprefix("Number of volumes.").strip()}, folded=folded)


def _mask(series, words, pen):
    view = _view(series)
    if view is None:
        return
    roi = series.roi.data.astype(bool)
    if _fits(series.reference, series):
        figure = outline_figure(series.reference.data, roi, view)
        caption = "outline_frames" if series.reference.key == "frames" else "outline"
        yield pen.figure(figure, "roi", words["captions"][caption])
    snr = snr_map(series)
    if snr is not None:
        caption = words["captions"]["snr"].format(method=noise_method(series) or "unknown method")
        note = series.noise.metadata.get("NoiseNote")
        figure = map_figure(snr, roi, view, map_entry("snr"))
        yield pen.figure(figure, "snr", f"{caption} {_sentence(note)}" if note else caption)


def _told(axis, acquisition):
    """What the protocol tells along an axis: nothing finer in single voxels than a factor that was found."""
    if axis not in acquisition["ResolvedAxes"]:
        return "its mean only"
    factors = acquisition.get("SeparableFactor") or {}
    return "its mean only in single voxels" if factors.get(axis) == "n/a" else "its structure"


def _identifiability(series):
    if series.grid is None and not {"nnls", "inspect"} & set(series.missing_steps()):
        return  # of spectra, and none were wanted
    statements = series.acquisition.get("Identifiability")
    if isinstance(statements, str):
        statements = [statements]
    if statements:
        yield {"kind": "list", "entries": [_sentence(text) for text in statements]}
    rows = []
    resolved, grid = series.acquisition.get("ResolvedAxes"), series.grid
    if resolved is not None and grid is not None:
        for name, values in zip(grid.names, grid.axes, strict=True):
            entry = axis_entry(name)
            span = f"{short(values[0])} to {short(values[-1])} {entry['unit']}".strip()
            rows.append([entry["title"], _told(name, series.acquisition), span])
        yield table_block(["axis", "the protocol resolves", "grid"], rows, words=True)
    limits = limits_table(series)
    if limits:
        yield limits


def _spectra(series, words, pen):
    grid = series.grid
    if grid is None:
        return
    mean, clusters = series.mean_spectrum, series.cluster_spectra
    same_grid = clusters is not None and clusters.grid.shape == grid.shape
    spectra, names, colors, peaks = [], [], [], []
    if mean is not None:
        spectra.append(mean.spectra[0])
        names.append("Mean of all voxels")
        colors.append(NEUTRAL)
        peaks.append(mean.clusters[0]["peaks"])
    if same_grid:
        for index, cluster in enumerate(series.clusters):
            spectra.append(clusters.spectra[index])
            names.append(cluster_name(cluster, index))
            colors.append(color_of(cluster, index))
            peaks.append(cluster["peaks"])
    caption = words["captions"][f"spectra_{min(len(grid.shape), 3)}d"]
    figure = spectra_figure(np.array(spectra), grid, names, colors, peaks)
    yield pen.figure(figure, "spectra", f"{caption} Grid: {grid_in_words(grid)}.")
    if same_grid and len(grid.shape) == 2:
        first = 0 if mean is None else 1
        figure = overlay_figure(clusters.spectra, grid, names[first:], colors[first:], peaks[first:])
        yield pen.figure(figure, "overlay", words["captions"]["overlay"])
    if same_grid:
        yield peak_table(series, series.slug, unresolved_axes(series))


def peak_table(series, viewer, unresolved=()):
    """Clusters as a table, one row each with its largest peaks; a row shows its cluster in the viewer of that name."""
    clusters, grid = series.clusters, series.grid
    n_peaks = max([1, *(min(len(cluster["peaks"]), MAX_PEAKS) for cluster in clusters)])
    rows = []
    for index, cluster in enumerate(clusters):
        cells = [f"{', '.join(place_in_words(p, grid))} ({percent(p['fraction'])})" for p in cluster["peaks"][:n_peaks]]
        share = percent(cluster["weight"]) if "weight" in cluster else ""
        name = f"Cluster {index + 1}"
        show = {"viewer": viewer, "what": "cluster", "index": index, "label": f"Show {name.lower()} in the viewer"}
        rows.append([{"text": name, "show": show}, share, *cells, *["\u2013"] * (n_peaks - len(cells))])
    order = ", ".join(axis_entry(axis)["symbol"] for axis in grid.names)
    titles = [f"{which} peak: {order}" for which in ("largest", "second", "third")[:n_peaks]]
    colors = [color_of(cluster, index) for index, cluster in enumerate(clusters)]
    note = "In brackets: share of the peak in the cluster's spectrum."
    if unresolved:
        symbols = join([axis_entry(axis)["symbol"] for axis in unresolved])
        note += f" Where a peak lies along {symbols} is no evidence: the protocol tells its mean only."
    return table_block(["cluster", "of voxels", *titles], rows, note, colors, words=True)


def _clusters(series, words, pen):
    view = _view(series)
    if view is None:
        return
    roi = series.roi.data.astype(bool)
    if _fits(series.labels, series):
        n_labels = max(len(series.clusters), int(series.labels.data.max()))
        clusters = list(series.clusters) + [{} for _ in range(n_labels - len(series.clusters))]
        colors = [color_of(cluster, index) for index, cluster in enumerate(clusters)]
        legend = [legend_of(cluster, index, series.grid) for index, cluster in enumerate(clusters)]
        reference = series.reference.data if _fits(series.reference, series) else None
        figure = cluster_figure(series.labels.data, reference, view, colors, legend)
        yield pen.figure(figure, "clusters", words["captions"]["clusters"])
    few = choose_view(roi, series.roi.affine, STRIP_SLICES)
    if _fits(series.responsibilities, series):
        volumes = np.moveaxis(series.responsibilities.data, -1, 0)
        clusters = list(series.clusters) or [{} for _ in volumes]
        if len(clusters) == len(volumes):
            names = [cluster_name(cluster, index) for index, cluster in enumerate(clusters)]
            colors = [color_of(cluster, index) for index, cluster in enumerate(clusters)]
            figure = strips_figure(volumes, roi, few, names, colors, "gray", "probability")
            yield pen.figure(figure, "responsibilities", words["captions"]["responsibilities"])
    fractions = {name: found for name, found in series.fractions.items() if _fits(found, series)}
    if fractions:
        entry = map_entry("fraction")
        volumes = [found.data for found in fractions.values()]
        names = [_region_name(name, found, roi) for name, found in fractions.items()]
        figure = strips_figure(volumes, roi, few, names, None, entry["colormap"], "fraction")
        bounds = [_bounds(name, found.metadata) for name, found in fractions.items()]
        caption = words["captions"]["fractions"].format(regions=" ".join(text for text in bounds if text))
        yield pen.figure(figure, "fractions", caption.strip())


def _selection(series, words, pen):
    vague = ""
    if _noise_is_vague(series):
        degrees = number(series.noise.metadata["DegreesOfFreedom"])
        vague = words["captions"]["vague_noise"].format(degrees=degrees)
    yield from selection_blocks(series, words["captions"]["selection"], pen, vague)


def selection_blocks(series, caption, pen, warning=""):
    """Curves and table of the numbers of clusters tried; curves and warning only where several were."""
    table = series.selection
    if "n_clusters" not in table or len(table["n_clusters"]) == 0:
        return
    chosen = int(series.selection_facts.get("Chosen", len(series.clusters) or table["n_clusters"][0]))
    criterion = str(series.selection_facts.get("Criterion", "bic"))
    if len(table["n_clusters"]) > 1:
        figure = selection_figure(table, chosen, criterion)
        yield pen.figure(figure, "selection", caption)
        if warning:
            yield {"kind": "paragraph", "text": warning}
    titles = {"n_clusters": "clusters", "log_likelihood": "log-likelihood", "n_parameters": "parameters", "bic": "BIC",
              "aic": "AIC", "held_out": "held-out", "stability": "stability", "n_steps": "steps",
              "converged": "converged"}  # fmt: skip
    shown = [name for name in titles if name in table and not np.isnan(np.asarray(table[name], float)).all()]
    rows = [[_entry_of_table(name, table[name][row]) for name in shown] for row in range(len(table["n_clusters"]))]
    folded = "The curves as a table" if len(rows) > 1 else ""
    yield table_block([titles[name] for name in shown], rows, folded=folded)


def _noise_is_vague(series):
    """Whether the noise level rests on so few repeats that its error passes for clusters, and nothing allows for it."""
    about = series.noise.metadata if series.noise else {}
    allowed = about.get("NoiseDistribution", "gaussian") != "gaussian" or "NoiseShared" in series.selection_facts
    degrees = about.get("DegreesOfFreedom")
    return degrees is not None and degrees < ENOUGH_DEGREES and not allowed


def _parameters(series, words, pen):
    view = _view(series)
    if view is None:
        return
    for key, found in series.parameters.items():
        if key not in CHECKS and _fits(found, series):
            yield from _map_blocks(series, words, pen, view, key, "parameter")


def _residuals(series, words, pen):
    view = _view(series)
    if view is None:
        return
    for key in CHECKS:
        if not _fits(series.parameters.get(key), series):
            continue
        if key == "gap" and (largest := float(series.values(key).max())) < GAP_OK:
            text = words["captions"]["gap_small"].format(gap=power(largest))
            yield {"kind": "paragraph", "text": text}
        else:
            yield from _map_blocks(series, words, pen, view, key, key)


def _map_blocks(series, words, pen, view, key, caption):
    entry, found = map_entry(key), series.parameters[key]
    figure = map_figure(found.data, series.roi.data.astype(bool), view, entry)
    yield {"kind": "heading", "text": entry["title"]}
    yield pen.figure(figure, key, words["captions"][caption].format(description=_description(found, entry)))


def _description(found, entry):
    """What a map holds, as its sidecar says it where it does."""
    return found.metadata.get("Description", entry["description"])


def _methods(series, words):
    text = compose(methods_facts(series, words), words)
    keys = cited_keys(text)
    yield {"kind": "paragraph", "text": numbered(text)}
    entries = []
    for key in keys:
        reference, doi = reference_in_words(key)
        entries.append({"text": reference, "doi": doi})
    yield {"kind": "references", "entries": entries}


def _view(series):
    if series.roi is None or not series.roi.data.any():
        return None
    return choose_view(series.roi.data.astype(bool), series.roi.affine)


def _fits(found, series):
    """Whether a map is there and lies on the grid of the region."""
    return found is not None and series.roi is not None and found.data.shape[:3] == series.roi.data.shape


def _region_name(name, found, roi):
    values = found.data[roi]
    return f"{name} · median {percent(float(np.median(values)))}" if len(values) else name


def _bounds(name, metadata):
    """Where a region lies on the grid, in words, where its sidecar says it."""
    bounds = metadata.get("Bounds")
    if not isinstance(bounds, dict) or not bounds:
        return ""
    parts = []
    for axis, (low, high) in bounds.items():
        entry = axis_entry(axis)
        high = short(high) if high is not None and np.isfinite(high) else "∞"
        parts.append(f"{entry['symbol']} {short(low or 0)}\u2013{high} {entry['unit']}".strip())
    return f"{name}: {join(parts)}."


def _entry_of_table(name, value):
    if name == "converged":
        return "yes" if value else "no"
    digits = {"n_parameters": 1, "stability": 2}
    return f"{float(value):.{digits[name]}f}" if name in digits else number(float(value))


def _sentence(text):
    text = printed_units(capital(str(text).strip()))
    return text if text.endswith((".", "!", "?")) else f"{text}."
