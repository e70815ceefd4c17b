"""Scan-specific T2 and T2* maps as planned: methods by name, and whether the series differs in echo time alone."""

from dataclasses import replace

import numpy as np

from mrspec_prep.interfaces.scan_cnn import SAME_ECHO
from mrspec_prep.networks.scan_cnn.fit import SCAN_CNN, SCAN_METHODS
from mrspec_prep.options import OptionsError
from mrspec_prep.options.checks import nearest
from mrspec_prep.workflows.planning.maps import check_device, distribution_of, refusal

KINDS = ("t2", "t2star")


def check_scan_names(options, device="cpu"):
    """Refuse a method or a device that is not there, before any data are read.

    Parameters
    ----------
    options : ScanCNNOptions
    device : str
        Of the command line; matters to the network only.

    Raises
    ------
    OptionsError
        Unknown method (the nearest is suggested), or published settings without the network.
    InputError
        ``cuda`` was asked for and is not there.

    """
    if not options.wanted:
        return
    check_methods_known("scan_cnn", options, SCAN_METHODS, SCAN_CNN)
    if SCAN_CNN in options.methods:
        check_device(device)


def check_methods_known(section, options, known, network):
    """Raise OptionsError for a method that is not known, or for published settings without the network."""
    for method in options.methods:
        if method not in known:
            raise OptionsError(f"{section}.methods: unknown method {method!r}{nearest(method, known)}")
    if options.settings == "paper" and network not in options.methods:
        raise OptionsError(f"{section}.settings = paper is for {network}, which {section}.methods does not hold")


def with_scan_cnn(options, series):
    """Options with the noise that the signals are taken to have; the series must differ in echo time alone.

    Parameters
    ----------
    options : Options
        As of the workflow file, before ``noise.distribution`` is resolved.
    series : Series
        Restricted to what the kernel describes.

    Returns
    -------
    Options

    Raises
    ------
    InputError
        Another contrast varies as well, or the echo time does not.

    """
    if not options.scan_cnn.wanted:
        return options
    varying = series.encodings.varying()
    if tuple(varying) != ("echo_time",):
        reason = "scan-specific T2 and T2* maps are of images that differ in echo time alone"
        raise refusal(reason, series, f"--workflow {file_for(series)}, which takes the volumes that do")
    distribution = distribution_of(options.scan_cnn, options.noise)
    if averages_of(series.encodings).max() > 1:
        if distribution == "rician":
            reason = "echo times are repeated: their images are averaged, and means of magnitudes are not Rician"
            raise refusal(reason, series, "--set scan_cnn.distribution=gaussian")
        distribution = "gaussian"
    return replace(options, scan_cnn=replace(options.scan_cnn, distribution=distribution))


def file_for(series):
    """Workflow file whose maps are those of the series' decay."""
    return f"{series.decay}_scan-cnn"


def kind_of(plan):
    """``t2`` or ``t2star``: the kernel where it is one of them, else what the sequence says."""
    return plan.kernel if plan.kernel in KINDS else plan.series.decay


def averages_of(encodings):
    """(n_echoes,) number of images of each echo time."""
    return np.unique(np.round(encodings.echo_time, SAME_ECHO), return_counts=True)[1]
