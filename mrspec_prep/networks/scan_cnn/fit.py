"""T2 or T2* and M0 of one scan: one call for every method."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from mrspec_prep.networks.device import check_device, one_thread
from mrspec_prep.networks.scan_cnn.scan import ScanMaps, make_scan
from mrspec_prep.physics.checks import whole_number

SCAN_CNN = "scan-cnn"
#: voxelwise methods, each ``module:function`` of this room, called as function(scan, on_step)
BASELINES = {
    "log-linear": "voxelwise:fit_log_linear",
    "varpro": "voxelwise:fit_varpro",
    "rician": "voxelwise:fit_rician",
    "nlm-varpro": "voxelwise:fit_nlm_varpro",
}
SCAN_METHODS = (SCAN_CNN, *BASELINES)


def fit_scan_cnn(
    images,
    echo_times,
    seed=0,
    device="auto",
    *,
    method=SCAN_CNN,
    kind="t2",
    mask=None,
    noise_std=None,
    distribution="auto",
    settings=None,
    on_step: Callable | None = None,
) -> ScanMaps:
    """T2 (or T2*) and M0 of one scan by a network that this scan alone teaches, or by a fit to compare it with.

    Parameters
    ----------
    images : (x, y, z, n_echoes) array
        Magnitudes, or signed.
    echo_times : (n_echoes,) sequence
        [ms]; two or more.
    seed : int
    device : str
        ``auto``, ``cpu`` or ``cuda``; of networks.
    method : str
        ``scan-cnn``; or ``log-linear``, ``varpro`` (least squares), ``rician`` (maximum likelihood), ``nlm-varpro``
        (non-local means, then least squares).
    kind : str
        ``t2``, or ``t2star`` of gradient echoes: a name; the equation is the same.
    mask : (x, y, z) bool array, optional
        Voxels that are mapped; default: those with any signal.
    noise_std : float or array, optional
        Sigma of one image [signal units]; default: estimated from the images.
    distribution : str
        ``gaussian``, ``rician``, or ``auto``: Rician unless more than 1 % of the signals are negative.
    settings : str or dict, optional
        Of ``scan-cnn``: ``"paper"``, or settings by name (``ScanCNNSettings``; entry ``base``: ``ours`` or ``paper``).
    on_step : callable, optional
        ``on_step(step, n_steps)`` while a method works.

    Returns
    -------
    ScanMaps

    Raises
    ------
    ValueError
        Images, echo times, mask or sigma that do not fit (``scan.make_scan``); unknown method, setting or device.

    References
    ----------
    Gao et al., scan-specific unsupervised deep learning for relaxometry and MR fingerprinting.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.networks import fit_scan_cnn
    >>> times = [10.0, 30.0, 60.0, 90.0]
    >>> images = np.exp(-np.array(times) / 70.0) * np.full((6, 6, 1, 1), 100.0)
    >>> images = images + np.random.default_rng(0).normal(0, 0.5, (6, 6, 1, 4))
    >>> found = fit_scan_cnn(images, times, method="varpro", noise_std=0.5)  # "scan-cnn" trains, for seconds to minutes
    >>> found.t2.shape, float(np.median(found.t2).round(0))
    ((6, 6, 1), 70.0)

    """
    if method not in SCAN_METHODS:
        raise ValueError(f"unknown method {method!r} of T2 maps; known: {', '.join(SCAN_METHODS)}")
    if method in BASELINES and settings is not None:
        raise ValueError(f"settings are of {SCAN_CNN}; {method} has none")
    check_device(device)
    seed = whole_number(seed, "seed", 0)
    scan = make_scan(images, echo_times, mask, noise_std, distribution, kind)
    if method in BASELINES:
        module, function = BASELINES[method].split(":")
        found = getattr(import_module(f"mrspec_prep.networks.scan_cnn.{module}"), function)(scan, on_step)
        return replace(found, seed=seed)
    from mrspec_prep.networks.scan_cnn.learning import fit_network

    with one_thread():
        return fit_network(scan, seed, device, settings, on_step)
