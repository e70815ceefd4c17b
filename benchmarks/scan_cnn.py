"""T2 maps of a phantom by every method, several seeds; the paper's own test; the time they take.

    python -m benchmarks.scan_cnn --out scan_cnn                  everything, an hour of one core
    python -m benchmarks.scan_cnn --parts phantom --seeds 2 --rows varpro "scan-cnn"

Parts: ``phantom`` (``benchmarks/relaxation_phantom.py``; TE 43, 67, 91, 115 ms, Gaussian noise of variance .001,
90 x 90 x 3 voxels): root mean square error of T2 by region and its ratio to VARPRO, coverage of the intervals, and the
maps as a picture. ``start``: errors by steps of learning, from shipped and from random weights. ``paper``: truth made
from the network's own output, as in Figure 2 of Gao et al., which favours networks. ``speed``: seconds for 90 x 90 x 3,
and for a large scan. No method is given the truth; networks stop by voxels kept aside.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.relaxation_phantom import head_phantom
from benchmarks.scan_cnn_pictures import phantom_picture
from mrspec_prep.networks import fit_scan_cnn

TIMES = np.array([43.0, 67.0, 91.0, 115.0])  # ms
VARIANCE = 0.001
PARTS = ("phantom", "start", "paper", "speed")
STEPS = {"shipped": (0, 50, 100, 300), "random": (100, 300, 600)}
GAUSSIAN = {"distribution": "gaussian"}
ROWS = {
    "log-linear": {"method": "log-linear"},
    "varpro": {"method": "varpro"},
    "nlm-varpro": {"method": "nlm-varpro"},
    "scan-cnn": {},
    "scan-cnn, this scan alone": {"settings": {"start": "random", "n_steps": 600}},
    "scan-cnn, not refined": {"settings": {"n_steps": 0}},
    "scan-cnn, published loss, our network": {"settings": {"loss": "ssim", "start": "random"}},
    "scan-cnn, published, 100 steps": {"settings": {"base": "paper", "n_steps": 100}},
}


def noisy(images, seed):
    """Images with the noise of the paper's simulation."""
    return images + np.sqrt(VARIANCE) * np.random.default_rng([seed, 21]).standard_normal(images.shape)


def errors(found, phantom):
    """Root mean square error of T2 [ms] by region."""
    return {name: np.sqrt(np.mean((found.t2 - phantom.t2)[where] ** 2)) for name, where in phantom.regions().items()}


def coverage(found, phantom):
    """Shares of voxels without CSF within 1 and 1.96 standard deviations."""
    where = phantom.regions()["without CSF"]
    z = np.abs(found.t2 - phantom.t2)[where] / found.t2_std[where]
    return np.mean(z < 1), np.mean(z < 1.96)


def phantom_part(args):
    """Errors on the phantom."""
    table, shown = {}, {}
    for seed in range(args.seeds):
        phantom = head_phantom(TIMES, seed)
        images = noisy(phantom.images, seed)
        for row in args.rows:
            start = time.process_time()
            found = fit_scan_cnn(images, TIMES, seed, mask=phantom.mask, **GAUSSIAN, **ROWS[row])
            seconds, off = time.process_time() - start, errors(found, phantom)
            table.setdefault(row, []).append(off)
            shown[row] = found
            words = ", ".join(f"{name} {value:.2f}" for name, value in off.items())
            extra = (
                f"; 68/95 %: {coverage(found, phantom)[0]:.3f} / {coverage(found, phantom)[1]:.3f}"
                if (found.t2_std is not None)
                else ""
            )
            best = f"; stopped at {found.settings['best_step']}" if "best_step" in found.settings else ""
            print(f"seed {seed}  {row:38} RMSE T2 [ms]: {words}; {seconds:.0f} s{extra}{best}", flush=True)
        if seed == 0:
            phantom_picture(args.out / "phantom.png", phantom, shown)
    print("\nmean of the seeds; VARPRO over the method, mean (least of the seeds)")
    for row, found in table.items():
        parts = []
        for name in found[0]:
            ratio = [ref[name] / off[name] for ref, off in zip(table["varpro"], found, strict=True)]
            mean = np.mean([off[name] for off in found])
            parts.append(f"{name} {mean:.2f}: {np.mean(ratio):.2f} ({min(ratio):.2f})")
        print(f"{row:38} {'; '.join(parts)}", flush=True)


