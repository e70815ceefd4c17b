"""A tiny BIDS dataset whose parameter maps are known: diffusion with kurtosis, and spin echoes."""

import json

import nibabel as nib
import numpy as np

from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

SHAPE, SIGMA = (6, 6, 2), 0.02
BVALUES = np.repeat([0.0, 500, 1000, 1500, 2000, 2500], [6, 3, 3, 3, 3, 3])
ECHO_TIMES = np.arange(10.0, 170, 20)  # ms
AFFINE = np.diag([2.0, 2, 3, 1])


def truth(name):
    """Map in the units of the package; half the slice is white matter, half grey, each 10 % about its mean."""
    white = np.zeros(SHAPE, bool)
    white[:3] = True
    values = {"s0": (1.0, 1.2), "diffusivity": (1.0, 1.4), "kurtosis": (1.2, 0.8), "t2": (70.0, 100.0)}
    tissue = np.random.default_rng(list(values).index(name)).standard_normal(SHAPE)
    return np.where(white, *values[name]) * (1 + 0.1 * tissue)


def directions():
    """Unit gradient vectors, zero at b = 0."""
    vectors = np.random.default_rng(5).standard_normal((len(BVALUES), 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * (BVALUES > 0)[:, None]


def make_dataset(folder):
    """Write the dataset; signals are magnitudes with Rician noise."""
    rng = np.random.default_rng(0)
    write_text(folder / "dataset_description.json", json.dumps({"Name": "tiny", "BIDSVersion": "1.10.0"}))
    _write_image(folder / "sub-01/dwi/sub-01_dwi", "msdki", Encodings(bvalue=BVALUES), rng, {"EchoTime": 0.08})
    write_text(folder / "sub-01/dwi/sub-01_dwi.bval", " ".join(f"{b:g}" for b in BVALUES))
    rows = directions().T.tolist()
    write_text(folder / "sub-01/dwi/sub-01_dwi.bvec", "\n".join(" ".join(f"{v:.6f}" for v in row) for row in rows))
    for number, time in enumerate(ECHO_TIMES, 1):
        stem = folder / f"sub-01/anat/sub-01_echo-{number}_MESE"
        _write_image(stem, "t2", Encodings(echo_time=[time]), rng, {"EchoTime": time / 1e3, "EchoNumber": number})
    return folder


def write_text(path, text):
    """Write a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def _write_image(stem, model, encodings, rng, sidecar):
    tissue = {name: truth(name) for name in MODELS[model].names}
    signals = add_noise(MODELS[model].signal(encodings, tissue), SIGMA, rng, "rician")
    write_text(stem.with_name(stem.name + ".json"), json.dumps(sidecar))
    data = signals if len(encodings) > 1 else signals[..., 0]
    nib.save(nib.Nifti1Image(data.astype(np.float32), AFFINE), stem.with_name(stem.name + ".nii.gz"))
