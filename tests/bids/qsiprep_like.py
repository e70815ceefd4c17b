"""Derivatives as QSIPrep 0.24 to 26 writes them, of a raw dataset: names, columns and sidecars as in its source."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

HARMLESS = {"framewise_displacement": "0.1", "trans_x": "0.0", "trans_y": "0.0", "trans_z": "0.0", "rot_x": "0.01"}


def rotation(degrees):
    """(3, 3) rotation about the third axis."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def like_qsiprep(
    raw, root, scans, stem, *, harmonise=False, columns=None, space="ACPC", confounds="_desc-confounds_timeseries.tsv",
    mask=None, degrees=6.0, settings=None, sidecar=True,
):  # fmt: skip
    """Write what QSIPrep would of some scans that it concatenates.

    Parameters
    ----------
    raw, root : Path
        Raw dataset, and the derivatives that are written.
    scans : sequence of str
        Raw images relative to ``raw``, in the order in which they are concatenated.
    stem : str
        Folder and entities of the output, for example ``sub-01/dwi/sub-01``.
    harmonise : bool
        Scale every scan to the mean b=0 intensity of all, over the whole image.
    columns : dict of str to list, optional
        Columns of the confounds that replace those written here; None removes one.
    mask : (x, y, z) array, optional
        Brain mask; none is written without.
    settings : dict, optional
        ``[workflow]`` of a ``qsiprep.toml``.

    Returns
    -------
    Path
        The preprocessed image.

    """
    images = [nib.load(raw / scan) for scan in scans]
    stems = [(raw / scan).with_name((raw / scan).name.partition(".")[0]) for scan in scans]
    bvals = [np.atleast_1d(np.loadtxt(f"{s}.bval")) for s in stems]
    bvecs = [np.loadtxt(f"{s}.bvec").reshape(3, -1) for s in stems]
    data = [np.asarray(image.dataobj, np.float32).reshape(*image.shape[:3], -1) for image in images]
    means = [float(d[..., b < 100].mean()) for d, b in zip(data, bvals, strict=True)]
    factors = [float(np.mean(means)) / mean if harmonise else 1.0 for mean in means]
    data = np.concatenate([d * f for d, f in zip(data, factors, strict=True)], axis=3)
    out = root / f"{stem}_space-{space}_desc-preproc_dwi.nii.gz"
    out.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data.astype(np.float32), images[0].affine).to_filename(out)
    base = str(out).removesuffix(".nii.gz")
    rotated = rotation(degrees) @ np.concatenate(bvecs, axis=1)
    np.savetxt(f"{base}.bval", [np.concatenate(bvals)], fmt="%g")
    np.savetxt(f"{base}.bvec", rotated, fmt="%.8f")
    for ending in (".b", ".b_table.txt"):
        np.savetxt(base + ending, np.vstack([rotated, np.concatenate(bvals)]).T, fmt="%.6f")
    counts = [len(b) for b in bvals]
    names = [scan.rpartition("/")[2] for scan in scans]
    _write_confounds(root / f"{stem}{confounds}", counts, names, bvals, bvecs, means, factors, columns)
    if sidecar:
        _write_sidecar(f"{base}.json", stems, names)
    if mask is not None:
        brain = root / f"{stem}_space-{space}_desc-brain_mask.nii.gz"
        nib.Nifti1Image(np.asarray(mask, np.uint8), images[0].affine).to_filename(brain)
    description = {"Name": "qsiprep output", "BIDSVersion": "1.1.1", "DatasetType": "derivative"}
    description["GeneratedBy"] = [{"Name": "qsiprep", "Version": "1.1.1"}]
    (root / "dataset_description.json").write_text(json.dumps(description))
    if settings:
        log = root / stem.split("/")[0] / "log" / "20260101-120000_abc" / "qsiprep.toml"
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        log.write_text("\n".join(["[workflow]", *lines]) + "\n")
    return out


def _write_confounds(path, counts, names, bvals, bvecs, means, factors, replaced):
    gradients = np.concatenate(bvecs, axis=1)
    table = {name: [value] * sum(counts) for name, value in HARMLESS.items()}
    table["original_file"] = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    table |= {f"grad_{axis}": [f"{v:.6f}" for v in gradients[i]] for i, axis in enumerate("xyz")}
    table["bval"] = [f"{value:.1f}" for value in np.concatenate(bvals)]
    table["series_b0_mean"] = [f"{m!r}" for m, count in zip(means, counts, strict=True) for _ in range(count)]
    table["series_b0_correction"] = [f"{f!r}" for f, count in zip(factors, counts, strict=True) for _ in range(count)]
    table |= replaced or {}
    table = {name: [str(value) for value in values] for name, values in table.items() if values is not None}
    rows = zip(*table.values(), strict=True)
    path.write_text("\n".join("\t".join(row) for row in [tuple(table), *rows]) + "\n")


def _write_sidecar(path, stems, names):
    scans = {}
    for stem, name in zip(stems, names, strict=True):
        own = stem.with_name(stem.name + ".json")
        scans[name] = json.loads(own.read_text()) if own.is_file() else {}
    first = next(iter(scans.values()))
    common = {key: value for key, value in first.items() if all(scan.get(key) == value for scan in scans.values())}
    grouping = {"dwi_series": names}
    sidecar = common | {"ScanGrouping": grouping, "SourceMetadata": scans, "Sources": sorted(scans)}
    Path(path).write_text(json.dumps(sidecar))


def copy_raw(source, target, scans):
    """Copy some scans of a raw dataset and its top files to another one."""
    for scan in scans:
        stem = scan.partition(".")[0]
        for path in sorted(source.glob(f"{stem}.*")):
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.relative_to(source))
    for path in [p for p in source.iterdir() if p.is_file() and p.suffix in (".json", "")]:
        shutil.copy(path, target / path.name)
    return target
