"""One basis for the kernels of several protocols, and the M-step's problem in it.

Stacked, the compressed kernels B_p of all protocols have one decomposition, [sqrt(q_p) B_p] = U S V', q_p the
protocols' shares. Then B_p = A_p V' with a small A_p (r_p x R), and a cluster's problem

    min_F sum_p W_p ||A_p V'F - t_p||2 + alpha ||F||2

becomes, by the decomposition of the stacked sqrt(W_p) A_p, one of at most R compressed signals.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.compression.reduction import RANK_TOLERANCE, ReducedKernel


@dataclass(frozen=True, eq=False)
class CommonBasis:
    """What the kernels of all protocols have in common.

    Attributes
    ----------
    pooled : ReducedKernel
        Of the stacked kernels: basis S V' (R, n_bins); ``projection`` is U.
    maps : list of (r_p, R) arrays
        U_p / sqrt(q_p): a spectrum's compressed signals under protocol p are maps[p] @ (pooled.basis @ F).

    """

    pooled: ReducedKernel
    maps: list[np.ndarray]

    def predicted(self, means):
        """Compressed signals of the clusters under each protocol from their means (n_clusters, R)."""
        return [means @ one.T for one in self.maps]

    def problem(self, weights, targets):
        """Kernel and signal of a cluster's spectrum: min sum_p W_p ||B_p F - t_p||2 = W ||B F - t||2 + constant.

        Parameters
        ----------
        weights : (n_protocols,) array
            W_p >= 0, not all zero; W is their sum.
        targets : list of (r_p,) arrays
            t_p.

        Returns
        -------
        reduced : ReducedKernel
            Rows of falling norm, at most R.
        target : (n_ranks,) array

        """
        if len(self.maps) == 1:
            return self.pooled, targets[0] @ self.maps[0]
        roots = np.sqrt(np.asarray(weights) / np.sum(weights))
        values = self.pooled.singular_values
        stacked = np.concatenate([root * one for root, one in zip(roots, self.maps, strict=True)]) * values
        reduced = _decomposed(stacked, self.pooled.basis / values[:, None])
        signal = np.concatenate([root * one for root, one in zip(roots, targets, strict=True)])
        return reduced, signal @ reduced.projection


def common_basis(kernels, shares=None):
    """The basis of several compressed kernels on one grid, exact to rounding.

    Parameters
    ----------
    kernels : list of ReducedKernel
    shares : (n_protocols,) array, optional
        q_p > 0: how much each weighs; equal by default.

    Returns
    -------
    CommonBasis

    """
    if len(kernels) == 1:
        return CommonBasis(kernels[0], [np.eye(kernels[0].n_ranks)])
    roots = np.sqrt(np.full(len(kernels), 1 / len(kernels)) if shares is None else shares / np.sum(shares))
    stacked = np.concatenate([root * kernel.basis for root, kernel in zip(roots, kernels, strict=True)])
    pooled = _decomposed(stacked, None)
    ends = np.cumsum([kernel.n_ranks for kernel in kernels])[:-1]
    maps = [part / root for part, root in zip(np.split(pooled.projection, ends), roots, strict=True)]
    return CommonBasis(pooled, maps)


def _decomposed(stacked, rows):
    """Compressed form of the kernel ``stacked @ rows``, rows orthonormal (None: the identity)."""
    left, values, right = np.linalg.svd(stacked, full_matrices=False)
    rank = max(1, int((values > RANK_TOLERANCE * values[0] * max(stacked.shape)).sum()))
    basis = right[:rank] if rows is None else right[:rank] @ rows
    basis = basis * values[:rank, None]
    return ReducedKernel(basis, left[:, :rank], values[:rank], np.ascontiguousarray(basis.T))
