"""Numbers of compartments of all voxels of a scan: with neighbours or without, and what accuracy to expect there."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.compartments.classifier import ABSTAIN_BELOW, N_DRAWS, REASONS, CompartmentClassifier
from mrspec_prep.networks.compartments.expected import Expected, expected_answers
from mrspec_prep.networks.compartments.magnitude_signals import pooled_draws
from mrspec_prep.networks.compartments.pooling import pool_signals

POOLINGS = ("off", "neighbours")
#: reasons for leaving a voxel of a scan undecided, by code
SCAN_REASONS = (*REASONS, "no noise level is known")


@dataclass(frozen=True, eq=False)
class ScanClassification:
    """Numbers of compartments of the voxels of a mask.

    Attributes
    ----------
    probabilities : (n_voxels, 4) float32 array
        Of 1 to 4 compartments; 0 where no noise level is known.
    n_compartments : (n_voxels,) int array
        The likeliest number; 0 where undecided.
    reason : (n_voxels,) int array
        Index into ``SCAN_REASONS``.
    noise_level : (n_voxels,) array
        Sigma over the RMS of the signal, after pooling; NaN where it is not known.
    n_pooled : (n_voxels,) array or None
        Voxels of equal noise that the pooled signals are worth, 1 to 27.
    expected : Expected
        What simulation at this protocol and these noise levels says of such answers.

    """

    probabilities: np.ndarray
    n_compartments: np.ndarray
    reason: np.ndarray
    noise_level: np.ndarray
    n_pooled: np.ndarray | None
    expected: Expected


def classify_scan(
    classifier: CompartmentClassifier,
    signals,
    mask,
    noise_std=None,
    *,
    magnitudes=False,
    pooling="off",
    abstain_below=ABSTAIN_BELOW,
    seed=0,
):
    """Classify the voxels of a mask, and simulate what to expect of the answers.

    Parameters
    ----------
    classifier : CompartmentClassifier
        For the protocol of the scan.
    signals : (n_voxels, n_encodings) array
        Of the voxels of the mask in C order, signed where inversion recovery takes part.
    mask : (nx, ny, nz) bool array
    noise_std : (n_voxels,) array, optional
        Sigma [signal units]; voxels where it is not positive and finite stay undecided. Default: what each signal
        tells.
    magnitudes : bool
        The signals are magnitudes of complex noise.
    pooling : str
        ``off``, or ``neighbours`` (``pooling.pool_signals``): needs ``noise_std``.
    abstain_below : float
    seed : int

    Returns
    -------
    ScanClassification

    Raises
    ------
    ValueError
        Unknown pooling, no noise level where one is needed, signals that do not fit the mask or the protocol.

    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    known, given = np.ones(len(signals), bool), noise_std is not None
    how = {"magnitudes": magnitudes, "seed": seed, "abstain_below": abstain_below}
    n_pooled = None
    if given:
        noise_std = np.broadcast_to(np.asarray(noise_std, float), len(signals))
        known = np.isfinite(noise_std) & (noise_std > 0)
        if not known.any():
            raise ValueError("the noise level is known in no voxel")
        noise_std = noise_std[known]
    if pooling == "off":
        found = classifier.classify(signals[known], noise_std, **how)
    elif given:
        inside = np.array(mask, bool)
        inside[inside] = known
        found, n_pooled = classify_pooled(classifier, signals[known], inside, noise_std, **how)
    else:
        raise ValueError("pooling compares neighbours in units of the noise: noise_std is needed")
    expected = expected_answers(
        classifier,
        found.noise_level,
        noise_known=given,
        magnitudes=magnitudes and pooling == "off",
        abstain_below=abstain_below,
        seed=seed,
    )
    return ScanClassification(
        _all(found.probabilities, known, 0),
        _all(found.n_compartments, known, 0),
        _all(found.reason, known, len(REASONS)),
        _all(found.noise_level, known, np.nan),
        None if n_pooled is None else _all(n_pooled, known, np.nan),
        expected,
    )


def classify_pooled(classifier, signals, mask, noise_std, *, magnitudes=False, seed=0, abstain_below=ABSTAIN_BELOW):
    """Classify signals averaged with those of neighbours that hold the same tissue as far as the noise can tell.

    The phase of magnitudes is drawn given what the neighbours say together, so that their floor averages out.

    Parameters
    ----------
    classifier, signals, mask, noise_std, magnitudes, seed, abstain_below
        See ``classify_scan``; sigma known everywhere.

    Returns
    -------
    found : Classification
    n_pooled : (n_voxels,) array
        Voxels of equal noise that the average is worth.

    """
    mapping = classifier.mapping
    basis = mapping.project[:, : mapping.n_strong]
    if not magnitudes:
        pooled, sigma, n_pooled = pool_signals(signals, mask, noise_std, basis)
        return classifier.decide(*classifier.answer(pooled, sigma), abstain_below), n_pooled
    positive, rng = classifier.protocol.inversion_time is None, np.random.default_rng(seed)
    totals = [np.zeros((len(signals), classifier.n_classes), np.float32), *np.zeros((3, len(signals)))]

    def pool(drawn):
        return pool_signals(drawn, mask, noise_std, basis)

    for pooled, sigma, n_pooled in pooled_draws(signals, noise_std, mapping, positive, N_DRAWS, rng, pool):
        for total, part in zip(totals, (*classifier.answer(pooled, sigma), n_pooled), strict=True):
            total += part / N_DRAWS
    *means, n_pooled = totals
    return classifier.decide(*means, abstain_below), n_pooled


def _all(values, known, missing):
    """Values of all voxels from those of the voxels with a known noise level."""
    result = np.full((len(known), *values.shape[1:]), missing, values.dtype)
    result[known] = values
    return result
