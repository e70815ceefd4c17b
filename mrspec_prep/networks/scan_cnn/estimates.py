"""Maps of a scan by a trained network: turned images averaged, planes averaged, errors, risk, residual."""

from dataclasses import replace

import numpy as np
import torch

from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.residuals import residual_in_sigmas
from mrspec_prep.networks.risk import risk_of
from mrspec_prep.networks.scan_cnn.scan import T2_LIMITS, ScanMaps
from mrspec_prep.networks.scan_cnn.slices import slices_of, turned, turned_back
from mrspec_prep.networks.scan_cnn.voxelwise import likelihood_problem

AT_ONCE = 4  # slices


def estimate_scan(network, scan, settings, *, seed, device, history, about):
    """Maps of a scan by a network as it is.

    Parameters
    ----------
    network : module with ``estimate``
    scan : Scan
    settings : ScanCNNSettings
    seed : int
    device : str
    history : dict
    about : dict
        What sidecars say of the settings.

    Returns
    -------
    ScanMaps

    """
    orders = [(0, 1, 2)] if settings.planes == "slices" else [(0, 1, 2), (0, 2, 1), (1, 2, 0)]
    scale = slices_of(scan).scale
    found = np.mean([_in_planes(network, scan, order, settings.passes, device) for order in orders], axis=0)
    log_rate, amplitude, log_rate_error, log_amplitude_error = found[:, scan.mask]
    unit = float(np.mean(scan.echo_times))
    rate = np.exp(log_rate)
    t2 = np.clip(unit / rate, *T2_LIMITS)
    rate = unit / t2
    m0 = np.maximum(amplitude, 0) * np.exp(np.minimum(rate, 50)) * scale
    t2_std = t2 * np.exp(log_rate_error)
    m0_std = m0 * np.hypot(np.exp(log_amplitude_error) / np.maximum(amplitude, 1e-6), rate * np.exp(log_rate_error))
    problem = likelihood_problem(scan)
    values = np.stack([m0, t2], axis=1)
    residual = residual_in_sigmas(problem, problem.named(values))
    known = bool(np.isfinite(t2_std).all())
    return ScanMaps(
        scan.volume(t2),
        scan.volume(m0),
        scan.mask,
        scan.noise_std,
        scan.volume(t2_std) if known else None,
        scan.volume(m0_std) if known else None,
        scan.volume(risk_of(problem, least_squares(problem), values)),
        None if residual is None else scan.volume(residual),
        history,
        kind=scan.kind,
        device=device,
        seed=seed,
        settings=about,
    )


@torch.no_grad()
def _in_planes(network, scan, order, n_passes, device):
    """(4, x, y, z) array of an ``Estimate`` whose planes are the first two axes of ``order``."""
    ordered = replace(scan, images=scan.images.transpose(*order, 3), mask=scan.mask.transpose(order))
    slices = slices_of(ordered, device)
    total = []
    for start in range(0, len(slices.images), AT_ONCE):
        images = slices.images[start : start + AT_ONCE]
        turns = [
            turned_back(torch.stack(network.estimate(turned(images, turn), slices.protocol)), turn)
            for turn in range(n_passes)
        ]
        total.append(torch.stack(turns).mean(0).cpu().numpy())
    found = np.concatenate(total, axis=1).transpose(0, 2, 3, 1)  # (4, first, second, third of order)
    return found.transpose(0, *(1 + np.argsort(order)))
