"""Maps of a scan by a trained network: turned images and planes averaged, errors by simulation, risk, residual."""

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.residuals import residual_in_sigmas
from mrspec_prep.networks.risk import risk_of
from mrspec_prep.networks.scan_cnn.decays import LOG_RATES
from mrspec_prep.networks.scan_cnn.levelling import levelled
from mrspec_prep.networks.scan_cnn.recorrupted import told
from mrspec_prep.networks.scan_cnn.scan import T2_LIMITS, ScanMaps
from mrspec_prep.networks.scan_cnn.slices import slices_of, turned, turned_back
from mrspec_prep.networks.scan_cnn.voxelwise import likelihood_problem

AT_ONCE = 4  # slices
ORDERS = {"slices": ((0, 1, 2),), "all": ((0, 1, 2), (0, 2, 1), (1, 2, 0))}  # axes of planes, then across
NEIGHBOURS = 3  # voxels along each side in a plane over which squared errors are averaged
LEAST_AMPLITUDE, FEW_PASSES = 1e-6, 2


def estimate_scan(network, scan, settings, *, strength, seed, device, history, about):
    """Maps of a scan by a network as it is.

    Parameters
    ----------
    network : module with ``estimate``
    scan : Scan
    settings : ScanCNNSettings
    strength : float
        Of the recorrupted images that taught the network; 0: none did.
    seed : int
    device : str
    history : dict
    about : dict
        What sidecars say of the settings.

    Returns
    -------
    ScanMaps

    """
    found = _estimate(network, scan, settings, strength, device)
    t2, m0 = _maps(scan, found)
    inside = scan.mask
    values = np.stack([m0[inside], t2[inside]], axis=1)
    problem = likelihood_problem(scan)
    residual = residual_in_sigmas(problem, problem.named(values))
    errors = _errors(network, scan, found, settings, strength, seed, device) if settings.draws else [None, None]
    return ScanMaps(
        np.where(inside, t2, 0.0),
        np.where(inside, m0, 0.0),
        inside,
        scan.noise_std,
        *errors,
        scan.volume(risk_of(problem, least_squares(problem), values)),
        None if residual is None else scan.volume(residual),
        history,
        kind=scan.kind,
        device=device,
        seed=seed,
        settings=about,
    )


def _maps(scan, found):
    """T2 [ms] and M0 [signal units] of an estimate (2, x, y, z)."""
    unit, (log_rate, amplitude) = float(np.mean(scan.echo_times)), found
    t2 = np.clip(unit * np.exp(-np.clip(log_rate, *LOG_RATES)), *T2_LIMITS)
    return t2, amplitude * np.exp(np.minimum(unit / t2, np.exp(LOG_RATES[1])))


def _errors(network, scan, found, settings, strength, seed, device):
    """Standard deviations of T2 and M0: root mean square errors of the network where its own maps are the truth.

    Scans are simulated from the maps, with the noise of the scan, and mapped by the same network (in fewer passes);
    squared errors are averaged over draws and over neighbours in the plane. What the maps do not show, the simulation
    does not know.
    """
    rng, (log_rate, amplitude) = np.random.default_rng([seed, 1]), found
    quick = replace(settings, passes=min(settings.passes, FEW_PASSES))
    away = scan.echo_times / np.mean(scan.echo_times) - 1
    signals = amplitude[..., None] * np.exp(-np.exp(np.clip(log_rate, *LOG_RATES))[..., None] * away)
    truth, squares = _maps(scan, found), 0.0
    for _ in range(settings.draws):
        noise = scan.noise_std * rng.standard_normal((2, *signals.shape))
        noisy = np.hypot(signals + noise[0], noise[1]) if scan.distribution == "rician" else signals + noise[0]
        again = _maps(scan, _estimate(network, replace(scan, images=noisy), quick, strength, device))
        squares = squares + np.stack([(a - b) ** 2 for a, b in zip(again, truth, strict=True)]) / settings.draws
    size, inside = (NEIGHBOURS, NEIGHBOURS, 1), scan.mask.astype(float)
    weight = np.maximum(uniform_filter(inside, size), 1e-9)
    return [
        np.where(scan.mask, np.sqrt(np.maximum(uniform_filter(s * inside, size), 0) / weight), 0.0) for s in squares
    ]


def _estimate(network, scan, settings, strength, device):
    """(2, x, y, z) array: log rate and amplitude [signal units], planes averaged."""
    given = settings.passes, strength, device
    planes = [_in_planes(network, scan, order, *given) for order in ORDERS[settings.planes]]
    found = np.mean(planes, axis=0)
    return levelled(scan, found, settings.level) if settings.level else found


@torch.no_grad()
def _in_planes(network, scan, order, n_passes, strength, device):
    """The same from planes along the first two axes of ``order``."""
    slices = slices_of(replace(scan, images=scan.images.transpose(*order, 3), mask=scan.mask.transpose(order)), device)
    protocol, total = told(slices.protocol, strength), []
    for start in range(0, len(slices.images), AT_ONCE):
        images = slices.images[start : start + AT_ONCE]
        turns = [
            turned_back(torch.stack(network.estimate(turned(images, turn), protocol)), turn) for turn in range(n_passes)
        ]
        total.append(torch.stack(turns).mean(0).cpu().numpy())
    found = np.concatenate(total, axis=1).transpose(0, 2, 3, 1).astype(float)  # (2, first, second, third of order)
    found[1] = np.maximum(found[1], LEAST_AMPLITUDE) * slices.scale
    return found.transpose(0, *(1 + np.argsort(order)))
