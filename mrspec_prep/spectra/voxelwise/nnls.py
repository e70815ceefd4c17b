"""Voxelwise regularised spectra (paper 1, Eq. 4), each with a certificate."""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

from mrspec_prep.physics.checks import real_array, real_number
from mrspec_prep.spectra.compression.levels import coarse_basis
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.voxelwise.active_set import active_set_block
from mrspec_prep.spectra.voxelwise.alpha import AlphaChoice, fit_with_own_alphas
from mrspec_prep.spectra.voxelwise.gram import gram_start_block
from mrspec_prep.spectra.voxelwise.newton import SMALL_GAP, refine_block
from mrspec_prep.threads import for_blocks, single_threaded_blas

BLOCK = 64  # voxels solved by one call of compiled code
MAX_STEPS = 200
START_TOLERANCE = 1e-9  # of the multipliers, in the warm start
MAX_CHANGES = 5000
MULTIPLIER_TOLERANCE = 1e-11
SPARSE_TOLERANCE = 1e-13  # the same for alpha = 0, where nothing else bounds the excess
LEADING_SHARE = 1e-3  # squared singular values below this share of alpha act like zero in a Newton step
WARM_NEWTON_ALPHA = 1e-8  # alpha over the largest squared singular value from which a warm Newton beats the active set
MANY_BINS = 100  # in use, from which it does so at any alpha: the active set's work grows with their cube
WARM_TOLERANCE = 1e-20
ACCEPTED_GAP = 1e-10  # of a warm Newton that rounding stopped short; else the active set takes over


@dataclass(frozen=True, eq=False)
class NNLSResult:
    """Spectra of voxels, kept as dual coefficients.

    Attributes
    ----------
    dual : (n_voxels, n_ranks) array or None
        y; the spectra are ``max(dual @ basis, 0) / alpha``. None when alpha is 0.
    basis : (n_ranks, n_bins) array
        Compressed kernel.
    alpha : float or (n_voxels,) array
        Weight of ||f||2 (paper 1, Eq. 4); an array where each voxel has its own.
    gap : (n_voxels,) array
        Relative excess of the objective that cannot be ruled out: duality gap over dual
        objective. For alpha = 0 a first-order estimate instead of a bound, at most 1; 0 where it is within the
        rounding of ||s||2 (4e-15 of it), as of perfect fits.
    converged : (n_voxels,) bool array
        ``gap`` within the tolerance asked for.
    n_steps : (n_voxels,) int array
        Newton steps on the full grid, or changes of the active set.
    sparse : scipy.sparse.csr_array or None
        The spectra themselves when alpha is 0 (a handful of non-zero bins each).

    """

    dual: np.ndarray | None
    basis: np.ndarray
    alpha: float | np.ndarray
    gap: np.ndarray
    converged: np.ndarray
    n_steps: np.ndarray
    sparse: scipy.sparse.csr_array | None = field(default=None)

    @property
    def n_voxels(self):
        """Number of spectra."""
        return len(self.gap)

    @property
    def n_bins(self):
        """Bins of each spectrum."""
        return self.basis.shape[1]

    @property
    def spectra(self):
        """(n_voxels, n_bins) array, made anew at each call [signal units]."""
        out = np.empty((self.n_voxels, self.n_bins))
        for where, part in self.blocks():
            out[where] = part
        return out

    def blocks(self, size=2048):
        """Iterate over (slice, spectra of these voxels) without holding all spectra."""
        for start in range(0, self.n_voxels, size):
            where = slice(start, min(start + size, self.n_voxels))
            if self.sparse is not None:
                yield where, self.sparse[where].toarray()
            else:
                with single_threaded_blas():
                    spectra = self.dual[where] @ self.basis
                np.maximum(spectra, 0, out=spectra)
                spectra /= self.alpha if np.ndim(self.alpha) == 0 else self.alpha[where, None]
                yield where, spectra

    def predict(self, kernel):
        """Fitted signals of every voxel, or whatever else a matrix makes of the spectra.

        Parameters
        ----------
        kernel : (n_rows, n_bins) array
            A kernel, or any weights of the bins.

        Returns
        -------
        (n_voxels, n_rows) array

        """
        out = np.empty((self.n_voxels, len(kernel)))
        transposed = np.ascontiguousarray(np.asarray(kernel, dtype=float).T)
        for where, part in self.blocks():
            with single_threaded_blas():
                out[where] = part @ transposed
        return out


