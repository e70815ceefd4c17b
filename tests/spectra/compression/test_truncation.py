"""Truncation: what is kept and what is left out add up, and the kernel made again is recognised."""

import numpy as np
import pytest

from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.compression.truncation import (
    INVISIBLE,
    MOST_RANKS,
    compress_signals,
    rebuild_kernel,
    truncate_kernel,
)


def test_energy_inside_and_outside_add_up(placenta):
    truncated = truncate_kernel(placenta.kernel)
    compressed, outside = compress_signals(placenta.signals, truncated)
    assert compressed.dtype == outside.dtype == np.float32
    total = np.einsum("nk,nk->n", compressed.astype(float), compressed) + outside
    np.testing.assert_allclose(total, np.einsum("ne,ne->n", placenta.signals, placenta.signals), rtol=1e-6)
    assert (outside >= 0).all()


def test_distances_to_the_truncated_kernel_are_those_to_its_signals(placenta):
    """||s - P B f||2 = ||t - B f||2 + outside for every f: a fit to t is a fit to s."""
    truncated = truncate_kernel(placenta.kernel, most=6)
    compressed, outside = compress_signals(placenta.signals, truncated)
    f = np.random.default_rng(0).dirichlet(np.ones(truncated.n_bins))
    whole = np.sum((placenta.signals - truncated.projection @ truncated.basis @ f) ** 2, axis=1)
    np.testing.assert_allclose(np.sum((compressed - truncated.basis @ f) ** 2, axis=1) + outside, whole, rtol=1e-5)


def test_only_invisible_ranks_and_those_beyond_the_limit_are_left_out(placenta):
    whole = reduce_kernel(placenta.kernel)
    assert truncate_kernel(whole).n_ranks == MOST_RANKS < whole.n_ranks
    kept = truncate_kernel(whole, most=1000)
    left_out = whole.basis[kept.n_ranks :]
    assert len(left_out) > 0 and np.abs(left_out).max() <= INVISIBLE
    np.testing.assert_array_equal(kept.basis, whole.basis[: kept.n_ranks])


def test_the_kernel_is_made_again_from_the_projection(placenta):
    truncated = truncate_kernel(placenta.kernel)
    again = rebuild_kernel(placenta.kernel, truncated.projection, truncated.singular_values)
    np.testing.assert_allclose(again.basis, truncated.basis, atol=1e-12 * truncated.singular_values[0])
    np.testing.assert_array_equal(again.columns, again.basis.T)


def test_another_kernel_is_not_taken_for_it(placenta):
    truncated = truncate_kernel(placenta.kernel)
    with pytest.raises(ValueError, match="not the one"):
        rebuild_kernel(placenta.kernel * 1.001, truncated.projection, truncated.singular_values)
    with pytest.raises(ValueError, match="does not match"):
        rebuild_kernel(placenta.kernel[1:], truncated.projection, truncated.singular_values)
