"""What a protocol can tell of a model's parameters: least standard errors (Cramér and Rao)."""

import numpy as np

from mrspec_prep.physics.models.model import S0
from mrspec_prep.physics.models.prepare import prepare

FLAT = 1e-10  # of the largest eigenvalue of the scaled information: directions with less are not determined


def least_errors(model, encodings, snr):
    """Least standard errors of an unbiased estimate, at typical tissue and Gaussian noise.

    Tissue is the middle of the values that fits start from; a direction lies askew to all axes. The information
    is sum_e n_e J_e J_e^T snr^2 with S0 = 1 (sigma = 1/snr).

    Parameters
    ----------
    model : Model
    encodings : Encodings
    snr : float
        S0 over the noise of one volume.

    Returns
    -------
    dict of str to (float, float)
        By parameter (neither S0 nor direction): typical value and its error [unit of the parameter]; an infinite
        error where the protocol does not determine it.

    """
    prepared = prepare(model, np.ones((1, len(encodings))), encodings)
    askew = dict(zip(("direction_x", "direction_y", "direction_z"), (0.36, 0.48, 0.8), strict=True))
    values = {p.name: float(np.median(p.starts)) for p in model.tissue} | {S0: 1.0} | askew
    point = np.array([[values[name] for name in model.names]])
    _, derivatives = model.jacobian(prepared.encodings, point)
    slopes = derivatives[:, 0] * np.sqrt(prepared.n_averages) * snr
    information = slopes @ slopes.T
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    eigenvalues, vectors = np.linalg.eigh(information / np.outer(size, size))
    kept = eigenvalues > FLAT * eigenvalues.max()
    if model.oriented:
        kept[np.argmin(eigenvalues)] = True  # the length of a direction: no parameter
    variance = (vectors[:, kept] ** 2 / np.maximum(eigenvalues[kept], FLAT)).sum(axis=1)
    variance = np.where((vectors[:, ~kept] ** 2).sum(axis=1) > 1e-6, np.inf, variance)
    errors = dict(zip(model.names, np.sqrt(variance) / size, strict=True))
    return {parameter.name: (values[parameter.name], float(errors[parameter.name])) for parameter in model.tissue}
