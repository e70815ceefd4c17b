"""Brain: T2-ADC, one ``_dwi`` per echo time, and what QSIPrep 1.1 leaves of them in ``derivatives/qsiprep``.

Names, columns and sidecars are those of QSIPrep 1.1.1 run with ``--no-b0-harmonization --distortion-group-merge none``;
nothing of it ran here. Its alignment to ACPC is a turn of the head, by cubic interpolation.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import affine_transform

from bids_examples.writers.files import (
    DWI_SIDECAR,
    seconds,
    write_dataset,
    write_gradients,
    write_image,
    write_json,
    write_mask,
    write_table,
    write_text,
)
from bids_examples.writers.organs import BRAIN
from bids_examples.writers.simulation import diffusion_encodings, simulate
from bids_examples.writers.truth import describe_truth, encodings_table, write_truth
from mrspec_prep.physics import Encodings

HEAD = replace(
    BRAIN,
    kernel="adc-t2",
    shape=(20, 22, 2),
    components={
        "axonal": {"diffusivity": 0.7, "t2": 72.0},
        "cortical": {"diffusivity": 0.85, "t2": 95.0},
        "injured": {"diffusivity": 1.3, "t2": 160.0},
        "water": {"diffusivity": 3.0, "t2": 700.0},
    },
    tissues={
        "white": {"axonal": 1.0},
        "grey": {"cortical": 1.0},
        "lesion": {"injured": 1.0},
        "fluid": {"water": 1.0},
    },
)
TURN = np.deg2rad(6.0)  # of the head, to ACPC
VERSION = "1.1.1"


def make_qsiprep(root, harmonise=False):
    """One participant, three echo times, raw and preprocessed.

    Parameters
    ----------
    root : Path
    harmonise : bool
        Scale every scan to the mean b=0 intensity of all, as QSIPrep does unless told otherwise.

    """
    name, participant = "qsiprep_t2-adc", "01"
    folder, truth = root / name, root / "truth" / name
    volumes_per_b = {0: 4, 400: 2, 1000: 3, 2000: 3}
    encodings = diffusion_encodings(volumes_per_b, (60, 90, 130), 5000.0)
    readme = (
        "Simulated brain: spin-echo diffusion at three echo times, one _dwi per echo time, so the decay is T2, and\n"
        "the same scans as QSIPrep 1.1 would leave them: turned to ACPC and concatenated, in derivatives/qsiprep.\n"
        "Written by bids_examples/make_examples.py; what the raw images were made from lies in\n"
        "bids_examples/truth/qsiprep_t2-adc. Not for diagnosis.\n"
    )
    write_dataset(folder, "Simulated brain, T2-ADC, raw and preprocessed", readme, (participant,))
    scan = simulate(HEAD, encodings, participant)
    scans = {}
    for echo_time in np.unique(encodings.echo_time):
        index = np.flatnonzero(encodings.echo_time == echo_time)
        stem = folder / f"sub-{participant}/dwi/sub-{participant}_acq-te{echo_time:03.0f}_dwi"
        write_image(stem.with_suffix(".nii.gz"), scan.images[..., index], HEAD)
        write_gradients(stem, encodings, index)
        sidecar = {"EchoTime": seconds(echo_time), "RepetitionTime": 5.0, "ScanningSequence": ["SE", "EP"]}
        sidecar = {**sidecar, "MultipartID": "multi-echo", **DWI_SIDECAR}
        write_json(stem.with_suffix(".json"), sidecar)
        scans[f"{stem.name}.nii.gz"] = sidecar
    write_mask(folder, participant, "dwi", HEAD, scan)
    write_preprocessed(folder / "derivatives" / "qsiprep", participant, scan, encodings, scans, harmonise)
    write_truth(truth, participant, HEAD, scan)
    files = [f"dwi/sub-<label>_acq-te{te:03.0f}_dwi.nii.gz" for te in encodings.echo_time]
    n_volumes = sum(volumes_per_b.values())
    write_table(truth / "encodings.tsv", encodings_table(encodings, files, np.arange(len(encodings)) % n_volumes))
    describe_truth(truth, HEAD, {participant: scan})


def write_preprocessed(folder, participant, scan, encodings, scans, harmonise):
    """QSIPrep's output of one participant: image, gradients, confounds, sidecar, mask, settings."""
    stem = folder / f"sub-{participant}/dwi/sub-{participant}"
    image, directions = turned(scan.images), encodings.direction @ rotation().T
    names = np.repeat(list(scans), len(encodings) // len(scans))
    means = [float(image[..., (names == name) & (encodings.bvalue < 100)].mean()) for name in scans]
    factors = [float(np.mean(means)) / mean if harmonise else 1.0 for mean in means]
    image *= np.array(factors, np.float32)[[list(scans).index(name) for name in names]]
    base = stem.with_name(f"{stem.name}_space-ACPC_desc-preproc_dwi")
    write_image(base.with_suffix(".nii.gz"), image, HEAD)
    rotated = Encodings(bvalue=encodings.bvalue, direction=np.round(directions, 6), echo_time=encodings.echo_time)
    write_gradients(base, rotated, slice(None))
    mask = turned(scan.tissues.sum(axis=-1, keepdims=True))[..., 0] > 0.5
    write_image(stem.with_name(f"{stem.name}_space-ACPC_desc-brain_mask.nii.gz"), mask.astype(np.uint8), HEAD)
    write_json(base.with_suffix(".json"), sidecar_of(scans, participant))
    write_table(
        stem.with_name(f"{stem.name}_desc-confounds_timeseries.tsv"),
        confounds_of(encodings, names, image, list(scans), means, factors),
    )
    generator = {"Name": "qsiprep", "Version": VERSION}
    description = {"Name": "qsiprep output", "BIDSVersion": "1.1.1", "DatasetType": "derivative", "License": "CC0"}
    write_json(
        folder / "dataset_description.json",
        description | {"PipelineDescription": generator, "GeneratedBy": [generator]},
    )
    write_text(
        folder / "README",
        "Simulated: QSIPrep did not run. Names, columns and sidecars are those of its version 1.1.1; reports,\n"
        "transforms and quality measures are left out.\n",
    )
    write_text(
        folder / f"sub-{participant}/log/20261120-120000_simulated/qsiprep.toml",
        '[environment]\nversion = "' + VERSION + '"\n\n[workflow]\n'
        f'b0_threshold = 100\ndenoise_method = "none"\nno_b0_harmonization = {str(not harmonise).lower()}\n'
        'distortion_group_merge = "none"\nseparate_all_dwis = false\nb1_biascorrect_stage = "none"\n',
    )


def rotation():
    """(3, 3) turn of the head about the axis from foot to head."""
    return np.array([[np.cos(TURN), -np.sin(TURN), 0], [np.sin(TURN), np.cos(TURN), 0], [0, 0, 1]])


def turned(images):
    """(x, y, z, n) float32 images with the head turned about the centre; no negative signal, a tenth of a unit fine."""
    centre = (np.array(images.shape[:3]) - 1) / 2
    back = rotation().T
    volumes = [
        affine_transform(volume.astype(float), back, centre - back @ centre, order=3)
        for volume in np.moveaxis(images, -1, 0)
    ]
    return np.maximum(np.round(np.stack(volumes, axis=-1), 1), 0).astype(np.float32)


def confounds_of(encodings, names, image, order, means, factors):
    """Columns of the confounds in QSIPrep's order, one row per volume; a head that lies still."""
    n = len(encodings)
    places = [order.index(name) for name in names]
    still = {"framewise_displacement": ["n/a", *["0.0"] * (n - 1)]}
    still |= {f"{kind}_{axis}": ["0.0"] * n for kind in ("trans", "rot") for axis in "xyz"}
    gradients = {f"grad_{axis}": [f"{v:.6f}" for v in encodings.direction[:, k] + 0.0] for k, axis in enumerate("xyz")}
    return {
        **still,
        "eddy_stdevs": ["0.0"] * n,
        "original_file": list(names),
        **gradients,
        "bval": [f"{value:.1f}" for value in encodings.bvalue],
        "image_mean": [f"{volume.mean():.4f}" for volume in np.moveaxis(image.astype(float), -1, 0)],
        "series_b0_mean": [f"{means[place]:.4f}" for place in places],
        "series_b0_correction": [f"{factors[place]:.10g}" for place in places],
    }


def sidecar_of(scans, participant):
    """Sidecar of the concatenated image; as in QSIPrep 1.1, the first scan's own lacks what the others do not share."""
    first, *others = scans.values()
    common = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    folder = f"/data/sub-{participant}/dwi/"
    grouping = {
        "dwi_series": [folder + name for name in scans],
        "fieldmap_info": {"suffix": None},
        "dwi_series_pedir": "j",
        "concatenated_bids_name": f"sub-{participant}",
    }
    recorded = {name: dict(own) for name, own in scans.items()} | {next(iter(scans)): dict(common)}
    return {**common, "ScanGrouping": grouping, "SourceMetadata": recorded, "Sources": sorted(scans)}
