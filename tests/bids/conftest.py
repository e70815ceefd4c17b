"""Hand-made datasets of a few voxels."""

import json

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import SelectOptions

SHAPE = (3, 4, 2)


class TinyDataset:
    """A BIDS dataset that a test fills file by file."""

    def __init__(self, root):
        self.root = root
        root.mkdir()
        self.json("dataset_description.json", {"Name": "tiny", "BIDSVersion": "1.10.0"})

    def path(self, name):
        """Path below the root, its folder made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def json(self, name, content):
        path = self.path(name)
        path.write_text(json.dumps(content))
        return path

    def text(self, name, content):
        path = self.path(name)
        path.write_text(content)
        return path

    def image(
        self, name, n_volumes=None, *, data=None, affine=None, sidecar=None, bval=None, bvec=None, dtype=np.float32
    ):
        """NIfTI ``name`` (without extension) with what lies beside it; voxel value = 100 + volume."""
        if data is None:
            shape = SHAPE if n_volumes is None else (*SHAPE, n_volumes)
            data = np.broadcast_to(100.0 + np.arange(n_volumes or 1), (*SHAPE, n_volumes or 1)).reshape(shape)
        image = nib.Nifti1Image(np.asarray(data, dtype), np.diag([2, 2, 2, 1.0]) if affine is None else affine)
        path = self.path(name + ".nii.gz")
        image.to_filename(path)
        if sidecar is not None:
            self.json(name + ".json", sidecar)
        if bval is not None:
            self.text(name + ".bval", " ".join(map(str, bval)) + "\n")
            bvec = directions(bval) if bvec is None else bvec
        if bvec is not None:
            self.text(name + ".bvec", "\n".join(" ".join(map(str, row)) for row in np.transpose(bvec)) + "\n")
        return path

    def dwi(self, label, bval=(0, 1000), **sidecar):
        """``sub-01_<label>dwi`` with b-values, unit directions and a sidecar."""
        return self.image(f"sub-01/dwi/sub-01_{label}dwi", len(bval), bval=bval, sidecar=sidecar)

    def find(self, subject="01", sessions=None, filters=None, **select):
        """Series of one participant."""
        return find_series(open_layout(self.root, [subject]), subject, SelectOptions(**select), sessions, filters)


def directions(bval):
    """One unit vector per b-value, zero at b=0."""
    golden = np.arange(len(bval)) * 2.4
    vectors = np.stack([np.cos(golden) * 0.8, np.sin(golden) * 0.8, np.full(len(bval), 0.6)], axis=1)
    return vectors * (np.asarray(bval) > 0)[:, None]


@pytest.fixture
def tiny(tmp_path):
    """An empty dataset to be filled."""
    return TinyDataset(tmp_path / "bids")
