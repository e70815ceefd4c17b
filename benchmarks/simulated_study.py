"""A simulated study of placentas, written as BIDS, with its truth beside it.

    python -m benchmarks.simulated_study STUDY_FOLDER
    mrspec_prep STUDY_FOLDER/bids OUT participant -d masks=STUDY_FOLDER/bids/derivatives/masks

Eight tissues with a T2*-ADC spectrum each. Controls hold seven of them; pathological participants also hold
the eighth, ``infarct``, and less of the lobules' cores. Every participant has its own smooth shapes and
proportions, every site its own protocol and gain. Noise is Rician by default.
Seeded: the same options write the same bytes.

    STUDY_FOLDER/bids/            (or bids-<site>/ with --separate)  sub-*/, participants.tsv, derivatives/masks
    STUDY_FOLDER/truth/           study.json, proportions.tsv, sub-*_dseg.nii.gz (1 = first tissue)
"""

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.protocols import PLACENTA_ECHO_TIMES, PLACENTA_WEIGHTINGS
from bids_examples.writers import files
from bids_examples.writers.organs import coil_shading
from bids_examples.writers.simulation import diffusion_encodings
from mrspec_prep.physics import add_noise, simulate_signals

KERNEL = "adc-t2star"
#: compartment -> diffusivity [um2/ms], T2* [ms]
COMPARTMENTS = {
    "lake": (2.8, 220.0),
    "pool": (2.3, 120.0),
    "matrix": (1.2, 100.0),
    "tissue": (1.6, 68.0),
    "muscle": (1.8, 52.0),
    "decidua": (1.1, 45.0),
    "scar": (0.7, 32.0),
    "flow": (45.0, 80.0),
}
#: tissue -> volume fraction of each compartment
TISSUES = {
    "lake": {"lake": 0.85, "flow": 0.15},
    "core": {"pool": 0.65, "flow": 0.35},
    "villous": {"tissue": 0.85, "flow": 0.15},
    "periphery": {"matrix": 1.0},
    "septum": {"decidua": 1.0},
    "vessel": {"pool": 0.3, "flow": 0.7},
    "wall": {"muscle": 0.7, "flow": 0.3},
    "infarct": {"scar": 0.9, "flow": 0.1},
}
PROPORTIONS = {  # mean over participants, in the order of TISSUES
    "control": (0.07, 0.22, 0.28, 0.14, 0.09, 0.07, 0.13, 0.0),
    "pathological": (0.03, 0.08, 0.24, 0.10, 0.12, 0.05, 0.13, 0.25),
}
CONCENTRATION = 120.0  # of the Dirichlet distribution of proportions: larger, and participants are more alike
CORE_PER_WEEK = -0.006  # change of the core's proportion with gestational age: lobules mature
PROTOCOLS = {  # volumes per b-value [s/mm2], echo times [ms], repetition time [ms]
    "placenta": (dict(PLACENTA_WEIGHTINGS), PLACENTA_ECHO_TIMES, 7000.0),
    "short": (
        {0: 5, 18: 2, 36: 2, 50: 1, 100: 2, 200: 2, 400: 2, 600: 2, 800: 3, 1200: 2, 1600: 2},
        (70, 110, 150, 190),
        6000.0,
    ),
}
SIGNAL_AT_S0_1 = 6000.0  # stored units at gain 1; int16 leaves room for gain 3 with shading
SITES = ("north", "south", "east", "west")
GAINS = (1.0, 1.5, 0.8, 1.2)


