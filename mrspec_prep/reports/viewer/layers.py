"""Maps that the viewer can lay over the image, and numbers it shows of a voxel."""

import base64
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, TwoSlopeNorm

from mrspec_prep.bids.output.catalogue import load_catalogue, map_entry, uncertainty_entry
from mrspec_prep.reports.cluster_words import color_of
from mrspec_prep.reports.collect import snr_map
from mrspec_prep.reports.maps.collect import AMPLITUDES, entry_of
from mrspec_prep.reports.maps.tables import short_name
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.style import color_range
from mrspec_prep.reports.viewer.packing import quantised

INTERVAL = ("std", "low", "high", "min", "max")  # numbers that belong to a map and are not drawn
TRUST = ("risk", "residual", "match", "valid", "converged")  # maps on a method, in this order
COLORS = 256  # of a colour table


@dataclass(frozen=True, eq=False)
class Layer:
    """One map as the viewer lists it.

    Parameters
    ----------
    group, title, unit : str
    values : (n_voxels,) array
        In the units of the package.
    entry : dict
        ``colormap`` and ``range`` as in ``maps.toml``; of labels, ``colors`` and ``names`` from label 0 or 1 on.
    about : dict of str to (n_voxels,) array
        Of ``INTERVAL``: what is known of its errors.
    kind : str
        ``value``, ``label`` or ``probability`` (of the labels of ``group``).

    """

    group: str
    title: str
    unit: str
    values: np.ndarray
    entry: dict
    about: dict
    kind: str = "value"


def layers_of(series, words):
    """Layers of one series, those that show most first.

    Parameters
    ----------
    series : SeriesResults
        With a region.
    words : dict
        Content of ``data/report.toml``.

    Returns
    -------
    list of Layer

    """
    roi = series.roi.data.astype(bool)
    parts = (_clusters, _compartments, _parameters, _fractions, _model_maps, _components, _checks)
    return [layer for part in parts for layer in part(series, roi, words)]


def pack_layers(layers, block, levels=None):
    """Headers of layers whose values go to a block.

    Parameters
    ----------
    layers : list of Layer
    block : Block
    levels : int, optional
        Steps between the percentiles 1 and 99 of a map, so that a few far values do not coarsen all others;
        default, and where the far values ask for it: as many as 16 bits hold.

    Returns
    -------
    headers : list of dict
    tables : dict of str to str
        Colour tables by name, base64 of RGB triples.

    """
    headers, tables = [], {}
    for layer in layers:
        entry = layer.entry
        head = {"group": layer.group, "title": layer.title, "unit": layer.unit, "kind": layer.kind}
        head |= {name: entry[name] for name in ("colors", "names", "first", "symbol") if name in entry}
        if layer.kind == "value":
            head |= {"map": entry["colormap"], "range": _range(layer.values, entry["range"])}
            head["log"] = entry["range"] == "log"
            tables.setdefault(entry["colormap"], _table(entry["colormap"]))
        head["values"] = _pack(layer.values, block, head.get("log"), levels)
        head["about"] = {kind: _pack(values, block, levels=levels) for kind, values in layer.about.items()}
        headers.append(head)
    return headers, tables


def _pack(values, block, log=False, levels=None):
    with np.errstate(divide="ignore", invalid="ignore"):
        stored = np.log10(values) if log else np.asarray(values, float)
    known = stored[np.isfinite(stored)]
    step = float(np.subtract(*np.percentile(known, (99, 1)))) / levels if levels and len(known) else None
    codes, scale = quantised(stored, step)
    return block.add(codes) | {"scale": scale}


def _range(values, rule):
    """Ends of the colour scale; three numbers where its middle has a colour of its own."""
    norm = color_range(np.asarray(values, float), rule)
    if isinstance(norm, TwoSlopeNorm):
        return [float(norm.vmin), float(norm.vcenter), float(norm.vmax)]
    ends = np.log10([norm.vmin, norm.vmax]) if isinstance(norm, LogNorm) else [norm.vmin, norm.vmax]
    return [float(end) for end in ends]


def _table(name):
    colors = matplotlib.colormaps[name](np.linspace(0, 1, COLORS))[:, :3]
    return base64.b64encode(np.round(colors * 255).astype(np.uint8).tobytes()).decode("ascii")


def _clusters(series, roi, words):
    labels = inside(series.labels, roi)
    if labels is None:
        return
    n = max(len(series.clusters), int(labels.max(initial=0)))
    clusters = [*series.clusters, *({} for _ in range(n - len(series.clusters)))]
    colors = [color_of(cluster, m) for m, cluster in enumerate(clusters)]
    names = [f"Cluster {m + 1}" for m in range(n)]
    entry = {"colors": colors, "names": names, "first": 1, "symbol": "cluster"}
    yield Layer("Clusters", "Tissue clusters", "", labels, entry, {}, "label")
    found = inside(series.responsibilities, roi)
    yield from _probabilities("Clusters", names, colors, found)


