"""Write the example datasets and their truth: seeded, so that every run writes the same bytes.

Usage: python bids_examples/make_examples.py [FOLDER]     (default: the folder of this script)

Three organs are drawn on a fine grid and averaged into voxels, so that borders hold partial
volume. Each tissue is a mixture of compartments; the signal comes from ``mrspec_prep.physics``;
noise is Rician at SNR 25 (mean reference signal of the region of interest over sigma).
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.physics import KERNELS, Encodings, add_noise, simulate_signals
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp

SEED = 20261120
SNR = 25.0
MRF_SNR = 6.0  # of one frame of fingerprinting
SIGNAL_AT_S0_1 = 8000.0  # stored units; leaves int16 room for noise and coil shading
FINE = (8, 8, 4)  # sub-voxel points per axis over which a voxel is averaged
TO_BIDS = {"diffusivity": (1e-3, "mm2/s"), "t2": (1e-3, "s"), "t2star": (1e-3, "s"), "t1": (1e-3, "s")}
BIDS_VERSION = "1.10.0"


@dataclass(frozen=True)
class Organ:
    """A simulated organ: what it is made of and how it is drawn.

    Parameters
    ----------
    kernel : str
        Key of ``KERNELS``.
    shape : tuple of int
        Voxels per axis.
    voxel_size : tuple of float
        [mm].
    components : dict of str to dict
        Compartment -> value per spectral axis [um2/ms, ms].
    tissues : dict of str to dict
        Tissue -> volume fraction of each compartment it holds; fractions sum to one.
    draw : callable
        ``draw(x, y, z, participant)`` -> (n_points, n_tissues) fractions at points
        given in voxels from the centre; what is missing to one is air.
    region : tuple of str
        Tissues that make up the region of interest.

    """

    kernel: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    components: dict[str, dict[str, float]]
    tissues: dict[str, dict[str, float]]
    draw: Callable
    region: tuple[str, ...]


def soft_step(distance, width):
    """0 to 1 across ``distance`` = 0, smooth over ``width``."""
    return 0.5 * (1 + np.tanh(distance / width))


def draw_placenta(x, y, z, participant):
    """Placenta along the wall of a fluid-filled uterus; tissues as in ``PLACENTA.tissues``.

    Lobules side by side along the wall, each with a soft core, divided by septa that reach
    in from the wall. The second participant's placenta lies elsewhere, and one of its lobules
    has lost its core.
    """
    side, n_lobules, poor_lobule = {"01": (-0.5 * np.pi, 4, None), "02": (-0.1 * np.pi, 4, 1)}[participant]
    angle = np.angle(np.exp(1j * (np.arctan2(y, x) - side)))
    radius = np.hypot(x / 11.4, y / 10.6) * (1 + 0.03 * np.cos(3 * angle + 1)) + 0.008 * z**2
    reach = 1.9 - 0.04 * z
    along = angle / reach
    inner = 0.18 + 0.60 * np.clip(np.abs(along), 0, 1) ** 5
    uterus, within_wall = radius < 1.0, radius < 0.84
    placenta = within_wall & (np.abs(along) < 1) & (radius > inner)

    thickness, depth = 11.0 * (0.84 - inner), 11.0 * (0.84 - radius)  # voxels; depth is 0 at the wall
    position = (0.5 * (along + 1) + 0.01 * np.sin(1.5 * z)) * n_lobules
    lobule, offset = np.floor(position), position - np.floor(position) - 0.5
    width = 2 * reach / n_lobules * np.maximum(radius, 0.45) * 11.0  # of a lobule, voxels
    arc = offset * width
    half_width, half_depth = np.maximum(0.5 * width - 1.4, 0.1), np.maximum(0.5 * thickness - 1.3, 0.1)  # of a core
    core = soft_step(1 - np.hypot(arc / half_width, (depth - 0.5 * thickness) / half_depth), 0.1)
    core = core * (lobule != poor_lobule)
    septum = soft_step(0.6 - 0.5 * width + np.abs(arc), 0.1) * (depth < 0.6 * thickness)
    septum = np.where((lobule <= 0) & (offset < 0) | (lobule >= n_lobules - 1) & (offset > 0), 0.0, septum)
    poor = np.zeros_like(x) if poor_lobule is None else (lobule == poor_lobule) * soft_step(0.45 - np.abs(offset), 0.05)
    rest = 1 - septum
    parts = np.stack([rest * core, rest * (1 - core) * (1 - poor), septum, rest * (1 - core) * poor], axis=1)
    parts *= placenta[:, None]
    wall = uterus & ~within_wall
    fluid = within_wall & ~placenta
    return np.column_stack([parts, wall & (np.abs(along) < 1.1), wall & (np.abs(along) >= 1.1), fluid]).astype(float)


PLACENTA = Organ(
    kernel="adc-t2star",
    shape=(24, 24, 4),
    voxel_size=(4.0, 4.0, 5.0),
    components={
        "pool": {"diffusivity": 2.3, "t2star": 120.0},
        "tissue": {"diffusivity": 1.6, "t2star": 68.0},
        "flow": {"diffusivity": 45.0, "t2star": 80.0},
        "decidua": {"diffusivity": 1.1, "t2star": 45.0},
        "scar": {"diffusivity": 0.8, "t2star": 36.0},
        "muscle": {"diffusivity": 1.8, "t2star": 52.0},
        "water": {"diffusivity": 3.0, "t2star": 250.0},
    },
    tissues={
        "core": {"pool": 0.65, "flow": 0.35},
        "villous": {"tissue": 0.85, "flow": 0.15},
        "septum": {"decidua": 1.0},
        "poor": {"scar": 0.95, "flow": 0.05},
        "wall": {"muscle": 0.7, "flow": 0.3},
        "farwall": {"muscle": 0.7, "flow": 0.3},
        "fluid": {"water": 1.0},
    },
    draw=draw_placenta,
    region=("core", "villous", "septum", "poor", "wall"),
)


def draw_prostate(x, y, z, participant):
    """Prostate: outer zone, inner zone with three nodules, one lesion; tissues as in ``PROSTATE.tissues``."""
    radius = np.hypot(x / 6.3, (y + 0.25 * (x / 6.3) ** 2) / 5.3) + 0.03 * z**2
    prostate = radius < 1.0
    inner_zone = prostate & (np.hypot(x / 4.6, (y - 1.3) / 3.4) < 1.0)
    nodules = np.zeros_like(x)
    for nodule_x, nodule_y, size in ((-2.0, 1.8, 1.5), (1.9, 2.2, 1.3), (0.6, -0.3, 0.9)):
        distance = np.sqrt((x - nodule_x) ** 2 + (y - nodule_y) ** 2 + (1.2 * z) ** 2)
        nodules = np.maximum(nodules, soft_step(size - distance, 0.25))
    lesion = soft_step(1.4 - np.sqrt((x - 3.4) ** 2 + (y + 2.6) ** 2 + z**2), 0.3) * (prostate & ~inner_zone)
    outer = (prostate & ~inner_zone) * (1 - lesion)
    return np.column_stack([outer, inner_zone * (1 - nodules), inner_zone * nodules, lesion])


PROSTATE = Organ(
    kernel="adc-t2",
    shape=(16, 16, 3),
    voxel_size=(3.0, 3.0, 3.0),
    components={
        "stroma": {"diffusivity": 1.1, "t2": 55.0},
        "epithelium": {"diffusivity": 0.5, "t2": 70.0},
        "lumen": {"diffusivity": 2.8, "t2": 500.0},
    },
    tissues={
        "outer": {"stroma": 0.3, "epithelium": 0.25, "lumen": 0.45},
        "inner": {"stroma": 0.65, "epithelium": 0.25, "lumen": 0.1},
        "nodule": {"stroma": 0.35, "epithelium": 0.35, "lumen": 0.3},
        "lesion": {"stroma": 0.3, "epithelium": 0.67, "lumen": 0.03},
    },
    draw=draw_prostate,
    region=("outer", "inner", "nodule", "lesion"),
)


def draw_brain(x, y, z, participant):
    """Brain slices: folded cortex, ventricles, one lesion; tissues as in ``BRAIN.tissues``."""
    angle = np.arctan2(y, x)
    radius = np.hypot(x / 8.2, y / 9.6) + 0.015 * z**2
    head = radius < 1.0
    folds = 0.03 * np.cos(13 * angle + 0.7 * z) + 0.02 * np.cos(7 * angle)
    cleft = (np.abs(x) < 0.3) & (np.abs(y) > 5.0)
    surface = (radius < 0.92 + 0.6 * folds) & ~cleft
    white = (radius < 0.74 + 1.6 * folds) & (np.abs(x) > 0.8 * (np.abs(y) > 4.2))
    bend = np.abs(x) - 1.2 - 0.11 * y**2
    ventricle = soft_step(0.5 - np.abs(bend), 0.1) * (np.abs(y) < 2.9)
    deep = np.hypot((np.abs(x) - 3.0) / 0.9, (y + 0.2) / 1.5) < 1.0
    grey = surface & (~white | deep)
    white = surface & white & ~deep
    lesion = soft_step(1.7 - np.sqrt((x + 2.9) ** 2 + (y - 4.0) ** 2 + z**2), 0.25) * white * (1 - ventricle)
    fluid = head & ~surface
    tissue = 1 - ventricle
    return np.column_stack([white * (tissue - lesion), grey * tissue, lesion, fluid + ventricle])


BRAIN = Organ(
    kernel="t1-t2",
    shape=(20, 22, 3),
    voxel_size=(7.0, 7.0, 7.0),
    components={
        "myelin": {"t2": 15.0, "t1": 400.0},
        "axonal": {"t2": 72.0, "t1": 900.0},
        "cortical": {"t2": 95.0, "t1": 1400.0},
        "injured": {"t2": 160.0, "t1": 1800.0},
        "water": {"t2": 700.0, "t1": 3800.0},
    },
    tissues={
        "white": {"myelin": 0.15, "axonal": 0.85},
        "grey": {"myelin": 0.03, "cortical": 0.97},
        "lesion": {"myelin": 0.02, "injured": 0.98},
        "fluid": {"water": 1.0},
    },
    draw=draw_brain,
    region=("white", "grey", "lesion", "fluid"),
)


def tissue_fractions(organ, participant):
    """(x, y, z, n_tissues) fraction of each tissue per voxel: the mean over its sub-voxel points."""
    axes = [(np.arange(n * f) + 0.5) / f - n / 2 for n, f in zip(organ.shape, FINE, strict=True)]
    points = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    drawn = np.asarray(organ.draw(*points, participant), dtype=float)
    blocks = drawn.reshape(*(length for n, f in zip(organ.shape, FINE, strict=True) for length in (n, f)), -1)
    return np.clip(blocks.mean(axis=(1, 3, 5)), 0.0, 1.0)


def component_fractions(organ, tissues):
    """(..., n_components) volume fraction of each compartment, from (..., n_tissues)."""
    table = [[content.get(name, 0.0) for name in organ.components] for content in organ.tissues.values()]
    return tissues @ np.array(table)


def coil_shading(shape):
    """(x, y, z) smooth sensitivity, 0.8 to 1.2, unitless."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return 1.0 + 0.12 * y - 0.06 * x * y - 0.05 * x


