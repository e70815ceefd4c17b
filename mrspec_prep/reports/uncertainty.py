"""Report on how well single voxels are known, and on what the protocol allows at best."""

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry, map_entry
from mrspec_prep.reports.figures import strips_figure
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.words import count, number, percent, short

STRIP_SLICES = 4
STRIPS = ("low", "high", "min", "max")
PARTS = {"low": "low end", "high": "high end", "min": "lower bound", "max": "upper bound"}


def uncertainty_blocks(series, words, pen):
    """Blocks on standard deviations, intervals and bounds beside the maps they belong to.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    pen : Pen

    Yields
    ------
    dict
        Nothing where no uncertainty was computed.

    """
    if series.roi is None or not series.uncertainty or not series.roi.data.any():
        return
    roi = series.roi.data.astype(bool)
    yield {"kind": "list", "entries": list(_statements(series, words["uncertainty"]))}
    yield _table(series, roi)
    view = choose_view(roi, series.roi.affine, STRIP_SLICES)
    captions = words["captions"]
    colormap = map_entry("fraction")["colormap"]
    for region, fraction in series.fractions.items():
        known = {part: series.uncertainty.get(part, {}).get(region) for part in STRIPS}
        parts = {part: found for part, found in known.items() if found is not None}
        if not parts or fraction.data.shape != roi.shape:
            continue
        volumes = [fraction.data, *(found.data for found in parts.values())]
        names = [f"{region}: estimate", *(PARTS[part] for part in parts)]
        figure = strips_figure(volumes, roi, view, names, None, colormap, "fraction")
        yield pen.figure(figure, f"range-{region}", captions["range"].format(region=region))
    spread = {name: found for name, found in series.uncertainty.get("std", {}).items() if name in series.fractions}
    if spread:
        highest = float(np.percentile(np.concatenate([found.data[roi] for found in spread.values()]), 98)) or 1.0
        names = [f"{name} · median ± {_median(found.data, roi):.2f}" for name, found in spread.items()]
        volumes = [found.data for found in spread.values()]
        figure = strips_figure(volumes, roi, view, names, None, "cividis", "std", highest=highest)
        yield pen.figure(figure, "spread", captions["spread"])


def limits_table(series):
    """Table of the best that k components could be measured, or None where it is not known."""
    bounds = series.acquisition.get("CramerRaoBounds")
    if not bounds:
        return None
    axes = list(bounds[0]["RelativeErrors"])
    symbols = [f"{axis_entry(axis)['symbol']}, relative error" for axis in axes]
    rows = []
    for bound in bounds:
        errors = [_error(bound["RelativeErrors"][axis]) for axis in axes]
        alone = bound["Components"] == 1
        rows.append([str(bound["Components"]), *errors, "\u2013" if alone else _error(bound["FractionError"])])
    note = (
        "Least standard errors that any unbiased method could reach in one voxel (Cram\u00e9r-Rao bound), for equal "
        "components spread over the range of the protocol; the worst component counts."
    )
    return table_block(["components", *symbols, "fraction, error"], rows, note)


def uncertainty_facts(series):
    """Facts for the methods text; empty where no uncertainty was computed."""
    about = _about(series)
    bounds = series.uncertainty.get("min")
    facts = {"n_resamples": None, "with_bounds": bool(bounds)}
    if about:
        facts["uncertainty_level"] = percent(about["Level"])
        facts["resampling_residual"] = about.get("Resampling") == "residual"
        facts["resampling_parametric"] = about.get("Resampling") == "parametric"
        facts["n_resamples"] = number(about["Resamples"]) if "Resamples" in about else None
    return facts


def _about(series):
    """Sidecar of any uncertainty map."""
    found = [part for parts in series.uncertainty.values() for part in parts.values()]
    return found[0].metadata if found else {}


def _statements(series, words):
    about = _about(series)
    level = percent(about["Level"])
    if "std" in series.uncertainty:
        yield words["bootstrap"].format(n=number(about["Resamples"]), level=level)
        yield words["bias"]
    if "min" in series.uncertainty:
        yield words["simultaneous" if about.get("Simultaneous") else "each"].format(level=level)
        if series.visible:
            yield words["visible"]
        full = about.get("VoxelsComparedInFull") or 0
        if full > 0.1 * series.n_voxels:
            yield words["in_full"].format(share=percent(full / series.n_voxels))
        without = about.get("VoxelsWithoutBounds") or 0
        if without:
            yield words["impossible"].format(n=count(without, "voxel"), share=percent(without / series.n_voxels))


def _table(series, roi):
    """Medians over the region: estimate, standard deviation, interval, bounds."""
    uncertainty = series.uncertainty
    estimates = series.fractions | series.visible | series.parameters
    known = {name for parts in uncertainty.values() for name in parts}
    names = [name for name in estimates if name in known]
    rows = []
    for name in names:
        region = name in series.fractions or name in series.visible
        unit = "" if region else map_entry(name)["unit"]
        title = name if region else map_entry(name)["title"]
        row = [f"{title} [{unit}]" if unit else title]
        row.append(short(_median(estimates[name].data, roi)))
        for parts in (("std",), ("low", "high"), ("min", "max")):
            known = [uncertainty[part][name] for part in parts if name in uncertainty.get(part, {})]
            row.append(" to ".join(short(_median(found.data, roi)) for found in known) or "\u2013")
        rows.append(row)
    headers = ["quantity", "estimate", "standard deviation", "interval", "bounds"]
    keep = [i for i, _ in enumerate(headers) if i < 2 or any(row[i] != "\u2013" for row in rows)]
    note = "Medians over the region, of single voxels."
    return table_block([headers[i] for i in keep], [[row[i] for i in keep] for row in rows], note)


def _median(data, roi):
    return float(np.median(data[roi]))


def _error(value):
    """Relative error in words: beyond 100 % nothing is measured."""
    if isinstance(value, str) or value > 1:
        return "> 100\u202f%"
    return percent(value)
