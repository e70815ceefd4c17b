"""Voxelwise T2 and M0 to compare with: log-linear, variable projection, Rician, and the same after non-local means."""

from dataclasses import replace

import numpy as np

from mrspec_prep.networks.fitting.least_squares import covariances, least_squares, standard_errors
from mrspec_prep.networks.fitting.log_linear import solve_block
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.residuals import residual_in_sigmas
from mrspec_prep.networks.scan_cnn.scan import T2_LIMITS, Scan, ScanMaps
from mrspec_prep.physics import Encodings

SMALLEST = 1e-3  # of sigma: signals below count as this before their logarithm is taken
PATCH, SEARCH = 1, 2  # radii of non-local means [voxels]


def fit_varpro(scan, on_step=None):
    """Least squares, min over M0, T2 of sum_e (S_e - M0 exp(-TE_e/T2))2; eliminating M0 (VARPRO) is the same minimum.

    Golub and Pereyra 2003, Inverse Probl 19:R1; T2 within 1 and 4000 ms.
    """
    return _most_likely(scan, "gaussian", "varpro", on_step)


def fit_rician(scan, on_step=None):
    """Maximum likelihood of Rician magnitudes (Sijbers et al. 1998, IEEE Trans Med Imaging 17:357)."""
    return _most_likely(scan, "rician", "rician", on_step)


def fit_log_linear(scan, on_step=None):
    """Least squares of logarithms, each weighted by its squared signal; no standard deviations."""
    rate, log_m0 = log_linear(scan.signals, scan.echo_times, SMALLEST * scan.noise_std)
    t2 = np.clip(1 / np.maximum(rate, 1 / T2_LIMITS[1]), *T2_LIMITS)
    return ScanMaps(
        scan.volume(t2), scan.volume(np.exp(log_m0)), scan.mask, scan.noise_std, method="log-linear", kind=scan.kind
    )


def fit_nlm_varpro(scan, on_step=None):
    """Non-local means of every echo (Coupe et al. 2008, IEEE Trans Med Imaging 27:425), then ``fit_varpro``."""
    found = fit_varpro(replace(scan, images=non_local_means(scan)), on_step)
    return replace(found, method="nlm-varpro", residual=None, t2_std=None, m0_std=None)


def log_linear(signals, echo_times, least):
    """Weighted least squares of logarithms, min sum_e S_e2 (log S_e - log M0 + R2 TE_e)2.

    Parameters
    ----------
    signals : (n_voxels, n_echoes) array
    echo_times : (n_echoes,) array
        [ms].
    least : float
        Signals below count as this [signal units].

    Returns
    -------
    rate : (n_voxels,) array
        1/T2 of any sign [1/ms].
    log_m0 : (n_voxels,) array

    """
    design = np.stack([np.ones_like(echo_times), -echo_times], axis=1)
    found, signals = np.empty((len(signals), 2)), np.ascontiguousarray(signals)
    solve_block(signals, np.ones_like(echo_times), design, least, found)
    return found[:, 1], found[:, 0]


def likelihood_problem(scan, distribution=None):
    """``Problem`` of the voxels of a scan: model ``t2`` or ``t2star`` and their noise."""
    encodings = Encodings(echo_time=scan.echo_times)
    return make_problem(scan.signals, encodings, scan.kind, scan.noise_std, distribution or scan.distribution)[0]


def _most_likely(scan, distribution, method, on_step):
    problem = likelihood_problem(scan, distribution)
    fit = least_squares(problem, on_step)
    errors = problem.named(standard_errors(problem, covariances(problem, fit)))
    maps = problem.named(fit.values)
    residual = residual_in_sigmas(problem, maps)
    return ScanMaps(
        scan.volume(maps[scan.kind]),
        scan.volume(maps["s0"]),
        scan.mask,
        scan.noise_std,
        scan.volume(errors[scan.kind]),
        scan.volume(errors["s0"]),
        residual=None if residual is None else scan.volume(residual),
        method=method,
        kind=scan.kind,
        settings={"distribution": distribution},
    )


def non_local_means(scan: Scan):
    """Images denoised one by one; voxels outside the mask take part.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    (x, y, z, n_echoes) array

    """
    from dipy.denoise.nlmeans import nlmeans

    border = PATCH + SEARCH  # across the slices, too: of few slices dipy would read beyond the first and the last
    images = np.pad(scan.images, [(border, border)] * 3 + [(0, 0)], mode="edge")
    found = nlmeans(
        images,
        sigma=np.full(images.shape[-1], scan.noise_std),
        rician=scan.distribution == "rician",
        patch_radius=PATCH,
        block_radius=SEARCH,
        num_threads=1,
        method="classic",  # the other one, blockwise, blurs edges of few slices
    )
    return found[border:-border, border:-border, border:-border]
