"""Whether a result can be trusted, in words a physician and a physicist both read."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.bids.output.catalogue import axis_entry, map_entry
from mrspec_prep.physics.encodings import B0_CEILING
from mrspec_prep.reports.collect import snr_map
from mrspec_prep.reports.compartments.words import classified, remarks_on_compartments
from mrspec_prep.reports.facts import distinct_values, known_contrasts, n_distinct_encodings
from mrspec_prep.reports.maps.words import fitted, remarks_on_maps
from mrspec_prep.reports.noise_floor import noise_floor
from mrspec_prep.reports.remark import CAUTION, GOOD, PROBLEM, Remark
from mrspec_prep.reports.resolution import two_valued, unresolved_axes
from mrspec_prep.reports.words import at_edge, capital, count, join, kernel_in_words, number, percent, power

SNR_GOOD, SNR_LOW = 20.0, 10.0  # of the reference image: above, single voxels are fair; below, not even for a glance
RESIDUAL_LOW, RESIDUAL_HIGH, RESIDUAL_BAD = 0.7, 1.3, 3.0  # RMS over its expectation
FLOOR_SNR = 3.0  # of the reference image, below which most magnitudes are floor
FLOOR_BIAS, FLOOR_BIAS_BAD = 0.02, 0.08  # share of the reference: T2* 3 % and 60 % too long (docs/noise.md)
ECHOES_OF_MYELIN, SNR_OF_MYELIN = 16, 100.0  # fewer echoes, or more noise, than docs/nnls.md knows to serve
REPEATS_DIFFER = 4.0  # noise of repeats over that between neighbours; still scans .3 to .5 (docs/noise.md)
FEW = 0.02  # share of voxels below which a cluster is called small
ALPHA_UNMET_OK = 0.05  # share of voxels in which the rule for alpha may fail without a warning
GAP_OK = 1e-6  # relative duality gap that no map can show


@dataclass(frozen=True)
class Verdict:
    """What to think of one series.

    Parameters
    ----------
    level : str
        ``good``, ``caution`` or ``problem``: the worst of its remarks.
    headline : str
    remarks : tuple of Remark
        In reading order; together one paragraph.

    """

    level: str
    headline: str
    remarks: tuple


def judge(series, words, crashed=False):
    """Verdict on one series.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.
    crashed : bool
        Whether a step of the participant failed.

    Returns
    -------
    Verdict

    """
    texts = words["verdict"]
    parts = (
        _what,
        _unweighted,
        _resolution,
        _noise,
        _repeats,
        _myelin,
        _residual,
        _certificate,
        _weights,
        _clustering,
        _mixing,
        _gaps,
    )
    remarks = [remark for part in parts for remark in part(series, texts)]
    floor = list(_floor(series, words))
    remarks = [*(Remark(text) for text in fitted(series, words)), *classified(series, words), *floor, *remarks]
    remarks += remarks_on_maps(series, words, noise_method(series))
    if any(remark.weight == PROBLEM for remark in floor):
        remarks = [_with_floor(remark, texts) for remark in remarks]
    remarks += remarks_on_compartments(series, words)
    missing = [words["steps"][step] for step in series.missing_steps()]
    if missing:
        failed = Remark(texts["failed"].format(steps=capital(join(missing))), PROBLEM, texts["look_errors"])
        remarks.append(failed)
    elif crashed:
        remarks.append(Remark("", CAUTION, texts["look_errors"]))
    level = next((w for w in (PROBLEM, CAUTION) if any(remark.weight == w for remark in remarks)), GOOD)
    places = [remark.look for remark in remarks if remark.look]
    mapped = sum(bool(method.maps) for method in series.methods.values())
    places += [texts["look_compared"]] if mapped > 1 else []
    plain = bool(series.parameters) or mapped == 1
    places += [texts["look_clusters"]] if series.clusters else [texts["look_maps"]] * plain
    if places:
        remarks.append(Remark(texts["look_first"].format(places=join(list(dict.fromkeys(places))[:3]))))
    headline = texts["incomplete" if missing else level]
    return Verdict(level, headline, tuple(remark for remark in remarks if remark.text))


def _what(series, texts):
    """What was fitted."""
    if series.grid is None or not series.n_voxels:
        return
    text = texts["fitted"].format(
        spectrum=kernel_in_words(series.kernel, series.grid.names),
        n_voxels=number(series.n_voxels),
        n_volumes=number(_n_volumes(series)),
        n_distinct=number(n_distinct_encodings(series.columns)),
    )
    if series.clusters:
        text += " " + texts["fitted_clusters"].format(n_clusters=count(len(series.clusters), "tissue cluster"))
    yield Remark(text)


def _resolution(series, texts):
    """What the protocol cannot tell however good the fit."""
    axes = series.grid.names if series.grid else ()
    blind = [axis for axis in two_valued(axes, distinct_values(series.columns)) if f"two_values_{axis}" in texts]
    for axis in blind:
        yield Remark(texts[f"two_values_{axis}"], CAUTION)
    rest = [axis_entry(axis)["symbol"] for axis in unresolved_axes(series) if axis not in blind]
    if rest:
        yield Remark(texts["unresolved"].format(axes=join(rest)), CAUTION)


def _unweighted(series, texts):
    """Whether the signal without diffusion weighting was measured."""
    bvalues = known_contrasts(series.columns).get("b")
    if bvalues is not None and bvalues.min() > B0_CEILING and bvalues.max() > bvalues.min():
        yield Remark(texts["no_unweighted"].format(b=f"{bvalues.min():g}"), CAUTION)


def _repeats(series, texts):
    """Whether repeats of a volume differ by more than noise."""
    between = series.noise.metadata.get("SigmaBetweenNeighbours") if series.noise else None
    if not between or series.roi is None:
        return
    ratio = float(np.median(series.noise.data[series.roi.data > 0])) / between
    if ratio > REPEATS_DIFFER:
        yield Remark(texts["repeats_differ"].format(ratio=number(ratio)), CAUTION, texts["look_residual"])


def _myelin(series, texts):
    """Whether myelin water can be told from one tissue of a short relaxation time."""
    echoes, snr = distinct_values(series.columns).get("TE", 0), _median_snr(series)
    if "mwf" not in series.parameters or (echoes >= ECHOES_OF_MYELIN and (snr is None or snr >= SNR_OF_MYELIN)):
        return
    said = {"echoes": number(echoes), "snr": "unknown size" if snr is None else f"{snr:.0f}"}
    yield Remark(texts["myelin"].format(**said), CAUTION)


def _median_snr(series):
    """Median signal-to-noise ratio of the reference image in the region; None where it is not known."""
    volume = snr_map(series)
    if volume is not None and (volume > 0).any():
        return float(np.median(volume[volume > 0]))
    return series.acquisition.get("SNR")


def _noise(series, texts):
    """Signal-to-noise ratio of the reference image."""
    snr = _median_snr(series)
    if snr is None:
        return
    kind, weight = ("snr_good", GOOD) if snr >= SNR_GOOD else ("snr_moderate", CAUTION)
    if snr < SNR_LOW:
        kind = "snr_low"
    text = texts[kind].format(snr=f"{snr:.{int(snr < SNR_LOW)}f}")
    yield Remark(text, weight, None if weight == GOOD else texts["look_snr"])


def _floor(series, words):
    """Whether the noise floor of magnitudes was taken for signal."""
    floor = noise_floor(series, words)
    if floor is None or (floor.snr >= FLOOR_SNR and floor.bias <= FLOOR_BIAS):
        return
    texts, said = words["verdict"], {"weak": percent(floor.weak), "bias": percent(floor.bias)}
    residual = series.values("residual")
    overstated = residual is not None and len(residual) and float(np.median(residual)) < RESIDUAL_LOW
    if not overstated and (floor.snr < FLOOR_SNR or floor.bias > FLOOR_BIAS_BAD):
        yield Remark(texts["floor_high"].format(**said), PROBLEM, texts["look_snr"])
    else:
        yield Remark(texts["floor"].format(**said), CAUTION, texts["look_snr"])


def _with_floor(remark, texts):
    """A remark on the residual that says what it is that the fit explains."""
    return Remark(remark.text.replace(*texts["explains_floor"]), remark.weight, remark.look)


def _residual(series, texts):
    """Whether the fit explains the signal."""
    values = series.values("residual")
    if values is None or not len(values):
        return
    middle = float(np.median(values))
    said = {"residual": f"{middle:.2f}"}
    freedom = series.parameters["residual"].metadata.get("ResidualDegreesOfFreedom")
    if freedom is not None and freedom < 1:
        yield Remark(texts["residual_no_test"], CAUTION)
    elif noise_method(series) == "residual":
        yield Remark(texts["residual_circular"].format(**said))
    elif middle > RESIDUAL_HIGH:
        weight = PROBLEM if middle > RESIDUAL_BAD else CAUTION
        yield Remark(texts["residual_high"].format(**said), weight, texts["look_residual"])
    elif middle < RESIDUAL_LOW:
        yield Remark(texts["residual_low"].format(**said), CAUTION, texts["look_residual"])
    else:
        yield Remark(texts["residual_good"].format(**said))


def _certificate(series, texts):
    """Whether the solver finished."""
    facts = series.mean_spectrum.metadata if series.mean_spectrum else {}
    if facts.get("LargestGap") is None:
        return
    gap = power(facts["LargestGap"])
    n_bad = facts.get("NVoxels", 0) - facts.get("NVoxelsConverged", 0)
    if n_bad:
        weight = CAUTION if facts["LargestGap"] > GAP_OK else GOOD
        said = {"n_bad": number(n_bad), "n_voxels": number(facts["NVoxels"]), "gap": gap}
        yield Remark(texts["not_converged"].format(**said), weight)
    else:
        yield Remark(texts["converged"].format(gap=gap))


def _weights(series, texts):
    """Whether the rule for the regularisation weight found what it sought, on noise it can rely on."""
    facts = series.mean_spectrum.metadata if series.mean_spectrum else {}
    rule, unmet = facts.get("AlphaRule"), facts.get("AlphaUnmet", 0)
    if unmet:
        share = unmet / max(facts["NVoxels"], 1)
        said = {"share": percent(share), "rule": rule}
        yield Remark(texts["alpha_unmet"].format(**said), CAUTION if share > ALPHA_UNMET_OK else GOOD)
    if rule in ("discrepancy", "brd") and noise_method(series) == "residual":
        yield Remark(texts["alpha_circular"].format(rule=rule), CAUTION)


def _clustering(series, texts):
    """Whether the number of clusters means anything, and whether the fit had settled."""
    if not series.clusters:
        return
    facts, table = series.selection_facts, series.selection
    tried = np.asarray(table.get("n_clusters", []), float)
    chosen = int(facts.get("Chosen", len(series.clusters)))
    criterion = str(facts.get("Criterion", "bic")).lower()
    if len(tried) > 1:
        said = {"criterion": criterion.upper(), "n_clusters": number(chosen), "largest": number(tried.max())}
        if is_still_falling(table, criterion):
            yield Remark(texts["still_falling"].format(**said), CAUTION, texts["look_selection"])
        else:
            yield Remark(texts["chosen"].format(**said, low=number(tried.min()), high=number(tried.max())))
    else:
        yield Remark(texts["fixed"].format(n_clusters=number(chosen)))
    if _converged(series, chosen) is False:
        yield Remark(texts["em_not_converged"], CAUTION, texts["look_selection"])
    small = [str(c.get("cluster", i + 1)) for i, c in enumerate(series.clusters) if c.get("weight", 1) < FEW]
    if small:
        named = f"cluster {small[0]} holds" if len(small) == 1 else f"clusters {join(small)} each hold"
        yield Remark(capital(texts["small_cluster"].format(clusters=named)))
    grid = series.cluster_spectra.grid
    numbers = [str(i + 1) for i, c in enumerate(series.clusters) if c.get("peaks") and at_edge(c["peaks"][0], grid)]
    if numbers:
        yield Remark(texts["edge"].format(clusters=f"cluster{'s' if len(numbers) > 1 else ''} {join(numbers)}"))


def _mixing(series, texts):
    """Whether the components of the continuous maps are unique."""
    if series.component_spectra is not None and series.component_spectra.metadata.get("Unique") is False:
        yield Remark(texts["components_open"], CAUTION, texts["look_components"])


def _gaps(series, texts):
    """Maps with voxels that have no value."""
    for key, found in series.parameters.items():
        n = found.metadata.get("VoxelsWithoutValue")
        if n:
            said = {"n": number(n), "map": map_entry(key)["title"]}
            yield Remark(texts["no_value"].format(**said), CAUTION if n > 0.01 * series.n_voxels else GOOD)


def is_still_falling(table, criterion):
    """Whether the criterion is best at the largest number of clusters tried."""
    values = -np.asarray(table["held_out"]) if criterion == "held-out" and "held_out" in table else table.get(criterion)
    if values is None or len(values) < 2 or not np.isfinite(values).any():
        return False
    order = np.argsort(table["n_clusters"])
    return int(np.nanargmin(np.asarray(values)[order])) == len(order) - 1


def noise_method(series):
    """How the noise was found, as the sidecars say; empty where they do not."""
    of_map = series.noise.metadata.get("NoiseMethod") if series.noise else None
    return str(of_map or series.acquisition.get("NoiseMethod") or "")


def _converged(series, chosen):
    """Whether the chosen fit had settled; None where unknown."""
    table = series.selection
    if "converged" in table and "n_clusters" in table:
        row = np.flatnonzero(np.asarray(table["n_clusters"]) == chosen)
        if len(row):
            return bool(table["converged"][row[0]])
    return series.cluster_spectra.metadata.get("Converged")


def _n_volumes(series):
    return len(next(iter(series.columns.values()), ()))
