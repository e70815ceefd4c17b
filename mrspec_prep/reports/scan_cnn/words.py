"""What a scan-specific network changed, in numbers and words: scatter, structure of the change, risk."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import published, reference_among, title_of
from mrspec_prep.reports.words import decimals, percent, short

NETWORK = "scancnn"
NORMAL = 0.6745  # median of |x|, x standard normal
FEWEST = 20  # voxels or blocks that a median or a correlation needs


@dataclass(frozen=True)
class Change:
    """One method's map of a parameter against that of the reference.

    Parameters
    ----------
    median, difference : float
        Of the map, and of its difference to the reference [unit of the map].
    scatter : float
        Standard deviation from voxel to voxel [unit of the map]; NaN where the region is too small.
    alike : float
        Correlation of the difference between neighbouring voxels; NaN likewise.

    """

    median: float
    difference: float
    scatter: float
    alike: float


def networks_of(methods):
    """Maps of the network among those of one model, or None."""
    return next((method for method in methods if method.method == NETWORK), None)


def relaxation_of(method):
    """Names of the relaxation times that a method maps."""
    return [name for name in method.order if name in ("t1", "t2", "t2star")]


def change_of(method, reference, parameter, roi):
    """Change of a parameter from the reference to a method.

    Parameters
    ----------
    method, reference : MethodMaps
    parameter : str
    roi : (x, y, z) bool array

    Returns
    -------
    Change

    """
    values, alone = method.maps[parameter].data, reference.maps[parameter].data
    difference = values - alone
    return Change(
        float(np.median(values[roi])),
        float(np.median(difference[roi])),
        scatter_of(values, roi),
        np.nan if method is reference else likeness(difference, roi),
    )


def scatter_of(values, roi):
    """Standard deviation from voxel to voxel of a map, from the finest diagonal differences of its slices.

    d = (a - b - c + d) / 2 over 2 x 2 voxels, median |d| / .6745 (Donoho and Johnstone 1994).
    """
    blocks = roi[1:, 1:] & roi[:-1, 1:] & roi[1:, :-1] & roi[:-1, :-1]
    if blocks.sum() < FEWEST:
        return np.nan
    details = (values[1:, 1:] - values[:-1, 1:] - values[1:, :-1] + values[:-1, :-1])[blocks] / 2
    return float(np.median(np.abs(details)) / NORMAL)


def likeness(values, roi):
    """Correlation of a map between neighbouring voxels of its slices, its outermost values clipped."""
    found = values[roi]
    low, high = np.percentile(found, [2, 98])
    centred = np.clip(values, low, high) - np.clip(found, low, high).mean()
    pairs = [(centred[1:][m], centred[:-1][m]) for m in (roi[1:] & roi[:-1],)]
    pairs += [(centred[:, 1:][m], centred[:, :-1][m]) for m in (roi[:, 1:] & roi[:, :-1],)]
    one, other = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if len(one) < FEWEST or not one.any():
        return np.nan
    return float(2 * (one * other).sum() / (one**2 + other**2).sum())


def sentences(methods, roi, words):
    """What the network changed and whether to trust it, one list of sentences; empty without a network.

    Parameters
    ----------
    methods : list of MethodMaps
        Of one model.
    roi : (x, y, z) bool array
    words : dict
        Content of ``data/report.toml``.

    Returns
    -------
    list of str

    """
    network, reference = networks_of(methods), reference_among(methods)
    if network is None or reference is None:
        return []
    texts, name = words["scan"], title_of(reference, words)
    found = [texts["settings_paper"]] if published(network) else []
    for parameter in relaxation_of(network):
        found += _changes(network, reference, parameter, roi, texts, name)
    return [*found, *_risk(network, reference, roi, words, name)]


def _changes(network, reference, parameter, roi, texts, name):
    """Scatter, median and structure of what was changed in one parameter."""
    before, after = (change_of(method, reference, parameter, roi) for method in (reference, network))
    if not (np.isfinite(before.scatter) and after.scatter > 0):
        return []
    ratio = before.scatter / after.scatter
    said = {
        "symbol": symbol(parameter),
        "unit": "ms",
        "reference": name,
        "network": short(after.scatter),
        "alone": short(before.scatter),
        "ratio": f"{ratio:.1f}",
        "difference": signed(after.difference, before.scatter),
    }
    found = [texts["smoother" if ratio >= 1.1 else "rougher"].format(**said)]
    if np.isfinite(after.alike):
        key = "structure" if after.alike > texts["alike"] else "noise"
        found.append(texts[key].format(alike=f"{after.alike:.2f}".replace("-", "\u2212"), reference=name))
    return found


def _risk(network, reference, roi, words, name):
    """How many voxels are at risk, which, and what to read there."""
    texts, limit = words["scan"], words["maps"]["limits"]["risk"]
    risk = inside(network.extras.get("risk"), roi)
    if risk is None:
        return [texts["no_risk"].format(reference=name)]
    risky = risk > limit
    if not risky.any():
        return [texts["none"].format(limit=short(limit)), texts["trust_all"]]
    where = [*_times_of_risky(reference, roi, risky, texts), *_place_of_risky(roi, risky, texts)]
    said = {"share": percent(risky.mean()), "limit": short(limit), "where": f": {'; '.join(where)}" if where else ""}
    key = "distrust" if risky.mean() > texts["trusted_share"] else "trust"
    return [texts["some"].format(**said), texts[key].format(reference=name)]


def _times_of_risky(reference, roi, risky, texts):
    """Whether relaxation times are other where there is risk."""
    if min(risky.sum(), (~risky).sum()) < FEWEST:
        return
    for parameter in relaxation_of(reference):
        values = inside(reference.maps[parameter], roi)
        there, elsewhere = float(np.median(values[risky])), float(np.median(values[~risky]))
        said = {"symbol": symbol(parameter), "unit": "ms", "risky": short(there), "others": short(elsewhere)}
        if there > texts["long"] * elsewhere:
            yield texts["longer"].format(**said)
        elif texts["long"] * there < elsewhere:
            yield texts["shorter"].format(**said)


def _place_of_risky(roi, risky, texts):
    """Whether risk lies at the border of the region."""
    padded = np.pad(roi, ((1, 1), (1, 1), (0, 0)))
    within = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    border = ~within[roi]
    if min(border.sum(), (~border).sum(), risky.sum()) < FEWEST:
        return
    times = risky[border].mean() / max(risky[~border].mean(), 1 / len(risky))
    if times > texts["border_share"]:
        yield texts["border"].format(times=f"{times:.0f}")


def symbol(parameter):
    """Symbol of a relaxation time."""
    return {"t1": "T1", "t2": "T2", "t2star": "T2*"}[parameter]


def signed(value, error):
    """Value with its sign, to the digits that an error is worth."""
    return f"{value:+.{decimals(0.1 * error)}f}".replace("-", "\u2212")
