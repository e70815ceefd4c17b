"""The methods text: sentences of ``data/report.toml`` for what ran, with the references they cite."""

import re
import string

from mrspec_prep import __version__
from mrspec_prep.bids.output.catalogue import axis_entry, load_bibliography
from mrspec_prep.reports.compartments.words import compartment_facts
from mrspec_prep.reports.facts import grid_in_words, n_distinct_encodings, ranges_in_words
from mrspec_prep.reports.maps.words import maps_facts
from mrspec_prep.reports.uncertainty import uncertainty_facts
from mrspec_prep.reports.verdict import noise_method
from mrspec_prep.reports.words import capital, count, join, number, power

CITATION = re.compile(r"\[(@[\w;@ ]+)\]")


def methods_facts(series, words):
    """What the sentences may speak of, from the sidecars of one series; unknown facts are absent.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.

    Returns
    -------
    dict
        Fields of the sentences, and the truths they need under their names.

    """
    facts = {"version": __version__}
    facts |= _acquisition_facts(series)
    facts |= _noise_facts(series)
    facts |= _spectrum_facts(series, words["methods"]["equations"])
    facts |= _cluster_facts(series)
    facts |= uncertainty_facts(series)
    facts |= _component_facts(series)
    facts |= _inversion_facts(series)
    facts |= maps_facts(series, words)
    facts |= compartment_facts(series)
    return {name: value for name, value in facts.items() if value is not None}


def compose(facts, words, own=True):
    """Sentences whose fields are all known and whose needs are all true, as one text with ``[@key]`` citations.

    Parameters
    ----------
    facts : dict
        Of ``methods_facts``.
    words : dict
        Content of ``data/report.toml``.
    own : bool
        With what holds of this participant alone, such as the number of voxels.

    """
    used = []
    for sentence in words["methods"]["sentences"]:
        if sentence.get("own") and not own:
            continue
        fields = {name for _, name, _, _ in string.Formatter().parse(sentence["text"]) if name}
        if fields <= set(facts) and all(facts.get(need) for need in sentence["needs"]):
            used.append(sentence["text"].format_map(facts))
    return " ".join(used)


def cited_keys(text):
    """Keys cited in a text, in order of first citation."""
    keys = [key.strip().lstrip("@") for group in CITATION.findall(text) for key in group.split(";")]
    return list(dict.fromkeys(keys))


def numbered(text, keys=None):
    """Text with ``[1, 2]`` for its citations, numbered in order of ``keys`` (default: of appearance)."""
    order = {key: position + 1 for position, key in enumerate(keys or cited_keys(text))}

    def numbers(match):
        cited = [order[key.strip().lstrip("@")] for key in match[1].split(";")]
        return f"[{', '.join(map(str, cited))}]"

    return CITATION.sub(numbers, text)


def reference_in_words(key):
    """One entry of the bibliography as plain text, and its DOI or None.

    Raises
    ------
    ValueError
        No such entry.

    """
    entries = load_bibliography()
    if key not in entries:
        raise ValueError(f"data/citations.bib does not hold {key}")
    entry = {name: _plain(value) for name, value in entries[key].items() if name != "source"}
    names = [name.split(",")[0] for name in entry["author"].split(" and ")]
    authors = join(names) if len(names) <= 3 and "others" not in names else f"{names[0]} et al."
    venue = entry.get("journal") or entry.get("booktitle") or entry.get("publisher", "")
    where = " ".join(part for part in (venue, entry.get("volume", "")) if part)
    where += f":{entry['pages']}" if "pages" in entry else ""
    year = f" ({entry['year']})" if "year" in entry else ""
    return f"{authors}{year}. {entry['title']}. {where}.".replace("..", "."), entry.get("doi")


def _acquisition_facts(series):
    columns, about = series.columns, series.acquisition
    n = len(next(iter(columns.values()), ()))
    if not n:
        return {}
    images = len(set(columns["file"].tolist())) if "file" in columns else None
    seed = about.get("Seed")
    restored = "magnitude" in str(about.get("Polarity") or "")
    magnitudes = about.get("NoiseDistribution") in ("rician", "nc-chi")
    return {
        "n_images": capital(count(images, "image")) if images else None,
        "several_images": bool(images and images > 1),
        "one_image": images == 1,
        "n_volumes": number(n),
        "n_distinct": number(n_distinct_encodings(columns)),
        "ranges": ranges_in_words(columns),
        "diffusion_relaxation": series.kernel in ("adc-t2", "adc-t2star", "t1-adc", "t1-t2-adc"),
        "n_voxels": number(series.n_voxels) if series.roi else None,
        "mask_source": about.get("MaskSource"),
        "polarity_restored": restored and not magnitudes,
        "polarity_latent": restored and magnitudes,
        "seed": str(seed) if seed is not None else None,
        "options_hash": about.get("OptionsHash"),
    }