@dataclass(frozen=True)
class Study:
    """What is simulated.

    Parameters
    ----------
    n_participants, n_pathological : int
        The last ``n_pathological`` participants are pathological.
    n_repeated : int
        Participants, from the last, that are scanned a second time; all then have sessions.
    shape : tuple of int
        Voxels per axis; about half of them are organ.
    protocols : tuple of str
        Protocol of each site, keys of ``PROTOCOLS``; participants take turns between sites.
    noise : str
        ``rician`` (magnitudes, as scanners give) or ``gaussian``.
    snr : float
        Mean reference signal (b=0, shortest TE) of the organ over sigma.
    separate : bool
        One BIDS dataset per site.
    seed : int

    """

    n_participants: int = 12
    n_pathological: int = 3
    n_repeated: int = 0
    shape: tuple[int, int, int] = (16, 16, 4)
    protocols: tuple[str, ...] = ("placenta", "placenta")
    snr: float = 25.0
    noise: str = "rician"
    separate: bool = False
    seed: int = 0

    voxel_size = (3.0, 3.0, 3.0)  # mm, as in the paper; read by write_image

    def __post_init__(self):
        if not 0 <= self.n_pathological <= self.n_participants or not 0 <= self.n_repeated <= self.n_participants:
            raise ValueError(f"n_pathological and n_repeated must be 0 to n_participants={self.n_participants}")
        if not 1 <= len(self.protocols) <= len(SITES):
            raise ValueError(f"1 to {len(SITES)} protocols (one per site), got {len(self.protocols)}")


