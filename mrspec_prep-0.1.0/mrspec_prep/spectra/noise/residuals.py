"""What a fit leaves over, in units of the noise."""

import numpy as np

from mrspec_prep.spectra.noise.estimate import effective_parameters


def residual_freedom(result, group_of):
    """Distinct encodings less the effective parameters of each voxel's spectrum.

    Parameters
    ----------
    result : NNLSResult
    group_of : (n_encodings,) int array
        Distinct encoding of each volume (``Encodings.groups``).

    Returns
    -------
    (n_voxels,) array
        Below one the residual is no test of the fit.

    """
    parameters = effective_parameters(result) if result.sparse is None else np.diff(result.sparse.indptr)
    return len(np.unique(group_of)) - parameters


def residual_in_sigmas(result, signals, kernel, noise_std, group_of):
    """Residual of the direction-averaged signal over its standard error: sqrt(chi2 / degrees of freedom).

    Volumes that differ by gradient direction only share one kernel row, so their spread is
    anisotropy and noise, not misfit; the misfit is in their mean. The degrees of freedom are
    the distinct encodings less the effective parameters of the voxel's spectrum (at least 1).
    One means that the fit explains the signal as well as the noise allows.

    Parameters
    ----------
    result : NNLSResult
        Spectra of n_voxels.
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array
    noise_std : (n_voxels,) array
        [signal units].
    group_of : (n_encodings,) int array
        Distinct encoding of each volume (``Encodings.groups``).

    Returns
    -------
    (n_voxels,) array
        Unitless.

    """
    counts = np.bincount(group_of).astype(float)
    averaging = np.zeros((len(group_of), len(counts)))
    averaging[np.arange(len(group_of)), group_of] = 1 / counts[group_of]
    group_kernel = averaging.T @ kernel
    freedom = np.maximum(residual_freedom(result, group_of), 1.0)
    residual = np.empty(len(signals))
    for rows, spectra in result.blocks():
        misfit = signals[rows] @ averaging - spectra @ group_kernel.T
        residual[rows] = np.sqrt((counts * misfit**2).sum(axis=1) / freedom[rows]) / noise_std[rows]
    return residual
