"""Signs of magnitude inversion-recovery signals."""

import numpy as np

from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls
from mrspec_prep.threads import single_threaded_blas

SIGN_ROUNDS = 20


def restore_polarity(signals, kernel, encodings, alpha=0.01):
    """Signed signals from magnitudes: the null of every voxel where a spectrum fits best.

    Magnetisation is negative before its null and positive after it, so a voxel's sign
    pattern is one number: how many of the inversion times lie before the null. Each is
    tried, and the one with the least objective of the regularised fit is kept. Fitting
    |K| instead would be wrong wherever compartments null at different times. Where echo time
    or b-value vary too a mixture nulls at another time for each of them: signs then follow the
    fit, K f, until none changes; each change lowers the objective.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Magnitudes; signs present are ignored.
    kernel : (n_encodings, n_bins) array or ReducedKernel
        Signed kernel.
    encodings : Encodings
        With inversion times [ms].
    alpha : float

    Returns
    -------
    signed : (n_voxels, n_encodings) array
    polarity : (n_voxels,) int array
        Number of distinct inversion times before the null of the best common pattern.

    Raises
    ------
    ValueError
        No inversion times, or wrong shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import restore_polarity
    >>> encodings = Encodings(inversion_time=[50.0, 200.0, 500.0, 1000.0, 3000.0])  # ms
    >>> kernel = kernel_matrix("t1", encodings, Grid(t1=np.geomspace(100, 4000, 40)))
    >>> magnitudes = abs(simulate_signals("t1", encodings, {"t1": [800.0]}))
    >>> signed, polarity = restore_polarity(magnitudes, kernel, encodings)
    >>> np.sign(signed).astype(int).tolist(), polarity.tolist()
    ([[-1, -1, -1, 1, 1]], [3])

    """
    if encodings.inversion_time is None:
        raise ValueError("polarity needs the inversion time of every volume, and the encodings hold none")
    reduced = reduce_kernel(kernel)
    magnitudes = np.abs(np.asarray(check_signals(signals, len(encodings)), dtype=float))
    times, order = np.unique(encodings.inversion_time, return_inverse=True)
    best = np.full(len(magnitudes), np.inf)
    polarity = np.zeros(len(magnitudes), int)
    for n_negative in range(len(times) + 1):
        signed = np.where(order.ravel() < n_negative, -magnitudes, magnitudes)
        value = _objective(signed, reduced, alpha)
        better = value < best * (1 - 1e-12)
        best[better], polarity[better] = value[better], n_negative
    signed = np.where(order.ravel()[None] < polarity[:, None], -magnitudes, magnitudes)
    if encodings.varying() != ("inversion_time",):
        _follow_fit(signed, reduced, alpha)
    return signed, polarity


def _follow_fit(signed, reduced, alpha):
    """Give signals the sign of their fit, in place, until none changes or the rounds are spent."""
    voxels = np.arange(len(signed))
    rows = reduced.projection @ reduced.basis
    for _ in range(SIGN_ROUNDS):
        fitted = fit_nnls(signed[voxels], reduced, alpha, tolerance=1e-7).predict(rows)
        wrong = fitted * signed[voxels] < 0
        signed[voxels] = np.where(wrong, -signed[voxels], signed[voxels])
        voxels = voxels[wrong.any(axis=1)]
        if not len(voxels):
            break


def _objective(signals, reduced, alpha):
    """Best ||K f - s||2 + alpha ||f||2 of every voxel."""
    result = fit_nnls(signals, reduced, alpha, tolerance=1e-7)
    compressed, outside = reduced.compress(signals)
    value = outside.copy()
    for where, spectra in result.blocks():
        with single_threaded_blas():
            residual = compressed[where] - spectra @ reduced.columns
        value[where] += (residual**2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)
    return value


def holds_signs(signals, threshold=0.02):
    """Whether signals carry their sign: some values clearly negative.

    Magnitudes that were interpolated may fall a little below zero; a stored sign makes
    values as negative as a noticeable part of the largest signal.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    threshold : float
        Part of each voxel's largest magnitude.

    Returns
    -------
    bool

    """
    signals = np.asarray(signals)
    negative = signals < -threshold * np.abs(signals).max(axis=1, keepdims=True)
    return bool(negative.any(axis=1).mean() > 0.05)
