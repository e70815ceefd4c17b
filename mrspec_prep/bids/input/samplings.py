"""How the frames of a fingerprinting series were sampled: point spreads and coil sensitivities beside the images.

``sub-<label>[_...]_MRFspread.nii.gz`` holds the point spread of each interleaf along the fourth axis, on twice the
matrix; ``..._MRFcoils.nii.gz`` the sensitivities that the frames were combined with, one coil after the other. Both are
complex, or two files with ``part-real`` and ``part-imag``. Column ``interleaf`` of the schedule says which interleaf a
frame was sampled by. None of it is BIDS; a dataset lists the names in its ``.bidsignore``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.nifti import COMPLEX, in_words, iterate_volumes, open_image, read_grid

SPREAD, COILS = "MRFspread", "MRFcoils"
WHAT = {SPREAD: "point spreads", COILS: "coil sensitivities"}


@dataclass(frozen=True)
class SamplingFiles:
    """Files that tell the sampling of one series.

    Attributes
    ----------
    spread, coils : tuple of Path
        One complex image, or real and imaginary part; ``coils`` may be empty.
    interleaf : tuple of int
        Of every frame, from 0.

    """

    spread: tuple[Path, ...]
    coils: tuple[Path, ...]
    interleaf: tuple[int, ...]

    @property
    def files(self):
        """All files."""
        return [*self.spread, *self.coils]

    def to_json(self):
        """Plain values."""
        paths = {name: [str(path) for path in getattr(self, name)] for name in ("spread", "coils")}
        return paths | {"interleaf": list(self.interleaf)}

    @classmethod
    def from_json(cls, plain):
        """Files of plain values."""
        paths = {name: tuple(map(Path, plain[name])) for name in ("spread", "coils")}
        return cls(interleaf=tuple(plain["interleaf"]), **paths)


def find_sampling(image, suffix, interleaf, table):
    """Sampling of the series of an image, headers checked.

    Parameters
    ----------
    image : Path
        Of the series, or its first part.
    suffix : str
        Of its name.
    interleaf : (n_frames,) int array or None
        As the schedule has it.
    table : Path
        The schedule.

    Returns
    -------
    SamplingFiles or None
        None where no point spread lies beside the image.

    Raises
    ------
    InputError
        Point spreads without the column ``interleaf``, of another number of interleaves, or on another matrix; coils
        without point spreads or on another grid.

    """
    spread, coils = (_beside(image, suffix, kind) for kind in (SPREAD, COILS))
    if not spread:
        if coils:
            remedy = f"put {_named(image, suffix, SPREAD)} beside it, or take the sensitivities away"
            raise InputError("coil sensitivities serve nothing without point spreads", file=coils[0], remedy=remedy)
        return None
    if interleaf is None:
        remedy = "give every frame the number of its interleaf, from 0, or set mrf.sampling=none"
        raise InputError("point spreads are given, and the schedule has no column interleaf", file=table, remedy=remedy)
    grid = read_grid(image, COMPLEX)
    doubled, found = (2 * grid.shape[0], 2 * grid.shape[1], 1), _shape(spread)
    if found[:3] != doubled:
        raise InputError(
            "point spreads must lie on twice the matrix of the frames, in one slice",
            file=spread[0],
            value=f"{in_words(found[:3])} against {in_words(doubled)} voxels",
            remedy="grid samples that are all one on that matrix",
        )
    if interleaf.max() >= found[3]:
        raise InputError(
            "the schedule names an interleaf that has no point spread",
            file=table,
            value=f"{interleaf.max()}, of 0 to {found[3] - 1}",
            remedy=f"count interleaves from 0, and give all of them in {spread[0].name}",
        )
    if coils and _shape(coils)[:3] != grid.shape:
        raise InputError(
            "coil sensitivities lie on another grid than the frames",
            file=coils[0],
            value=f"{in_words(_shape(coils)[:3])} against {in_words(grid.shape)} voxels",
            remedy="give them on the grid of the frames",
        )
    return SamplingFiles(spread, coils, tuple(interleaf.tolist()))


def load_sampling(files):
    """Arrays of ``networks.Sampling``.

    Returns
    -------
    dict
        ``spread`` (n_interleaves, 2 nx, 2 ny) and ``coils`` (n_coils, nx, ny, nz) complex, or None; ``interleaf``
        (n_frames,) int.

    """
    spread = np.stack(list(_volumes(files.spread)))[..., 0]
    coils = np.stack(list(_volumes(files.coils))) if files.coils else None
    return {"spread": spread, "interleaf": np.array(files.interleaf), "coils": coils}


def _volumes(paths):
    """Complex volumes of one image, or of its parts."""
    if len(paths) == 1:
        return iterate_volumes(paths[0], COMPLEX)
    return (real + 1j * imaginary for real, imaginary in zip(*map(iterate_volumes, paths), strict=True))


def _named(image, suffix, kind):
    """Name of the file of a kind that goes with an image of the series."""
    stem, dot, extension = image.name.partition(".")
    return f"{stem.removesuffix(suffix)}{kind}{dot}{extension}"


def _beside(image, suffix, kind):
    """Files of a kind beside the series: one complex image, or two parts; empty where there is none."""
    stem = image.name.partition(".")[0].removesuffix(suffix)
    plain = "".join(f"{word}_" for word in stem.split("_") if word and not word.startswith("part-"))
    parts = [f"{plain}part-{part}_" for part in ("real", "imag")]
    found = {}
    for name in (plain, *parts):
        paths = [image.parent / f"{name}{kind}{extension}" for extension in (".nii.gz", ".nii")]
        there = [path for path in paths if path.is_file()]
        if there:
            found[name] = there[0]
    if plain in found:
        if open_image(found[plain], COMPLEX).get_data_dtype().kind != "c":
            remedy = "give complex numbers, or part-real and part-imag"
            raise InputError(f"{WHAT[kind]} must be complex", file=found[plain], value="real numbers", remedy=remedy)
        return (found[plain],)
    if len(found) == 1:
        (path,) = found.values()
        remedy = "put part-real and part-imag beside each other"
        raise InputError(f"one part of the {WHAT[kind]} is missing", file=path, remedy=remedy)
    return tuple(found[name] for name in parts) if found else ()


def _shape(paths):
    """(nx, ny, nz, n) of one image, or of parts that have the same."""
    shapes = {(*(grid := read_grid(path, COMPLEX)).shape, grid.n_volumes) for path in paths}
    if len(shapes) > 1:
        words = " against ".join(in_words(shape) for shape in shapes)
        raise InputError("real and imaginary part differ in shape", file=paths[1], value=words, remedy="convert again")
    return shapes.pop()
