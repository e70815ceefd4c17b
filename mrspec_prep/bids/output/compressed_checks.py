"""What a file of compressed signals must hold before anything is computed from it."""

import math

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.catalogue import axis_entry
from mrspec_prep.physics import KERNELS, Grid, kernel_axes

FORMAT = 1  # of the file; to be raised whenever its content changes its meaning
DISTRIBUTIONS = ("gaussian", "student-t")
BLOCK = 16_384  # voxels looked at at once
LARGEST_KERNEL = 500_000_000  # numbers in a kernel matrix: what a header may ask us to compute
LONGEST_AXIS, LARGEST_IMAGE = 32_767, 2**31  # voxels: what NIfTI-1 can hold; what a header may ask us to write


class FormatError(InputError):
    """A file of another format than this version reads."""


class NoiseError(InputError):
    """A file whose noise level is missing or impossible."""


def check_sigma(header):
    """Raise InputError where a sigma is not finite and > 0; reads this array only."""
    sigma = header.places["sigma"].map(header.path)
    wrong = ~(np.isfinite(sigma) & (sigma > 0))
    if wrong.any():
        raise NoiseError(
            "the noise level sigma must be finite and > 0 in every voxel",
            file=header.path,
            value=f"{sigma[np.argmax(wrong)]:g} in voxel {int(np.argmax(wrong))}, {int(wrong.sum())} such voxels",
            remedy="run the participant level again with another --noise",
        )


def fault_of_values(header):
    """What is wrong with the signals of a file, in words; empty where nothing is. Reads them in blocks."""
    for name in ("signals", "outside"):
        values = header.places[name].map(header.path)
        for start in range(0, len(values), BLOCK):
            finite = np.isfinite(values[start : start + BLOCK])
            wrong = ~finite.reshape(len(finite), -1).all(axis=1)
            if wrong.any():
                voxel = start + int(np.argmax(wrong))
                return f"{name} of voxel {voxel} hold NaN or infinite values: run the participant level again"
    return ""


def check_arrays(path, arrays, roi, protocol, distribution, degrees_of_freedom):
    """Raise ValueError where what is to be written does not hold together."""
    signals, sigma = arrays["signals"], arrays["sigma"]
    n_voxels, n_ranks = signals.shape
    lengths = {n_voxels, len(sigma), len(arrays["outside"]), int(roi.sum())}
    if len(lengths) > 1 or protocol.projection.shape != (len(protocol.encodings), n_ranks):
        raise ValueError(
            f"{path.name}: signals {signals.shape}, sigma {sigma.shape}, outside {arrays['outside'].shape}, a region "
            f"of {int(roi.sum())} voxels and a projection {protocol.projection.shape} do not belong together"
        )
    if not all(np.isfinite(array).all() for array in (*arrays.values(), protocol.projection)):
        raise ValueError(f"{path.name}: values that are not finite")
    if not (sigma > 0).all():
        raise ValueError(f"{path.name}: sigma must be > 0, lowest is {sigma.min()}")
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
    if (distribution == "student-t") != (degrees_of_freedom is not None):
        raise ValueError(f"degrees of freedom belong to student-t, got {degrees_of_freedom} for {distribution}")


def check_format(file):
    """Raise InputError where a file has another format than this version reads."""
    number = float(file.numbers("format"))
    if number != FORMAT:
        raise FormatError(
            f"compressed signals of another format: this version reads format {FORMAT}",
            file=file.path,
            value=f"format {number:g}, written by mrspec_prep {file.text('software_version')}",
            remedy="run the participant level again with this version"
            if number < FORMAT
            else "run the group level with that version",
        )


def read_geometry(file):
    """Shape of the image, box that holds the region, affine."""
    shape, affine = file.numbers("shape", (3,)), file.numbers("affine", (4, 4)).astype(float)
    box = file.numbers("box", (3, 2))
    whole = shape.dtype.kind == box.dtype.kind == "i" and (shape > 0).all()
    if not whole or (box < 0).any() or (box[:, 0] > box[:, 1]).any() or (box[:, 1] > shape).any():
        raise file.damaged("the shape of the image or the box of its region is none")
    if max(shape) > LONGEST_AXIS or math.prod(int(n) for n in shape) > LARGEST_IMAGE:
        raise file.damaged(f"an image of {' x '.join(str(n) for n in shape)} voxels")
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise file.damaged("the affine of the image is none")
    return tuple(int(n) for n in shape), box.astype(int), affine


def read_grid(file, n_encodings):
    """Grid of the file, unless its kernel would be too large to compute."""
    axes = {}
    for name in file.names("axes"):
        with np.errstate(over="ignore"):
            axes[name] = file.array(f"axes/{name}", "<f8", 1) / axis_entry(name)["factor"]
    n_bins = 1
    for values in axes.values():
        n_bins *= len(values)
    if n_bins * n_encodings > LARGEST_KERNEL:
        raise file.damaged(f"a kernel of {n_encodings} x {n_bins}")
    return Grid(**axes)


def check_header(file, header):
    """Raise InputError where parts of a file contradict each other."""
    n_voxels, n_ranks, places = header.n_voxels, header.n_ranks, header.places
    n_bits = int(np.prod([int(stop - start) for start, stop in header.box], dtype=object))
    expected = {
        "sigma": (n_voxels,),
        "outside": (n_voxels,),
        "projection": (places["projection"].shape[0], n_ranks),
        "singular_values": (n_ranks,),
        "roi": (-(-n_bits // 8),),
    }
    for name, shape in expected.items():
        if places[name].shape != shape:
            raise file.damaged(f"{name} has the shape {places[name].shape}, not {shape}")
    n_inside = int(np.unpackbits(places["roi"].map(file.path), count=n_bits).sum(dtype=np.int64))
    if n_inside != n_voxels or n_ranks < 1:
        raise file.damaged(f"{n_voxels} voxels of {n_ranks} ranks for a region of {n_inside}")
    known = header.kernel in KERNELS and set(kernel_axes(header.kernel)) == set(header.grid.names)
    if not known or header.kernel != file.text("kernel"):
        raise file.damaged(f"kernel {header.kernel} on a grid of {', '.join(header.grid.names)}")
    if file.text("grid_hash") != header.grid_hash:
        raise file.damaged("the grid hash is that of other axes")
    student = header.distribution == "student-t"
    if header.distribution not in DISTRIBUTIONS or student != (header.degrees_of_freedom is not None):
        raise file.damaged(f"noise {header.distribution} with {header.degrees_of_freedom} degrees of freedom")
    if student and not header.degrees_of_freedom > 0:
        raise file.damaged(f"{header.degrees_of_freedom} degrees of freedom")
