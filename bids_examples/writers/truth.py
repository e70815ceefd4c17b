"""What a scan was made from: maps and words beside the dataset."""

import numpy as np

from bids_examples.writers.files import seconds, write_image, write_json
from bids_examples.writers.simulation import SNR
from mrspec_prep.physics import KERNELS

TO_BIDS = {"diffusivity": (1e-3, "mm2/s"), "t2": (1e-3, "s"), "t2star": (1e-3, "s"), "t1": (1e-3, "s")}


def write_truth(folder, participant, organ, scan):
    """Maps of what the images were made from, in BIDS units; the words are in ``truth.json``."""
    stem = f"sub-{participant}"
    write_image(folder / f"{stem}_tissues.nii.gz", np.round(scan.tissues, 4).astype(np.float32), organ)
    write_image(folder / f"{stem}_S0.nii.gz", np.round(scan.s0, 1).astype(np.float32), organ)
    for axis, values in scan.parameters.items():
        scale, _ = TO_BIDS[axis]
        write_image(folder / f"{stem}_{axis}.nii.gz", np.round(values * scale, 9).astype(np.float32), organ)


def describe_truth(folder, organ, scans):
    """``truth.json``: tissues, compartments, noise, and what each map holds."""
    axes = KERNELS[organ.kernel]
    write_json(
        folder / "truth.json",
        {
            "Kernel": organ.kernel,
            "Tissues": list(organ.tissues),
            "TissueCompartments": organ.tissues,
            "Compartments": {
                name: {axis: float(f"{values[axis] * TO_BIDS[axis][0]:.6g}") for axis in axes}
                for name, values in organ.components.items()
            },
            "Units": {axis: TO_BIDS[axis][1] for axis in axes},
            "NoiseStandardDeviation": {f"sub-{p}": scan.noise_std for p, scan in scans.items()},
            "Noise": f"Rician; SNR {SNR:g} = mean reference signal of the region of interest / standard deviation",
            "RegionOfInterest": list(organ.region),
            "Maps": {
                "tissues": "fraction of each tissue per voxel, in the order of Tissues; the rest is air",
                "S0": "signal at b=0, TE=0 and full recovery [stored units], scaled by the part that is not air",
                **{axis: "geometric mean over compartments, weighted by volume fraction" for axis in axes},
            },
            "Encodings": "encodings.tsv: file, volume, b [s/mm2], direction, TE, TI, TR [s]",
        },
    )


def encodings_table(encodings, files, volumes):
    """Columns of the exact encodings; n/a where the sequence has none."""
    absent = ["n/a"] * len(encodings)
    g = absent if encodings.direction is None else None
    table = {
        "file": files,
        "volume": volumes,
        "b": absent if encodings.bvalue is None else [f"{b:g}" for b in encodings.bvalue],
    }
    for k, name in enumerate(("gx", "gy", "gz")):
        table[name] = g or [f"{v:.6f}" for v in encodings.direction[:, k] + 0.0]
    for name, values in (
        ("TE", encodings.echo_time),
        ("TI", encodings.inversion_time),
        ("TR", encodings.repetition_time),
    ):
        table[name] = absent if values is None else seconds(values)
    return table
