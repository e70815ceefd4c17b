"""Bootstrap of what is read from regularised spectra: standard deviations and intervals per voxel."""

from dataclasses import dataclass

import numpy as np
import scipy

from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.noise.estimate import effective_parameters
from mrspec_prep.spectra.uncertainty.resampling import refit_copies
from mrspec_prep.spectra.voxelwise.active_set import active_set_block
from mrspec_prep.spectra.voxelwise.nnls import NNLSResult
from mrspec_prep.threads import for_blocks, single_threaded_blas

KINDS = ("residual", "parametric")
SPECTRUM_TOLERANCE = 1e-3  # relative error of a resampled spectrum, far below its scatter
TRUNCATION = 0.02  # singular values below this share of sqrt(alpha) do not move the spectrum
MULTIPLIER_TOLERANCE = 1e-9
MAX_CHANGES = 2000
BLOCK = 8  # voxels at a time


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """Scatter of the quantities read from each voxel's spectrum.

    Attributes
    ----------
    std : dict of str to (n_voxels,) array
        Standard deviation over resamples [unit of the quantity].
    low, high : dict of str to (n_voxels,) array
        The estimate less and plus the normal quantile of ``level`` times ``std``: an interval for the mean of the
        estimate over repeated scans. It does not count the bias that regularisation gives the estimate.
    shift : dict of str to (n_voxels,) array
        Mean of the resamples less the estimate: how far one more round of noise and regularisation
        moves the quantity, a lower hint of its bias.
    n_failed : (n_voxels,) int array
        Resamples whose spectrum was not certified to the tolerance (they are counted all the same).
    n_resamples : int
    level : float
    kind : str
        ``residual`` or ``parametric``.

    """

    std: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    shift: dict[str, np.ndarray]
    n_failed: np.ndarray
    n_resamples: int
    level: float
    kind: str


def bootstrap(
    signals, kernel, result, read, *, n_resamples=200, kind="residual", noise_std=None, limits=None, level=0.95,
    seed=0, voxel_ids=None, n_threads=None,
):  # fmt: skip
    """Refit noisy copies of every voxel's fitted signal and read the same quantities from them.

    The fit is the true tissue of its copies, so their scatter is that of the estimate over repeated scans; the
    distance of a regularised estimate from the truth does not show in it (measured in ``benchmarks/coverage.py``).

    ``residual`` draws the noise of each volume from the voxel's own centred residuals times
    sqrt(m / (m - df)), m volumes, df effective parameters; ``parametric`` from a normal
    distribution with ``noise_std``, for protocols whose few volumes leave few residuals.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array or ReducedKernel
    result : NNLSResult
        Fit of these signals with this kernel.
    read : callable
        NNLSResult, or (n_spectra, n_bins) spectra where alpha is 0 -> dict of str to (n_spectra,) array.
    n_resamples : int
        At least 20.
    kind : str
    noise_std : (n_voxels,) array or float, optional
        [signal units], for ``parametric``.
    limits : dict of str to (low, high), optional
        Values that a quantity cannot leave; its interval is cut there.
    level : float
        Probability of the interval.
    seed : int
    voxel_ids : (n_voxels,) int array, optional
        Names of the voxels, default their order: the random numbers of a voxel follow from seed and
        name alone, whatever other voxels there are.
    n_threads : int, optional

    Returns
    -------
    BootstrapResult

    Raises
    ------
    ValueError
        Wrong shapes, an unknown kind, too few resamples, a level not between 0 and 1, or no noise for ``parametric``.

    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if n_resamples < 20:
        raise ValueError(f"a bootstrap needs at least 20 resamples, got {n_resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    if result.n_voxels != len(signals):
        raise ValueError(f"the fit has {result.n_voxels} voxels, the signals have {len(signals)}")
    ids = np.arange(len(signals)) if voxel_ids is None else np.asarray(voxel_ids)
    noise = _noise_source(signals, reduced, result, kind, noise_std)
    refit = _refit(reduced, result)

    def work(start, stop):
        found = []
        for voxel in range(start, stop):
            generator = np.random.default_rng([seed, int(ids[voxel])])
            resamples, failed = refit(voxel, noise(voxel, generator, n_resamples))
            spread = {name: (values.std(ddof=1), values.mean()) for name, values in read(resamples).items()}
            found.append((spread, failed))
        return found

    with single_threaded_blas():
        rows = [row for block in for_blocks(len(signals), BLOCK, work, n_threads) for row in block]
        estimate = read(result)
    low, high, std, shift = {}, {}, {}, {}
    width = scipy.stats.norm.ppf((1 + level) / 2)
    for name, values in estimate.items():
        std[name], mean = np.array([row[name] for row, _ in rows]).reshape(-1, 2).T
        shift[name] = mean - values
        bottom, top = (limits or {}).get(name, (-np.inf, np.inf))
        low[name] = np.clip(values - width * std[name], bottom, top)
        high[name] = np.clip(values + width * std[name], bottom, top)
    n_failed = np.array([failed for _, failed in rows], dtype=int)
    return BootstrapResult(std, low, high, shift, n_failed, n_resamples, level, kind)


def _noise_source(signals, reduced, result, kind, noise_std):
    """Function (voxel, generator, n) -> compressed noise (n, n_ranks)."""
    if kind == "parametric":
        if noise_std is None:
            raise ValueError("a parametric bootstrap needs noise_std")
        std = np.broadcast_to(np.asarray(noise_std, dtype=float), len(signals))
        return lambda voxel, rng, n: std[voxel] * rng.standard_normal((n, reduced.n_ranks))
    parameters = _parameters(result)
    n_volumes = reduced.n_encodings

    def residuals(voxel, rng, n):
        residual = signals[voxel] - reduced.projection @ (reduced.basis @ _spectrum(result, voxel))
        residual -= residual.mean()
        residual *= np.sqrt(n_volumes / max(n_volumes - parameters[voxel], 1.0))
        return residual[rng.integers(0, n_volumes, (n, n_volumes))] @ reduced.projection

    return residuals


def _parameters(result):
    """Effective parameters of each voxel's spectrum."""
    return effective_parameters(result) if result.sparse is None else np.diff(result.sparse.indptr).astype(float)


