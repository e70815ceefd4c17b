"""Joint InSpect of a simulated study: recovery of tissues and participants; cost against participants.

    OMP_NUM_THREADS=1 python -m benchmarks.group accuracy [--seeds 5] [--proportions shared member]
    OMP_NUM_THREADS=1 python -m benchmarks.group scaling SCRATCH_FOLDER [--participants 10 20 40] [--figure PNG]
    python -m benchmarks.group projection --step-ms MS_PER_MEMBER

``accuracy``: 12 participants (9 controls, 3 pathological of whom one is scanned twice: 13 scans) of 2000-5000 voxels
of the eight tissues of ``simulated_study``, one of which controls lack; SNR 20, every voxel with an S0 of its own,
sigma from the b=0 repeats (Student-t), compressed to 47 float32 ranks as participants' files are.
``scaling`` and ``projection``: see ``group_scaling``.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.optimize import linear_sum_assignment

from benchmarks import group_scaling
from benchmarks.simulated_study import KERNEL, PROPORTIONS, TISSUES, compartment_values, encodings_of
from mrspec_prep.physics import Grid, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra.clusters.starts import adjusted_rand_index
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.group import (
    Member,
    Protocol,
    apply_atlas,
    fit_group,
    prepare_member,
    responsibilities_of,
    truncated,
)
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.sampling import Sample
from mrspec_prep.spectra.group.steps import GroupSteps

N_RANKS = 47
POINTS = 40
CONCENTRATION = 40.0  # of the participants' Dirichlet distribution around PROPORTIONS
S0_SPREAD = 0.2  # of log S0 over voxels
SNR = 20.0
SCAN_NAMES = ("placenta", "short")
GAIN = 1.4  # of the second site
PATHOLOGICAL = list(TISSUES).index("infarct")
OVERLAP = 0.7  # how far each tissue's fractions are drawn towards the mean of all tissues: 0 tells all apart


@dataclass(frozen=True, eq=False)
class Scan:
    """One simulated scan: its member and truth."""

    member: Member
    tissues: np.ndarray
    pathological: bool
    participant: int


def grid_of():
    """Grid of all protocols."""
    return default_grid(kernel_axes(KERNEL), encodings_of("placenta"), points=(POINTS, POINTS))


def protocols_of():
    """Protocols of the two sites on one grid."""
    kernels = [kernel_matrix(KERNEL, encodings_of(name), grid_of()) for name in SCAN_NAMES]
    return [Protocol(truncated(reduce_kernel(kernel), N_RANKS), len(kernel)) for kernel in kernels]


def tissue_values(overlap=OVERLAP):
    """Compartments of the tissues as ``simulate_signals`` takes them, drawn together."""
    values, fractions = compartment_values()
    return values, (1 - overlap) * fractions + overlap * fractions.mean(axis=0)


def pure_signals(name):
    """Signals of the tissues (n_tissues, n_encodings), S0 = 1."""
    values, fractions = tissue_values()
    return simulate_signals(KERNEL, encodings_of(name), values, fractions)


def proportions_of(rng, pathological, share):
    """Proportions of one participant; ``share``: of the tissue that controls lack."""
    mean = np.array(PROPORTIONS["pathological" if pathological else "control"])
    if pathological:
        mean[PATHOLOGICAL] = 0
        mean *= (1 - share) / mean.sum()
        mean[PATHOLOGICAL] = share
    drawn = np.zeros(len(mean))
    drawn[mean > 0] = rng.dirichlet(CONCENTRATION * mean[mean > 0])
    return drawn


def simulate(seed, mixed, protocols, share=0.25):
    """13 scans of 12 participants; ``mixed``: every other participant has the other protocol and gain."""
    rng, scans = np.random.default_rng([seed, 77]), []
    pure = [pure_signals(name) for name in SCAN_NAMES]
    for participant in range(12):
        pathological, scan = participant >= 9, participant % 2 if mixed else 0
        mean = proportions_of(rng, pathological, share)
        for _ in range(2 if participant == 11 else 1):
            n_voxels, gain = int(rng.integers(2000, 5001)), GAIN if scan else 1.0
            tissues = rng.choice(len(mean), n_voxels, p=mean)
            s0 = 1000 * gain * np.exp(rng.normal(0, S0_SPREAD, n_voxels))
            clean = s0[:, None] * pure[scan][tissues]
            reference = encodings_of(SCAN_NAMES[scan]).reference()
            signals = add_noise(clean, float(clean[:, reference].mean()) / SNR, rng)
            sigma = signals[:, reference].std(axis=1, ddof=1)
            compressed, outside = protocols[scan].reduced.compress(signals)
            arrays = (values.astype(np.float32) for values in (compressed, sigma, outside))
            member = Member(*arrays, scan, scan, float(np.sum(reference) - 1))
            scans.append(Scan(member, tissues, pathological, participant))
    return scans


def labels_of(scans, protocols, fit):
    """Most likely cluster of every voxel, scan by scan."""
    return [
        responsibilities_of(one.member, protocols[one.member.protocol], fit, i)[0].argmax(axis=1)
        for i, one in enumerate(scans)
    ]


def oracle_labels(scans, protocols):
    """Labels of who knows the tissues' signals and the participant's proportions, each voxel's S0 and sigma fitted."""
    found = []
    for one in scans:
        member, protocol = one.member, protocols[one.member.protocol]
        means = pure_signals(SCAN_NAMES[member.protocol]) @ protocol.reduced.projection
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        signals = member.signals.astype(float)
        energy = member.outside.astype(float) + (signals**2).sum(axis=1)
        left = energy[:, None] - np.maximum(signals @ means.T, 0) ** 2
        nu, counts = member.degrees_of_freedom, np.bincount(one.tissues, minlength=len(TISSUES))
        spread = nu * member.noise_std.astype(float) ** 2
        logs = -0.5 * (protocol.n_encodings + nu) * np.log(spread[:, None] + left)
        found.append((logs + np.log(np.maximum(counts / counts.sum(), 1e-12))).argmax(axis=1))
    return found


