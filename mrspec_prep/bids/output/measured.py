"""Measured volumes of a finished series, found again through its volume table and the sources it names."""

import re
from itertools import zip_longest
from pathlib import PurePosixPath

import nibabel as nib
import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.nifti import COMPLEX, iterate_volumes
from mrspec_prep.bids.output.derivative_dataset import RAW, linked_datasets
from mrspec_prep.bids.uris import path_of_uri

_PART = re.compile(r"(?:_part-([a-z]+))?_MRF\.nii(?:\.gz)?$")
PARTS = ({None}, {"mag"}, {"real", "imag"}, {"mag", "phase"})  # of which a series is made
AGAIN = "mount the dataset that dataset_description.json names and write the report again with --reports-only"


def measured_volumes(out_dir, columns, sources):
    """Volumes of the images that a series was joined from, file by file.

    Parameters
    ----------
    out_dir : path
        Derivative dataset, whose ``DatasetLinks`` say where its inputs lie.
    columns : dict of str to array
        Volume table with ``file`` and ``volume``.
    sources : list of str
        BIDS URIs of the images, as a sidecar says them.

    Yields
    ------
    encoding : int
        Row of the table.
    volume : (x, y, z) float32 array
        On the grid of the file.

    Raises
    ------
    InputError
        The table names no files, an image is not where the sources say, or it cannot be read.

    """
    if "file" not in columns or "volume" not in columns:
        raise InputError("the volume table names no images", remedy="run the participant level again")
    files, volumes = columns["file"].astype(str), columns["volume"].astype(int)
    for name in dict.fromkeys(files.tolist()):
        here = {int(volumes[row]): int(row) for row in np.flatnonzero(files == name)}
        for index, volume in enumerate(iterate_volumes(locate(out_dir, name, sources))):
            if index in here:
                yield here.pop(index), volume
            if not here:
                break
        if here:
            raise InputError("the image has fewer volumes than the table", file=name, value=min(here), remedy=AGAIN)


def measured_frames(out_dir, sources, shape, n_frames):
    """Frames of the images that a fingerprinting series was read from.

    Parameters
    ----------
    out_dir : path
        Derivative dataset.
    sources : list of str
        BIDS URIs of the images, as a sidecar says them.
    shape : (x, y, z)
        Of the region.
    n_frames : int
        How many, from the first.

    Yields
    ------
    frame : int
    volume : (x, y, z) complex64 or float32 array
        On the grid of the file; real numbers of magnitudes.

    Raises
    ------
    InputError
        No images of a fingerprinting series among the sources, one that is not there, cannot be read, has fewer
        frames or lies on another grid.

    """
    uris = [uri for uri in sources if isinstance(uri, str)] if isinstance(sources, list) else []
    parts = {_PART.search(PurePosixPath(uri).name)[1]: uri for uri in uris if _PART.search(PurePosixPath(uri).name)}
    if set(parts) not in PARTS:
        raise InputError("the sources name no frames", value=", ".join(uris) or None, remedy=AGAIN)
    order = (None, "real", "imag", "mag", "phase")
    paths = [locate(out_dir, parts[part], uris) for part in sorted(parts, key=order.index)]
    streams = zip_longest(*(iterate_volumes(path, COMPLEX) for path in paths))
    for frame in range(n_frames):
        volumes = next(streams, None)
        short = next((path for path, volume in zip(paths, volumes or paths, strict=True) if volume is None), None)
        if volumes is None or short is not None:
            problem = "the image has fewer frames than its schedule or its other part"
            raise InputError(problem, file=short or paths[0], value=frame, remedy=AGAIN)
        if volumes[0].shape != tuple(shape):
            raise InputError("the frames are on another grid than their region", file=paths[0], value=volumes[0].shape)
        if "real" in parts:
            yield frame, volumes[0] + 1j * volumes[1]
        elif "phase" in parts:
            yield frame, volumes[0] * np.exp(1j * volumes[1])
        else:
            yield frame, volumes[0]


def locate(out_dir, name, sources):
    """Path of an image by its name in the volume table.

    Raises
    ------
    InputError
        No source has this name, or it is not there.

    """
    known = [uri for uri in sources if isinstance(uri, str)] if isinstance(sources, list) else []
    uri = next((uri for uri in known if name in (uri, uri.removeprefix(f"bids:{RAW}:"), PurePosixPath(uri).name)), None)
    path = path_of_uri(uri, linked_datasets(out_dir))
    if path is None:
        raise InputError("the sources do not say where this image lies", file=name, value=uri, remedy=AGAIN)
    if not path.is_file():
        raise InputError("the measured image is not where the derivatives say", file=name, remedy=AGAIN)
    return path


def canonical_order(shape, affine):
    """(x, y, z) int array over axes to the right, front and up: where in the C order of the file each voxel is.

    ``volume.ravel()[canonical_order(volume.shape, affine)]`` is the volume turned as ``MapFile.canonical`` does.
    """
    index = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    return np.asarray(nib.as_closest_canonical(nib.Nifti1Image(index, affine)).dataobj)
