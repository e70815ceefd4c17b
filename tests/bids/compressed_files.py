"""Files of compressed signals for tests: simulated voxels of a small protocol, written as a participant run does."""

import h5py
import numpy as np

from mrspec_prep.bids.output.compressed import CompressedProtocol, write_compressed
from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix

ABOUT = {
    "Sources": ["bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"],
    "Datatype": "dwi",
    "Suffix": "dwi",
    "NoiseDistribution": "gaussian",
    "SignalsAre": "as measured",
    "OptionsHash": "0",
    "Seed": 0,
}


def small_protocol(kernel="adc-t2star", points=(6, 7), n_ranks=8, longest=150.0, bounds=None):
    """24 volumes: 6 b-values at 4 echo times up to ``longest`` [ms]."""
    b, te = np.meshgrid([0.0, 50, 200, 400, 800, 1600], np.linspace(60, longest, 4), indexing="ij")
    encodings = Encodings(bvalue=b.ravel(), echo_time=te.ravel())
    grid = default_grid(kernel_axes(kernel), encodings, points=list(points), bounds=bounds)
    left, values, _ = np.linalg.svd(kernel_matrix(kernel, encodings, grid), full_matrices=False)
    settings = {"name": kernel, "points": list(points), "spacing": "log", "bounds": bounds or {}}
    return CompressedProtocol(settings, encodings, grid, left[:, :n_ranks], values[:n_ranks])


def write_small(path, protocol=None, shape=(4, 3, 2), n_voxels=10, seed=0, **more):
    """One file; returns what was written as a dict of arrays."""
    protocol = protocol or small_protocol()
    rng = np.random.default_rng(seed)
    roi = np.zeros(shape, bool)
    roi.ravel()[rng.permutation(roi.size)[:n_voxels]] = True
    written = {
        "signals": rng.normal(size=(n_voxels, protocol.projection.shape[1])).astype(np.float32),
        "sigma": rng.uniform(0.5, 1, n_voxels).astype(np.float32),
        "outside": rng.uniform(0, 1, n_voxels).astype(np.float32),
        "roi": roi,
        "affine": np.diag([2.0, 2, 3, 1]),
    }
    given = {"metadata": ABOUT} | more
    write_compressed(path, **written, protocol=protocol, **given)
    return written | {"protocol": protocol}


def damage(path, name, values=None, **options):
    """Replace an array of a file, or remove it."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file.create_dataset(name, data=values, **options)


def set_attribute(path, name, value):
    """Replace an attribute of a file."""
    with h5py.File(path, "r+") as file:
        file.attrs[name] = np.bytes_(value) if isinstance(value, str) else value
