"""Scans to participants, and values to scores that sum to zero in every block."""

import numpy as np
import scipy


def per_participant(proportions, participants, *labels, numbers=None):
    """Means over the scans of each participant, and its labels; numbers are averaged too."""
    values = np.asarray(proportions, float)
    if values.ndim != 2 or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"proportions must be (n_scans, M), finite and >= 0, got shape {values.shape}")
    n = len(values)
    who = np.arange(n) if participants is None else np.asarray(participants, dtype=str)
    given = [np.zeros(n, int) if label is None else np.asarray(label, dtype=str) for label in labels]
    if any(len(part) != n for part in (who, *given, *([] if numbers is None else [numbers]))):
        raise ValueError(f"one label per scan is needed: {n} scans, {[len(part) for part in (who, *given)]} labels")
    names, first, inverse = np.unique(who, return_index=True, return_inverse=True)
    if len(names) < 3:
        raise ValueError(f"at least three participants are needed to compare, got {len(names)}")
    for label in given:
        wrong = np.flatnonzero(label != label[first][inverse])
        if len(wrong):
            raise ValueError(
                f"participant {who[wrong[0]]} is in {label[first][inverse][wrong[0]]} and {label[wrong[0]]}: "
                "scans of one participant must share group and site"
            )
    weights = np.zeros((len(names), n))
    weights[inverse, np.arange(n)] = 1 / np.bincount(inverse)[inverse]
    found = weights @ values, [label[first] for label in given], n
    return found if numbers is None else (*found, weights @ numbers)


def ranks(columns, blocks):
    """Mid-ranks within each block, over the block's size plus one (van Elteren 1960)."""
    ranks = np.empty(columns.shape)
    for block in np.unique(blocks):
        here = blocks == block
        ranks[here] = scipy.stats.rankdata(columns[here], axis=0) / (here.sum() + 1)
    return ranks


def centred(columns, blocks):
    """Columns minus their mean in each block."""
    centred = np.array(columns, dtype=float)
    for block in np.unique(blocks):
        centred[blocks == block] -= centred[blocks == block].mean(axis=0)
    return centred