@dataclass(frozen=True)
class Scan:
    """One simulated participant, all arrays over (x, y, z[, n])."""

    tissues: np.ndarray
    s0: np.ndarray
    parameters: dict[str, np.ndarray]
    mask: np.ndarray
    noise_std: float
    images: np.ndarray  # int16, as stored


def simulate(organ, encodings, participant):
    """Draw, mix, encode and add noise: one ``Scan``."""
    rng = np.random.default_rng([SEED, list(KERNELS).index(organ.kernel), int(participant)])
    tissues = tissue_fractions(organ, participant)
    components = component_fractions(organ, tissues)
    filled = components.sum(axis=-1)
    content = components.reshape(-1, len(organ.components))
    values = {
        axis: np.tile([component[axis] for component in organ.components.values()], (len(content), 1))
        for axis in KERNELS[organ.kernel]
    }
    full = SIGNAL_AT_S0_1 * coil_shading(organ.shape)
    signals = simulate_signals(organ.kernel, encodings, values, content, full.ravel())
    signals = np.abs(signals).reshape(*organ.shape, len(encodings))
    inside = tissues[..., [name in organ.region for name in organ.tissues]].sum(axis=-1) > 0.75
    noise_std = float(np.round(signals[inside][:, encodings.reference()].mean() / SNR, 1))
    noisy = add_noise(signals, noise_std, rng, kind="rician")
    share = components / np.maximum(filled, 1e-12)[..., None]
    means = {
        axis: np.exp(share @ np.log([component[axis] for component in organ.components.values()])) * (filled > 0)
        for axis in KERNELS[organ.kernel]
    }
    return Scan(tissues, full * filled, means, inside, noise_std, np.round(noisy).astype(np.int16))


