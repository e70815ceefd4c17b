"""Sections on parameter maps of signal models: side by side, whom to trust, what was learned."""

import numpy as np

from mrspec_prep.bids.output.catalogue import cluster_color, map_entry, model_entry
from mrspec_prep.reports.maps.figures import direction_figure, methods_figure, prior_figure, risk_figure, side_by_side
from mrspec_prep.reports.maps.plots import Cloud, clouds_figure, histograms_figure, learning_figure, principal, watched
from mrspec_prep.reports.maps.tables import (
    agreement_table,
    colors_of,
    components_table,
    doubts_table,
    header_of,
    intervals_table,
    medians_table,
    parameters_of,
    shared_entry,
    short_name,
    short_names,
)
from mrspec_prep.reports.maps.values import components, doubts, inside
from mrspec_prep.reports.maps.words import by_model, reference_among, unknown_parameters
from mrspec_prep.reports.words import percent, short


def map_blocks(series, words, pen):
    """Blocks that show the maps themselves: numbers, methods side by side, directions, histograms.

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
    for _, methods, roi in models_of(series):
        slug = _slug(methods[0])
        if methods[0].model:
            about = model_entry(methods[0].model)
            yield {"kind": "paragraph", "text": f"{about['title']}: S = {about['equation']}"}
        yield medians_table(methods, roi, words)
        view = side_by_side(roi, series.roi.affine, len(methods))
        titles = short_names(methods, words)
        for parameter in parameters_of(methods):
            entry = shared_entry(methods, parameter)
            estimates = [_volume(method.maps, parameter, roi) for method in methods]
            stds = [_volume(method.std, parameter, roi) for method in methods]
            caption = "maps" if len(methods) > 1 else "maps_1"
            caption = caption if any(std is not None for std in stds) else "maps_no_std"
            figure = methods_figure(titles, estimates, stds, roi, view, entry)
            yield {"kind": "heading", "text": entry["title"]}
            text = words["captions"][caption].format(description=_description(methods, parameter, entry))
            yield pen.figure(figure, f"{slug}-{parameter.replace('_', '')}", text)
        yield from _directions(methods, roi, series.roi.affine, words, pen, slug)
        panels = [
            (shared_entry(methods, parameter), [_finite(inside(method.maps.get(parameter), roi)) for method in methods])
            for parameter in parameters_of(methods)
        ]
        figure = histograms_figure(panels, short_names(methods, words, " "), colors_of(methods, words))
        yield {"kind": "heading", "text": "Distributions"}
        yield pen.figure(figure, f"{slug}-histograms", words["captions"]["histograms"])


def trust_blocks(series, words, pen):
    """Blocks on which map to trust: what cannot be told, agreement in numbers, risk."""
    for _, methods, roi in models_of(series):
        statements = list(unknown_parameters(methods, roi, words))
        if statements:
            yield {"kind": "list", "entries": statements}
        yield from filter(None, (doubts_table(methods, roi, words), intervals_table(methods, roi, words)))
        reference = reference_among(methods)
        others = [method for method in methods if method is not reference]
        if reference and others:
            yield agreement_table(others, reference, roi, words)
        yield from _residuals(methods, roi, series.roi.affine, words, pen)
        risky = [method for method in methods if inside(method.extras.get("risk"), roi) is not None]
        if risky:
            yield {"kind": "heading", "text": "Risk"}
            limit = words["maps"]["limits"]["risk"]
            shares = [percent(doubts(method, roi, limit).at_risk) for method in risky]
            titles = short_names(risky, words, extra=[f"{share} above {short(limit)}" for share in shares])
            view = side_by_side(roi, series.roi.affine, len(risky))
            risks = [method.extras["risk"].data for method in risky]
            figure = risk_figure(titles, risks, roi, view, words["maps"]["risk"]["steps"])
            yield pen.figure(figure, f"{_slug(methods[0])}-risk", words["captions"]["risk"])


def prior_blocks(series, words, pen):
    """Blocks on what methods learned from the scan: components, latent spaces, learning curves."""
    for _, methods, roi in models_of(series):
        slug = _slug(methods[0])
        mixed = [method for method in methods if inside(method.extras.get("dseg"), roi) is not None]
        if mixed:
            found = [components(method, roi) for method in mixed]
            colors = [cluster_color(index) for index in range(max(map(len, found)))]
            certainties = [_certainty(method, roi) for method in mixed]
            reference = series.reference.data if inside(series.reference, roi) is not None else None
            view = side_by_side(roi, series.roi.affine, len(mixed))
            labels = [np.asarray(method.extras["dseg"].data).astype(int) for method in mixed]
            titles = short_names(mixed, words)
            figure = prior_figure(titles, labels, certainties, reference, roi, view, colors)
            yield pen.figure(figure, f"{slug}-components", words["captions"]["prior"])
            yield components_table(mixed, found, roi, words)
        clouds = _clouds(methods, roi, words)
        if clouds:
            yield {"kind": "heading", "text": "Latent space and parameter space"}
            yield pen.figure(clouds_figure(clouds), f"{slug}-latent", words["captions"]["clouds"])
        taught = [method for method in methods if watched(method.history)]
        if taught:
            curves = dict(zip(short_names(taught, words, " "), [method.history for method in taught], strict=True))
            figure = learning_figure(curves, colors_of(taught, words))
            yield {"kind": "heading", "text": "Learning curves"}
            caption = words["captions"]["learning"]
            if any(method.method == "learnedprior" for method in taught):
                caption = f"{caption} {words['captions']['learning_drawn']}"
            yield pen.figure(figure, f"{slug}-learning", caption)


def models_of(series):
    """(model, methods, region) of every model that has maps on the grid of the region."""
    if series.roi is None or not series.roi.data.any():
        return
    roi = series.roi.data.astype(bool)
    for model, methods in by_model(series).items():
        usable = [m for m in methods if any(inside(found, roi) is not None for found in m.maps.values())]
        if usable:
            yield model, usable, roi


def _slug(method):
    return (method.model or "model").replace("-", "")


def _description(methods, parameter, entry):
    owner = next(method for method in methods if parameter in method.maps)
    return owner.maps[parameter].metadata.get("Description", entry["description"])


def _volume(maps, parameter, roi):
    found = maps.get(parameter)
    return found.data if inside(found, roi) is not None else None


def _finite(values):
    return None if values is None else values[np.isfinite(values)]


def _certainty(method, roi):
    """(x, y, z) largest component probability, or None."""
    probs = method.extras.get("probseg")
    return probs.data.max(axis=-1) if inside(probs, roi) is not None else None


def _clouds(methods, roi, words):
    """Latent spaces, then the first two tissue parameters by each method; none where no method learned."""
    latents, parameters = [], []
    for method in methods:
        name = short_name(method, words)
        labels, latent = (inside(method.extras.get(extra), roi) for extra in ("dseg", "latent"))
        labels = None if labels is None else np.asarray(labels).astype(int)
        if latent is not None and latent.shape[1] > 1:
            which = "axis" if latent.shape[1] == 2 else "principal axis"
            axes = tuple(f"latent z, {order} {which}" for order in ("first", "second"))
            latents.append(Cloud(f"{name}: latent", principal(latent), axes, labels, shared=False))
        tissue = method.tissue[:2]
        if len(tissue) == 2:
            points = np.stack([inside(method.maps[parameter], roi) for parameter in tissue], axis=1)
            axes = tuple(header_of(shared_entry([method], parameter)) for parameter in tissue)
            parameters.append(Cloud(f"{name}", points, axes, labels))
    learned = latents or any(cloud.components is not None for cloud in parameters)
    return [*latents, *parameters] if learned else []


def _residuals(methods, roi, affine, words, pen):
    """Figures of the residuals over the noise, and of the match of fingerprints, where they are known."""
    for extra in ("residual", "match"):
        fitted = [method for method in methods if inside(method.extras.get(extra), roi) is not None]
        if fitted:
            entry, view = map_entry(f"model-{extra}"), side_by_side(roi, affine, len(fitted))
            found = [method.extras[extra].data for method in fitted]
            figure = methods_figure(short_names(fitted, words), found, [None] * len(fitted), roi, view, entry)
            yield {"kind": "heading", "text": entry["title"]}
            yield pen.figure(figure, f"{_slug(fitted[0])}-{extra}", words["captions"][f"model_{extra}"])


def _directions(methods, roi, affine, words, pen, slug):
    """Figure of fibre directions, where the model has them."""
    oriented = [method for method in methods if inside(method.extras.get("direction"), roi) is not None]
    if not oriented:
        return
    colors, angles = [], []
    for method in oriented:
        weight = _volume(method.maps, "stick_fraction", roi)
        direction = np.abs(method.extras["direction"].data)
        if weight is not None:
            direction = direction * np.clip(weight / max(np.percentile(weight[roi], 98), 0.1), 0, 1)[..., None]
        colors.append(direction)
        angle = method.extras.get("direction_std")
        angles.append(np.degrees(angle.data) if inside(angle, roi) is not None else None)
    view = side_by_side(roi, affine, len(oriented))
    figure = direction_figure(short_names(oriented, words), colors, angles, roi, view)
    yield {"kind": "heading", "text": map_entry("model-direction")["title"]}
    yield pen.figure(figure, f"{slug}-direction", words["captions"]["directions"])
