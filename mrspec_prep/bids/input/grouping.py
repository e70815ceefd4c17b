"""Images described one by one, and sorted into groups that encode one signal."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.sidecars import Metadata, VolumeTable, read_bvalues, read_directions, read_times
from mrspec_prep.bids.input.tables import find_table, read_table
from mrspec_prep.bids.names import Name, natural_key, split_name
from mrspec_prep.bids.nifti import Grid3D, check_same_grid, read_grid

#: entities that may differ within a series
JOINED_OVER = {"dwi": ("acquisition", "echo"), "anat": ("acquisition", "echo", "inv")}
#: entities that keep images apart even where MultipartID ties them: another distortion or another reconstruction
NEVER_JOINED = ("session", "direction", "reconstruction", "part")
NEEDED = {"MESE": "echo_time", "MEGRE": "echo_time", "IRT1": "inversion_time"}
KEYS = {"echo_time": "EchoTime", "inversion_time": "InversionTime", "repetition_time": "RepetitionTime", "bvalue": "b"}
MOST_LABELS = 8  # of an entity, in a sentence


@dataclass(frozen=True, eq=False)
class Described:
    """One image with all that is known of it."""

    path: Path
    name: Name
    grid: Grid3D
    metadata: Metadata
    table: VolumeTable


def describe_image(path, sidecars):
    """All that is known of one image: name, grid, metadata and what encodes its volumes.

    Parameters
    ----------
    path : Path
    sidecars : Sidecars

    Returns
    -------
    Described

    Raises
    ------
    InputError
        The image, a sidecar or a table is missing, unreadable or wrong.

    """
    name, grid, metadata = split_name(path), read_grid(path), sidecars.metadata(path)
    table = read_times(metadata, grid.n_volumes)
    beside = find_table(path)
    if beside is not None:
        _take_over(table, read_table(beside, grid.n_volumes), beside)
    if name.datatype == "dwi":
        read_weighting(path, sidecars, table, grid.n_volumes)
    needed = NEEDED.get(name.suffix)
    if needed and getattr(table, needed) is None:
        raise InputError(
            f"{KEYS[needed]} is missing, which a {name.suffix} needs",
            file=metadata.where(KEYS[needed]),
            remedy=f"add {KEYS[needed]} in seconds",
        )
    return Described(path, name, grid, metadata, table)


def _take_over(table, beside, path):
    """Let a table beside the image complete the sidecar; where both speak they must agree."""
    for axis in ("echo_time", "inversion_time", "repetition_time"):
        column, sidecar = getattr(beside, axis), getattr(table, axis)
        if column is None:
            continue
        if axis != "repetition_time" and sidecar is not None and not _all_in(sidecar, column):
            raise InputError(
                f"the table and the sidecar's {KEYS[axis]} contradict",
                file=path,
                value=f"sidecar {sidecar[0]:g} ms, table {np.unique(column)[:6].tolist()} ms",
                remedy="correct one, or remove it from the sidecar",
            )
        setattr(table, axis, column)
    table.bvalue, table.direction = beside.bvalue, beside.direction
    table.notes += beside.notes


def _all_in(values, column):
    return np.isclose(values[:, None], np.unique(column), rtol=1e-3).any(axis=1).all()


def read_weighting(path, sidecars, table, n_volumes):
    """Fill in b-values and directions of a dwi from bval and bvec, unless a table gave them."""
    bvals, bvecs = sidecars.find(path, ".bval"), sidecars.find(path, ".bvec")
    if table.bvalue is not None:
        if bvals and not np.allclose(read_bvalues(bvals[-1], n_volumes), table.bvalue, rtol=0.05, atol=20):
            raise InputError(
                "the b-values contradict the table beside the image",
                file=bvals[-1],
                remedy="correct or remove one of them",
            )
        return
    for found, ending in ((bvals, ".bval"), (bvecs, ".bvec")):
        if not found:
            raise InputError(
                f"a dwi needs a {ending} file and this one has none",
                file=path,
                remedy=f"put {path.name.partition('.')[0]}{ending} beside it, or a table *_acqparams.tsv",
            )
    table.bvalue = read_bvalues(bvals[-1], n_volumes)
    table.direction = read_directions(bvecs[-1], table.bvalue)


def group_images(described):
    """Sort images into groups that encode one signal each, in natural order.

    A group is tied by ``MultipartID``, or by entities that are equal except ``acq-`` (and
    ``echo-``, ``inv-``). It is split where images are known to differ in what cannot be
    fitted: the phase-encoding direction of a dwi, or ``acq-`` of anatomical images that
    repeats the same times and so names another scan.

    Parameters
    ----------
    described : sequence of Described

    Returns
    -------
    list of list of Described

    Raises
    ------
    InputError
        It cannot be told which images belong together.

    """
    groups = {}
    for image in described:
        groups.setdefault(_group_key(image), []).append(image)
    _refuse_untied(described)
    split = {"dwi": _split_by_phase_encoding, "anat": _split_scans}
    return [part for group in groups.values() for part in split[group[0].name.datatype](group)]


def _refuse_untied(described):
    """Raise InputError for a dwi without MultipartID and EchoTime beside others that MultipartID ties."""
    dwi = [image for image in described if image.name.datatype == "dwi"]
    tied = {_untied_key(image) for image in dwi if "MultipartID" in image.metadata.values and _knows_echo(image)}
    for image in dwi:
        if "MultipartID" not in image.metadata.values and not _knows_echo(image) and _untied_key(image) in tied:
            raise InputError(
                "EchoTime and MultipartID are missing, and other images of this session have them: "
                "it cannot be told whether this one belongs to them",
                file=image.metadata.where("EchoTime"),
                remedy=f"add both, or leave {image.path.name} out with --bids-filter-file",
            )


def _untied_key(image):
    return tuple(sorted(item for item in image.name.entities.items() if item[0] not in ("acquisition", "run")))


def _knows_echo(image):
    return image.table.echo_time is not None


def _group_key(image):
    entities, multipart = image.name.entities, image.metadata.values.get("MultipartID")
    kind = (image.name.datatype, image.name.suffix)
    if multipart is not None and image.name.datatype == "dwi":
        return (*kind, "multipart", str(multipart), *(entities.get(key) for key in NEVER_JOINED))
    kept = {key: value for key, value in entities.items() if key not in JOINED_OVER[image.name.datatype]}
    return (*kind, "entities", *sorted(kept.items()))


def _split_by(group, value_of):
    parts = {}
    for image in group:
        parts.setdefault(value_of(image), []).append(image)
    return parts


def _split_by_phase_encoding(group):
    key = "PhaseEncodingDirection"
    parts = _split_by(group, lambda image: image.metadata.values.get(key) and str(image.metadata.values[key]))
    if len(parts) > 2 and None in parts:
        lacking = parts[None][0]
        raise InputError(
            f"{key} is missing, and images of this session differ in it",
            file=lacking.metadata.where(key),
            value=", ".join(sorted(name for name in parts if name)),
            remedy=f"add it, or leave {lacking.path.name} out with --bids-filter-file",
        )
    return list(parts.values()) if None not in parts else [group]


def _split_scans(group):
    """Split anatomical images where ``acq-`` names another scan rather than another inversion time."""
    scans = _split_by(group, lambda image: image.name.entities.get("acquisition"))
    plain = scans.get(None)
    if plain and len({image.table.inversion_time is None for image in group}) > 1 and _without_inversion(plain):
        return [plain, *_split_scans([image for image in group if image not in plain])]
    times = [{t for image in images for t in _times(image)} for images in scans.values()]
    distinct = sum(len(t) for t in times) == len(set().union(*times))
    return [group] if distinct else list(scans.values())


def _without_inversion(images):
    return all(image.table.inversion_time is None for image in images)


def _times(image):
    columns = [image.table.echo_time, image.table.inversion_time]
    return {tuple(None if c is None else round(float(c[v]), 3) for c in columns) for v in range(image.grid.n_volumes)}


def labels_of(group, key):
    """Values of one entity in a group, None where an image lacks it."""
    return {image.name.entities.get(key) for image in group}


def check_together(group):
    """Raise InputError where images of a group are on different grids or repeat an echo or inversion."""
    first = group[0]
    for image in group[1:]:
        check_same_grid(image.path, image.grid, first.path, first.grid)
    seen = {}
    for image in group:
        numbered = [key for key in ("echo", "inv") if key in image.name.entities]
        key = (image.name.entities.get("acquisition"), *sorted(_times(image), key=str))
        if numbered and key in seen:
            raise InputError(
                f"has the same echo and inversion time as {seen[key].name}",
                file=image.path,
                value=key[1:],
                remedy=f"correct the sidecars; repeats are named run-, not {numbered[0]}-",
            )
        seen[key] = image.path


def why_joined(group):
    """One sentence: why the images of a group belong together."""
    first = group[0]
    if len(group) == 1:
        return f"One file, {first.path.name}."
    if first.name.datatype == "dwi" and "MultipartID" in first.metadata.values:
        return f"{len(group)} _dwi files joined: tied by MultipartID {first.metadata.values['MultipartID']!r}."
    names = {"acquisition": "acq-", "echo": "echo-", "inv": "inv-"}
    differing = []
    for key, short in names.items():
        labels = sorted((value or "none" for value in labels_of(group, key)), key=natural_key)
        if len(labels) > 1:
            shown = labels if len(labels) <= MOST_LABELS else [*labels[:2], "...", labels[-1]]
            differing.append(f"{short} ({', '.join(shown)})")
    return f"{len(group)} _{first.name.suffix} files joined: entities equal except {' and '.join(differing)}."
