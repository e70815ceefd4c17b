"""Voxelwise spectra from magnitudes: the real signals behind them, by majorise-minimise."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.compression.levels import coarse_basis
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.noise.likelihoods import (
    bessel_ratio,
    expected_magnitude,
    log_bessel,
    magnitude_variance,
)
from mrspec_prep.spectra.voxelwise.gram import gram_start_block
from mrspec_prep.spectra.voxelwise.nnls import MAX_CHANGES, START_TOLERANCE, fit_nnls, refine
from mrspec_prep.threads import for_blocks, single_threaded_blas

ROUNDS = 30
ENOUGH = 1e-3  # sigmas: largest change of a fitted signal at which a voxel is done
BLOCK = 256  # voxels per piece of work
INNER_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class RealSignals:
    """What magnitudes say about the real signals behind them, given a spectrum's fit.

    Attributes
    ----------
    signals : (n_voxels, n_encodings) float32 array
        v I_L(z)/I_{L-1}(z) with the fit's sign, z = x v/s2: the least-squares fit to these is the
        next step of the maximum-likelihood fit to the magnitudes.
    standardised : (n_voxels, n_encodings) float32 array
        x + (v - E[v|x]) / sqrt(var[v|x]/s2), with the fit's sign: its deviation from the fit scatters
        by sigma wherever the model holds, for residuals and resampling.
    n_rounds : (n_voxels,) int array
        Majorise-minimise rounds.
    change : (n_voxels,) array
        Largest change of a fitted signal in the last round [sigma].

    """

    signals: np.ndarray
    standardised: np.ndarray
    n_rounds: np.ndarray
    change: np.ndarray


def real_signals(signals, kernel, noise_std, model, alpha=0.01, n_rounds=ROUNDS, n_threads=None):
    """Real signals behind magnitudes, such that their regularised fit maximises the penalised likelihood.

    Each round replaces v by v I_L(z)/I_{L-1}(z), z = x v/s2 with x = K f of the last fit, and fits
    again; -2 s2 log p(v | K f) + alpha ||f||2 never rises. The sign is that of x: a magnitude near
    the null of an inversion recovery counts little either way, instead of fully one way.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Magnitudes. Signs they bear (``restore_polarity``) serve the start only.
    kernel : (n_encodings, n_bins) array or ReducedKernel
        Signed where inversion recovery takes part.
    noise_std : float or (n_voxels,) array
        sigma of each real channel [signal units].
    model : NoiseModel
        ``rician`` or ``nc-chi``.
    alpha : float
        Weight of ||f||2, as in ``fit_nnls``.
    n_rounds : int
        At most, on merged bins and again on all; a voxel stops when no fitted signal changes by
        more than 1e-3 sigma.
    n_threads : int, optional

    Returns
    -------
    RealSignals
        Hand ``signals`` to ``fit_nnls`` for the spectra.

    Raises
    ------
    ValueError
        Noise that is not of magnitudes or not positive, no rounds, or what ``fit_nnls`` raises.

    """
    if not model.is_magnitude:
        raise ValueError(f"real_signals is for rician or nc-chi noise, got {model.distribution}")
    if n_rounds < 1:
        raise ValueError(f"n_rounds must be >= 1, got {n_rounds}")
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    sigma = np.broadcast_to(np.asarray(noise_std, float), (len(signals),))
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError("noise_std must be finite and > 0 in every voxel")
    out = RealSignals(
        np.empty(signals.shape, np.float32), np.empty(signals.shape, np.float32),
        np.zeros(len(signals), np.int64), np.full(len(signals), np.inf),
    )  # fmt: skip

    with single_threaded_blas():
        coarse = coarse_basis(reduced, alpha) if alpha > 0 else None

        def work(start, stop):
            part = slice(start, stop)
            fits = _Fits(reduced, coarse, float(alpha), stop - start)
            _fill_block(signals[part], fits, sigma[part, None], model.n_coils, n_rounds, out, part)

        for_blocks(len(signals), BLOCK, work, n_threads)
    return out


def _fill_block(signals, fits, sigma, n_coils, n_rounds, out, part):
    """All rounds of some voxels: on merged bins first where that is faster, then on the whole kernel."""
    magnitudes = np.abs(np.asarray(signals, dtype=float))
    everyone = np.arange(len(signals))
    rounds, change = out.n_rounds[part], out.change[part]
    fitted = None
    for fit in fits.stages:
        start = signals if fitted is None else expected_real(magnitudes, fitted, sigma, n_coils)
        fitted, todo = fit(np.asarray(start, dtype=float), everyone), everyone
        for _ in range(n_rounds):
            targets = expected_real(magnitudes[todo], fitted[todo], sigma[todo], n_coils)
            new = fit(targets, todo)
            change[todo] = np.abs(new - fitted[todo]).max(axis=1) / sigma[todo, 0]
            rounds[todo] += 1
            fitted[todo] = new
            todo = todo[change[todo] > ENOUGH]
            if not len(todo):
                break
    out.signals[part] = expected_real(magnitudes, fitted, sigma, n_coils)
    out.standardised[part] = standardised_signals(magnitudes, fitted, sigma, n_coils)


class _Fits:
    """Regularised fits of a block of voxels; each gives the fitted signals K f = P (P's - y), y the dual."""

    def __init__(self, reduced, coarse, alpha, n_voxels):
        self.reduced, self.coarse, self.alpha = reduced, coarse, alpha
        self.dual = np.zeros((n_voxels, reduced.n_ranks))
        self.stages = (self.without_penalty,) if coarse is None else (self.on_merged_bins, self.on_all_bins)

    def without_penalty(self, targets, which):
        """Solve alpha = 0."""
        result = fit_nnls(targets, self.reduced, 0.0, INNER_TOLERANCE, n_threads=1)
        return result.predict(self.reduced.projection @ self.reduced.basis)

    def on_merged_bins(self, targets, which):
        """Solve the coarse problem, which takes microseconds per voxel."""
        compressed, dual = targets @ self.reduced.projection, np.empty((len(which), self.reduced.n_ranks))
        gram_start_block(
            self.coarse.gram, self.coarse.columns, self.coarse.n_leading, compressed, self.alpha, START_TOLERANCE,
            MAX_CHANGES, dual,
        )  # fmt: skip
        self.dual[which] = dual
        return (compressed - dual) @ self.reduced.projection.T

    def on_all_bins(self, targets, which):
        """Refine each voxel's last dual point."""
        compressed, outside = self.reduced.compress(targets)
        dual, gap, steps = self.dual[which], np.empty(len(which)), np.zeros(len(which), np.int64)
        refine(self.reduced, compressed, outside, self.alpha, INNER_TOLERANCE, dual, gap, steps)
        self.dual[which] = dual
        return (compressed - dual) @ self.reduced.projection.T


def expected_real(magnitudes, fitted, noise_std, n_coils=1):
    """V I_L(z)/I_{L-1}(z) with the sign of x, z = |x| v/s2: the real signal expected behind a magnitude.

    Parameters
    ----------
    magnitudes, fitted, noise_std : arrays that broadcast
        v >= 0, x of any sign, sigma > 0 [signal units].
    n_coils : int

    Returns
    -------
    array
        Between -v and v.

    """
    return np.sign(fitted) * magnitudes * bessel_ratio(np.abs(fitted) * magnitudes / noise_std**2, n_coils)


def standardised_signals(magnitudes, fitted, noise_std, n_coils=1):
    """X + (v - E[v|x]) / sqrt(var[v|x]/s2), signs as x: Gaussian-like signals with the same fit.

    Parameters
    ----------
    magnitudes, fitted, noise_std : arrays that broadcast
        v >= 0, x of any sign, sigma > 0 [signal units].
    n_coils : int

    Returns
    -------
    array

    """
    size = np.abs(fitted)
    deviation = magnitudes - expected_magnitude(size, noise_std, n_coils)
    deviation = deviation / np.sqrt(magnitude_variance(size / noise_std, n_coils))
    return np.where(fitted < 0, -1.0, 1.0) * (size + deviation)


def penalised_misfit(magnitudes, fitted, noise_std, penalty, n_coils=1):
    """-2 s2 log p(v | x) + penalty, less what x does not move: the objective of ``real_signals``.

    Parameters
    ----------
    magnitudes, fitted : (n_voxels, n_encodings) arrays
    noise_std : (n_voxels,) array
    penalty : (n_voxels,) array
        alpha ||f||2.
    n_coils : int

    Returns
    -------
    (n_voxels,) array
        ||K f - s||2 + alpha ||f||2 less ||s||2 where the noise is small [signal units squared].

    """
    variance = np.asarray(noise_std, float)[:, None] ** 2
    logs = log_bessel(np.abs(fitted) * magnitudes / variance, n_coils)
    return (fitted**2 - 2 * variance * logs).sum(axis=1) + penalty
