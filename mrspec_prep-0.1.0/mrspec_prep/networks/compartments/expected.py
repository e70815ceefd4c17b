"""What to expect of a classifier at a scan's own protocol and noise levels, by simulation (Endt et al., Fig. 2)."""

from dataclasses import dataclass, replace

import numpy as np

from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.scores import N_BINS, area_under_roc, calibration_error
from mrspec_prep.networks.compartments.simulation import simulate

N_SIGNALS = 20_000
MOST_VALUES = 4_000_000  # simulated signals times encodings
N_LEVELS = 20  # quantiles of the scan's noise levels
FALSE_ALARMS = np.linspace(0, 1, 51)  # abscissae of the ROC curves
SMALLEST_LEVEL = 1e-4  # a scan is never simulated with less noise


@dataclass(frozen=True, eq=False)
class Expected:
    """Answers to simulated signals of known truth.

    Attributes
    ----------
    n_signals : int
        As many of each number of compartments.
    levels : (2,) array
        5th and 95th percentile of the noise levels simulated.
    accuracy : float
        Part told right, were all decided by the likeliest number.
    accuracy_decided : float
        Part told right among those decided; NaN where none is.
    decided : float
        Part decided.
    one_or_several : float
        Part told right, one compartment or more.
    auc : (n_classes,) array
        Area under the ROC curve of each number against the others.
    ece : float
        Expected calibration error of the likeliest number.
    confusion : (n_classes, n_classes) int array
        Row: truth, column: likeliest number.
    decisions : (n_classes, n_classes + 1) int array
        Row: truth, column: decision, 0 undecided.
    detections : (n_classes, 51) array
        True positive rates at the false positive rates ``FALSE_ALARMS``.
    reliability : (3, n_bins) array
        Mean probability of the likeliest number, part told right (NaN where empty), signals.

    """

    n_signals: int
    levels: np.ndarray
    accuracy: float
    accuracy_decided: float
    decided: float
    one_or_several: float
    auc: np.ndarray
    ece: float
    confusion: np.ndarray
    decisions: np.ndarray
    detections: np.ndarray
    reliability: np.ndarray


def expected_answers(classifier, noise_levels, *, noise_known, magnitudes, abstain_below, seed=0, n_signals=N_SIGNALS):
    """Simulate signals of the training's tissue at a classifier's protocol and score its answers.

    Signs of magnitudes after inversion are taken as restored without error.

    Parameters
    ----------
    classifier : CompartmentClassifier
    noise_levels : (n,) array
        Sigma over the RMS of the signal, of the scan's voxels.
    noise_known, magnitudes, abstain_below, seed
        As the scan is classified.
    n_signals : int
        At most.

    Returns
    -------
    Expected

    """
    n_each = max(min(n_signals, MOST_VALUES // len(classifier.protocol)) // N_LEVELS, 1)
    levels = np.quantile(noise_levels, (np.arange(N_LEVELS) + 0.5) / N_LEVELS)
    recipe, rng = Recipe.from_dict(classifier.manifest["recipe"]), np.random.default_rng([seed, N_LEVELS])
    signals, sigma, truth = [], [], []
    for level in np.maximum(levels, SMALLEST_LEVEL):
        at_level = replace(recipe, noise="rms", noise_steps=0, noise_range=(level, level))
        classes = np.arange(n_each) % recipe.n_classes + 1
        drawn = simulate(at_level, classifier.protocol, n_each, rng, classes)
        signals.append(drawn.signals)
        sigma.append(drawn.noise_std)
        truth.append(classes)
    signals, sigma, truth = (np.concatenate(parts) for parts in (signals, sigma, truth))
    if magnitudes:
        other_channel = sigma[:, None] * rng.standard_normal(signals.shape)
        sign = 1 if classifier.protocol.inversion_time is None else np.sign(signals)
        signals = sign * np.hypot(signals, other_channel)
    found = classifier.classify(
        signals, sigma if noise_known else None, magnitudes=magnitudes, seed=seed, abstain_below=abstain_below
    )
    return _scored(found, truth, np.quantile(levels, (0.05, 0.95)))


def _scored(found, truth, levels):
    probs, n_classes = found.probabilities.astype(float), found.probabilities.shape[1]
    likeliest, confidence = probs.argmax(axis=1) + 1, probs.max(axis=1)
    decided, right = ~found.abstained, likeliest == truth
    confusion = np.zeros((n_classes, n_classes), int)
    np.add.at(confusion, (truth - 1, likeliest - 1), 1)
    decisions = np.zeros((n_classes, n_classes + 1), int)
    np.add.at(decisions, (truth - 1, found.n_compartments), 1)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        told = [np.bincount(bins, values, N_BINS) / counts for values in (confidence, right)]
    return Expected(
        len(truth),
        levels,
        float(right.mean()),
        float(right[decided].mean()) if decided.any() else float("nan"),
        float(decided.mean()),
        float(np.mean((probs[:, 0] > 0.5) == (truth == 1))),
        np.array([area_under_roc(probs[:, k], truth == k + 1) for k in range(n_classes)]),
        calibration_error(probs, truth),
        confusion,
        decisions,
        np.stack([_detections(probs[:, k], truth == k + 1) for k in range(n_classes)]),
        np.stack([*told, counts.astype(float)]),
    )


def _detections(score, positive):
    """True positive rates at ``FALSE_ALARMS``."""
    order = np.argsort(-score, kind="stable")
    hits = np.concatenate([[0.0], np.cumsum(positive[order]) / positive.sum()])
    alarms = np.concatenate([[0.0], np.cumsum(~positive[order]) / (~positive).sum()])
    return np.interp(FALSE_ALARMS, alarms, hits)