def _alphas(result):
    return np.broadcast_to(np.asarray(result.alpha, dtype=float), result.n_voxels)


def _spectrum(result, voxel):
    """(n_bins,) spectrum of one voxel."""
    if result.sparse is not None:
        return result.sparse[[voxel]].toarray()[0]
    return np.maximum(result.dual[voxel] @ result.basis, 0) / _alphas(result)[voxel]


def _refit(reduced, result):
    """Function (voxel, compressed noise) -> spectra of the noisy copies of its fit, and how many failed."""
    if result.sparse is not None:
        return lambda voxel, noise: _refit_sparse(reduced, _spectrum(result, voxel), noise)
    alphas = _alphas(result)
    kept = max(1, int((reduced.singular_values > TRUNCATION * np.sqrt(alphas.min(initial=np.inf))).sum()))
    columns, basis = np.ascontiguousarray(reduced.columns[:, :kept]), reduced.basis[:kept]

    def refit(voxel, noise):
        fitted = reduced.basis[:kept] @ _spectrum(result, voxel)
        copies = np.ascontiguousarray(fitted + noise[:, :kept])
        duals = np.empty_like(copies)
        failed = refit_copies(
            columns, copies, alphas[voxel], result.dual[voxel, :kept].copy(), SPECTRUM_TOLERANCE, duals
        )
        n = len(duals)
        fits = NNLSResult(duals, basis, float(alphas[voxel]), np.zeros(n), np.ones(n, bool), np.zeros(n, int))
        return fits, failed

    return refit


def _refit_sparse(reduced, spectrum, noise):
    """Copies of an unregularised fit, by the active set from its own spectrum."""
    copies = reduced.basis @ spectrum + noise
    spectra = np.tile(spectrum, (len(copies), 1))
    gap, changes = np.zeros(len(copies)), np.zeros(len(copies), np.int64)
    active_set_block(
        reduced.columns, copies, np.zeros(len(copies)), 0.0, MULTIPLIER_TOLERANCE, MAX_CHANGES, spectra, gap, changes
    )
    return spectra, int((changes >= MAX_CHANGES).sum())
