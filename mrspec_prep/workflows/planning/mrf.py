"""Fingerprinting as planned: methods by name, which series, whether dictionary and rank go with the schedule."""

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.fingerprints import SUFFIX, find_fingerprints
from mrspec_prep.bids.input.images import common_mask
from mrspec_prep.bids.layout import find_images
from mrspec_prep.bids.nifti import COMPLEX, read_grid
from mrspec_prep.interfaces.fingerprints import dictionary_grid
from mrspec_prep.networks.fingerprinting.fingerprint import METHODS
from mrspec_prep.options import OptionsError, SelectOptions
from mrspec_prep.workflows.planning.maps import check_device
from mrspec_prep.workflows.planning.scan import check_methods_known

MRF_FILE = "mrf_subspace"
NETWORK = "scan-cnn"
FEWEST_FRAMES = 3  # two relaxation times and an amplitude
NETWORK_GB = 0.6  # PyTorch and the network


def check_mrf_names(options, device="cpu"):
    """Refuse a method or a device that is not there, before any data are read.

    Parameters
    ----------
    options : MRFOptions
    device : str
        Of the command line; matters to the network only.

    Raises
    ------
    OptionsError
        Unknown method (the nearest is suggested), published settings without the network, or a dictionary without
        a pair whose T2 is below its T1.
    InputError
        ``cuda`` was asked for and is not there.

    """
    if not options.wanted:
        return
    check_methods_known("mrf", options, METHODS, NETWORK)
    if not n_atoms(options):
        raise OptionsError(
            f"mrf.t1 = {list(options.t1)} and mrf.t2 = {list(options.t2)} with mrf.points = {options.points} hold no "
            "pair with T2 < T1"
        )
    if NETWORK in options.methods:
        check_device(device)


def n_atoms(options):
    """Number of pairs of the dictionary."""
    pairs = dictionary_grid(options).bins()
    return int((pairs["t2"] < pairs["t1"]).sum())


def only_fingerprints(layout, subject, sessions=None):
    """Whether a participant has fingerprinting images and no others that we read."""
    everything = SelectOptions()
    if find_images(layout, subject, everything, sessions):
        return False
    return bool(find_images(layout, subject, everything, sessions, {"anat": (SUFFIX,)}))


def planned_fingerprints(layout, subject, options, sessions=None, filters=None):
    """Fingerprinting series of a participant, at least one.

    Raises
    ------
    InputError
        There is none, or something in it is wrong.

    """
    mrf = options.mrf
    found = find_fingerprints(
        layout,
        subject,
        options.select,
        sessions,
        filters,
        table=None if mrf.schedule == "auto" else mrf.schedule,
        inversion_efficiency=mrf.inversion_efficiency,
        sampled=mrf.sampling == "auto",
    )
    if not found:
        raise InputError(
            f"sub-{subject} has no fingerprinting series (anat/*_{SUFFIX}.nii.gz)",
            file=layout.root,
            remedy="name the images so, or choose another workflow",
        )
    return found


def check_fingerprinting(plan):
    """Raise InputError where a mask does not fit, or the schedule has fewer frames than coefficients or parameters."""
    image, n_frames = plan.series.images[0], len(plan.series.schedule)
    if plan.masks:
        common_mask(plan.masks, image, read_grid(image, COMPLEX))
    if n_frames < FEWEST_FRAMES:
        raise InputError(
            "fewer frames than T1, T2 and M0 need",
            file=image,
            value=f"{n_frames} frames",
            remedy=f"give at least {FEWEST_FRAMES}",
        )
    if plan.options.mrf.window > n_frames:
        raise InputError(
            "the sliding window is longer than the series",
            file=image,
            value=f"mrf.window = {plan.options.mrf.window}, {n_frames} frames",
            remedy="--set mrf.window=NUMBER of the reconstruction, 1 for none",
        )
    if plan.series.sampling and plan.options.mrf.window > 1:
        raise InputError(
            "a sliding window and point spreads exclude each other",
            file=plan.series.sampling.spread[0],
            value=f"mrf.window = {plan.options.mrf.window}",
            remedy="give the frames before any averaging, or --set mrf.sampling=none",
        )
    if plan.options.mrf.rank > n_frames:
        raise InputError(
            "the subspace has more coefficients than the series has frames",
            file=image,
            value=f"mrf.rank = {plan.options.mrf.rank:g}, {n_frames} frames",
            remedy=f"--set mrf.rank={n_frames} or less",
        )


def fingerprint_mem_gb(plan):
    """Rough peak memory of a fit [GB]: frames as complex numbers, twice, and the network."""
    grid = read_grid(plan.series.images[0], COMPLEX)
    values = float(np.prod(grid.shape)) * grid.n_volumes
    return 0.6 + NETWORK_GB * (NETWORK in plan.options.mrf.methods) + 24e-9 * values