def matched(labels, scans, n_clusters):
    """Tissue of each cluster, by the best assignment of voxels (-1: none)."""
    table = np.zeros((n_clusters, len(TISSUES)))
    np.add.at(table, (np.concatenate(labels), np.concatenate([one.tissues for one in scans])), 1)
    rows, columns = linear_sum_assignment(-table)
    tissue = np.full(n_clusters, -1)
    tissue[rows] = columns
    return tissue


def scores(labels, scans, n_clusters):
    """How well labels recover tissues, the pathological one and its participants."""
    truth = np.concatenate([one.tissues for one in scans])
    tissue = matched(labels, scans, n_clusters)
    found = [tissue[one] for one in labels]
    predicted = np.concatenate(found) == PATHOLOGICAL
    hit = (predicted & (truth == PATHOLOGICAL)).sum()
    shares = np.array([(one == PATHOLOGICAL).mean() for one in found])
    sick = np.array([one.pathological for one in scans])
    return {
        "ARI": adjusted_rand_index(np.concatenate(labels), truth),
        "ARI within scans": np.mean([adjusted_rand_index(a, b.tissues) for a, b in zip(labels, scans, strict=True)]),
        "Dice": 2 * hit / max(1, predicted.sum() + (truth == PATHOLOGICAL).sum()),
        "least in the sick": shares[sick].min(),
        "most in controls": shares[~sick].max(),
        "scans told apart": float(shares[sick].min() > shares[~sick].max()),
    }


def spectra_errors(fit, labels, scans, protocols):
    """Errors of signals and of the main compartment's place against the truth; total variation to known labels.

    The signal error is relative, of normalised signals of the first protocol; the total variation is that to spectra
    fitted with the true labels, which the data leave free where no volume tells bins apart.
    """
    tissue = matched(labels, scans, len(fit.spectra))
    grid: Grid = grid_of()
    diffusivity, t2star = (axis.ravel() for axis in np.meshgrid(grid.diffusivity, grid.t2star, indexing="ij"))
    values, fractions = tissue_values()
    known_all, signals = known_spectra(fit, scans, protocols), []
    variation, in_t2star, in_diffusivity = [], [], []
    projection, columns = protocols[0].reduced.projection, protocols[0].reduced.columns
    pure = pure_signals(SCAN_NAMES[0]) @ projection
    for spectrum, one in zip(fit.spectra, tissue, strict=True):
        if one < 0:
            continue
        known = known_all[one]
        variation.append(0.5 * np.abs(spectrum / spectrum.sum() - known / known.sum()).sum())
        predicted = spectrum @ columns
        shapes = predicted / np.linalg.norm(predicted), pure[one] / np.linalg.norm(pure[one])
        signals.append(np.linalg.norm(shapes[0] - shapes[1]))
        main = fractions[one].argmax()
        near = near_peak(spectrum, grid, values["diffusivity"][one, main], values["t2star"][one, main])
        weights = spectrum * near
        if weights.sum() > 0:
            in_t2star.append(abs(relative(weights, t2star, values["t2star"][one, main])))
            in_diffusivity.append(abs(relative(weights, diffusivity, values["diffusivity"][one, main])))
    return {
        "signal error": np.mean(signals),
        "total variation": np.mean(variation),
        "T2* error": np.median(in_t2star),
        "D error": np.median(in_diffusivity),
    }


def near_peak(spectrum, grid, diffusivity, t2star):
    """Bins within a factor of 2 of a true position in both axes."""
    inside_d = np.abs(np.log(grid.diffusivity / diffusivity)) < np.log(2)
    inside_t = np.abs(np.log(grid.t2star / t2star)) < np.log(2)
    return np.outer(inside_d, inside_t).ravel()


def relative(weights, values, truth):
    """Relative error of the logarithmic mean."""
    return np.exp(np.log(values) @ weights / weights.sum()) / truth - 1


