"""Files of a BIDS dataset: text, JSON, tables, images, gradients, and what stands at its top."""

import json

import nibabel as nib
import numpy as np

BIDS_VERSION = "1.10.0"
DWI_SIDECAR = {
    "Manufacturer": "simulated",
    "MagneticFieldStrength": 3,
    "PhaseEncodingDirection": "j",
    "TotalReadoutTime": 0.04,
    "FlipAngle": 90,
}


def write_text(path, text):
    """Text with its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def write_json(path, content):
    """JSON, two spaces, final newline."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_image(path, array, organ):
    """NIfTI with the organ's voxel size; left-handed, so that b-vectors need no flip."""
    size = np.array(organ.voxel_size)
    affine = np.diag([-size[0], size[1], size[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(organ.shape) - 1) / 2)
    image = nib.Nifti1Image(np.ascontiguousarray(array), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def write_table(path, columns):
    """Tab-separated columns; numbers in their shortest exact form."""
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns)] + ["\t".join(str(value) for value in row) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def write_gradients(stem, encodings, index):
    """FSL .bval and .bvec of some volumes."""
    bvalues, directions = encodings.bvalue[index], encodings.direction[index] + 0.0
    write_text(stem.with_suffix(".bval"), " ".join(f"{value:g}" for value in bvalues) + "\n")
    write_text(stem.with_suffix(".bvec"), "".join(" ".join(f"{v:.6f}" for v in row) + "\n" for row in directions.T))


def seconds(milliseconds):
    """Python number(s) in s, free of binary dust."""
    return np.round(np.asarray(milliseconds) * 1e-3, 6).tolist()


def write_dataset(folder, name, readme, participants):
    """Dataset-level files of a raw dataset and of the masks beside it."""
    shared = {"BIDSVersion": BIDS_VERSION, "License": "CC0", "Authors": ["mrspec_prep contributors"]}
    write_json(folder / "dataset_description.json", {"Name": name, "DatasetType": "raw", **shared})
    write_text(folder / "README", readme)
    write_text(folder / "participants.tsv", "participant_id\n" + "".join(f"sub-{p}\n" for p in participants))
    made_by = {"GeneratedBy": [{"Name": "make_examples.py", "Description": "Mask of the simulated organ"}]}
    masks = folder / "derivatives" / "masks"
    write_json(
        masks / "dataset_description.json", {"Name": f"{name}: masks", "DatasetType": "derivative", **shared, **made_by}
    )
    write_text(masks / "README", "Region of interest of each participant: voxels more than three quarters organ.\n")


def write_mask(folder, participant, datatype, organ, scan):
    """Region of interest as a BIDS derivative."""
    stem = folder / f"derivatives/masks/sub-{participant}/{datatype}/sub-{participant}_desc-organ_mask"
    write_image(stem.with_suffix(".nii.gz"), scan.mask.astype(np.uint8), organ)
    write_json(stem.with_suffix(".json"), {"Type": "ROI", "Description": "Voxels more than three quarters organ"})
