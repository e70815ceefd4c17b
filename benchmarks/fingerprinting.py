"""MR fingerprinting: simulation, matching, and maps of a simulated brain from one interleaf of six.

    python -m benchmarks.fingerprinting [--parts epg matching maps] [--seeds 5] [--figure FILE.png]

``epg``: signals against a sum over isochromats, and against torchsim where it is installed. ``matching``: voxels a
second on one core and voxels that differ from brute force. ``maps``: RMSE of T1 and T2 against the truth of a phantom
made by formulas, whole and by tissue, for every seed and method; the phantom is sampled by spirals (finufft).
"against 6": no csf, against the maps of all six interleaves, as the paper measures. Both libraries:
``pip install .[simulation]``. Times are those of the processor (one thread), in seconds.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np

from benchmarks.fingerprinting_phantom import TISSUES, make_phantom
from mrspec_prep.networks import fit_fingerprint
from mrspec_prep.networks.fingerprinting.dictionary import make_dictionary, windowed
from mrspec_prep.networks.fingerprinting.matching import match_atoms
from mrspec_prep.networks.fingerprinting.refinement import refine
from mrspec_prep.physics.fingerprinting import Schedule, fisp_schedule, simulate_fisp
from mrspec_prep.threads import using_threads

N_FRAMES, RANK, WINDOW = 600, 6, 6
TRUE_RANK = 24  # of the simulated signals: all but 1e-7 of their energy
NOISE = 0.006  # sigma of a voxel of one frame with all six interleaves, over M0 of fluid: signals are near 0.1
WINDOWED = "sliding window + dictionary"
AVERAGED = "sliding window + averaged dictionary"
SIX = "six interleaves, averaged dictionary"
NETWORK = "known sampling + network (ours)"


def epg_table():
    """Print the largest difference of our signals from other simulations, per unit of M0."""
    schedule = fisp_schedule(N_FRAMES)
    print("T1/T2 [ms]   isochromats   torchsim (single precision, no TE)")
    for t1, t2 in ((850.0, 65.0), (1400.0, 95.0), (4000.0, 1500.0), (100.0, 20.0)):
        ours = simulate_fisp(schedule, t1, t2)[0]
        line = f"{t1:5.0f}/{t2:<5.0f}  {np.abs(ours - isochromats(schedule, t1, t2)).max():10.1e}"
        if importlib.util.find_spec("torchsim"):
            line += f"   {np.abs(_torchsim(schedule, t1, t2)).max():10.1e}"
        print(line)


def isochromats(schedule, t1, t2):
    """Signal by the Bloch equation for spins turned by evenly spaced angles, more than the orders of dephasing."""
    n = 2 * len(schedule) + 2
    turn = np.exp(2j * np.pi * np.arange(n) / n)
    across, along, seen = np.zeros(n, complex), np.ones(n), []
    columns = (schedule.flip_angle, schedule.repetition_time, schedule.echo_time, schedule.inversion_time)
    for flip, tr, te, ti in zip(*columns, strict=True):
        if not np.isnan(ti):
            along = 1 - (1 + schedule.inversion_efficiency * along) * np.exp(-ti / t1)
            across = np.zeros(n, complex)
        c, s = np.cos(np.deg2rad(flip)), np.sin(np.deg2rad(flip))
        across, along = c * across.real + s * along + 1j * across.imag, c * along - s * across.real
        seen.append(across.mean().real * np.exp(-te / t2))
        across, along = across * turn * np.exp(-tr / t2), 1 - (1 - along) * np.exp(-tr / t1)
    return np.array(seen)


def _torchsim(schedule, t1, t2):
    """Difference of our signal from torchsim's, which reads at the excitation."""
    from torchsim import mrf_sim

    there = Schedule(schedule.flip_angle, schedule.repetition_time, 0.0, schedule.inversion_time)
    times = {"T1": t1, "T2": t2, "TI": float(schedule.inversion_time[0])}
    theirs = mrf_sim(flip=there.flip_angle, TR=there.repetition_time, states=len(there) // 2 + 100, **times)
    return simulate_fisp(there, t1, t2)[0] - np.asarray(theirs).ravel().real


def matching_table(n_voxels=100_000):
    """Print voxels a second of matching and refinement on one thread, and voxels that differ from brute force."""
    start = time.process_time()
    dictionary = make_dictionary(fisp_schedule(N_FRAMES), rank=RANK)
    n_atoms = len(dictionary.atoms)
    seconds = time.process_time() - start
    print(f"dictionary: {n_atoms} atoms, {seconds:.1f} s with compilation; power {dictionary.power:.5f}")
    print("SNR   matching, refinement [voxels/s]   not the atom of brute force   RMSE atom T1/T2, refined T1/T2 [%]")
    rng = np.random.default_rng(0)
    t1 = np.exp(rng.uniform(np.log(300), np.log(4500), n_voxels))
    t2 = np.minimum(np.exp(rng.uniform(np.log(20), np.log(1500), n_voxels)), 0.8 * t1)
    clean = dictionary.compress(t1, t2) * np.exp(2j * np.pi * rng.random(n_voxels))[:, None]
    level = np.abs(clean).mean()
    for snr in (np.inf, 100, 30, 10, 3):
        c = clean + level / snr * (rng.standard_normal((*clean.shape, 2)) @ [1, 1j])
        (index, _), matching = _timed(match_atoms, c, dictionary.directions)
        (r1, r2, *_), refining = _timed(refine, c, dictionary, index)
        wrong = sum(
            (np.abs(part @ dictionary.directions.T).argmax(axis=1) != atoms).sum()
            for part, atoms in zip(np.array_split(c, 50), np.array_split(index, 50), strict=True)
        )
        pairs, atoms = dictionary.grid.bins(), dictionary.atoms[index]
        errors = [
            _percent(pairs["t1"][atoms], t1),
            _percent(pairs["t2"][atoms], t2),
            _percent(r1, t1),
            _percent(r2, t2),
        ]
        cells = "{:.2f}/{:.2f}   {:.2f}/{:.2f}".format(*errors)
        print(f"{snr:5}  {n_voxels / matching:12.3g}  {n_voxels / refining:18.3g}  {wrong:14d} of {n_voxels}   {cells}")


def _timed(function, *arguments):
    """Result and seconds of the processor, compiled before."""
    few = [a[:10] if isinstance(a, np.ndarray) and len(a) > 10_000 else a for a in arguments]
    with using_threads(1):
        function(*few)
        start = time.process_time()
        result = function(*arguments)
    return result, time.process_time() - start


def _percent(found, truth):
    return 100 * np.sqrt(np.mean((found / truth - 1) ** 2))


class BrainScan:
    """A phantom, its scan and the images made of it.

    Parameters
    ----------
    seed : int
    n : int
        Matrix.
    n_coils : int
    noise : float
        See ``NOISE``.

    """

    def __init__(self, seed, n, n_coils, noise):
        from benchmarks.fingerprinting_spirals import acquire, coil_sensitivities, make_spirals  # needs finufft

        self.phantom, self.schedule = make_phantom(n, seed), fisp_schedule(N_FRAMES)
        self.mask = self.phantom.mask[:, :, None]
        truth = make_dictionary(self.schedule, rank=TRUE_RANK)
        inside = np.abs(self.phantom.m0) > 1e-6
        coefficients = np.zeros((n, n, TRUE_RANK), complex)
        signals = truth.compress(self.phantom.t1[inside], self.phantom.t2[inside])
        coefficients[inside] = self.phantom.m0[inside][:, None] * signals
        rng = np.random.default_rng(1000 + seed)
        model = (coefficients, truth.subspace, make_spirals(n), coil_sensitivities(n, n_coils), noise, rng)
        scans = acquire(*model, all_interleaves=True)
        self.sampling, self.gridded = scans[0].sampling(), scans[0].gridded()
        self.windowed = windowed(self.gridded, WINDOW).astype(np.complex64)
        self.all_windowed = windowed(np.mean([s.gridded() for s in scans], axis=0), WINDOW).astype(np.complex64)
        spectrum = np.fft.fft2(coefficients, axes=(0, 1))
        k = np.fft.fftfreq(n)
        spectrum[np.hypot(k[:, None], k) > 0.5] = 0  # what spirals see
        self.resolved = (np.fft.ifft2(spectrum, axes=(0, 1)) @ truth.subspace)[:, :, None]

    def fits(self, seed, paper):
        """Yield name, series, arguments of ``fit_fingerprint``."""
        averaged = {"settings": {"window": WINDOW}}
        yield SIX, self.all_windowed, averaged
        yield WINDOWED, self.windowed, {}
        yield AVERAGED, self.windowed, averaged
        yield "projection + dictionary", self.gridded, {}
        if paper:
            settings = {"base": "paper", "n_steps": paper, "learning_rate": 2e-3}
            yield "sliding window + network (paper)", self.windowed, {"method": "scan-cnn", "settings": settings}
        yield "images alone + network (ours)", self.gridded, {"method": "scan-cnn", "seed": seed}
        yield "known sampling + dictionary", self.gridded, {"sampling": self.sampling}
        yield NETWORK, self.gridded, {"method": "scan-cnn", "seed": seed, "sampling": self.sampling}
        yield "limit: no noise, all of k-space", self.resolved, {}


def scores(result, phantom, reference=None):
    """RMSE of T1 and T2, (7, 2): whole, by tissue, whole without fluid [ms]; whole in per cent."""
    regions = [phantom.mask, *(phantom.labels == k for k in range(len(TISSUES)))]
    regions.append(phantom.mask & (phantom.labels != list(TISSUES).index("csf")))
    rows = []
    truth = (phantom.t1, phantom.t2) if reference is None else (reference.t1[:, :, 0], reference.t2[:, :, 0])
    pairs = [(result.t1[:, :, 0], truth[0]), (result.t2[:, :, 0], truth[1])]
    for region in regions:
        rows.append([np.sqrt(np.mean((found - true)[region] ** 2)) for found, true in pairs])
    rows.append([_percent(found[phantom.mask], true[phantom.mask]) for found, true in pairs])
    return np.array(rows)


def maps_table(args):
    """Print RMSE of every seed and method, means, and ratios to the sliding window; draw the first seed."""
    columns = ["whole", *TISSUES, "no csf", "whole [%]"]
    print(f"{'RMSE T1/T2 [ms]':44} " + " ".join(f"{name:>13}" for name in columns) + f" {'against 6':>13} {'time':>6}")
    found = {}
    for seed in range(args.seeds):
        scan, reference, kept = BrainScan(seed, args.matrix, args.coils, args.noise), None, {}
        for name, series, options in scan.fits(seed, args.paper_steps if seed < args.paper_seeds else 0):
            start = time.process_time()
            kept[name] = fit_fingerprint(series, scan.schedule, rank=RANK, mask=scan.mask, device="cpu", **options)
            seconds = time.process_time() - start
            reference = reference or kept[name]
            table = np.vstack([scores(kept[name], scan.phantom), scores(kept[name], scan.phantom, reference)[5:6]])
            found.setdefault(name, []).append(table)
            print(f"seed {seed}  {name:36} {_cells(table)} {seconds:6.1f}", flush=True)
        if seed == 0 and args.figure:
            from benchmarks.fingerprinting_figure import draw

            draw(args.figure, scan.phantom, kept)
    print("means of the seeds; below each, RMSE of the sliding window over it")
    for name, tables in found.items():
        mean = np.mean(tables, axis=0)
        print(f"{len(tables)} seeds {name:36} {_cells(mean)}")
        if name != SIX:
            print(f"{'':44} {_cells(np.mean(found[WINDOWED][: len(tables)], axis=0) / mean, 2)}")
    for base in (WINDOWED, AVERAGED):
        ratios = np.mean(found[base], axis=0) / np.mean(found[NETWORK], axis=0)
        worst = np.min([a / b for a, b in zip(found[base], found[NETWORK], strict=True)], axis=0)
        cells = [_cells(table[rows], 2).strip() for table in (ratios, worst) for rows in (slice(1), slice(5, 6))]
        print(f"goal 1.4: {base} over {NETWORK}, T1/T2: whole {cells[0]}, without csf {cells[1]};", end=" ")
        print(f"worst seed {cells[2]}, {cells[3]}")


def _cells(table, digits=1):
    return " ".join(f"{f'{a:.{digits}f}/{b:.{digits}f}':>13}" for a, b in table)


def main():
    """Print the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["epg", "matching", "maps"], choices=["epg", "matching", "maps"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--matrix", type=int, default=128)
    parser.add_argument("--coils", type=int, default=1)
    parser.add_argument("--noise", type=float, default=NOISE)
    parser.add_argument("--paper-steps", type=int, default=300, help="of the published network, whole slices")
    parser.add_argument("--paper-seeds", type=int, default=1, help="seeds it is trained for: 15 minutes each")
    parser.add_argument("--figure", type=Path, help="PNG of the first seed's maps and errors")
    args = parser.parse_args()
    if "epg" in args.parts:
        epg_table()
    if "matching" in args.parts:
        matching_table()
    if "maps" in args.parts:
        maps_table(args)


if __name__ == "__main__":
    main()
