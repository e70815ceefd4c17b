"""Images as voxels x encodings: reference image, masks, signals, and what is checked in them."""

import os
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.voxels import check_signals
from mrspec_prep.bids.names import NIFTI, natural_key, split_name
from mrspec_prep.bids.nifti import check_same_grid, in_words, iterate_volumes, open_image, read_grid


def load_reference(series):
    """Mean of the volumes with the most signal (``Encodings.reference``).

    Returns
    -------
    reference : (nx, ny, nz) float32 array
        NaN and infinite values are 0.
    affine : (4, 4) array
    header : nibabel header of the first image

    Raises
    ------
    InputError
        An image that cannot be read.

    """
    wanted = series.encodings.reference()
    total = 0.0
    for _, volume in _volumes(series, set(wanted.tolist())):
        total = total + volume.astype(np.float64)
    first = open_image(series.images[0])
    mean = np.nan_to_num(total / len(wanted), nan=0.0, posinf=0.0, neginf=0.0)
    return mean.astype(np.float32), first.affine, first.header


def _volumes(series, wanted):
    """(encoding, volume) of the wanted encodings, file by file; a file is not read to its end unless needed."""
    for number, path in enumerate(series.images):
        here = {int(v): e for e, (f, v) in enumerate(series.volumes) if f == number and e in wanted}
        if not here:
            continue
        for index, volume in enumerate(iterate_volumes(path)):
            if index > max(here):
                break
            if index in here:
                yield here[index], volume


def load_signals(series, roi, encodings=None):
    """Signals of the voxels of a region.

    Parameters
    ----------
    series : Series
    roi : (nx, ny, nz) bool array
    encodings : (n,) int array, optional
        The ones to load, in rising order; all by default.

    Returns
    -------
    (n_voxels, n_encodings) float32 array
        Voxels in the C order of ``np.argwhere(roi)``.

    Raises
    ------
    InputError
        The region is empty or on another grid, or an image cannot be read.

    """
    check_roi(series, roi)
    wanted = range(len(series.encodings)) if encodings is None else [int(encoding) for encoding in encodings]
    column = {encoding: number for number, encoding in enumerate(wanted)}
    signals = np.empty((int(roi.sum()), len(wanted)), np.float32)
    for encoding, volume in _volumes(series, set(wanted)):
        signals[:, column[encoding]] = volume[roi]
    return signals


def check_roi(series, roi):
    """Raise InputError where a region is empty or has not the shape of the series' volumes."""
    shape = read_grid(series.images[0]).shape
    if roi.shape != shape:
        raise InputError(
            "the region of interest is on another grid",
            file=series.images[0],
            value=f"{in_words(roi.shape)} against {in_words(shape)} voxels",
            remedy="give a mask drawn on this image",
        )
    if not roi.any():
        raise InputError(
            "the region of interest is empty", file=series.images[0], remedy="give a mask with --mask or --derivatives"
        )


def check_values(series, roi):
    """Check the data inside a region before computing.

    Parameters
    ----------
    series : Series
    roi : (nx, ny, nz) bool array

    Returns
    -------
    list of str
        Notes in words: voxels that will be left out, values that are not positive.

    Raises
    ------
    InputError
        Truncated data, a volume that is zero throughout, an empty region or one on
        another grid, or 20 % of its voxels without usable signal.

    """
    return check_signals(series, load_signals(series, roi), roi)


