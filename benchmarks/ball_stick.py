"""Parameter maps of simulated ball-stick voxels: ours beside dmipy-fit, on the same signals.

``python -m benchmarks.ball_stick [--peer PYTHON]`` prints, for each protocol, signal-to-noise ratio and seed, the root
mean squared error of f, D of stick and ball and S0, the median and the mean angle between directions, how often
the 68 % and 95 % intervals (of the direction: cones) hold the truth, and the time per voxel (process time, one thread).

Simulation: one fibre per voxel, directions even over the sphere, S0 = 1, Rician noise. ``tissues``: f, D_stick,
D_ball of white matter .65, 1.9, 1.1; grey matter .3, 1.6, .9; with standard deviations .1, .2, .15 (f within
[.05, .95]). ``even``: f in .1 ... .9, D_stick in 1 ... 2.6, D_ball in .5 ... 1.6, each evenly.
The peer needs an environment of its own (``pip install dmipy-fit``); it fits ``--peer-voxels`` of the voxels, and the
errors of all methods are those of these voxels, where it runs.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.maps_coverage import coverage
from mrspec_prep.networks import METHODS, fit_maps
from mrspec_prep.networks.fitting.starts import hemisphere
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

MODEL = MODELS["ball-stick"]
NAMES = ("stick_fraction", "stick_diffusivity", "ball_diffusivity")
PROTOCOLS = {"30": (6, 30), "64": (8, 64)}  # volumes of b = 0 and of each shell
SHELLS = (1000.0, 2000.0, 3000.0)  # s/mm2
CENTRES, SPREADS = np.array([[0.65, 1.9, 1.1], [0.3, 1.6, 0.9]]), np.array([0.1, 0.2, 0.15])
EVEN = np.array([[0.1, 1.0, 0.5], [0.9, 2.6, 1.6]])
PEER = Path(__file__).with_name("ball_stick_peer.py")
SOLVERS = ("brute2fine", "mix")


def protocol(name):
    """Encodings: volumes of b = 0, then three shells whose directions are turned against each other."""
    n_b0, n_directions = PROTOCOLS[name]
    rng, half = np.random.default_rng(0), hemisphere(n_directions)
    turned = [half @ np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in SHELLS]
    bvalue = np.concatenate([np.zeros(n_b0), np.repeat(SHELLS, n_directions)])
    return Encodings(bvalue=bvalue, direction=np.concatenate([np.zeros((n_b0, 3)), *turned]))


def simulate(table, kind, snr, seed, n_voxels):
    """Truth by name, (n_voxels,) each, and signals (n_voxels, n_encodings)."""
    rng = np.random.default_rng(seed)
    if kind == "even":
        tissue = rng.uniform(*EVEN, (n_voxels, 3))
    else:
        tissue = CENTRES[rng.integers(0, 2, n_voxels)] + SPREADS * rng.standard_normal((n_voxels, 3))
        tissue = np.clip(tissue, (0.05, 0.5, 0.3), (0.95, 3.0, 2.5))
    direction = rng.standard_normal((n_voxels, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    truth = dict(zip(MODEL.names, np.column_stack([np.ones(n_voxels), tissue, direction]).T, strict=True))
    return truth, add_noise(MODEL.signal(table, truth), 1 / snr, rng, "rician")


def angles(truth, maps):
    """Angle between true and estimated axes [degrees]."""
    cosine = sum(truth[name] * maps[name] for name in MODEL.names[-3:])
    return np.degrees(np.arccos(np.minimum(np.abs(cosine), 1.0)))


def peer_fit(python, solver, table, signals):
    """Maps by name and seconds per voxel of the peer, run in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, bvalue=table.bvalue, direction=table.direction, signals=signals, solver=solver)
        subprocess.run([python, PEER, given, answer], check=True, stdout=subprocess.DEVNULL)
        found = dict(np.load(answer))
    return {name: found[name] for name in (*NAMES, *MODEL.names[-3:])}, float(found["seconds"]) / len(signals)


