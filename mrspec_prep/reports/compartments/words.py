"""What the number of compartments is worth, in words: remarks of the verdict and facts of the methods text."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.remark import CAUTION, GOOD, Remark
from mrspec_prep.reports.words import capital, join, number, percent, short

NAMES = ("one", "two", "three", "four")
MOSTLY = 0.5  # share of undecided voxels from which the verdict warns
MANY = 0.1  # share of voxels with a reason of its own from which the verdict warns
ALWAYS_SEVERAL = 0.75  # part right of who always says several, where every number is equally frequent
LITTLE = 0.05  # gain over that below which the verdict warns
HARDLY = 0.1  # share of simulated mixtures found below which a number cannot be told


@dataclass(frozen=True, eq=False)
class Expectations:
    """What the sidecar says of simulated signals; see ``networks.compartments.expected``."""

    n_signals: int
    levels: tuple
    accuracy: float
    accuracy_decided: float
    decided: float
    one_or_several: float
    auc: np.ndarray
    ece: float
    confusion: np.ndarray
    decisions: np.ndarray
    alarms: np.ndarray
    detections: np.ndarray
    reliability: np.ndarray


def is_classified(series):
    """Whether the numbers of compartments are there, on the grid of the region."""
    if series.roi is None or not series.n_voxels:
        return False
    return inside(series.n_compartments, series.roi.data.astype(bool)) is not None


def expectations(series):
    """Expectations of a classified series, or None where its sidecar has none."""
    about = series.n_compartments.metadata.get("Expected")
    if not about:
        return None
    return Expectations(
        about["Signals"],
        tuple(about["NoiseLevels"]),
        *(_number(about[name]) for name in ("Accuracy", "AccuracyDecided", "Decided", "OneOrSeveral")),
        _numbers(about["AUC"]),
        _number(about["ECE"]),
        np.array(about["Confusion"]),
        np.array(about["Decisions"]),
        _numbers(about["FalsePositiveRates"]),
        np.stack([_numbers(row) for row in about["TruePositiveRates"]]),
        np.stack([_numbers(row) for row in about["Reliability"]]),
    )


def shares_of(series):
    """(5,) shares of the voxels of the region: undecided, one to four."""
    values = np.asarray(series.n_compartments.data)[series.roi.data.astype(bool)].astype(int)
    return np.bincount(values, minlength=len(NAMES) + 1) / max(len(values), 1)


def reasons_in_words(series, texts):
    """Why voxels are undecided, as one sentence; empty where all are decided."""
    counts = series.n_compartments.metadata.get("Undecided", {})
    parts = [f"{texts['reasons'].get(name, name)} ({number(n)} voxels)" for name, n in counts.items() if n]
    return texts["undecided"].format(reasons=join(parts)) if parts else ""


def telling_statements(series, texts):
    """Sentences on what can be told at all at this protocol and noise."""
    found = expectations(series)
    low, high = found.levels
    yield texts["levels"].format(low=_level(low), high=_level(high), n=number(found.n_signals))
    yield texts["accuracy"].format(
        accuracy=percent(found.accuracy),
        one_or_several=percent(found.one_or_several),
        auc=f"{found.auc[0]:.2f}",
        decided=percent(found.decided),
        accuracy_decided=percent(found.accuracy_decided) if np.isfinite(found.accuracy_decided) else "n/a",
    )
    blind = blind_numbers(found)
    if blind:
        yield capital(texts["blind"].format(names=join(blind)))
    yield texts["law"]


def blind_numbers(found):
    """Names of the numbers that are decided in hardly any simulated mixture of that many."""
    kinds = found.decisions.sum(axis=1)
    return [name for k, name in enumerate(NAMES) if found.decisions[k, k + 1] < HARDLY * kinds[k]]


def classified(series, words):
    """Remark of the verdict on what was decided; none where voxels were not classified."""
    if not is_classified(series):
        return
    shares = shares_of(series)
    parts = [f"{name} in {percent(shares[k])}" for k, name in enumerate(NAMES, start=1) if shares[k] > 0]
    said = {"n_voxels": number(series.n_voxels), "shares": join(parts) or "none", "undecided": percent(shares[0])}
    weight = CAUTION if shares[0] > MOSTLY else GOOD
    yield Remark(words["compartments"]["found"].format(**said), weight)


def remarks_on_compartments(series, words):
    """Remarks of the verdict on what can be told, and on voxels that are undecided for a reason of their own."""
    if not is_classified(series):
        return
    texts, found, about = words["compartments"], expectations(series), series.n_compartments.metadata
    if found is not None:
        blind = blind_numbers(found)
        yield Remark(
            texts["expected"].format(
                accuracy=percent(found.accuracy),
                one_or_several=percent(found.one_or_several),
                decided=percent(found.decided),
            )
            + (" " + capital(texts["blind"].format(names=join(blind))) if blind else ""),
            CAUTION if found.one_or_several - ALWAYS_SEVERAL < LITTLE else GOOD,
            texts["look"],
        )
    for reason, n in about.get("Undecided", {}).items():
        if reason in texts["warnings"] and n > MANY * series.n_voxels:
            yield Remark(texts["warnings"][reason].format(share=percent(n / series.n_voxels)), CAUTION)


def compartment_facts(series):
    """Facts for the methods text; empty where voxels were not classified."""
    if not is_classified(series):
        return {}
    about, found = series.n_compartments.metadata, expectations(series)
    scale = about.get("TimeScale", 1)
    return {
        "ncomp": True,
        "ncomp_abstain": short(about["AbstainBelow"]) if about.get("AbstainBelow") else None,
        "ncomp_given": about.get("NoiseLevelFrom") == "given",
        "ncomp_rician": about.get("Distribution") == "rician",
        "ncomp_pooled": about.get("Pooling", "off") != "off",
        "ncomp_scale": short(scale) if scale != 1 else None,
        "ncomp_simulated": number(found.n_signals) if found is not None else None,
        "ncomp_accuracy": percent(found.accuracy) if found is not None else None,
        "ncomp_one_or_several": percent(found.one_or_several) if found is not None else None,
        "ncomp_weights": about["WeightsSHA256"][:12] if about.get("WeightsSHA256") else None,
    }


def _level(value):
    """Noise level as per cent."""
    return f"{100 * value:.2g}\u202f%"


def _number(value):
    return float("nan") if value == "n/a" else float(value)


def _numbers(values):
    return np.array([_number(value) for value in values])
