"""How well probabilities of 1 to n_classes compartments fit the truth."""

from dataclasses import dataclass

import numpy as np

N_BINS = 15  # of the calibration error


@dataclass(frozen=True, eq=False)
class Scores:
    """Figures of a classifier.

    Attributes
    ----------
    four_class : float
        Part of the signals whose most probable class is the true one.
    binary : float
        Part told right, one compartment or more, at a probability of one half.
    auc : float
        Area under the ROC curve of one compartment against more.
    ece : float
        Expected calibration error of the most probable class.
    confusion : (n_classes, n_classes) array
        Row: truth, column: most probable class; each row sums to one.

    """

    four_class: float
    binary: float
    auc: float
    ece: float
    confusion: np.ndarray


def scores(probs, n_compartments) -> Scores:
    """Figures of probabilities (n, n_classes) against the truth (n,), 1 to n_classes."""
    truth, found = np.asarray(n_compartments) - 1, probs.argmax(axis=1)
    n_classes = probs.shape[1]
    counts = np.bincount(truth * n_classes + found, minlength=n_classes**2).reshape(n_classes, n_classes)
    return Scores(
        float(np.mean(found == truth)),
        float(np.mean((probs[:, 0] > 0.5) == (truth == 0))),
        area_under_roc(probs[:, 0], truth == 0),
        calibration_error(probs, n_compartments),
        counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
    )


def area_under_roc(score, positive):
    """Probability that a positive scores above a negative, ties half (Mann-Whitney)."""
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    if len(values) == 0 or positive.all() or not positive.any():
        return float("nan")
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    n_positive = int(positive.sum())
    above = ranks[positive].sum() - 0.5 * n_positive * (n_positive + 1)
    return float(above / (n_positive * (len(score) - n_positive)))


def calibration_error(probs, n_compartments, n_bins=N_BINS):
    """Mean distance of confidence to accuracy over equal bins of confidence, weighted by their signals (ECE)."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) + 1 == np.asarray(n_compartments)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, confidence - right, n_bins)
    return float(np.abs(gaps).sum() / len(confidence))
