"""What parameter maps amount to in numbers: shares of doubtful voxels, and how far methods agree."""

from dataclasses import dataclass

import numpy as np

FLAT = 0.05  # of the spread beyond errors that least squares finds: less is flat
AT_BOUND = 1e-3  # of the range between the bounds: nearer than this is at the bound


@dataclass(frozen=True)
class Doubts:
    """Shares of a method's voxels that need care; None where nothing tells.

    Parameters
    ----------
    at_bounds : dict of (str, float) to float
        By parameter and bound.
    not_converged, outside : float or None
        Fits that did not settle; voxels in which the model does not describe the whole protocol.
    at_risk : float or None
        Voxels whose risk exceeds the limit.

    """

    at_bounds: dict
    not_converged: float | None
    outside: float | None
    at_risk: float | None

    @property
    def worst_bound(self):
        """((parameter, bound), share) of the bound most often met, or None."""
        return max(self.at_bounds.items(), key=lambda item: item[1], default=None)


@dataclass(frozen=True)
class Agreement:
    """One parameter by one method against another.

    Parameters
    ----------
    difference : float
        Median of the differences [unit of the map].
    correlation : float
        Over the region; NaN where a map is constant.
    beyond : float or None
        Share of voxels that differ by more than twice the combined standard deviation.
    ratio : float or None
        Median standard deviation over that of the other method.

    """

    difference: float
    correlation: float
    beyond: float | None
    ratio: float | None


def inside(found, roi):
    """(n_voxels[, k]) values of a map in the region; None where there is no map or it lies on another grid."""
    if found is None or found.data.shape[:3] != roi.shape:
        return None
    return found.data[roi]


def doubts(method, roi, limit):
    """Doubtful voxels of one method.

    Parameters
    ----------
    method : MethodMaps
    roi : (x, y, z) bool array
    limit : float
        Of the risk.

    Returns
    -------
    Doubts

    """
    about, model = method.metadata, method.about_model
    at_bounds = {}
    for parameter in model.tissue if model else ():
        values = inside(method.maps.get(parameter.name), roi)
        if values is not None:
            margin = AT_BOUND * (parameter.high - parameter.low)
            near = parameter.low * AT_BOUND if parameter.link == "log" else margin
            at_bounds[parameter.name, parameter.low] = float((values <= parameter.low + near).mean())
            at_bounds[parameter.name, parameter.high] = float((values >= parameter.high - margin).mean())
    risk = inside(method.extras.get("risk"), roi)
    return Doubts(
        at_bounds,
        _rest(about, "NVoxelsConverged"),
        _rest(about, "NVoxelsValid") if model and model.valid else None,
        float((risk > limit).mean()) if risk is not None else None,
    )


def agreement(method, other, parameter, roi):
    """Agreement of a parameter between two methods, or None where one has no map of it."""
    ours, theirs = (inside(one.maps.get(parameter), roi) for one in (method, other))
    if ours is None or theirs is None:
        return None
    stds = [inside(one.std.get(parameter), roi) for one in (method, other)]
    beyond = ratio = None
    if all(std is not None for std in stds):
        beyond = float((np.abs(ours - theirs) > 2 * np.hypot(*stds)).mean())
        ratio = float(np.median(stds[0]) / np.median(stds[1])) if np.median(stds[1]) > 0 else None
    varies = ours.std() > 0 and theirs.std() > 0
    correlation = float(np.corrcoef(ours, theirs)[0, 1]) if varies else np.nan
    return Agreement(float(np.median(ours - theirs)), correlation, beyond, ratio)


def collapsed(method, reference, roi):
    """Parameters whose map is flat where least squares sees differences beyond its errors.

    Parameters
    ----------
    method, reference : MethodMaps
        A method and least squares.
    roi : (x, y, z) bool array

    Returns
    -------
    list of str

    """
    names = []
    for parameter in method.order:
        ours, theirs = (inside(one.maps.get(parameter), roi) for one in (method, reference))
        noise = inside(reference.std.get(parameter), roi)
        if ours is None or theirs is None or noise is None:
            continue
        error = float(np.median(noise))
        seen = np.sqrt(max(_spread(theirs) ** 2 - error**2, 0.0))
        if seen > error and _spread(ours) < FLAT * seen:
            names.append(parameter)
    return names


def _spread(values):
    """Half the distance from the 16th to the 84th percentile."""
    return float(np.subtract(*np.percentile(values, [84, 16])) / 2)


def components(method, roi):
    """Components of a method's prior, as its voxels tell.

    Returns
    -------
    list of dict
        ``label`` (from 1), ``share`` of the voxels, ``medians`` {parameter: value}; empty where the method has none.

    """
    labels = inside(method.extras.get("dseg"), roi)
    if labels is None:
        return []
    probs = method.extras.get("probseg")
    n = probs.data.shape[-1] if probs is not None else int(labels.max())
    found = []
    for label in range(1, n + 1):
        mine = labels == label
        medians = {}
        for parameter in method.order:
            values = inside(method.maps[parameter], roi)
            if mine.any() and values is not None:
                medians[parameter] = float(np.median(values[mine]))
        found.append({"label": label, "share": float(mine.mean()), "medians": medians})
    return found


def _rest(about, name):
    """Share of voxels that a sidecar's count leaves out; None where it does not say."""
    n, counted = about.get("NVoxels"), about.get(name)
    return 1 - counted / n if n and counted is not None else None
