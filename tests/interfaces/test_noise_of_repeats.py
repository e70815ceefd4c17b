"""The level between neighbours beside that of repeats: motion raises the one and not the other."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.atomic import write_json
from mrspec_prep.bids.input.series import Series
from mrspec_prep.interfaces.noise import EstimateNoise
from mrspec_prep.physics import Encodings

SIGMA = 10.0


@pytest.mark.parametrize("moved", [False, True])
def test_motion_between_volumes_raises_the_noise_of_repeats_alone(tmp_path, moved):
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    anatomy = np.where((x - 16) ** 2 + (y - 16) ** 2 < 120, 1000.0, 400.0)[..., None, None] * np.ones((1, 1, 3, 8))
    if moved:
        for volume, shift in enumerate(rng.integers(-3, 4, 8)):
            anatomy[..., volume] = np.roll(anatomy[..., volume], shift, axis=0)
    images = (anatomy + rng.normal(0, SIGMA, anatomy.shape)).astype(np.float32)
    roi = np.zeros(images.shape[:3], bool)
    roi[4:28, 4:28] = True
    nib.save(nib.Nifti1Image(images, np.eye(4)), tmp_path / "dwi.nii.gz")
    volumes, encodings = np.array([[0, volume] for volume in range(8)]), Encodings(bvalue=[0] * 8)
    series = Series("01", None, "dwi", "dwi", {}, (tmp_path / "dwi.nii.gz",), volumes, encodings, "joined", (), "t2")
    np.save(tmp_path / "signals.npy", images[roi])
    np.save(tmp_path / "roi.npy", roi)
    write_json(tmp_path / "series.json", series.to_json())
    kernel = {"name": "adc", "points": [5], "spacing": "log", "bounds": {"diffusivity": [0.1, 10.0]}}
    files = {"signals": tmp_path / "signals.npy", "roi": tmp_path / "roi.npy", "series": tmp_path / "series.json"}
    node = EstimateNoise(**files, kernel=kernel, method="b0-repeats")
    ended = node.run(cwd=str(tmp_path))
    notes = json.loads(Path(ended.outputs.notes).read_text())
    assert notes["between_neighbours"] == pytest.approx(SIGMA, rel=0.1)
    noise = np.load(ended.outputs.noise)
    assert np.sqrt((noise**2).mean()) / SIGMA == pytest.approx(1, rel=0.1) if not moved else noise.max() > 20 * SIGMA