def start_part(args):
    """What shipped weights save: errors after so many steps from them and from random ones."""
    for seed in range(min(args.seeds, 2)):
        phantom = head_phantom(TIMES, seed)
        images = noisy(phantom.images, seed)
        for start, counts in STEPS.items():
            for n_steps in counts:
                settings = {"start": start, "n_steps": n_steps, "draws": 0}
                began = time.process_time()
                found = fit_scan_cnn(images, TIMES, seed, mask=phantom.mask, **GAUSSIAN, settings=settings)
                off, seconds = errors(found, phantom), time.process_time() - began
                print(
                    f"seed {seed}  {start} {n_steps} steps, {seconds:.0f} s: whole {off['whole']:.1f}, without CSF "
                    f"{off['without CSF']:.2f} ms",
                    flush=True,
                )


def paper_part(args):
    """The paper's own test: maps of a network as truth."""
    for seed in range(args.seeds):
        phantom = head_phantom(TIMES, seed)
        first = fit_scan_cnn(noisy(phantom.images, seed), TIMES, seed, mask=phantom.mask, **GAUSSIAN)
        t2 = np.where(phantom.mask, np.minimum(first.t2, 500), 1.0)
        truth = first.m0[..., None] * np.exp(-TIMES / t2[..., None])
        again = noisy(truth, seed + 100)
        solid = phantom.regions()["without CSF"]
        found = {
            row: fit_scan_cnn(again, TIMES, seed + 1, mask=phantom.mask, **GAUSSIAN, **ROWS[row])
            for row in ("varpro", "nlm-varpro", "scan-cnn")
        }
        off = {row: [np.sqrt(np.mean((f.t2 - t2)[w] ** 2)) for w in (phantom.mask, solid)] for row, f in found.items()}
        words = ", ".join(f"{row} {a:.2f} / {b:.2f}" for row, (a, b) in off.items())
        gain = np.divide(off["varpro"], off["scan-cnn"])
        print(
            f"paper's test, seed {seed}: RMSE T2 [ms] whole / without CSF: {words}; {gain[0]:.2f} x / {gain[1]:.2f} x",
            flush=True,
        )


def speed_part(args):
    """Seconds of one core."""
    phantom = head_phantom(TIMES, 0)
    images = noisy(phantom.images, 0)
    start, wall = time.process_time(), time.perf_counter()
    fit_scan_cnn(images, TIMES, mask=phantom.mask, **GAUSSIAN)
    print(
        f"90 x 90 x 3: {time.process_time() - start:.0f} s of one core, {time.perf_counter() - wall:.0f} s on the clock"
    )
    shape, times = (224, 210, args.slices), 6.0 * np.arange(1, 11)
    rng = np.random.default_rng(0)
    big = np.exp(-times / rng.uniform(20, 80, (*shape, 1))) + 0.03 * rng.standard_normal((*shape, 10))
    seconds = {}
    for steps in (0, None):
        start = time.process_time()
        fit_scan_cnn(big, times, kind="t2star", **GAUSSIAN, settings={"n_steps": 0} if steps == 0 else None)
        seconds[steps] = time.process_time() - start
    whole = seconds[None] - seconds[0] + seconds[0] * 58 / args.slices
    print(
        f"224 x 210 x {args.slices} x 10: {seconds[None]:.0f} s, of which {seconds[0]:.0f} s for the maps; "
        f"58 slices: {whole / 60:.1f} min of one core (the maps' share scaled by the slices)"
    )


def main():
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=6, help="of the large scan that is timed")
    parser.add_argument("--out", type=Path, default=Path("scan_cnn"))
    args = parser.parse_args()
    args.rows = list(dict.fromkeys(["varpro", *args.rows]))
    args.out.mkdir(parents=True, exist_ok=True)
    for part in args.parts:
        print(f"\n## {part}", flush=True)
        {"phantom": phantom_part, "start": start_part, "paper": paper_part, "speed": speed_part}[part](args)


if __name__ == "__main__":
    main()