def fit_nnls(signals, kernel, alpha=0.01, tolerance=1e-9, n_threads=None, device=None):
    """Spectra argmin_{f>=0} ||K f - s||2 + alpha ||f||2 of every voxel (paper 1, Eq. 4).

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Any unit; signed where the kernel is.
    kernel : (n_encodings, n_bins) array or ReducedKernel
    alpha : float, (n_voxels,) array or AlphaChoice
        Weight as the paper prints it (the authors' code stacks alpha I, which weighs alpha squared);
        one per voxel, each above 0, or what ``choose_alpha`` gave.
    tolerance : float
        Relative excess of the objective allowed, certified voxel by voxel.
    n_threads : int, optional
        Default: the cores available, or OMP_NUM_THREADS. The result does not depend on it.
    device : str, optional
        ``cuda``, ``cpu`` or ``auto``: solve in batches by torch there, for one alpha above 0. By default
        the compiled solver, which is the faster one on processors.

    Returns
    -------
    NNLSResult
        ``converged`` is False where rounding stops the certificate short of the tolerance; True where alpha is 0
        and the fit is perfect but for rounding.

    Raises
    ------
    ValueError
        Wrong shapes, values not finite, alpha < 0 or tolerance <= 0, or no such device.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import fit_nnls
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 40)))
    >>> signals = simulate_signals("t2", encodings, {"t2": [60.0, 90.0, 120.0]})
    >>> found = fit_nnls(signals, kernel, alpha=0.01)
    >>> found.spectra.shape, bool(found.gap.max() <= 1e-9), bool(found.converged.all())
    ((3, 40), True, True)

    """
    starts = None
    if isinstance(alpha, AlphaChoice):
        alpha, starts = alpha.alpha, alpha.dual
    if np.ndim(alpha) == 0:
        alpha = real_number(alpha, "alpha", 0)
    tolerance = real_number(tolerance, "tolerance", 0, low_open=True)
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    compressed, outside = reduced.compress(signals)
    if np.ndim(alpha):
        return _solve_own(compressed, outside, reduced, alpha, tolerance, starts, n_threads)
    if alpha == 0:
        return _solve_sparse(compressed, outside, reduced, tolerance, n_threads)
    return _solve_dual(compressed, outside, reduced, float(alpha), tolerance, n_threads, device)


def _solve_own(compressed, outside, reduced, alpha, tolerance, starts, n_threads):
    """An alpha per voxel."""
    alphas = np.array(real_array(alpha, "alpha"), dtype=float)
    if alphas.shape != (len(compressed),) or not (np.isfinite(alphas).all() and (alphas > 0).all()):
        raise ValueError(f"alpha must be a number, or ({len(compressed)},) finite numbers > 0, one per voxel")
    dual, gap, steps = fit_with_own_alphas(compressed, outside, reduced, alphas, tolerance, starts, n_threads)
    return NNLSResult(dual, reduced.basis, alphas, gap, gap <= tolerance, steps)


def _solve_dual(compressed, outside, reduced, alpha, tolerance, n_threads, device=None):
    """Newton in the dual; voxels it leaves behind go through the active set."""
    coarse = coarse_basis(reduced, alpha)
    if device is None:
        found = _newton_compiled(compressed, outside, reduced, coarse, alpha, tolerance, n_threads)
    else:
        from mrspec_prep.spectra.voxelwise.nnls_torch import solve_dual_torch  # slow to import, and asked for by name

        found = solve_dual_torch(compressed, outside, reduced, coarse, alpha, tolerance, device)
    dual, gap, steps = found
    gap[np.isnan(gap)] = np.inf  # alpha near rounding: Newton went astray
    left = np.flatnonzero(gap > tolerance)
    if len(left):
        _rescue(left, compressed, outside, reduced, alpha, tolerance, n_threads, dual, gap, steps)
    return NNLSResult(dual, reduced.basis, alpha, gap, gap <= tolerance, steps)


def _newton_compiled(compressed, outside, reduced, coarse, alpha, tolerance, n_threads):
    """Duals, gaps and steps, voxel by voxel on threads."""
    n_voxels = len(compressed)
    dual, gap = np.zeros_like(compressed), np.zeros(n_voxels)
    steps = np.zeros(n_voxels, np.int64)

    def work(start, stop):
        part = slice(start, stop)
        gram_start_block(
            coarse.gram, coarse.columns, coarse.n_leading, compressed[part], alpha, START_TOLERANCE, MAX_CHANGES,
            dual[part],
        )  # fmt: skip
        refine(reduced, compressed[part], outside[part], alpha, tolerance, dual[part], gap[part], steps[part])

    with single_threaded_blas():
        for_blocks(n_voxels, BLOCK, work, n_threads)
    return dual, gap, steps


