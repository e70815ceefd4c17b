"""A whole scan classified: neighbours, magnitudes, voxels without a noise level, and what to expect of the answers."""

import numpy as np
import pytest

from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.networks.compartments.expected import FALSE_ALARMS, expected_answers
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.scan import SCAN_REASONS, classify_scan
from mrspec_prep.networks.compartments.scores import scores
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.physics import Encodings, add_noise

ECHOES = Encodings(echo_time=10.0 * np.arange(1, 33))
MASK = np.ones((6, 6, 3), bool)


@pytest.fixture(scope="module")
def classifier():
    return CompartmentClassifier.for_protocol(ECHOES)


def magnitudes_of_one_decay(level, t2=60.0):
    """Magnitudes of one T2 in every voxel and their sigma, at a noise level over the RMS."""
    clean = np.broadcast_to(np.exp(-ECHOES.echo_time / t2), (MASK.sum(), len(ECHOES)))
    sigma = level * np.sqrt(np.mean(clean[0] ** 2))
    return add_noise(clean, sigma, np.random.default_rng(1), "rician"), np.full(len(clean), sigma)


def test_the_expected_accuracy_is_that_of_fresh_signals(classifier):
    expected = expected_answers(classifier, [0.03], noise_known=True, magnitudes=False, abstain_below=0.5)
    recipe = Recipe(noise_steps=0, noise_range=(0.03, 0.03))
    drawn = simulate(recipe, ECHOES, 20000, np.random.default_rng(77))
    found = classifier.classify(drawn.signals, drawn.noise_std)
    truth = scores(found.probabilities, drawn.n_compartments)
    assert expected.accuracy == pytest.approx(truth.four_class, abs=0.015)
    assert expected.auc[0] == pytest.approx(truth.auc, abs=0.01)
    assert expected.decided == pytest.approx(np.mean(~found.abstained), abs=0.015)
    right = found.n_compartments == drawn.n_compartments
    assert expected.accuracy_decided == pytest.approx(right[~found.abstained].mean(), abs=0.03)


def test_curves_and_tables_of_what_to_expect_agree(classifier):
    expected = expected_answers(classifier, [0.01, 0.05], noise_known=True, magnitudes=False, abstain_below=0.5)
    assert expected.confusion.sum() == expected.decisions.sum() == expected.reliability[2].sum() == expected.n_signals
    assert np.trace(expected.confusion) / expected.n_signals == pytest.approx(expected.accuracy)
    assert (np.diff(expected.detections, axis=1) >= 0).all()
    np.testing.assert_allclose(np.trapezoid(expected.detections, FALSE_ALARMS, axis=1), expected.auc, atol=0.01)
    told, right, counts = expected.reliability
    gaps = np.abs(told - right)[counts > 0] * counts[counts > 0]
    assert gaps.sum() / counts.sum() == pytest.approx(expected.ece, abs=1e-6)


def test_more_noise_tells_less(classifier):
    quiet, loud = (
        expected_answers(classifier, [level], noise_known=True, magnitudes=False, abstain_below=0.5)
        for level in (0.01, 0.08)
    )
    assert quiet.accuracy > loud.accuracy + 0.05 and quiet.decided > loud.decided


@pytest.mark.long
def test_neighbours_of_equal_tissue_decide_more_of_magnitudes_below_their_floor(classifier):
    signals, sigma = magnitudes_of_one_decay(0.17)
    alone = classify_scan(classifier, signals, MASK, sigma, magnitudes=True)
    together = classify_scan(classifier, signals, MASK, sigma, magnitudes=True, pooling="neighbours")
    as_they_are = classify_scan(classifier, signals, MASK, sigma, pooling="neighbours")
    assert np.mean(together.n_compartments == 1) > np.mean(alone.n_compartments == 1) + 0.05
    assert np.mean(together.n_compartments == 1) > 0.85
    assert as_they_are.probabilities[:, 0].mean() < 0.3  # a floor averaged reads as a slow compartment
    assert 1 < np.median(together.n_pooled) <= 27
    assert together.expected.accuracy > alone.expected.accuracy


def test_a_voxel_without_noise_level_stays_undecided_and_says_so(classifier):
    signals, sigma = magnitudes_of_one_decay(0.02)
    sigma[[0, 5]] = np.nan, 0
    for pooling in ("off", "neighbours"):
        found = classify_scan(classifier, signals, MASK, sigma, pooling=pooling)
        assert (found.n_compartments[[0, 5]] == 0).all() and (found.probabilities[[0, 5]] == 0).all()
        assert [SCAN_REASONS[k] for k in found.reason[[0, 5]]] == ["no noise level is known"] * 2
        assert np.mean(found.n_compartments == 1) > 0.9


def test_the_same_seed_gives_the_same_answers(classifier):
    signals, sigma = magnitudes_of_one_decay(0.1)
    how = {"magnitudes": True, "pooling": "neighbours"}
    first, again, other = (classify_scan(classifier, signals, MASK, sigma, seed=seed, **how) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert (first.probabilities != other.probabilities).any()


def test_what_cannot_be_is_refused(classifier):
    signals, sigma = magnitudes_of_one_decay(0.02)
    with pytest.raises(ValueError, match="pooling must be one of off, neighbours"):
        classify_scan(classifier, signals, MASK, sigma, pooling="all")
    with pytest.raises(ValueError, match="noise_std is needed"):
        classify_scan(classifier, signals, MASK, pooling="neighbours")
    with pytest.raises(ValueError, match="known in no voxel"):
        classify_scan(classifier, signals, MASK, np.full(len(signals), np.nan))