@dataclass(frozen=True)
class Participant:
    """One row of ``participants.tsv``."""

    label: str
    site: int
    group: str
    age: int  # years
    gestational_age: float  # weeks, at the first scan
    sessions: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan of one participant."""

    participant: Participant
    session: str | None
    proportions: np.ndarray  #: (n_tissues,) of the organ's voxels
    tissues: np.ndarray  #: (x, y, z) int, 1 = first tissue, 0 outside the organ
    noise_std: float  #: stored units
    images: np.ndarray  #: (x, y, z, n_encodings) int16, stored units

    @property
    def name(self):
        """``sub-01`` or ``sub-01_ses-1``."""
        return f"sub-{self.participant.label}" + (f"_ses-{self.session}" if self.session else "")


def encodings_of(protocol):
    """Encodings of one of ``PROTOCOLS``, with directions."""
    return diffusion_encodings(*PROTOCOLS[protocol])


def compartment_values():
    """{axis: (n_tissues, n_compartments)} and (n_tissues, n_compartments) fractions: what `simulate_signals` takes."""
    table = np.array(list(COMPARTMENTS.values()))
    values = {name: np.tile(table[:, i], (len(TISSUES), 1)) for i, name in enumerate(("diffusivity", "t2star"))}
    return values, np.array([[content.get(name, 0.0) for name in COMPARTMENTS] for content in TISSUES.values()])


def participants_of(study):
    """Participants with their sites, groups, ages and sessions."""
    rng = np.random.default_rng([study.seed, 1])
    n_controls = study.n_participants - study.n_pathological
    width = max(2, len(str(study.n_participants)))
    found = []
    for index in range(study.n_participants):
        sessions = (None,)
        if study.n_repeated:
            sessions = ("1", "2") if index >= study.n_participants - study.n_repeated else ("1",)
        within = index if index < n_controls else index - n_controls
        found.append(
            Participant(
                label=f"{index + 1:0{width}d}",
                site=within % len(study.protocols),
                group="control" if index < n_controls else "pathological",
                age=int(rng.integers(22, 42)),
                gestational_age=round(float(rng.uniform(24, 38)), 1),
                sessions=sessions,
            )
        )
    return found


def draw_proportions(participant, rng):
    """(n_tissues,) proportions of one scan."""
    mean = np.array(PROPORTIONS[participant.group])
    if participant.group == "control":
        core, villous = list(TISSUES).index("core"), list(TISSUES).index("villous")
        change = CORE_PER_WEEK * (participant.gestational_age - 31)
        mean[[core, villous]] += change, -change
    drawn = np.zeros(len(mean))
    drawn[mean > 0] = rng.dirichlet(CONCENTRATION * mean[mean > 0])
    return drawn


def organ_mask(shape):
    """(x, y, z) bool: an ellipsoid cut by the image's first and last slice."""
    axes = [(np.arange(n) + 0.5 - n / 2) / (0.47 * n) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + (1.15 * y + 0.25 * x**2) ** 2 + 0.35 * z**2 < 1


def draw_tissues(mask, proportions, rng):
    """(x, y, z) int tissues: the highest of smooth random fields, raised until the proportions are met."""
    width = [0.07 * n + 0.35 for n in mask.shape]
    fields = np.stack([gaussian_filter(rng.standard_normal(mask.shape), width)[mask] for _ in proportions])
    fields /= fields.std(axis=1, keepdims=True)
    offset = np.where(proportions > 0, 0.0, -np.inf)[:, None]
    for step in range(200):
        labels = (fields + offset).argmax(axis=0)
        share = np.bincount(labels, minlength=len(proportions)) / labels.size
        gap = np.where(proportions > 0, proportions - share, 0.0)
        offset = offset + (4.0 / (1 + 0.1 * step)) * gap[:, None]
    tissues = np.zeros(mask.shape, dtype=np.uint8)
    tissues[mask] = labels + 1
    return tissues


def scans_of(study):
    """Simulate the scans of a study, one after the other.

    Yields
    ------
    Scan

    """
    mask = organ_mask(study.shape)
    values, fractions = compartment_values()
    pure = [simulate_signals(KERNEL, encodings_of(name), values, fractions) for name in study.protocols]
    references = [encodings_of(name).reference() for name in study.protocols]
    shading = coil_shading(study.shape)[mask]
    for participant in participants_of(study):
        site = participant.site
        for number, session in enumerate(participant.sessions):
            rng = np.random.default_rng([study.seed, 2, int(participant.label), number])
            tissues = draw_tissues(mask, draw_proportions(participant, rng), rng)
            full = SIGNAL_AT_S0_1 * GAINS[site] * shading
            signals = pure[site][tissues[mask] - 1] * full[:, None]
            noise_std = float(np.round(signals[:, references[site]].mean() / study.snr, 1))
            volume = np.zeros((*study.shape, signals.shape[1]))
            volume[mask] = signals
            noisy = np.round(add_noise(volume, noise_std, rng, kind=study.noise))
            share = np.bincount(tissues[mask], minlength=len(TISSUES) + 1)[1:] / mask.sum()
            yield Scan(participant, session, share, tissues, noise_std, noisy.astype(np.int16))


def write_study(folder, study):
    """Write a study anew and return the folders of its BIDS datasets, by site name.

    Parameters
    ----------
    folder : path
    study : Study

    Returns
    -------
    dict of str to Path
        All names share one folder unless the sites are separate.

    """
    folder = Path(folder)
    names = SITES[: len(study.protocols)]
    datasets = {name: folder / (f"bids-{name}" if study.separate else "bids") for name in names}
    for path in {*datasets.values(), folder / "truth"}:
        shutil.rmtree(path, ignore_errors=True)
    people = participants_of(study)
    for path in dict.fromkeys(datasets.values()):
        here = [person for person in people if datasets[SITES[person.site]] == path]
        files.write_dataset(path, "Simulated study of placentas, T2*-ADC", README, [p.label for p in here])
        write_participants(path, here)
    written = []
    for scan in scans_of(study):
        write_scan(datasets[SITES[scan.participant.site]], scan, study)
        files.write_image(folder / "truth" / f"{scan.name}_dseg.nii.gz", scan.tissues, study)
        written.append((scan.name, scan.participant, scan.proportions, scan.noise_std))
    write_truth(folder / "truth", study, written)
    return datasets


README = (
    "Simulated placentas of a study: diffusion at several echo times in the manner of ZEBRA (Hutter et al. 2018),\n"
    "one _dwi per echo time, acq-te<ms>, tied by MultipartID; later echoes are gradient echoes, so the decay is T2*.\n"
    "Written by benchmarks/simulated_study.py. Nothing here comes from a person. Not for diagnosis.\n"
)


def write_participants(folder, people):
    """``participants.tsv`` and what its columns mean."""
    columns = {"participant_id": [f"sub-{person.label}" for person in people]}
    columns["site"] = [SITES[person.site] for person in people]
    for name in ("group", "age", "gestational_age"):
        columns[name] = [getattr(person, name) for person in people]
    files.write_table(folder / "participants.tsv", columns)
    files.write_json(
        folder / "participants.json",
        {
            "site": {"Description": "Where the participant was scanned"},
            "group": {
                "Description": "Whether a pregnancy complication was diagnosed",
                "Levels": {"control": "none", "pathological": "pregnancy complication"},
            },
            "age": {"Description": "Age of the participant", "Units": "year"},
            "gestational_age": {"Description": "Gestational age at the first scan", "Units": "week"},
        },
    )


def write_scan(folder, scan, study):
    """Images, sidecars, gradients and mask of one scan."""
    protocol = study.protocols[scan.participant.site]
    encodings = encodings_of(protocol)
    below = Path(f"sub-{scan.participant.label}", *([f"ses-{scan.session}"] if scan.session else []), "dwi")
    for echo_time in np.unique(encodings.echo_time):
        index = np.flatnonzero(encodings.echo_time == echo_time)
        stem = folder / below / f"{scan.name}_acq-te{echo_time:03.0f}_dwi"
        files.write_image(stem.with_suffix(".nii.gz"), scan.images[..., index], study)
        files.write_gradients(stem, encodings, index)
        sidecar = {
            "EchoTime": files.seconds(echo_time),
            "RepetitionTime": PROTOCOLS[protocol][2] / 1e3,
            "ScanningSequence": ["SE", "GR", "EP"],
            "MultipartID": "zebra",
            **files.DWI_SIDECAR,
        }
        files.write_json(stem.with_suffix(".json"), sidecar)
    stem = folder / "derivatives" / "masks" / below / f"{scan.name}_desc-organ_mask"
    files.write_image(stem.with_suffix(".nii.gz"), (scan.tissues > 0).astype(np.uint8), study)
    files.write_json(stem.with_suffix(".json"), {"Type": "ROI", "Description": "The simulated organ"})


def write_truth(folder, study, written):
    """Tissues, compartments, proportions, sites and noise of a study."""
    proportions = np.array([row[2] for row in written])
    columns = {"scan": [row[0] for row in written], "group": [row[1].group for row in written]}
    columns |= {name: np.round(proportions[:, i], 5).tolist() for i, name in enumerate(TISSUES)}
    files.write_table(folder / "proportions.tsv", columns)
    names = SITES[: len(study.protocols)]
    files.write_json(
        folder / "study.json",
        {
            "Kernel": KERNEL,
            "Tissues": list(TISSUES),
            "TissueCompartments": TISSUES,
            "Compartments": {n: {"diffusivity": d, "t2star": t} for n, (d, t) in COMPARTMENTS.items()},
            "Units": {"diffusivity": "um2/ms", "t2star": "ms"},
            "Protocols": dict(zip(names, study.protocols, strict=True)),
            "Gains": dict(zip(names, GAINS, strict=False)),
            "NoiseStandardDeviation": {row[0]: row[3] for row in written},
            "Noise": f"{study.noise}; SNR {study.snr:g} = mean reference signal of the organ / standard deviation",
            "Seed": study.seed,
        },
    )


def main(arguments=None):
    """Run from the command line."""
    default = Study()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", "--participants", type=int, default=default.n_participants)
    parser.add_argument("--pathological", type=int, default=default.n_pathological)
    parser.add_argument("--repeated", type=int, default=default.n_repeated, help="participants scanned twice")
    parser.add_argument("--shape", type=int, nargs=3, default=default.shape, help="voxels per axis")
    parser.add_argument(
        "--protocols", nargs="+", choices=PROTOCOLS, default=default.protocols, help="protocol of each site"
    )
    parser.add_argument("--snr", type=float, default=default.snr)
    parser.add_argument("--noise", choices=("rician", "gaussian"), default=default.noise)
    parser.add_argument("--separate", action="store_true", help="one BIDS dataset per site")
    parser.add_argument("--seed", type=int, default=default.seed)
    given = parser.parse_args(arguments)
    study = Study(
        given.participants,
        given.pathological,
        given.repeated,
        tuple(given.shape),
        tuple(given.protocols),
        given.snr,
        given.noise,
        given.separate,
        given.seed,
    )
    for name, path in write_study(given.folder, study).items():
        print(f"site {name}: {path}")


if __name__ == "__main__":
    main()
