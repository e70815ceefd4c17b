"""Noise standard deviation of every voxel."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from mrspec_prep.compiled import compiled
from mrspec_prep.physics.encodings import check_encodings
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.noise.magnitude_noise import floor_power, shared_channel_variance
from mrspec_prep.spectra.voxelwise.newton import add_products, cholesky
from mrspec_prep.spectra.voxelwise.nnls import fit_nnls
from mrspec_prep.threads import for_blocks

METHODS = ("b0-repeats", "residual")
ENOUGH_REPEATS = 4
CHANNELS_NOTE = "; scatter of magnitudes brought to that of their channels and drawn towards what the voxels share"


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """Noise standard deviation and where it comes from.

    Attributes
    ----------
    noise_std : (n_voxels,) array
        [signal units], positive.
    method : str
        ``b0-repeats``, ``residual`` or ``given``.
    degrees_of_freedom : (n_voxels,) array
        Of each variance; infinite where the value was given.
    note : str
        What was used, in words.

    """

    noise_std: np.ndarray
    method: str
    degrees_of_freedom: np.ndarray
    note: str


def estimate_noise(signals, encodings, method="b0-repeats", kernel=None, alpha=0.01, model=None):
    """Noise standard deviation per voxel.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    encodings : Encodings
    method : str or float
        ``b0-repeats``: variance among repeats of equal unweighted volumes, pooled over the
        echo times that have repeats (paper 1 uses the shortest only: fewer degrees of freedom);
        ``residual``: of the regularised fit, over the degrees of freedom it leaves; a number
        [signal units]. ``mppca`` needs images instead of voxels: ``noise_mppca``.
    kernel : (n_encodings, n_bins) array or ReducedKernel
        For ``residual``.
    alpha : float
        For ``residual``.
    model : NoiseModel, optional
        For Rician and nc-chi noise the estimate is that of each real channel: the scatter of
        magnitudes is less where the signal is weak.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    ValueError
        Unknown method, no repeats, no kernel for ``residual``, or no degrees of freedom left.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings
    >>> from mrspec_prep.spectra import estimate_noise
    >>> encodings = Encodings(bvalue=[0] * 20 + [800])
    >>> signals = np.random.default_rng(0).normal(100, 5, (1000, 21))
    >>> noise = estimate_noise(signals, encodings, "b0-repeats")
    >>> float(np.sqrt((noise.noise_std**2).mean()).round(1)), float(noise.degrees_of_freedom[0])
    (5.0, 19.0)

    """
    check_encodings(encodings)
    signals = check_signals(signals, len(encodings))
    n_coils = model.n_coils if model is not None and model.is_magnitude else None
    if isinstance(method, Real) and not isinstance(method, bool):
        if not (np.isfinite(method) and method > 0):
            raise ValueError(f"a noise standard deviation must be > 0, got {method}")
        std = np.full(len(signals), float(method))
        return NoiseEstimate(std, "given", np.full(len(signals), np.inf), f"given by hand: {method:g}")
    if method == "b0-repeats":
        return _from_repeats(signals, encodings, n_coils)
    if method == "residual":
        if kernel is None:
            raise ValueError("noise from residuals needs the kernel of the fit")
        return _from_residuals(signals, encodings, kernel, alpha, n_coils)
    if method == "mppca":
        raise ValueError(
            "mppca needs neighbouring voxels, and signals are voxels without places: call noise_mppca(image, roi) of "
            "mrspec_prep.spectra, image (x, y, z, n_encodings); what it gives is a noise_std"
        )
    raise ValueError(f"noise method must be one of {', '.join(METHODS)} or a number, got {method!r}")


def _from_repeats(signals, encodings, n_coils=None):
    group, _ = encodings.groups()
    squares, degrees, used = np.zeros(len(signals)), 0, 0
    powers, repeats = [], []
    for which in np.unique(group[encodings.is_b0()]):
        volumes = signals[:, group == which].astype(float)
        if volumes.shape[1] > 1:
            squares += ((volumes - volumes.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
            powers.append((volumes**2).mean(axis=1))
            repeats.append(volumes.shape[1] - 1)
            degrees += volumes.shape[1] - 1
            used += 1
    if degrees == 0:
        raise ValueError("no unweighted volume is repeated: b0-repeats cannot tell the noise; use residual or a number")
    note = (
        f"variance among {degrees + used} unweighted volumes in {used} group{'s' * (used > 1)} of equal encoding, "
        f"{degrees} degrees of freedom"
    )
    if degrees < ENOUGH_REPEATS - 1:
        note += "; few repeats: each voxel's value is uncertain"
    variance, freedom = squares / degrees, np.full(len(signals), float(degrees))
    if n_coils is not None:
        powers, repeats = np.stack(powers, axis=1), np.array(repeats)
        variance, freedom = shared_channel_variance(squares, powers, repeats, n_coils)
        if "inversion_time" not in encodings.varying():
            floor = floor_power(signals, group, encodings.reference(), variance, n_coils)
            variance, freedom = shared_channel_variance(squares, powers, repeats, n_coils, floor)
        note += CHANNELS_NOTE
    noise_std = _positive(np.sqrt(variance))
    return NoiseEstimate(noise_std, "b0-repeats", freedom, note)


def _from_residuals(signals, encodings, kernel, alpha, n_coils=None):
    """Use means over directions when enough groups are left: anisotropy is not noise."""
    reduced = reduce_kernel(kernel)
    result = fit_nnls(signals, reduced, alpha)
    if result.dual is None:
        fitted_parameters = np.diff(result.sparse.indptr).astype(float)
    else:
        fitted_parameters = effective_parameters(result)
    group, first = encodings.groups()
    counts = np.bincount(group)
    averaged = bool((counts[~encodings.is_b0()[first]] > 1).any()) and len(first) > 2 * np.median(fitted_parameters)
    kernel_rows = reduced.projection @ reduced.basis
    squares = np.empty(len(signals))
    means = np.zeros((len(encodings), len(first)))
    means[np.arange(len(encodings)), group] = 1.0 / counts[group]
    for where, spectra in result.blocks():
        residual = signals[where] - spectra @ kernel_rows.T
        squares[where] = ((residual @ means) ** 2 @ counts) if averaged else (residual**2).sum(axis=1)
    n_data = len(first) if averaged else len(encodings)
    degrees = n_data - fitted_parameters
    if np.median(degrees) < 1:
        raise ValueError(
            f"{n_data} encodings leave no residual after {np.median(fitted_parameters):.1f} fitted parameters; "
            "give the noise as a number"
        )
    degrees = np.maximum(degrees, 1.0)
    kind = "means over directions" if averaged else "all volumes"
    note = f"residual of the regularised fit over {kind}, about {np.median(degrees):.0f} degrees of freedom"
    variance, freedom = squares / degrees, degrees
    if n_coils is not None:
        power = (np.asarray(signals, dtype=float) ** 2) @ means
        variance, freedom = shared_channel_variance(squares, power, degrees[:, None] * counts / counts.sum(), n_coils)
        note += CHANNELS_NOTE
    return NoiseEstimate(_positive(np.sqrt(variance)), "residual", freedom, note)


def _positive(std):
    """Voxels without any scatter get the smallest scatter seen elsewhere."""
    seen = std[std > 0]
    if not len(seen):
        raise ValueError("the volumes show no scatter at all: noise cannot be estimated from them; give a number")
    return np.where(std > 0, std, seen.min())


@compiled
def _parameters_block(columns, alphas, products, out):
    n_bins, n_ranks = columns.shape
    hessian, inverse_column = np.empty((n_ranks, n_ranks)), np.empty(n_ranks)
    signs, space = np.ones(n_bins), np.empty(2 * n_ranks * n_bins)
    for v in range(products.shape[0]):
        active = np.flatnonzero(products[v] > 0.0)
        hessian[:] = 0.0
        for k in range(n_ranks):
            hessian[k, k] = alphas[v]
        add_products(columns, active, signs, len(active), hessian, space)
        cholesky(hessian)
        trace = 0.0
        for i in range(n_ranks):  # ||L^-1||2 column by column = tr H^-1
            for j in range(i, n_ranks):
                total = 1.0 if j == i else 0.0
                for k in range(i, j):
                    total -= hessian[j, k] * inverse_column[k]
                inverse_column[j] = total / hessian[j, j]
                trace += inverse_column[j] * inverse_column[j]
        out[v] = n_ranks - alphas[v] * trace


def effective_parameters(result):
    """Effective number of parameters of each voxel's spectrum, tr[K_A (K_A'K_A + alpha I)^-1 K_A'].

    Parameters
    ----------
    result : NNLSResult
        With alpha > 0.

    Returns
    -------
    (n_voxels,) array

    """
    columns = np.ascontiguousarray(result.basis.T)
    out = np.zeros(result.n_voxels)
    alphas = np.full(result.n_voxels, result.alpha, dtype=float)

    def work(start, stop):
        _parameters_block(columns, alphas[start:stop], result.dual[start:stop] @ result.basis, out[start:stop])

    for_blocks(result.n_voxels, 256, work)
    return out
