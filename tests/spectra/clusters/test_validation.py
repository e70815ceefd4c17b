import numpy as np
import pytest

from mrspec_prep.spectra import fit_inspect, reduce_kernel
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.validation import held_out_log_likelihood, volume_folds


def test_equal_encodings_are_shared_out_over_the_folds(placenta):
    fold = volume_folds(placenta.kernel, 3)
    reference = np.flatnonzero(placenta.encodings.is_b0() & (placenta.encodings.echo_time == 78))
    assert np.bincount(fold[reference]).tolist() == [2, 2, 2]
    assert np.ptp(np.bincount(fold)) <= 1
    np.testing.assert_array_equal(fold, volume_folds(reduce_kernel(placenta.kernel), 3))


def test_one_cluster_of_known_signal_gives_the_normal_density_of_what_was_left_out(placenta):
    """With many voxels the spectrum hardly depends on the volumes left out."""
    rng = np.random.default_rng(0)
    mean = placenta.kernel @ (np.eye(400)[150] + np.eye(400)[260]) / 2
    signals = mean + 0.05 * rng.standard_normal((300, 330))
    problem = make_problem(signals, placenta.kernel, 0.05)
    fit = fit_inspect(signals, placenta.kernel, 0.05, 1, n_starts=1)
    found = held_out_log_likelihood(signals, placenta.kernel, 0.05, {1: fit}, 3, problem)
    expected = -0.5 * ((signals - mean) ** 2).sum() / 0.05**2 - 0.5 * signals.size * np.log(2 * np.pi * 0.05**2)
    assert found[1] == pytest.approx(expected, abs=60)
    assert found[1] < fit.log_likelihood


@pytest.mark.parametrize("n_folds", [1, 331])
def test_folds_must_be_possible(placenta, n_folds):
    problem = make_problem(placenta.signals, placenta.kernel, 0.05)
    with pytest.raises(ValueError, match="folds"):
        held_out_log_likelihood(placenta.signals, placenta.kernel, 0.05, {}, n_folds, problem)