def row(label, truth, maps, seconds, result=None):
    """Numbers of one method, printed: errors, angles, coverage, time."""
    rmse = [np.sqrt(np.mean((maps[name] - truth[name]) ** 2)) for name in NAMES]
    off = angles(truth, maps)
    numbers = [*rmse, np.median(off), np.mean(off), 1e6 * seconds]
    covered = np.full((4, 2), np.nan)
    if result is not None:
        rows = slice(0, len(off))
        for p, name in enumerate(NAMES):
            parameter = MODEL.tissue[p]
            covered[p] = coverage(truth[name], result.intervals[name][rows], parameter.low, parameter.high)
        covered[3] = np.mean(np.radians(off)[:, None] <= result.cones[rows], axis=0)
    shown = "  ".join("/".join(f"{value:.3f}" for value in pair) for pair in covered)
    print(
        f"{label:34} {rmse[0]:.4f} {rmse[1]:.4f} {rmse[2]:.4f}  {numbers[3]:5.2f} {numbers[4]:5.2f}  {shown}"
        f"  {numbers[5]:9.1f}",
        flush=True,
    )
    return np.concatenate([numbers, covered.ravel()])


def report(args, name, kind, snr):
    """Print all seeds of one setting, then means over seeds and ratios to the peer."""
    table, found = protocol(name), {}
    print(
        f"\n## {name} directions per shell, {kind}, SNR {snr:g}: RMSE of f, D_stick, D_ball [um2/ms]; angle [deg], "
        "median, mean; coverage of 68/95 % of f, D_stick, D_ball, direction; microseconds per voxel"
    )
    for seed in range(args.seeds):
        truth, signals = simulate(table, kind, snr, seed, args.voxels)
        few = {key: values[: args.peer_voxels] if args.peer else values for key, values in truth.items()}
        n = len(few["s0"])
        for solver in args.solvers if args.peer else ():
            label = f"dmipy-fit, {solver}"
            maps, seconds = peer_fit(args.peer, solver, table, signals[:n])
            found.setdefault(label, []).append(row(f"seed {seed} {label}", few, maps, seconds))
        for method, options in variants(args.methods):
            fit_maps(signals[:200], table, "ball-stick", method, 1 / snr, seed, **options)  # compiles
            label = " ".join([method, *options.values()])
            start = time.process_time()
            result = fit_maps(signals, table, "ball-stick", method, 1 / snr, seed, **options)
            seconds = (time.process_time() - start) / len(signals)
            maps = {key: values[:n] for key, values in result.maps.items()}
            found.setdefault(label, []).append(row(f"seed {seed} {label}", few, maps, seconds, result))
    print("mean of seeds; of 68/95 % of f, D_stick, D_ball, direction; then errors and time over those of each peer")
    for label, rows in found.items():
        mean = np.mean(rows, axis=0)
        line = " ".join(f"{value:.4f}" for value in mean[:5]) + f"  {mean[5]:9.1f}  "
        line += " ".join(f"{value:.3f}" for value in mean[6:])
        for peer in (key for key in found if key.startswith("dmipy") and key != label):
            ratio = mean[:6] / np.mean(found[peer], axis=0)[:6]
            line += f"  | {' '.join(f'{value:.2f}' for value in ratio[:5])}, {1 / ratio[5]:.0f} x as fast"
        print(f"{label:24} {line}", flush=True)


def variants(methods):
    """(method, options of fit_maps) of the rows."""
    both = [{"distribution": "gaussian"}, {"distribution": "rician"}]
    return [(method, law) for method in methods for law in (both if method in ("lsq", "lsq-gmm") else [{}])]


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of an environment with dmipy-fit")
    parser.add_argument("--peer-voxels", type=int, default=300)
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS), help="of the peer")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--voxels", type=int, default=4000)
    parser.add_argument("--snr", type=float, nargs="+", default=[20, 30, 50])
    parser.add_argument("--protocol", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--kind", nargs="+", choices=("tissues", "even"), default=["tissues", "even"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["lsq", "lsq-gmm", "learned-prior"])
    args = parser.parse_args()
    for name in args.protocol:
        for kind in args.kind:
            for snr in args.snr:
                report(args, name, kind, snr)


if __name__ == "__main__":
    main()