def unit_vectors(n, rng):
    """(n, 3) directions spread at random, rounded as they are written."""
    vectors = rng.standard_normal((n, 3))
    return np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 6)


def diffusion_encodings(volumes_per_b, echo_times, repetition_time):
    """Every b-value [s/mm2] at every TE [ms]; direction differs per weighted volume, TE outermost."""
    bvalues = np.repeat(list(volumes_per_b), list(volumes_per_b.values())).astype(float)
    order = np.argsort(np.random.default_rng(SEED).random(len(bvalues)), kind="stable")
    order = np.concatenate([[0], order[order != 0]])  # a b=0 first, the rest interleaved as scanners do
    bvalues = bvalues[order]
    directions = unit_vectors(len(bvalues), np.random.default_rng(SEED + 1)) * (bvalues > 0)[:, None]
    n_echoes = len(echo_times)
    return Encodings(
        bvalue=np.tile(bvalues, n_echoes),
        echo_time=np.repeat(np.array(echo_times, float), len(bvalues)),
        repetition_time=repetition_time,
        direction=np.tile(directions, (n_echoes, 1)),
    )


# ---------------------------------------------------------------------------------------- files


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


DWI_SIDECAR = {
    "Manufacturer": "simulated",
    "MagneticFieldStrength": 3,
    "PhaseEncodingDirection": "j",
    "TotalReadoutTime": 0.04,
    "FlipAngle": 90,
}


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


MAKERS = {
    "zebra_t2star-adc": make_zebra,
    "echotime-array": make_echo_time_array,
    "t1-t2_mese": make_t1_t2,
    "mrf": make_mrf,
}


def main(root):
    """Write every dataset and its truth anew under ``root``."""
    for name, make in MAKERS.items():
        for folder in (root / name, root / "truth" / name):
            shutil.rmtree(folder, ignore_errors=True)
        make(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
