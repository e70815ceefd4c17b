"""Section on what a scan-specific network changed: a paragraph, a table, and the difference to the voxelwise fit."""

import numpy as np

from mrspec_prep.reports.html import table_block
from mrspec_prep.reports.maps.figures import differences_figure, side_by_side
from mrspec_prep.reports.maps.section import models_of
from mrspec_prep.reports.maps.tables import NONE, colors_of, shared_entry, short_name, short_names
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import reference_among, title_of
from mrspec_prep.reports.scan_cnn.words import change_of, networks_of, relaxation_of, sentences, signed
from mrspec_prep.reports.words import decimals

SCALE = 95  # percentile of the differences at which the colour scale ends


def scan_blocks(series, words, pen):
    """Blocks on the network of one scan; none where it did not run.

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
    for model, methods, roi in models_of(series):
        network, reference = networks_of(methods), reference_among(methods)
        if network is None or reference is None:
            continue
        yield {"kind": "paragraph", "text": " ".join(sentences(methods, roi, words))}
        others = [method for method in methods if method is not reference]
        for parameter in relaxation_of(network):
            there = [method for method in others if inside(method.maps.get(parameter), roi) is not None]
            entry = shared_entry(methods, parameter)
            note = words["scan"]["table_note"] if parameter == relaxation_of(network)[-1] else ""
            yield _table(reference, there, parameter, entry, roi, words, note)
            differences = [method.maps[parameter].data - reference.maps[parameter].data for method in there]
            shown = _about_zero(entry, np.concatenate([one[roi] for one in differences]))
            view = side_by_side(roi, series.roi.affine, len(there))
            figure = differences_figure(short_names(there, words), differences, roi, view, shown)
            caption = words["captions"]["scan_difference"].format(reference=title_of(reference, words))
            yield pen.figure(figure, f"{model.replace('-', '')}-{parameter}-difference", caption)


def _about_zero(entry, differences):
    """Entry of a map's difference: symmetrical about 0."""
    end = float(np.percentile(np.abs(differences), SCALE)) or 1.0
    return entry | {"symbol": f"Δ{entry['symbol']}", "range": [-end, end], "colormap": "RdBu_r"}


def _table(reference, others, parameter, entry, roi, words, note):
    """A row per method: median, scatter from voxel to voxel, how much smoother, and what was changed."""
    texts, rows = words["scan"], []
    alone = change_of(reference, reference, parameter, roi)
    digits = decimals(0.1 * alone.scatter) if np.isfinite(alone.scatter) else 1
    for method in (reference, *others):
        found = change_of(method, reference, parameter, roi)
        row = [short_name(method, words), f"{found.median:.{digits}f}", _number(found.scatter, digits)]
        if method is reference:
            rows.append([*row, *[NONE] * 3])
            continue
        ratio = alone.scatter / found.scatter if found.scatter > 0 else np.nan
        rows.append([*row, _number(ratio, 1), signed(found.difference, alone.scatter), _number(found.alike, 2)])
    unit = f" [{entry['unit']}]"
    headers = [name + unit if name in ("median", "scatter", "difference") else name for name in texts["headers"]]
    headers[0] = f"{entry['symbol']} by"
    note = note.format(reference=title_of(reference, words))
    return table_block(headers, rows, note, colors_of([reference, *others], words))


def _number(value, digits):
    return f"{value:.{digits}f}".replace("-", "\u2212") if np.isfinite(value) else NONE
