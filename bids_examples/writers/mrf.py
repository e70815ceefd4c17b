"""Brain: MR fingerprinting, complex frames and their schedule."""

import json
from dataclasses import replace

import numpy as np

from bids_examples.writers.files import (
    seconds,
    write_dataset,
    write_image,
    write_json,
    write_mask,
    write_table,
    write_text,
)
from bids_examples.writers.organs import BRAIN, coil_shading, component_fractions, tissue_fractions
from bids_examples.writers.simulation import SEED, SIGNAL_AT_S0_1, Scan
from bids_examples.writers.truth import describe_truth, write_truth
from mrspec_prep.physics import KERNELS
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp

MRF_SNR = 6.0  # of one frame of fingerprinting


def fingerprinting_schedule():
    """Three lobes of flip angle after an inversion, repetition times that wander: 120 frames, 1.6 s."""
    frame = np.arange(120)
    peaks = np.repeat([65.0, 30.0, 70.0], 40)
    flips = np.round(8 + (peaks - 8) * np.sin(np.pi * (frame % 40 + 0.5) / 40), 2)
    repetition = np.round(13.5 + 1.5 * np.sin(2 * np.pi * frame / 37) * np.cos(2 * np.pi * frame / 61), 3)
    return Schedule(flips, repetition, 3.0, 20.0)


def make_mrf(root):
    """One participant, fingerprinting (FISP), one slice, complex images as part-real and part-imag."""
    name, participant = "mrf", "01"
    organ = replace(BRAIN, shape=(*BRAIN.shape[:2], 1))
    folder, truth, schedule = root / name, root / "truth" / name, fingerprinting_schedule()
    readme = (
        "Simulated brain: one slice of MR fingerprinting (FISP, 120 frames after an inversion), complex images\n"
        "as part-real and part-imag. BIDS has no suffix for fingerprinting: _MRF, and the schedule as a table\n"
        "_schedule.tsv, stand in .bidsignore. Written by bids_examples/make_examples.py; what the images were\n"
        "made from lies in bids_examples/truth/mrf. Not for diagnosis.\n"
    )
    write_dataset(folder, "Simulated brain, MR fingerprinting", readme, (participant,))
    write_text(folder / ".bidsignore", "*_MRF.*\n*schedule.*\n")
    scan, images = simulate_fingerprints(organ, schedule, participant)
    for part, values in (("real", images.real), ("imag", images.imag)):
        stem = folder / f"sub-{participant}/anat/sub-{participant}_part-{part}_MRF"
        write_image(stem.with_suffix(".nii.gz"), np.round(values).astype(np.int16), organ)
        write_json(stem.with_suffix(".json"), {"Manufacturer": "simulated", "MagneticFieldStrength": 3})
    columns = {
        "flip_angle": schedule.flip_angle.tolist(),
        "repetition_time": seconds(schedule.repetition_time),
        "echo_time": seconds(schedule.echo_time),
        "inversion_time": [seconds(time) if np.isfinite(time) else "n/a" for time in schedule.inversion_time],
    }
    stem = folder / f"sub-{participant}/anat/sub-{participant}_schedule"
    write_table(stem.with_suffix(".tsv"), columns)
    units = {"flip_angle": "degree", "repetition_time": "s", "echo_time": "s", "inversion_time": "s"}
    write_json(stem.with_suffix(".json"), {column: {"Units": unit} for column, unit in units.items()})
    write_mask(folder, participant, "anat", organ, scan)
    write_truth(truth, participant, organ, scan)
    describe_truth(truth, organ, {participant: scan})
    about = json.loads((truth / "truth.json").read_text(encoding="utf-8"))
    about |= {
        "Noise": f"Gaussian, of real and imaginary part; SNR {MRF_SNR:g} = mean over the region of interest of the "
        "root mean square over frames / standard deviation",
        "Encodings": "the schedule of the dataset",
    }
    about["Maps"]["S0"] = "magnetisation at rest [stored units], scaled by the part that is not air"
    write_json(truth / "truth.json", about)


def simulate_fingerprints(organ, schedule, participant):
    """Draw, mix, play the schedule and add complex noise: a ``Scan`` without images, and the complex images."""
    rng = np.random.default_rng([SEED, len(KERNELS), int(participant)])
    tissues = tissue_fractions(organ, participant)
    components = component_fractions(organ, tissues)
    times = {axis: [component[axis] for component in organ.components.values()] for axis in ("t1", "t2")}
    full = SIGNAL_AT_S0_1 * coil_shading(organ.shape)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in organ.shape], indexing="ij")
    turn = np.exp(1j * (0.4 + 0.9 * x - 0.5 * y**2))
    signals = (full * turn)[..., None] * (components @ simulate_fisp(schedule, times["t1"], times["t2"]))
    filled = components.sum(axis=-1)
    inside = tissues[..., [name in organ.region for name in organ.tissues]].sum(axis=-1) > 0.75
    strength = np.sqrt((np.abs(signals[inside]) ** 2).mean(axis=-1)).mean()
    noise_std = float(np.round(strength / MRF_SNR, 1))
    images = signals + noise_std * (rng.standard_normal(signals.shape) + 1j * rng.standard_normal(signals.shape))
    share = components / np.maximum(filled, 1e-12)[..., None]
    means = {axis: np.exp(share @ np.log(values)) * (filled > 0) for axis, values in times.items()}
    return Scan(tissues, full * filled, means, inside, noise_std, np.empty(0)), images
