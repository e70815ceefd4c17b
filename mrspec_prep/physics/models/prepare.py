"""Signals as a model wants them: its volumes, averaged over equal encodings (powder mean)."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics.checks import real_array
from mrspec_prep.physics.encodings import Encodings, check_encodings
from mrspec_prep.physics.models.model import Model

RELATIVE_WIDTH, SMALL_B = 0.02, 3.0  # b-values closer than these (a share; s/mm2) to the next are one shell
WIDEST = 0.06  # of a shell, as a share of its smallest b-value


@dataclass(frozen=True, eq=False)
class Prepared:
    """Signals that a model is fitted to.

    Attributes
    ----------
    signals : (n_voxels, n) array
        Means over the volumes of each encoding [signal units].
    encodings : Encodings
        n encodings.
    n_averages : (n,) array
        Volumes behind each mean; the noise of a mean is sigma / sqrt(n_averages).
    volumes : (n_encodings,) bool array
        Volumes that took part.

    """

    signals: np.ndarray
    encodings: Encodings
    n_averages: np.ndarray
    volumes: np.ndarray


def shells(bvalues):
    """Shell of each b-value: neighbours on the axis that scanners play a little apart belong together.

    Parameters
    ----------
    bvalues : (n,) array
        [s/mm2].

    Returns
    -------
    (n,) int array
        0 for the lowest shell.

    """
    order = np.argsort(bvalues, kind="stable")
    index, shell, first = np.empty(len(bvalues), int), 0, bvalues[order[0]]
    for before, now in zip(order, order[1:], strict=False):
        index[before] = shell
        step, width = bvalues[now] - bvalues[before], bvalues[now] - first
        if step > SMALL_B + RELATIVE_WIDTH * bvalues[now] or width > SMALL_B + WIDEST * bvalues[now]:
            shell, first = shell + 1, bvalues[now]
    index[order[-1]] = shell
    return index


def volumes_of(model: Model, encodings: Encodings):
    """Volumes a model describes, (n_encodings,) bool.

    Those within its b-values; of a contrast it does not model, the one level with the most signal
    (b = 0, shortest echo time, longest inversion time).

    Raises
    ------
    ValueError
        What the model needs is missing or does not vary over these volumes.

    """
    keep = np.ones(len(encodings), bool)
    if encodings.bvalue is not None:
        keep &= encodings.bvalue <= model.b_limit if "bvalue" in model.needs else encodings.is_b0()
    if encodings.echo_time is not None and "echo_time" not in model.needs and keep.any():
        keep &= encodings.echo_time <= encodings.echo_time[keep].min() * 1.001
    if encodings.inversion_time is not None and "inversion_time" not in model.needs and keep.any():
        keep &= encodings.inversion_time >= encodings.inversion_time[keep].max() * 0.999
    if encodings.bvalue is not None and not keep.any() and "bvalue" not in model.needs:
        raise ValueError(
            f"model {model.name} has no diffusion and describes unweighted volumes, and the lowest b is "
            f"{encodings.bvalue.min():g} s/mm2"
        )
    if not keep.any():
        raise ValueError(f"model {model.name} describes b <= {model.b_limit:g} s/mm2, and no volume has so little")
    kept = encodings.take(keep)
    for name in model.needs:
        if getattr(kept, name) is None or (name != "direction" and name not in kept.varying()):
            raise ValueError(
                f"model {model.name} needs {name} to vary, and over the {int(keep.sum())} volumes it describes "
                f"(of {len(encodings)}) it does not"
            )
    return keep


def prepare(model: Model, signals, encodings: Encodings) -> Prepared:
    """Signals of the volumes a model describes, averaged over equal encodings.

    Where the model has no direction, all directions of a shell are one encoding: their mean weighs as
    much as it holds volumes (the powder mean). Where it has one, no volume is averaged but b = 0.

    Parameters
    ----------
    model : Model
    signals : (n_voxels, n_encodings) array
    encodings : Encodings

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        Shapes differ, complex or masked signals, too few distinct encodings for the model's parameters, or
        negative signals for a model of magnitudes of inversion recovery.

    """
    check_encodings(encodings)
    signals = real_array(signals, "signals")
    if signals.ndim != 2 or signals.shape[1] != len(encodings):
        raise ValueError(f"signals must be (n_voxels, {len(encodings)}), got {signals.shape}")
    volumes = volumes_of(model, encodings)
    kept = encodings.take(volumes)
    groups = _groups(model, kept)
    n_groups = groups.max() + 1
    if n_groups < model.n_free:
        raise ValueError(
            f"model {model.name} has {model.n_free} free parameters and needs as many distinct encodings, "
            f"got {n_groups}"
        )
    averages = np.bincount(groups, minlength=n_groups).astype(float)
    average = (groups == np.arange(n_groups)[:, None]) / averages[:, None]  # (n_groups, n_volumes)
    means = signals[:, volumes].astype(float) @ average.T
    if model.magnitude and "inversion_time" in model.needs and (means < 0).any():
        raise ValueError(f"model {model.name} describes magnitudes and the signals are signed: use {model.name}-signed")
    return Prepared(means, _averaged(model, kept, groups, average), averages, volumes)


def _groups(model, encodings):
    """Index of the encoding each volume belongs to, in order of first appearance."""
    n = len(encodings)
    shell = np.zeros(n, int) if encodings.bvalue is None else shells(encodings.bvalue)
    columns = [shell]
    columns += [
        np.zeros(n) if (v := getattr(encodings, name)) is None else np.round(v, 2)
        for name in ("echo_time", "inversion_time", "repetition_time")
    ]
    if model.oriented:
        columns.append(np.where(encodings.is_b0(), -1, np.arange(n)))
    _, first, inverse = np.unique(np.stack(columns, 1), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def _averaged(model, encodings, groups, average):
    """Mean encodings of the groups; of an oriented model with directions, that of b = 0 being its first member's."""
    members = [np.flatnonzero(groups == g) for g in range(len(average))]
    mean = {
        # rounded by no more than its members allow: the mean of 50s is 50
        name: None
        if (v := getattr(encodings, name)) is None
        else np.clip(average @ v, [v[m].min() for m in members], [v[m].max() for m in members])
        for name in ("bvalue", "echo_time", "inversion_time", "repetition_time")
    }
    known = model.oriented and encodings.direction is not None
    return Encodings(**mean, direction=encodings.direction[[m[0] for m in members]] if known else None)