def known_spectra(fit, scans, protocols):
    """Spectra of the tissues from the true labels, (n_tissues, n_bins): one M-step at the gains of a fit."""
    prepared = [prepare_member(one.member, protocols[one.member.protocol], "profiled") for one in scans]
    places = {}
    for one in scans:
        key = one.member.site, one.member.protocol, one.member.degrees_of_freedom
        places.setdefault(key, []).append(np.eye(len(TISSUES))[one.tissues])
    sample = Sample(prepared)
    basis = common_basis([protocol.reduced for protocol in protocols])
    steps = GroupSteps(basis, sample.places, sample, 0.01, 0.0, 0.0, False)
    state = steps.empty_state(len(TISSUES), fit.unit_gains)
    steps.maximise(state, sample.statistics([np.concatenate(parts) for parts in places.values()]))
    return state.spectra


def separate(scans, protocols, n_clusters, seed):
    """Every scan on its own, and clusters joined afterwards by k-means of their predicted signals."""
    labels, signals = [], []
    for one in scans:
        alone = Member(*(getattr(one.member, name) for name in ("signals", "noise_std", "outside")),
                       0, 0, one.member.degrees_of_freedom)  # fmt: skip
        fit = fit_group([alone], [protocols[one.member.protocol]], n_clusters, seed=seed)
        labels.append(responsibilities_of(alone, protocols[one.member.protocol], fit)[0].argmax(axis=1))
        signals.append(fit.spectra @ protocols[0].reduced.columns)
    stacked = np.concatenate(signals)
    stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
    best = min((kmeans2(stacked, n_clusters, minit="++", seed=k) for k in range(20)),
               key=lambda found: ((stacked - found[0][found[1]]) ** 2).sum())[1]  # fmt: skip
    return [best[i * n_clusters + one] for i, one in enumerate(labels)]


def half_and_frozen(scans, protocols, n_clusters, seed):
    """Fit to the scans of the first protocol; its spectra frozen for the others."""
    first = [one for one in scans if one.member.protocol == 0]
    fit = fit_group([one.member for one in first], protocols[:1], n_clusters, seed=seed)
    return [
        apply_atlas(one.member, protocols[one.member.protocol], fit.spectra).responsibilities.argmax(axis=1)
        for one in scans
    ]


def accuracy(n_seeds, kinds, n_clusters, share, others):
    """Print one line for each way to fit, mean and range over seeds."""
    protocols = protocols_of()
    tables = {}
    for seed in range(n_seeds):
        for mixed in (False, True):
            scans = simulate(seed, mixed, protocols, share)
            used = protocols if mixed else protocols[:1]
            where = "two protocols, gain 1.4" if mixed else "one protocol"
            for kind in kinds:
                start = time.process_time()
                fit = fit_group([one.member for one in scans], used, n_clusters, proportions=kind, seed=seed)
                seconds = time.process_time() - start
                labels = labels_of(scans, used, fit)
                row = scores(labels, scans, n_clusters) | spectra_errors(fit, labels, scans, used)
                row |= {"gain": fit.gains[-1] / fit.gains[0], "steps": fit.n_steps, "seconds": seconds}
                row["stability"] = fit.stability
                tables.setdefault((where, f"joint, {kind}"), []).append(row)
            if others:
                rest = {"each scan alone": separate(scans, used, n_clusters, seed)}
                if mixed:
                    rest["first protocol, frozen on the rest"] = half_and_frozen(scans, used, n_clusters, seed)
                for name, labels in rest.items():
                    tables.setdefault((where, name), []).append(scores(labels, scans, n_clusters))
            known = oracle_labels(scans, used)
            tables.setdefault((where, "tissues known"), []).append(scores(known, scans, len(TISSUES)))
        print(f"seed {seed} done", flush=True)
    for (where, name), rows in tables.items():
        print(f"\n{where}; {name}")
        for key in rows[0]:
            values = np.array([row[key] for row in rows], dtype=float)
            print(f"  {key:22s} {values.mean():8.4f}  ({values.min():.4f} .. {values.max():.4f})")


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("accuracy", help="recovery of tissues and participants")
    one.add_argument("--seeds", type=int, default=5)
    one.add_argument("--proportions", nargs="+", choices=("shared", "member"), default=["shared", "member"])
    one.add_argument("--clusters", type=int, default=8)
    one.add_argument("--share", type=float, default=0.25, help="of the tissue that only the pathological have")
    one.add_argument("--overlap", type=float, default=OVERLAP)
    one.add_argument("--joint-only", action="store_true", help="leave out the other ways to fit")
    group_scaling.add_parsers(parts)
    options = parser.parse_args(arguments)
    if options.part == "accuracy":
        tissue_values.__defaults__ = (options.overlap,)
        accuracy(options.seeds, options.proportions, options.clusters, options.share, not options.joint_only)
    else:
        group_scaling.run(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
