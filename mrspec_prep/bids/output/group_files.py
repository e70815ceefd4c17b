"""Files of the group level: their names, the table of participants, and maps in a participant's own folder."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.bids.nifti import GRID_TOLERANCE
from mrspec_prep.bids.output.derivatives import output_path, write_table

#: columns of ``group_participants.tsv`` that are ours; those of ``participants.tsv`` stand behind
OWN_COLUMNS = (
    "participant_id", "session", "series", "site", "protocol", "included", "cause", "n_voxels", "sigma", "gain",
    "snr", "residual", "certainty", "unexplained", "main_cluster",
)  # fmt: skip

PER_CLUSTER = re.compile(r"(proportion|weight)_\d+")


def table_column(name):
    """Name of a column of ``participants.tsv`` in ``group_participants.tsv``, where some names are our own."""
    ours = (name in OWN_COLUMNS and name not in ("participant_id", "site")) or PER_CLUSTER.fullmatch(name)
    return f"{name}_participants" if ours else name


def numbered_columns(names, kind):
    """Those of the names that are ``<kind>_1``, ``<kind>_2``, ..., in the order of their numbers."""
    found = [name for name in names if re.fullmatch(rf"{kind}_\d+", name)]
    return sorted(found, key=lambda name: int(name.rpartition("_")[2]))


def group_file(out_dir, kind, extension=".tsv", desc=None):
    """Where a file of the whole group belongs: ``group_[desc-<desc>_]<kind><extension>``."""
    return Path(out_dir) / f"group_{f'desc-{desc}_' if desc else ''}{kind}{extension}"


def template_file(out_dir, kernel):
    """Where the group's spectra belong as a template: ``tpl-group/tpl-group_model-<kernel>_desc-inspect_spectra``."""
    naming = {"template": "group", "model": kernel, "desc": "inspect", "suffix": "spectra", "extension": ".h5"}
    return output_path(out_dir, {}, datatype=None, **naming)


def write_group_participants(out_dir, rows, people, metadata):
    """Write ``group_participants.tsv`` and its sidecar.

    Parameters
    ----------
    out_dir : path
    rows : sequence of dict
        One per series. Keys of ``OWN_COLUMNS``; ``proportions`` and ``weights`` are sequences of numbers, one per
        cluster and component. What is absent is ``n/a``.
    people : sequence of dict
        For each row what ``participants.tsv`` says of the participant, by column.
    metadata : dict
        For the sidecar.

    Returns
    -------
    Path

    """
    columns = {name: [row.get(name) for row in rows] for name in OWN_COLUMNS}
    if all(value is None for value in columns["unexplained"]):
        columns.pop("unexplained")  # known where spectra were given
    described = {}
    for key, name, what in (("proportions", "proportion", "cluster"), ("weights", "weight", "component")):
        for k in range(max((len(row.get(key, ())) for row in rows), default=0)):
            column = f"{name}_{k + 1}"
            columns[column] = [row[key][k] if len(row.get(key, ())) else None for row in rows]
            described[column] = {
                "LongName": f"{name.capitalize()} of {what} {k + 1}",
                "Description": "Share of the voxels, by their responsibilities"
                if name == "proportion"
                else "Mean over the voxels",
            }
    for name in dict.fromkeys(column for person in people for column in person):
        if name in ("participant_id", "site"):
            continue
        ours = table_column(name)
        while ours in columns:
            ours += "_participants"
        columns[ours] = [person.get(name) for person in people]
        described[ours] = {"Description": f"Column {name} of participants.tsv"}
    return write_table(group_file(out_dir, "participants"), columns, described | dict(metadata))


def region_image(record, header):
    """Image whose geometry a participant's maps take: the mask of its run, or one made from the affine.

    Parameters
    ----------
    record : dict
        ``root`` of the dataset that the series is of, its ``entities`` and ``datatype``.
    header : CompressedHeader

    Returns
    -------
    image : nibabel image
    sources : list of Path
        The mask, where it is there and on the grid of the compressed signals.

    """
    mask = output_path(
        record["root"], record["entities"], datatype=record["datatype"], suffix="mask", extension=".nii.gz", desc="roi"
    )
    if mask.is_file():
        image = nib.load(mask)
        if image.shape == header.shape and np.abs(image.affine - header.affine).max() <= GRID_TOLERANCE:
            return image, [mask]
    return nib.Nifti1Image(np.zeros(header.shape, np.uint8), header.affine), []
