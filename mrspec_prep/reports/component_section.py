"""Section of the report on continuous InSpect: component spectra, their weights, and whether they are unique."""

from mrspec_prep.bids.output.catalogue import axis_entry, cluster_color, map_entry
from mrspec_prep.reports.figures import map_figure, strips_figure
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.spectrum_figures import spectra_figure
from mrspec_prep.reports.words import percent, place_in_words, rough

STRIP_SLICES = 4


def component_blocks(series, words, pen):
    """Blocks of the section; none where continuous InSpect did not run.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    pen : Pen

    Yields
    ------
    dict

    """
    found = series.component_spectra
    if found is None and not series.components:
        return
    captions = words["captions"]
    if found is not None:
        yield {"kind": "list", "entries": list(found.metadata.get("Statements", []))}
        names = [_name(component, index) for index, component in enumerate(found.clusters)]
        colors = [_color(component, index) for index, component in enumerate(found.clusters)]
        peaks = [component.get("peaks", []) for component in found.clusters]
        yield pen.figure(
            spectra_figure(found.spectra, found.grid, names, colors, peaks), "components", captions["components"]
        )
        yield _table(found)
    if series.roi is None or not series.roi.data.any():
        return
    roi = series.roi.data.astype(bool)
    maps = {key: found for key, found in _in_order(series.components) if found.data.shape[:3] == roi.shape}
    if maps:
        clusters = found.clusters if found is not None else [{} for _ in maps]
        titles = [_name(cluster, index) for index, cluster in enumerate(clusters)]
        colors = [_color(cluster, index) for index, cluster in enumerate(clusters)]
        if len(maps) != len(clusters):
            titles, colors = list(maps), [cluster_color(index) for index in range(len(maps))]
        view = choose_view(roi, series.roi.affine, STRIP_SLICES)
        volumes = [component.data for component in maps.values()]
        scale = found.metadata.get("Scale") if found is not None else None
        caption = captions["component_weights"] + (f" {captions['component_shares']}" if scale == "profiled" else "")
        yield pen.figure(
            strips_figure(volumes, roi, view, titles, colors, "gray", "weight"), "component_weights", caption
        )
    left = series.mixture_residual
    if left is not None and left.data.shape[:3] == roi.shape:
        entry = map_entry("mixture")
        figure = map_figure(left.data, roi, choose_view(roi, series.roi.affine), entry)
        yield pen.figure(figure, "mixture", captions["residual"].format(description=entry["description"]))


def _in_order(components):
    """Maps by the number at the end of their names."""
    return sorted(components.items(), key=lambda item: (len(item[0]), item[0]))


def _table(found):
    """One row per component: weight, largest peak and its range, spread of the weights."""
    rows = []
    for index, component in enumerate(found.clusters):
        peaks = component.get("peaks", [])
        place = "\u2013"
        if peaks:
            place = f"{', '.join(place_in_words(peaks[0], found.grid))} ({percent(peaks[0]['fraction'])})"
        rows.append([
            f"Component {index + 1}",
            percent(component["weight"]) if "weight" in component else "",
            place,
            _range_in_words(component.get("main_peak_range", {}), found.grid),
            f"{component['weight_spread']:.3f}" if "weight_spread" in component else "",
        ])  # fmt: skip
    order = ", ".join(axis_entry(axis)["symbol"] for axis in found.grid.names)
    titles = ["component", "mean weight", f"largest peak: {order}", "where else it may lie", "weights open by"]
    colors = [_color(component, index) for index, component in enumerate(found.clusters)]
    note = (
        "In brackets: share of the peak in the component's spectrum. The last two columns: over solutions that fit the "
        "signals as well (range of the peak; root mean square difference of the weights)."
    )
    return table_block(titles, rows, note, colors, words=True)


def _range_in_words(span, grid):
    """Range of a peak per axis: ``1.9 to 2.1 um2/ms, 60 to 66 ms``."""
    parts = []
    for axis in grid.names:
        if axis in span:
            low, high = (rough(value) for value in span[axis])
            ends = low if low == high else f"{low} to {high}"
            parts.append(f"{ends} {axis_entry(axis)['unit']}".strip())
    return ", ".join(parts)


def _name(component, index):
    share = f" · {percent(component['weight'])}" if "weight" in component else ""
    return f"Component {index + 1}{share}"


def _color(component, index):
    return component.get("color") or cluster_color(index)
