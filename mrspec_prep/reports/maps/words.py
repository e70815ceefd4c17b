"""What parameter maps are worth, in words: remarks of the verdict and facts of the methods text."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.bids.output.catalogue import model_entry
from mrspec_prep.reports.maps.collect import FINGERPRINT, entry_of
from mrspec_prep.reports.maps.values import agreement, collapsed, doubts, inside
from mrspec_prep.reports.remark import CAUTION, GOOD, PROBLEM, Remark
from mrspec_prep.reports.words import capital, join, number, percent, short

#: every voxel on its own; the first that ran is what others are held against
REFERENCES = ("lsq", "varpro", "rician", "dictionary")
LEARNING = {"lsqgmm", "learnedprior", "vae", "gmmvae"}  # methods whose prior is learned from the voxels
ALL = 0.0005  # share of voxels that may be missing from nearly all


@dataclass(frozen=True)
class Trust:
    """Whose maps to read first.

    Parameters
    ----------
    method : MethodMaps
    passed_over : tuple of MethodMaps
        Methods that would come first but are at risk in too many voxels.

    """

    method: object
    passed_over: tuple


def by_model(series):
    """Methods with maps of each model: model -> list of MethodMaps."""
    models = {}
    for (model, _), method in series.methods.items():
        if method.maps:
            models.setdefault(model, []).append(method)
    return models


def title_of(method, words):
    """Name of a method as a sentence says it."""
    return words["maps"]["methods"][method.method]["title"]


def model_title(model):
    """Name of a model as a sentence says it."""
    title = model_entry(model)["title"] if model else "signal"
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def symbol_of(methods, parameter):
    """Symbol of a parameter."""
    owner = next(method for method in methods if parameter in method.maps)
    return entry_of(owner.maps[parameter], parameter, owner.about_model)["symbol"]


def published(method):
    """Whether a network ran with the settings of the paper."""
    return method.metadata.get("MethodSettings", {}).get("base") == "paper"


def reference_among(methods):
    """Least squares where it ran, else the likelihood of magnitudes, else None."""
    ran = {method.method: method for method in methods}
    return next((ran[name] for name in REFERENCES if name in ran), None)


def trusted(methods, roi, words):
    """Whom to read first: the first in the order of trust whose risk is low and whose maps are not flat.

    Networks with the settings of the paper come after all others.

    Parameters
    ----------
    methods : list of MethodMaps
        Of one model.
    roi : (x, y, z) bool array
    words : dict
        Content of ``data/report.toml``.

    Returns
    -------
    Trust

    """
    limits, order = words["maps"]["limits"], words["maps"]["trust"]
    passed, reference = [], reference_among(methods)
    usable = [method for method in methods if reference is None or not collapsed(method, reference, roi)]
    for method in sorted(usable, key=lambda method: (published(method), order.index(method.method))):
        share = doubts(method, roi, limits["risk"]).at_risk
        if share is not None and share > limits["risk_share"] and reference:
            passed.append(method)
        else:
            return Trust(method, tuple(passed))
    return Trust(passed[0], ())


def remarks_on_maps(series, words, noise_method):
    """Remarks on every model's maps: whom to trust, misfit, doubtful voxels, what the signal does not tell.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    noise_method : str
        How the noise level was found.

    Yields
    ------
    Remark

    """
    if not series.n_voxels:
        return
    roi = series.roi.data.astype(bool)
    for methods in by_model(series).values():
        yield from _trust(series, methods, roi, words)
        if LEARNING & {method.method for method in methods} and series.n_voxels < words["maps"]["limits"]["few_voxels"]:
            yield Remark(words["maps"]["verdict"]["few"].format(n_voxels=number(series.n_voxels)), CAUTION)
        yield from _misfit(series, methods, roi, words, noise_method)
        yield from _doubts(methods, roi, words)
        yield from (Remark(text) for text in unknown_parameters(methods, roi, words))


def unknown_parameters(methods, roi, words):
    """Sentences on parameters that the signal does not tell in many voxels, and on the limits of the model."""
    note = words["maps"]["models"].get(methods[0].model, {}).get("note")
    if note:
        yield note
    method = trusted(methods, roi, words).method
    for rule in words["maps"]["unknown"]:
        values = inside(method.maps.get(rule["given"]), roi) if rule["model"] == method.model else None
        if values is None:
            continue
        share = float((values > rule["above"]).mean() if "above" in rule else (values < rule["below"]).mean())
        if share > words["maps"]["limits"]["unknown_share"]:
            yield rule["text"].format(share=percent(share))


def maps_facts(series, words):
    """Facts for the methods text; empty where no maps were fitted."""
    models = by_model(series)
    if not models:
        return {}
    model, methods = next(iter(models.items()))
    about = methods[0].metadata
    if model == FINGERPRINT:
        return fingerprint_facts(methods, words)
    entry = model_entry(model) if model else {}
    cited = f" [{'; '.join(f'@{key}' for key in entry['references'])}]" if entry.get("references") else ""
    rician = [method for method in methods if method.metadata.get("Distribution") == "rician"]
    kind = methods[0].about_model
    return {
        "maps_model": model_title(model) if model else None,
        "maps_model_cited": cited,
        "maps_equation": entry.get("equation"),
        "maps_n_volumes": number(about["NVolumes"]) if "NVolumes" in about else None,
        "maps_powder": kind is not None and "bvalue" in kind.needs and not kind.oriented,
        "maps_rician_methods": join([title_of(method, words) for method in rician]) or None,
        "maps_risk": any("risk" in method.extras for method in methods),
        "maps_risk_of": title_of(reference_among(methods), words) if reference_among(methods) else None,
        "maps_risk_limit": number(words["maps"]["limits"]["risk"]),
        **{f"maps_{method.method}": True for method in methods},
        **_network_facts(methods),
    }


def fingerprint_facts(methods, words):
    """Facts for the methods text of fingerprinting maps."""
    about = methods[0].metadata
    return {
        "mrf_n_frames": number(about["NFrames"]) if "NFrames" in about else None,
        "mrf_n_atoms": number(about["NAtoms"]) if "NAtoms" in about else None,
        "mrf_rank": number(about["Rank"]) if "Rank" in about else None,
        "mrf_power": f"{100 * about['SubspacePower']:.2f}\u202f%" if "SubspacePower" in about else None,
        "mrf_magnitude": bool(about.get("Magnitude")),
        "mrf_sampling": _known_sampling(about),
        "maps_risk": any("risk" in method.extras for method in methods),
        "maps_risk_of": title_of(reference_among(methods), words) if reference_among(methods) else None,
        "maps_risk_limit": number(words["maps"]["limits"]["risk"]),
        **{f"mrf_{method.method}": True for method in methods},
        "mrf_paper": any(published(method) for method in methods),
    }


def _known_sampling(about):
    """Number of interleaves whose point spreads were used, in words; None where none were."""
    sampling = str(about.get("MethodSettings", {}).get("sampling", "unknown"))
    return None if sampling == "unknown" else sampling


def _network_facts(methods):
    """How the network of one scan was taught; empty where none was."""
    about = next((m.metadata.get("MethodSettings", {}) for m in methods if m.method == "scancnn"), None)
    if about is None:
        return {}
    return {
        "maps_scancnn_shipped": about.get("start") == "shipped" and about.get("base") != "paper",
        "maps_scancnn_random": about.get("start") == "random" and about.get("base") != "paper",
        "maps_scancnn_step": number(about["best_step"]) if "best_step" in about else None,
        "maps_scancnn_paper": about.get("base") == "paper",
        "maps_scancnn_steps": number(about["n_steps"]) if "n_steps" in about else None,
    }


def fitted(series, words):
    """Sentences on what was mapped, one per model."""
    return [_fitted(series, *item, words) for item in by_model(series).items()] if series.n_voxels else []


def _fitted(series, model, methods, words):
    first = methods[0]
    names = [entry_of(first.maps[p], p, first.about_model)["title"] for p in first.tissue]
    names = [name if name[:2].isupper() or name[1:2].isdigit() else name[:1].lower() + name[1:] for name in names]
    n_volumes = len(next(iter(series.columns.values()), ()))
    used = first.metadata.get("NVolumes", n_volumes)
    return capital(
        words["maps"]["verdict"]["fitted"].format(
            parameters=join(names),
            were="were" if len(names) > 1 else "was",
            model=model_title(model),
            n_voxels=number(series.n_voxels),
            n_volumes=number(used) if used == n_volumes else f"{number(used)} of {number(n_volumes)}",
            methods=join([title_of(method, words) for method in methods]),
        )
    )


def _trust(series, methods, roi, words):
    """Which method to read, and why."""
    texts, limits = words["maps"]["verdict"], words["maps"]["limits"]
    if series.acquisition.get("Settings", {}).get("maps", {}).get("settings") == "paper":
        yield Remark(texts["paper"], CAUTION)
    for method in methods if reference_among(methods) else ():
        flat = collapsed(method, reference_among(methods), roi)
        if flat:
            symbols = join([symbol_of(methods, parameter) for parameter in flat])
            text = texts["collapsed"].format(method=capital(title_of(method, words)), symbols=symbols)
            yield Remark(text, CAUTION, words["verdict"]["look_compared"])
    if len(methods) == 1:
        name = title_of(methods[0], words)
        key = "alone" if methods[0].method not in REFERENCES else "alone_lsq" if methods[0].std else "alone_voxel"
        yield Remark(texts[key].format(method=name))
        return
    trust, reference = trusted(methods, roi, words), reference_among(methods)
    name = title_of(trust.method, words)
    said = {"method": name, "limit": number(limits["risk"])}
    said["reference"] = title_of(reference, words) if reference else texts["voxel_alone"]
    if trust.passed_over:
        share = max(doubts(method, roi, limits["risk"]).at_risk for method in trust.passed_over)
        names = capital(join([title_of(method, words) for method in trust.passed_over]))
        key = "passed_1" if len(trust.passed_over) == 1 else "passed"
        key = "passed_network" if [method.method for method in trust.passed_over] == ["scancnn"] else key
        text = texts[key].format(methods=names, share=percent(share), **said)
        yield Remark(text, CAUTION, words["verdict"]["look_risk"])
        return
    gains = {}
    for parameter in trust.method.tissue if reference and reference is not trust.method else ():
        found = agreement(trust.method, reference, parameter, roi)
        if found is not None and found.ratio is not None:
            gains[parameter] = found.ratio
    why = words["maps"]["methods"][trust.method.method].get("why")
    why = f" ({why})" if why and trust.method.model == "msdki" and not published(trust.method) else ""
    if gains:
        parameter, ratio = min(gains.items(), key=lambda item: item[1])
        said |= {"symbol": symbol_of(methods, parameter), "ratio": percent(ratio), "why": why}
        key = "first" if ratio < limits["gain"] else "same" if ratio <= 1 / limits["gain"] else "less"
        text = texts[key].format(**said)
        yield Remark(capital(text) if key == "less" else text)
    else:
        yield Remark(texts["first_plain"].format(why=why, **said))
    share = doubts(trust.method, roi, limits["risk"]).at_risk
    if share is not None:
        key = "calm_all" if share <= ALL else "calm" if reference else "calm_alone"
        yield Remark(texts[key].format(share=percent(share), **said))


def _misfit(series, methods, roi, words, noise_method):
    """Whether the model explains the signal, by the method to read first."""
    texts, limits = words["maps"]["verdict"], words["maps"]["limits"]
    method = trusted(methods, roi, words).method
    model, n_encodings = method.about_model, method.metadata.get("NEncodings")
    n_free = len(model.names) - model.oriented if model else 0  # a direction has two free numbers
    if n_encodings is not None and n_encodings <= n_free:
        yield Remark(texts["no_test"].format(model=model_title(method.model), n=number(n_encodings)), CAUTION)
        return
    if method.model == FINGERPRINT:
        yield from _match(reference_among(methods) or method, roi, words)
    residual = inside(method.extras.get("residual"), roi)
    if residual is None or not np.isfinite(residual).any():
        return
    middle = float(np.nanmedian(residual))
    said = {"residual": f"{middle:.2f}", "model": model_title(method.model)}
    if noise_method == "residual":
        told = series.values("residual") is not None  # by the remark on the spectra
        text = texts["residual_circular_too"] if told else words["verdict"]["residual_circular"]
        yield Remark(text.format(**said))
    elif middle > limits["residual_high"]:
        weight = PROBLEM if middle > limits["residual_bad"] else CAUTION
        yield Remark(texts["residual_high"].format(**said), weight, texts["look_residual"])
    elif middle < limits["residual_low"]:
        yield Remark(texts["residual_low"].format(**said), CAUTION, texts["look_residual"])
    else:
        yield Remark(texts["residual_good"].format(**said), GOOD)


def _match(method, roi, words):
    """Whether the schedule explains the fingerprints of the voxels alone."""
    texts, match = words["maps"]["verdict"], inside(method.extras.get("match"), roi)
    if match is None:
        return
    said = {"match": f"{np.median(match):.3f}", "method": title_of(method, words)}
    if np.median(match) < words["maps"]["limits"]["match_low"]:
        yield Remark(texts["match_low"].format(**said), CAUTION, texts["look_match"])
    else:
        yield Remark(texts["match_good"].format(**said), GOOD)


def _doubts(methods, roi, words):
    """Voxels at bounds, not settled, or beyond the model, of the method to read first."""
    texts, limits = words["maps"]["verdict"], words["maps"]["limits"]
    method = trusted(methods, roi, words).method
    found, name = doubts(method, roi, limits["risk"]), title_of(method, words)
    if found.worst_bound and found.worst_bound[1] > limits["bound_share"]:
        (parameter, bound), share = found.worst_bound
        entry = entry_of(method.maps[parameter], parameter, method.about_model)
        said = {"bound": f"{short(bound)} {entry['unit']}".strip(), "share": percent(share)}
        text = texts["bounds"].format(parameter=capital(entry["title"]), method=name, **said)
        yield Remark(text, CAUTION, words["verdict"]["look_bounds"])
    if found.not_converged is not None and found.not_converged > limits["unsettled_share"]:
        text = texts["unsettled"].format(method=capital(name), share=percent(found.not_converged))
        yield Remark(text, CAUTION)
    outside = words["maps"]["models"].get(method.model, {}).get("outside")
    if outside and found.outside is not None and found.outside > limits["outside_share"]:
        yield Remark(outside.format(method=name, share=percent(found.outside)), CAUTION)
