"""The common basis of several protocols: exact, and the M-step in it the same as on the stacked kernels."""

import numpy as np

from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.members import truncated
from mrspec_prep.spectra.group.steps import constrained_factors
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls


def test_every_kernel_is_in_the_basis(protocols):
    basis = common_basis([protocol.reduced for protocol in protocols], np.array([3.0, 1.0]))
    pooled = basis.pooled
    assert np.allclose(pooled.basis @ pooled.basis.T, np.diag(pooled.singular_values**2), atol=1e-10)
    spectra = np.random.default_rng(0).exponential(size=(3, pooled.n_bins))
    for protocol, found in zip(protocols, basis.predicted(spectra @ pooled.columns), strict=True):
        assert np.allclose(found, spectra @ protocol.reduced.columns, rtol=0, atol=1e-12 * np.abs(found).max())


def test_one_protocol_is_its_own_basis(protocols):
    reduced = truncated(protocols[0].reduced, 7)
    assert reduced.n_ranks == 7 and reduced.columns.shape[1] == 7
    assert common_basis([reduced]).pooled is reduced


def test_a_spectrum_of_two_protocols_is_that_of_the_stacked_kernels(protocols):
    rng = np.random.default_rng(1)
    kernels = [protocol.reduced for protocol in protocols]
    targets = [kernel.basis @ rng.exponential(size=kernel.n_bins) / 100 for kernel in kernels]
    weights, alpha = np.array([2.0, 5.0]), 0.3
    reduced, target = common_basis(kernels).problem(weights, targets)
    roots = np.sqrt(weights)
    whole = np.concatenate([root * kernel.basis for root, kernel in zip(roots, kernels, strict=True)])
    signal = np.concatenate([root * one for root, one in zip(roots, targets, strict=True)])
    expected = fit_nnls(signal[None], whole, alpha, tolerance=1e-14).spectra[0]
    found = fit_nnls((reduced.projection @ target)[None], reduced, alpha / weights.sum(), tolerance=1e-14).spectra[0]
    assert np.allclose(found, expected, rtol=0, atol=1e-6 * expected.max())


def test_factors_are_the_best_with_a_mean_logarithm_of_zero():
    rng = np.random.default_rng(2)
    for _ in range(20):
        stiff, counts = rng.uniform(1, 9, 3), rng.uniform(1, 9, 3)
        pull = stiff * rng.uniform(0.7, 1.4, 3)

        def loss(x, stiff=stiff, pull=pull):
            return 0.5 * stiff @ x**2 - pull @ x

        best = constrained_factors(stiff, pull, counts, np.ones(3))
        assert abs(counts @ np.log(best)) < 1e-10
        for _ in range(50):
            step = rng.normal(0, 0.1, 3)
            other = best * np.exp(step - counts @ step / counts.sum())
            assert loss(best) <= loss(other) + 1e-9 * abs(loss(best))
