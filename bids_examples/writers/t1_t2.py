"""Brain: T1-T2, one ``_MESE`` per inversion and echo time."""

import numpy as np

from bids_examples.writers.files import (
    seconds,
    write_dataset,
    write_image,
    write_json,
    write_mask,
    write_table,
)
from bids_examples.writers.organs import BRAIN
from bids_examples.writers.simulation import simulate
from bids_examples.writers.truth import describe_truth, encodings_table, write_truth
from mrspec_prep.physics import Encodings


def make_t1_t2(root):
    """One participant, T1-T2, one ``_MESE`` per inversion and echo time; magnitude."""
    name, organ, participant = "t1-t2_mese", BRAIN, "01"
    folder, truth = root / name, root / "truth" / name
    inversion_times, echo_times = (50, 150, 400, 900, 1800, 3500), (10, 20, 40, 60, 90, 140)
    encodings = Encodings(
        echo_time=np.tile(np.array(echo_times, float), len(inversion_times)),
        inversion_time=np.repeat(np.array(inversion_times, float), len(echo_times)),
        repetition_time=6000.0,
    )
    readme = (
        "Simulated brain: inversion recovery at six inversion times with six spin echoes each, TR 6 s,\n"
        "magnitude images: per compartment 1 - 2 exp(-TI/T1) + exp(-TR/T1), times exp(-TE/T2), summed,\n"
        "then the magnitude. One _MESE per inversion and echo time, acq-ti<ms>_echo-<n>, with\n"
        "InversionTime. Written by bids_examples/make_examples.py; what the images were made from\n"
        "lies in bids_examples/truth/t1-t2_mese. Not for diagnosis.\n"
    )
    write_dataset(folder, "Simulated brain, T1-T2, one file per inversion and echo time", readme, (participant,))
    scan = simulate(organ, encodings, participant)
    files = []
    for index, (inversion_time, echo_time) in enumerate(
        zip(encodings.inversion_time, encodings.echo_time, strict=True)
    ):
        echo = echo_times.index(echo_time) + 1
        stem = folder / f"sub-{participant}/anat/sub-{participant}_acq-ti{inversion_time:04.0f}_echo-{echo}_MESE"
        files.append(f"anat/{stem.name}.nii.gz".replace(f"sub-{participant}", "sub-<label>"))
        write_image(stem.with_suffix(".nii.gz"), scan.images[..., index], organ)
        sidecar = {
            "EchoTime": seconds(echo_time),
            "InversionTime": seconds(inversion_time),
            "RepetitionTimePreparation": 6.0,
            "ScanningSequence": ["IR", "SE"],
            "FlipAngle": 90,
            "Manufacturer": "simulated",
            "MagneticFieldStrength": 3,
        }
        write_json(stem.with_suffix(".json"), sidecar)
    write_mask(folder, participant, "anat", organ, scan)
    write_truth(truth, participant, organ, scan)
    write_table(truth / "encodings.tsv", encodings_table(encodings, files, [0] * len(encodings)))
    describe_truth(truth, organ, {participant: scan})