def _compartments(series, roi, words):
    labels, found = inside(series.n_compartments, roi), inside(series.n_compartments_probs, roi)
    about = load_catalogue()["ncomp"]["labels"]
    colors, names = [label["color"] for label in about], [label["name"] for label in about]
    group = map_entry("ncomp-dseg")["title"]
    if labels is not None:
        entry = {"colors": colors, "names": names, "first": 0, "symbol": "compartments"}
        yield Layer(group, group, "", labels, entry, {}, "label")
    yield from _probabilities(group, [f"{name} compartments".replace("one compartments", "one compartment")
                                      for name in names[1:]], colors[1:], found)  # fmt: skip


def _probabilities(group, names, colors, found):
    if found is None or found.ndim != 2 or found.shape[1] != len(names):
        return
    for m, name in enumerate(names):
        entry = {"colors": [colors[m]], "names": [name]}
        yield Layer(group, f"Probability: {name[:1].lower()}{name[1:]}", "", found[:, m], entry, {}, "probability")


def _parameters(series, roi, words):
    for key, found in series.parameters.items():
        values = inside(found, roi)
        if values is not None and key not in ("residual", "gap", "alpha", "shared"):
            entry = map_entry(key)
            yield Layer("Spectrum", entry["title"], entry["unit"], values, entry, _errors(series, key, roi))


def _fractions(series, roi, words):
    for name, found in series.fractions.items():
        if (values := inside(found, roi)) is not None:
            entry = map_entry("fraction") | {"symbol": name}
            yield Layer("Fractions of the spectrum", f"Fraction {name}", "", values, entry, _errors(series, name, roi))
    for name, found in series.visible.items():
        if (values := inside(found, roi)) is not None:
            entry, title = map_entry("visible") | {"symbol": name}, f"Visible fraction {name.removeprefix('visible')}"
            yield Layer("Fractions of the spectrum", title, "", values, entry, _errors(series, name, roi))


def _errors(series, name, roi):
    found = {kind: inside(series.uncertainty.get(kind, {}).get(name), roi) for kind in INTERVAL}
    return {kind: values for kind, values in found.items() if values is not None}


def _model_maps(series, roi, words):
    for method in series.methods.values():
        group = f"{method.model or 'model'}: {short_name(method, words)}"
        for parameter in method.order:
            if (values := inside(method.maps[parameter], roi)) is None:
                continue
            entry = entry_of(method.maps[parameter], parameter, method.about_model)
            about = {kind: inside(getattr(method, kind).get(parameter), roi) for kind in ("std", "low", "high")}
            about = {kind: found for kind, found in about.items() if found is not None}
            yield Layer(group, entry["title"], entry["unit"], values, entry, about)
            if "std" in about and parameter not in AMPLITUDES:
                spread = {"colormap": "cividis", "range": "zero", "symbol": f"std {entry['symbol']}"}
                title = f"{uncertainty_entry('std').get('title', 'Standard deviation')}: {entry['title']}"
                yield Layer(group, title, entry["unit"], about["std"], spread, {})
        for name in TRUST:
            values = inside(method.extras.get(name), roi)
            if values is not None and values.ndim == 1:
                entry = map_entry(f"model-{name}")
                yield Layer(group, entry["title"], entry["unit"], values.astype(float), _drawable(entry), {})


def _components(series, roi, words):
    for index, (name, found) in enumerate(series.components.items()):
        if (values := inside(found, roi)) is not None:
            entry = {"colormap": "magma", "range": [0, 1], "symbol": f"z{index + 1}"}
            yield Layer("Components", f"Weight of {name}", "", values, entry, {})
    if (values := inside(series.mixture_residual, roi)) is not None:
        entry = map_entry("mixture")
        yield Layer("Components", entry["title"], entry["unit"], values, entry, {})


def _checks(series, roi, words):
    for key in ("residual", "alpha", "shared"):
        if (values := inside(series.parameters.get(key), roi)) is not None:
            entry = map_entry(key)
            yield Layer("Trust", entry["title"], entry["unit"], values, _drawable(entry), {})
    snr = snr_map(series)
    if snr is not None:
        entry = map_entry("snr")
        yield Layer("Trust", entry["title"], entry["unit"], snr[roi], entry, {})
    if (values := inside(series.noise, roi)) is not None:
        entry = map_entry("noise")
        yield Layer("Trust", entry["title"], entry["unit"], values, entry, {})


def _drawable(entry):
    """Entry whose colour map is one of matplotlib's."""
    if entry["colormap"] in matplotlib.colormaps:
        return entry
    return entry | {"colormap": "viridis", "range": "percentile"}
