"""Prostate: T2-ADC, one ``_dwi`` with an echo time per volume."""

import numpy as np

from bids_examples.writers.files import (
    DWI_SIDECAR,
    seconds,
    write_dataset,
    write_gradients,
    write_image,
    write_json,
    write_mask,
    write_table,
)
from bids_examples.writers.organs import PROSTATE
from bids_examples.writers.simulation import diffusion_encodings, simulate
from bids_examples.writers.truth import describe_truth, encodings_table, write_truth


def make_echo_time_array(root):
    """One participant, T2-ADC, one ``_dwi`` with an EchoTime per volume."""
    name, organ, participant = "echotime-array", PROSTATE, "01"
    folder, truth = root / name, root / "truth" / name
    encodings = diffusion_encodings({0: 4, 150: 3, 750: 3, 1500: 3}, (57, 70, 150, 200), 4000.0)
    readme = (
        "Simulated prostate: spin-echo diffusion at four echo times in one _dwi whose sidecar holds\n"
        "an EchoTime per volume, so the decay is T2. Written by bids_examples/make_examples.py; what\n"
        "the images were made from lies in bids_examples/truth/echotime-array. Not for diagnosis.\n"
    )
    write_dataset(folder, "Simulated prostate, T2-ADC, an echo time per volume", readme, (participant,))
    scan = simulate(organ, encodings, participant)
    stem = folder / f"sub-{participant}/dwi/sub-{participant}_dwi"
    write_image(stem.with_suffix(".nii.gz"), scan.images, organ)
    write_gradients(stem, encodings, slice(None))
    sidecar = {"EchoTime": seconds(encodings.echo_time), "RepetitionTime": 4.0, "ScanningSequence": ["SE", "EP"]}
    write_json(stem.with_suffix(".json"), {**sidecar, **DWI_SIDECAR})
    write_mask(folder, participant, "dwi", organ, scan)
    write_truth(truth, participant, organ, scan)
    files = ["dwi/sub-<label>_dwi.nii.gz"] * len(encodings)
    write_table(truth / "encodings.tsv", encodings_table(encodings, files, np.arange(len(encodings))))
    describe_truth(truth, organ, {participant: scan})