def _noise_facts(series):
    method = noise_method(series)
    degrees = series.noise.metadata.get("DegreesOfFreedom") if series.noise else None
    known = ("b0-repeats", "residual", "mppca", "neighbours")
    about = series.noise.metadata if series.noise else {}
    law = about.get("NoiseDistribution")
    return {
        "noise_rician": law == "rician",
        "noise_nc_chi": law == "nc-chi",
        "noise_student_t": law == "student-t" and bool(series.clusters),
        "noise_shared": "NoiseShared" in series.selection_facts,
        "noise_of_magnitudes": law in ("rician", "nc-chi"),
        "spectra_of_magnitudes": law in ("rician", "nc-chi") and series.grid is not None,
        "n_coils": number(about["NoiseCoils"]) if "NoiseCoils" in about else None,
        "noise_method": method or None,
        "noise_b0_repeats": method == "b0-repeats",
        "noise_residual": method == "residual",
        "noise_mppca": method == "mppca",
        "noise_neighbours": method == "neighbours",
        "noise_given": bool(method) and method not in known,
        "degrees_of_freedom": number(degrees) if degrees else None,
    }


def _spectrum_facts(series, equations):
    if series.grid is None:
        return {}
    names = series.grid.names
    about = series.mean_spectrum.metadata if series.mean_spectrum else {}
    factors = [axis for axis in names if axis != "diffusivity" or "kurtosis" not in names]
    repetition = series.columns.get("TR")
    has_repetition = repetition is not None and repetition.dtype.kind == "f" and bool((repetition > 0).all())
    imperfect = series.acquisition.get("InversionEfficiency", 1) != 1
    recovery = f"t1{'_tr' * has_repetition}{'_e' * imperfect}"
    regions = list(series.fractions)
    return {
        "axes": join([f"{axis_entry(axis)['symbol']}" for axis in names]),
        "equation": " ".join(equations[recovery if axis == "t1" else axis] for axis in factors),
        "grid": grid_in_words(series.grid),
        "alpha": f"{about['Alpha']:.3g}" if about.get("Alpha") is not None else None,
        **_alpha_facts(about),
        "shared_weight": f"{about['SpatialWeight']:g}" if _is_number(about.get("SpatialWeight")) else None,
        "gap": power(about["LargestGap"]) if about.get("LargestGap") is not None else None,
        "n_regions": count(len(regions), "region") if regions else None,
        "regions": join(regions) if regions else None,
    }


def _inversion_facts(series):
    """Efficiency of the inversion, where it was given or estimated."""
    about = series.acquisition
    value, interval = about.get("InversionEfficiency", 1), about.get("InversionEfficiencyInterval")
    facts = {"efficiency_given": value != 1 and not interval, "efficiency": f"{value:.3g}"}
    if interval:
        facts |= {
            "efficiency_estimated": value != 1,
            "efficiency_perfect": value == 1,
            "efficiency_estimate": f"{about['InversionEfficiencyEstimate']:.3f}",
            "efficiency_low": f"{interval[0]:.3f}",
            "efficiency_high": f"{interval[1]:.3f}",
        }
    return facts


def _alpha_facts(about):
    """How the regularisation weight was chosen, where a rule did."""
    if steering := about.get("AlphaSteering"):
        return {"steered_compartments": f"{steering['Compartments']:.2f}", "steered_met": steering["Met"],
                "steered_unmet": not steering["Met"]}  # fmt: skip
    rule, unmet, n_voxels = about.get("AlphaRule"), about.get("AlphaUnmet"), about.get("NVoxels")
    if rule is None:
        return {}
    low, high = about.get("AlphaTenthToNinetieth", (None, None))
    own = about.get("AlphaScope") == "voxel"
    return {
        f"alpha_{rule}": True,
        "alpha_median": f"{about['AlphaMedian']:.2g}" if own else None,
        "alpha_low": f"{low:.2g}" if own else None,
        "alpha_high": f"{high:.2g}" if own else None,
        "alpha_own": own,
        "alpha_image": not own,
        "alpha_unmet": f"{number(unmet)} of {number(n_voxels)} voxels" if own and unmet else None,
        "alpha_image_unmet": not own and bool(unmet),
    }


def _cluster_facts(series):
    if not series.clusters:
        return {}
    about, chosen_by = series.cluster_spectra.metadata, str(series.selection_facts.get("Criterion", "")).lower()
    tried = series.selection.get("n_clusters", [])
    several = len(tried) > 1
    return {
        "mode": about.get("Mode"),
        "inspect_alpha": f"{about['Alpha']:g}" if about.get("Alpha") is not None else None,
        "scale": about.get("Scale"),
        "potts_weight": f"{about['SpatialWeight']:.2g}" if _is_number(about.get("SpatialWeight")) else None,
        "n_clusters_number": number(len(series.clusters)),
        "low": number(min(tried)) if several else None,
        "high": number(max(tried)) if several else None,
        "n_clusters_chosen": several,
        "chosen_by_bic": several and chosen_by == "bic",
        "chosen_by_aic": several and chosen_by == "aic",
        "chosen_by_held_out": several and chosen_by == "held-out",
        "n_clusters_fixed": not several,
    }


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _component_facts(series):
    if series.component_spectra is None:
        return {}
    about = series.component_spectra.metadata
    return {
        "n_components": number(len(series.component_spectra.spectra)),
        "inspect_map_alpha": f"{about['Alpha']:g}" if about.get("Alpha") is not None else None,
        "inspect_map_scale": about.get("Scale"),
        "n_map_starts": number(about["Starts"]) if "Starts" in about else None,
    }


_ACCENTS = {r"{\'e}": "é", r"{\"e}": "ë", r"{\"o}": "ö", r"\&": "&", "--": "\u2013"}


def _plain(text):
    """BibTeX value as plain text."""
    for code, letter in _ACCENTS.items():
        text = text.replace(code, letter)
    return text.replace("{", "").replace("}", "")