def refine(reduced, compressed, outside, alpha, tolerance, dual, gap, steps):
    """Newton from ``dual`` on all bins until every voxel is certified or has used its steps; in place."""
    n_leading = leading_ranks(reduced, alpha)
    pending = np.arange(len(compressed))
    best = np.full(len(compressed), np.inf)
    while len(pending):
        products = dual[pending] @ reduced.basis
        refine_block(
            reduced.columns, n_leading, products, pending, compressed, outside, alpha, tolerance, MAX_STEPS,
            dual, gap, steps,
        )  # fmt: skip
        moving = (gap[pending] < 0.5 * best[pending]) | (gap[pending] > SMALL_GAP)
        best[pending] = np.minimum(best[pending], gap[pending])
        pending = pending[(gap[pending] > tolerance) & (steps[pending] < MAX_STEPS) & moving]


def leading_ranks(reduced, alpha):
    """Rows of the basis that Newton's matrix must hold: those that are not small against sqrt(alpha)."""
    return max(1, int((reduced.singular_values**2 > LEADING_SHARE * alpha).sum()))


def _rescue(left, compressed, outside, reduced, alpha, tolerance, n_threads, dual, gap, steps):
    """Replace what Newton left behind by y = s - B f of the active set, where that is better."""

    def work(start, stop):
        which = left[start:stop]
        spectra = np.zeros((len(which), reduced.n_bins))
        found, changes = np.zeros(len(which)), np.zeros(len(which), np.int64)
        active_set_block(
            reduced.columns, compressed[which], outside[which], alpha, MULTIPLIER_TOLERANCE, MAX_CHANGES,
            spectra, found, changes,
        )  # fmt: skip
        polished, taken = compressed[which] - spectra @ reduced.columns, np.zeros(len(which), np.int64)
        refine(reduced, compressed[which], outside[which], alpha, tolerance, polished, found, taken)
        better = found < gap[which]  # False of NaN
        dual[which[better]] = polished[better]
        gap[which[better]] = found[better]
        steps[which] += changes + taken

    with single_threaded_blas():
        for_blocks(len(left), BLOCK, work, n_threads)


def solve_one(reduced, target, alpha, spectrum, dual):
    """One compressed problem from the spectrum and the dual of a similar one, both replaced in place.

    For targets that are means over many voxels: alpha may be tiny. Where alpha is large
    enough, or the spectrum is broad, Newton starts from the dual, else the active set from the spectrum.
    """
    nowhere = np.zeros(1)
    if alpha >= WARM_NEWTON_ALPHA * reduced.singular_values[0] ** 2 or np.count_nonzero(spectrum) >= MANY_BINS:
        gap = np.empty(1)
        refine(reduced, target[None], nowhere, alpha, WARM_TOLERANCE, dual[None], gap, np.zeros(1, np.int64))
        if gap[0] <= ACCEPTED_GAP:
            np.maximum(reduced.columns @ dual, 0, out=spectrum)
            spectrum /= alpha
            return
    if np.count_nonzero(spectrum) > reduced.n_ranks:
        spectrum[:] = 0.0  # to take so many bins out one by one costs far more than to begin anew
    active_set_block(
        reduced.columns, target[None], nowhere, alpha, MULTIPLIER_TOLERANCE, MAX_CHANGES,
        spectrum[None], np.empty(1), np.empty(1, np.int64),
    )  # fmt: skip
    used = np.flatnonzero(spectrum)
    dual[:] = target - spectrum[used] @ reduced.columns[used]


def _solve_sparse(compressed, outside, reduced, tolerance, n_threads):
    """Solve alpha = 0 by the active set."""

    def work(start, stop):
        spectra = np.zeros((stop - start, reduced.n_bins))
        gap, steps = np.zeros(stop - start), np.zeros(stop - start, np.int64)
        active_set_block(
            reduced.columns, compressed[start:stop], outside[start:stop], 0.0, SPARSE_TOLERANCE, MAX_CHANGES,
            spectra, gap, steps,
        )  # fmt: skip
        return scipy.sparse.csr_array(spectra), gap, steps

    parts = for_blocks(len(compressed), BLOCK, work, n_threads)
    if not parts:
        parts = [(scipy.sparse.csr_array((0, reduced.n_bins)), np.zeros(0), np.zeros(0, np.int64))]
    spectra, gap, steps = zip(*parts, strict=True)
    gap = np.concatenate(gap)
    stacked = scipy.sparse.csr_array(scipy.sparse.vstack(spectra))
    return NNLSResult(None, reduced.basis, 0.0, gap, gap <= tolerance, np.concatenate(steps), stacked)