def find_masks(series, derivatives, pattern=None):
    """Mask files of a series.

    Parameters
    ----------
    series : Series
    derivatives : sequence of BIDSLayout or path
        Derivative datasets that may hold ``*_mask.nii[.gz]``.
    pattern : str, optional
        File name of a mask with ``{subject}`` and ``{session}`` (labels without prefix);
        wildcards allowed. It replaces the search.

    Returns
    -------
    list of Path
        Empty where there is none; several (one per ``acq-``) are to be intersected.

    Raises
    ------
    InputError
        A pattern that matches nothing, or derivatives with several kinds of masks.

    """
    if pattern is not None:
        return _masks_by_pattern(series, pattern)
    found = []
    for derivative in derivatives:
        root = Path(derivative if isinstance(derivative, (str, os.PathLike)) else derivative.root)
        session = [] if series.session is None else [f"ses-{series.session}"]
        folder = root.joinpath(f"sub-{series.subject}", *session, series.datatype)
        if folder.is_dir():
            found += [path for path in sorted(folder.iterdir(), key=natural_key) if _is_mask_of(series, path)]
    kinds = {_mask_kind(path) for path in found}
    own = series.entities.get("space")
    for space in (own, None):
        if len({space for space, _ in kinds}) > 1 and any(kind[0] == space for kind in kinds):
            found = [path for path in found if _mask_kind(path)[0] == space]
            kinds = {_mask_kind(path) for path in found}
    if len(kinds) > 1:
        raise InputError(
            "the derivatives hold several kinds of masks for this series",
            file=found[0].parent,
            value=", ".join(path.name for path in found),
            remedy="name one with --mask, for example a path with {subject} and {session}",
        )
    return found


def masks_beside(series):
    """Masks of preprocessed images, by the names that their preprocessing gave them: same entities, ``desc-brain``.

    Parameters
    ----------
    series : Series

    Returns
    -------
    list of Path
        One per image; empty where an image has none.

    """
    found = []
    for image in series.images:
        mine = split_name(image).entities | {"desc": "brain"}
        found += [
            path
            for path in sorted(image.parent.glob("*_mask.nii*"))
            if split_name(path).entities == mine and split_name(path).extension in NIFTI
        ][:1]
    return found if len(found) == len(series.images) else []


def _mask_kind(path):
    entities = split_name(path).entities
    return entities.get("space"), entities.get("desc")


def _is_mask_of(series, path):
    name = split_name(path)
    if name.suffix != "mask" or name.extension not in NIFTI:
        return False
    mine = [split_name(image).entities for image in series.images]
    shared = ("acquisition", "run", "direction", "reconstruction")
    return all(name.entities[key] in {m.get(key) for m in mine} for key in shared if key in name.entities)


def _masks_by_pattern(series, pattern):
    path = filled_in(pattern, {"subject": series.subject, "session": series.session})
    try:
        found = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))), key=natural_key)
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"no file name pattern: {error}", file=path, remedy="correct --mask or --noise") from error
    if not found:
        raise InputError(
            "no file of this name", file=path, remedy="correct the pattern of --mask or --noise, or use automatic ones"
        )
    return found


def filled_in(pattern, entities):
    """Path of a file name pattern with ``{subject}`` and ``{session}``.

    Raises
    ------
    InputError
        Another name in braces.

    """
    text = pattern.replace("{subject}", entities["subject"]).replace("{session}", entities.get("session") or "")
    if "{" in text or "}" in text or "\0" in text:
        raise InputError(
            "the file name pattern cannot be filled in", file=pattern, remedy="use only {subject} and {session}"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"the file name pattern cannot be filled in: {error}", file=pattern) from error


def load_mask(paths, series):
    """Region common to all masks.

    Parameters
    ----------
    paths : sequence of Path
    series : Series

    Returns
    -------
    (nx, ny, nz) bool array
        True where every mask is > 0.

    Raises
    ------
    InputError
        A mask on another grid (1e-3 mm), of several volumes, empty, or unreadable.

    """
    return common_mask(paths, series.images[0], read_grid(series.images[0]))


def common_mask(paths, image, first):
    """Region common to masks that must lie on the grid ``first`` of an image (``load_mask``)."""
    roi = np.ones(first.shape, bool)
    for path in paths:
        grid = read_grid(path)
        check_same_grid(path, grid, image, first)
        if grid.n_volumes != 1:
            raise InputError("a mask must hold one volume", file=path, value=grid.n_volumes, remedy="split it")
        (volume,) = iterate_volumes(path)
        mask = volume > 0
        if not mask.any():
            raise InputError("the mask is empty", file=path, remedy="draw it again, or use --mask automatic")
        roi &= mask
    if not roi.any():
        raise InputError(
            "the masks have no voxel in common",
            file=paths[0],
            value=", ".join(Path(path).name for path in paths[1:]),
            remedy="name one with --mask",
        )
    return roi
