"""Section on the number of compartments: maps, shares, and what this protocol and noise can tell."""

import numpy as np

from mrspec_prep.bids.output.catalogue import load_catalogue, map_entry
from mrspec_prep.bids.output.derivative_dataset import NCOMP
from mrspec_prep.reports.compartments.figures import expectation_figure
from mrspec_prep.reports.compartments.words import (
    expectations,
    is_classified,
    reasons_in_words,
    shares_of,
    telling_statements,
)
from mrspec_prep.reports.figures import cluster_figure, strips_figure
from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.words import number, percent

STRIP_SLICES = 4
NONE = "\u2013"


def compartment_blocks(series, words, pen):
    """Blocks on the number of compartments of one series; none where voxels were not classified.

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
    if not is_classified(series):
        return
    texts, roi = words["compartments"], series.roi.data.astype(bool)
    names, colors = _labels()
    yield {"kind": "paragraph", "text": texts["meaning"]}
    yield pen.figure(_map(series, roi, names, colors), "ncomp", words["captions"]["ncomp"])
    yield _shares_table(series, texts, names, colors)
    reasons = reasons_in_words(series, texts)
    if reasons:
        yield {"kind": "paragraph", "text": reasons}
    probabilities = series.n_compartments_probs
    if inside(probabilities, roi) is not None:
        entry, few = map_entry("ncomp-probseg"), choose_view(roi, series.roi.affine, STRIP_SLICES)
        volumes, titles = np.moveaxis(probabilities.data, -1, 0), [name.capitalize() for name in names[1:]]
        figure = strips_figure(volumes, roi, few, titles, None, entry["colormap"], "probability")
        yield pen.figure(figure, "ncomp-probabilities", words["captions"]["ncomp_probabilities"])
    yield from _expected(series, words, pen, names[1:], colors[1:])


def _labels():
    """Names and colours of the labels, undecided first."""
    labels = load_catalogue()[NCOMP]["labels"]
    return [label["name"] for label in labels], [label["color"] for label in labels]


def _map(series, roi, names, colors):
    """Numbers over the reference, undecided voxels last in the legend."""
    found = np.asarray(series.n_compartments.data).astype(int)
    shown = np.where(roi, np.where(found == 0, len(names), found), 0)
    shares = shares_of(series)
    order = [*range(1, len(names)), 0]
    legend = [f"{names[k]} · {percent(shares[k])}" for k in order]
    reference = series.reference.data if inside(series.reference, roi) is not None else None
    view = choose_view(roi, series.roi.affine)
    return cluster_figure(shown, reference, view, [colors[k] for k in order], legend)


def _shares_table(series, texts, names, colors):
    """A row per number: voxels, mean probability, and how often simulated mixtures are found and confused."""
    shares, found = shares_of(series), expectations(series)
    mean = series.n_compartments.metadata.get("MeanProbabilities", [None] * 4)
    rows = []
    for k in (1, 2, 3, 4, 0):
        cells = [names[k].capitalize(), number(int(round(shares[k] * series.n_voxels))), percent(shares[k])]
        cells.append(NONE if k == 0 or mean[k - 1] is None else percent(mean[k - 1]))
        if found is not None:
            decided, told = found.decisions[:, k].sum(), found.decisions[k - 1, k] if k else 0
            of_kind = found.decisions[k - 1].sum() if k else found.decisions.sum()
            cells.append(percent((told if k else decided) / of_kind))
            cells.append(percent(told / decided) if k and decided else NONE)
        rows.append(cells)
    headers = ["compartments", "voxels", "share", "mean probability"]
    headers += ["found, of such signals", "right, where decided"] if found is not None else []
    note = texts["shares_note"] if found is not None else texts["shares_note_plain"]
    return table_block(headers, rows, note, [colors[k] for k in (1, 2, 3, 4, 0)])


def _expected(series, words, pen, names, colors):
    """What simulation at this protocol and noise says."""
    found = expectations(series)
    if found is None:
        return
    yield {"kind": "heading", "text": words["compartments"]["telling"]}
    yield {"kind": "list", "entries": list(telling_statements(series, words["compartments"]))}
    figure = expectation_figure(
        found.confusion, found.alarms, found.detections, found.auc, found.reliability, names, colors
    )
    caption = words["captions"]["ncomp_expected"].format(n=number(found.n_signals), ece=f"{found.ece:.3f}")
    yield pen.figure(figure, "ncomp-expected", caption)
