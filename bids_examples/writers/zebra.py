"""Placentas: T2*-ADC, one ``_dwi`` per echo time."""

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
from bids_examples.writers.organs import PLACENTA
from bids_examples.writers.simulation import diffusion_encodings, simulate
from bids_examples.writers.truth import describe_truth, encodings_table, write_truth


def make_zebra(root):
    """Two participants, T2*-ADC, one ``_dwi`` per echo time, tied by MultipartID."""
    name, organ, participants = "zebra_t2star-adc", PLACENTA, ("01", "02")
    folder, truth = root / name, root / "truth" / name
    volumes_per_b = {0: 5, 18: 2, 36: 2, 50: 1, 100: 2, 200: 2, 400: 2, 600: 2, 800: 3, 1200: 2, 1600: 2}
    encodings = diffusion_encodings(volumes_per_b, (78, 114, 150, 186, 222), 7000.0)
    readme = (
        "Simulated placentas, two participants: diffusion at five echo times in the manner of ZEBRA\n"
        "(Hutter et al. 2018; a reduced table of the placenta protocol of Slator et al. 2019).\n"
        "One _dwi per echo time, acq-te<ms>, tied by MultipartID; later echoes are gradient echoes,\n"
        "so the decay is T2*. Written by bids_examples/make_examples.py; what the images were made\n"
        "from lies in bids_examples/truth/zebra_t2star-adc. Not for diagnosis.\n"
    )
    write_dataset(folder, "Simulated placentas, T2*-ADC, one file per echo time", readme, participants)
    scans = {participant: simulate(organ, encodings, participant) for participant in participants}
    for participant, scan in scans.items():
        for echo_time in np.unique(encodings.echo_time):
            index = np.flatnonzero(encodings.echo_time == echo_time)
            stem = folder / f"sub-{participant}/dwi/sub-{participant}_acq-te{echo_time:03.0f}_dwi"
            write_image(stem.with_suffix(".nii.gz"), scan.images[..., index], organ)
            write_gradients(stem, encodings, index)
            sidecar = {
                "EchoTime": seconds(echo_time),
                "RepetitionTime": 7.0,
                "ScanningSequence": ["SE", "GR", "EP"],
                "MultipartID": "zebra",
                **DWI_SIDECAR,
            }
            write_json(stem.with_suffix(".json"), sidecar)
        write_mask(folder, participant, "dwi", organ, scan)
        write_truth(truth, participant, organ, scan)
    files = [f"dwi/sub-<label>_acq-te{te:03.0f}_dwi.nii.gz" for te in encodings.echo_time]
    n_volumes = sum(volumes_per_b.values())
    write_table(truth / "encodings.tsv", encodings_table(encodings, files, np.arange(len(encodings)) % n_volumes))
    describe_truth(truth, organ, scans)
