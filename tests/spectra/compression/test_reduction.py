import numpy as np
import pytest

from mrspec_prep.spectra import reduce_kernel
from mrspec_prep.spectra.compression.reduction import check_signals


def test_compressed_misfit_equals_the_full_one(placenta):
    reduced = reduce_kernel(placenta.kernel)
    compressed, outside = reduced.compress(placenta.signals)
    spectra = np.random.default_rng(0).exponential(1 / 400, (len(placenta.signals), reduced.n_bins))
    full = ((spectra @ placenta.kernel.T - placenta.signals) ** 2).sum(axis=1)
    small = ((spectra @ reduced.columns - compressed) ** 2).sum(axis=1) + outside
    np.testing.assert_allclose(small, full, rtol=1e-12)


def test_rank_is_at_most_the_number_of_distinct_encodings(placenta):
    reduced = reduce_kernel(placenta.kernel)
    assert reduced.n_ranks <= 70 < reduced.n_encodings
    np.testing.assert_allclose(reduced.projection.T @ reduced.projection, np.eye(reduced.n_ranks), atol=1e-12)
    np.testing.assert_allclose(reduced.projection @ reduced.basis, placenta.kernel, atol=1e-12)


def test_a_reduced_kernel_is_handed_back(placenta):
    reduced = reduce_kernel(placenta.kernel)
    assert reduce_kernel(reduced) is reduced


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (np.ones(3), "n_encodings, n_bins"),
        (np.ones((0, 3)), "not empty"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.zeros((2, 3)), "zero everywhere"),
    ],
)
def test_bad_kernels_are_refused(kernel, words):
    with pytest.raises(ValueError, match=words):
        reduce_kernel(kernel)


@pytest.mark.parametrize(
    ("signals", "words"),
    [(np.ones(4), "n_voxels"), (np.ones((2, 3)), "3 encodings"), (np.full((2, 4), np.inf), "2 voxels")],
)
def test_bad_signals_are_refused(signals, words):
    with pytest.raises(ValueError, match=words):
        check_signals(signals, 4)
