"""Exact compression of a kernel and of the signals it describes."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.physics.checks import real_array
from mrspec_prep.threads import single_threaded_blas

RANK_TOLERANCE = 1e-15  # singular values below this, relative to the largest, are rounding


@dataclass(frozen=True, eq=False)
class ReducedKernel:
    """A kernel K = P B with orthonormal columns of P.

    For every spectrum f and signal s, ||K f - s||2 = ||B f - P's||2 + ||s||2 - ||P's||2.

    Attributes
    ----------
    basis : (n_ranks, n_bins) array
        B, rows of falling norm (the singular values of K).
    projection : (n_encodings, n_ranks) array
        P; ``signals @ projection`` are the compressed signals.
    singular_values : (n_ranks,) array
        Of K.
    columns : (n_bins, n_ranks) array
        B transposed and contiguous, as the solvers read it.

    """

    basis: np.ndarray
    projection: np.ndarray
    singular_values: np.ndarray
    columns: np.ndarray

    @property
    def n_encodings(self):
        """Rows of the kernel."""
        return self.projection.shape[0]

    @property
    def n_bins(self):
        """Columns of the kernel."""
        return self.basis.shape[1]

    @property
    def n_ranks(self):
        """Numerical rank."""
        return self.basis.shape[0]

    def compress(self, signals):
        """Compressed signals and the energy outside the kernel's range.

        Parameters
        ----------
        signals : (n_voxels, n_encodings) array

        Returns
        -------
        compressed : (n_voxels, n_ranks) array
        residual : (n_voxels,) array
            ||s||2 - ||P's||2, never negative [signal units squared].

        """
        compressed = np.empty((len(signals), self.n_ranks))
        residual = np.empty(len(signals))
        if self.n_ranks == self.n_encodings:  # P turns the signals, and nothing is outside
            residual[:] = 0
        with single_threaded_blas():
            for start in range(0, len(signals), 4096):
                block = np.asarray(signals[start : start + 4096], dtype=float)
                part = block @ self.projection
                compressed[start : start + 4096] = part
                if self.n_ranks == self.n_encodings:
                    continue
                outside = block - part @ self.projection.T
                residual[start : start + 4096] = np.einsum("ne,ne->n", outside, outside)
        return compressed, residual


def reduce_kernel(kernel):
    """Compress a kernel by merging equal rows and by singular value decomposition, exactly.

    Parameters
    ----------
    kernel : (n_encodings, n_bins) array or ReducedKernel
        Signed or positive. A kernel reduced already is handed back.

    Returns
    -------
    ReducedKernel

    Raises
    ------
    ValueError
        Not a matrix of real numbers, empty, all zero, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix
    >>> from mrspec_prep.spectra import reduce_kernel
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> reduced = reduce_kernel(kernel)
    >>> bool(np.allclose(reduced.projection @ reduced.basis, kernel)), len(reduced.singular_values) < len(kernel)
    (True, True)

    """
    if isinstance(kernel, ReducedKernel):
        return kernel
    kernel = np.ascontiguousarray(real_array(kernel, "kernel"), dtype=float)
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ValueError(f"kernel must be (n_encodings, n_bins) and not empty, got shape {kernel.shape}")
    if not np.isfinite(kernel).all():
        raise ValueError("kernel holds NaN or infinite values")
    if not kernel.any():
        raise ValueError("kernel is zero everywhere: no encoding weighs any bin")
    group, first = _equal_rows(kernel)
    counts = np.bincount(group)
    with single_threaded_blas():
        left, singular_values, right = np.linalg.svd(kernel[first] * np.sqrt(counts)[:, None], full_matrices=False)
    rank = int((singular_values > RANK_TOLERANCE * singular_values[0] * max(kernel.shape)).sum())
    left = left[:, :rank] * _signs(right[:rank])
    basis = right[:rank] * (_signs(right[:rank]) * singular_values[:rank])[:, None]
    projection = (left / np.sqrt(counts)[:, None])[group]
    return ReducedKernel(basis, projection, singular_values[:rank], np.ascontiguousarray(basis.T))


def _equal_rows(kernel):
    """Group of each row among equal rows, and the first row of each group."""
    seen = {}
    group = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in kernel])
    _, first = np.unique(group, return_index=True)
    return group, first


def _signs(rows):
    """Sign of the largest entry per row: fixes the sign that a decomposition leaves open."""
    return np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])


def check_signals(signals, n_encodings):
    """Signals as a float array (n_voxels, n_encodings).

    Raises
    ------
    ValueError
        Complex, masked, not two-dimensional, another number of encodings than the kernel, or not finite.

    """
    signals = real_array(signals, "signals")
    if not np.issubdtype(signals.dtype, np.floating):
        signals = signals.astype(float)
    if signals.ndim != 2:
        raise ValueError(f"signals must be (n_voxels, n_encodings), got shape {signals.shape}")
    if signals.shape[1] != n_encodings:
        raise ValueError(f"signals have {signals.shape[1]} encodings per voxel, the kernel has {n_encodings}")
    bad = ~np.isfinite(signals).all(axis=1)
    if bad.any():
        raise ValueError(f"signals hold NaN or infinite values in {bad.sum()} voxels, first {np.flatnonzero(bad)[:3]}")
    return signals
