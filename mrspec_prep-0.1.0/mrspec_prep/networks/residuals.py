"""What a fitted model leaves of the signals, against the noise."""

import numpy as np

from mrspec_prep.physics.magnitudes import expected_magnitude, magnitude_variance

BLOCK = 4096  # voxels at a time


def residual_in_sigmas(problem, maps):
    """Root mean square of data minus fit over its expectation from the noise; about 1 where the model holds.

    sqrt(sum_e (S_e - m_e)2 / v_e / (n - p)) over the n encodings: m and v are mean and variance of S_e at the
    fitted parameters, sigma2 / n_e for Gaussian noise; p parameters were free.

    Parameters
    ----------
    problem : Problem
    maps : dict of str to (n_voxels,) array
        By parameter.

    Returns
    -------
    (n_voxels,) array or None
        Unitless; None where no encoding is left beyond the parameters.

    """
    excess = len(problem.encodings) - problem.model.n_free
    if excess < 1:
        return None
    found = np.empty(problem.n_voxels)
    for start in range(0, problem.n_voxels, BLOCK):
        rows = slice(start, start + BLOCK)
        sigma = problem.noise_std[rows, None]
        mean = problem.model.signal(problem.encodings, {name: values[rows] for name, values in maps.items()})
        variance = np.broadcast_to(sigma**2, mean.shape)
        if problem.distribution == "rician":
            variance = variance * magnitude_variance(np.abs(mean) / sigma)
            mean = expected_magnitude(mean, sigma)
        squares = (problem.signals[rows] - mean) ** 2 / variance * problem.n_averages
        found[rows] = np.sqrt(squares.sum(axis=1) / excess)
    return found
