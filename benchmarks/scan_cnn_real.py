"""T2 and T2* maps of real scans from few of their echoes, against a voxelwise fit to all of them.

    python -m benchmarks.scan_cnn_real DATA_DIR --out scan_cnn_real

DATA_DIR holds ``qmrlab_mese30_brain`` (brain slice, 30 spin echoes) and ``sepal_gre8_phantom`` (vials, 8 gradient
echoes). ``brain``: the first 6 echoes, and every fifth; root mean square and median difference to the least-squares T2
of all 30, by range of that T2, and the share of 5 x 5 neighbourhoods in which a method is closer than least squares of
the same echoes. ``vials``: 8 echoes: mean and standard deviation within each vial against least squares; 3 of the 8
echoes: difference to the map of all. Several seeds of the networks; each is printed.
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import uniform_filter

from benchmarks.classifier_real import RADIUS, VIALS
from benchmarks.scan_cnn_pictures import rows_of_maps
from mrspec_prep.networks import fit_scan_cnn

BRAIN_TIMES = 12.8 * np.arange(1, 31)  # ms
VIAL_TIMES = 3.0 + 5.5 * np.arange(8)
CHOICES = {"first 6 of 30 echoes": slice(0, 6), "every fifth of 30 echoes": slice(0, 30, 5)}
THREE_OF_EIGHT = [0, 3, 6]
FLUID = 150.0  # ms: T2 of all echoes from which a voxel counts as fluid
RANGES = ((0, 60), (60, 80), (80, 100), (100, 150), (150, 4001))  # ms
METHODS = ("varpro", "rician", "nlm-varpro", "scan-cnn")


def brain_images(folder):
    """Images (x, y, 1, 30) and brain mask."""
    anat = folder / "qmrlab_mese30_brain" / "bids"
    files = sorted(anat.glob("sub-01/anat/*_MESE.nii.gz"))
    images = np.stack([nib.load(file).get_fdata() for file in files], axis=-1)
    mask = nib.load(next(anat.glob("derivatives/masks/sub-01/anat/*_mask.nii.gz"))).get_fdata() > 0
    return images.reshape(*images.shape[:2], 1, -1), mask.reshape(*mask.shape[:2], 1)


def fits(images, times, mask, kind, seeds):
    """Name: maps of every method; networks once a seed."""
    found = {}
    for method in METHODS:
        for seed in range(seeds if method == "scan-cnn" else 1):
            start = time.process_time()
            name = f"{method}, seed {seed}" if method == "scan-cnn" else method
            found[name] = fit_scan_cnn(images, times, seed, method=method, kind=kind, mask=mask)
            print(f"  {name}: {time.process_time() - start:.0f} s", flush=True)
    return found


def brain(folder, args):
    """Few echoes of the brain slice against all."""
    images, mask = brain_images(folder)
    full = fit_scan_cnn(images, BRAIN_TIMES, method="varpro", mask=mask)
    images = with_noise(images, mask, args.noise)
    for words, chosen in CHOICES.items():
        print(
            f"\n## brain, {words}, added noise {100 * args.noise:g} %: difference of T2 to least squares "
            "of all 30 as measured [ms]",
            flush=True,
        )
        found = fits(images[..., chosen], BRAIN_TIMES[chosen], mask, "t2", args.seeds)
        tissue = mask & (full.t2 < FLUID)
        print(
            f"{'':22} {'tissue rms':>10} {'median':>7} {'bias':>6}  closer  rms by T2 of all echoes "
            + ", ".join(f"{low}-{high}" for low, high in RANGES)
        )
        for name, maps in found.items():
            off = maps.t2 - full.t2
            by = [np.sqrt(np.mean(off[mask & (full.t2 >= low) & (full.t2 < high)] ** 2)) for low, high in RANGES]
            print(
                f"{name:19}{rms(off[tissue]):10.2f} {np.median(np.abs(off[tissue])):7.2f} {np.mean(off[tissue]):6.2f}  "
                f"{closer(off, found['varpro'].t2 - full.t2, tissue):.3f}  " + ", ".join(f"{v:.1f}" for v in by),
                flush=True,
            )
        maps = {"30 echoes, varpro": full.t2}
        maps |= {name: m.t2 for name, m in found.items() if "seed" not in name or "0" in name}
        rows_of_maps(
            args.out / f"brain_{words.split()[0]}.png",
            {k: v[:, :, 0] for k, v in maps.items()},
            mask[:, :, 0],
            full.t2[:, :, 0],
            (40, 140),
            30.0,
            "30 echoes",
        )


def with_noise(images, mask, share):
    """Magnitudes with complex noise added, a share of the median first echo in the mask."""
    sigma = share * np.median(images[mask][:, 0])
    noise = sigma * np.random.default_rng(0).standard_normal((2, *images.shape))
    return np.hypot(images + noise[0], noise[1]) if share else images


def rms(values):
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def closer(off, other, where, size=5):
    """Share of voxels around which (size x size of ``where``) ``off`` is smaller than ``other``, root mean square."""

    def local(values):
        weights = uniform_filter(where[:, :, 0].astype(float), size)
        return uniform_filter(np.where(where, values, 0)[:, :, 0] ** 2, size) / np.maximum(weights, 1e-9)

    return float(np.mean((local(off) < local(other))[where[:, :, 0]]))


def vial_images(folder):
    """Images (x, y, z, 8)."""
    files = sorted((folder / "sepal_gre8_phantom" / "bids").glob("sub-*/anat/*_MEGRE.nii.gz"))
    return np.stack([nib.load(file).get_fdata() for file in files], axis=-1)


def vials(folder, args):
    """Vials of a phantom, all echoes and three of them."""
    images = vial_images(folder)
    middle = images.shape[2] // 2
    images = images[:, :, middle - 2 : middle + 3]
    bright = images[..., 0] > 0.25 * np.quantile(images[..., 0], 0.99)
    full = fit_scan_cnn(images, VIAL_TIMES, method="varpro", kind="t2star", mask=bright)
    images = with_noise(images, bright, args.noise)
    rows, columns, places = *np.indices(bright.shape[:2]), np.zeros(bright.shape, int)
    for k, (column, row) in enumerate(VIALS["t2star"], start=1):
        places[(rows - row) ** 2 + (columns - column) ** 2 <= RADIUS["t2star"] ** 2] = k
    chosen = range(1, len(VIALS["t2star"]) + 1)
    print(f"\n## vials: {len(chosen)}, 8 echoes, added noise {100 * args.noise:g} % of the first echo", flush=True)
    found = fits(images, VIAL_TIMES, bright, "t2star", args.seeds)
    for name, maps in found.items():
        for k in chosen:
            here, ref = maps.t2[places == k], full.t2[places == k]
            alone = found["varpro"].t2[places == k]
            noise = np.median(found["varpro"].t2_std[places == k])
            print(
                f"{name}, vial {k}: {here.mean():.2f} ms ({100 * (here.mean() / ref.mean() - 1):+.2f} % of all echoes "
                f"as measured), standard deviation {here.std():.2f} ({alone.std() / here.std():.2f} x lower than least "
                f"squares, whose noise is {noise:.2f}), rms difference to all echoes {rms(here - ref):.2f}",
                flush=True,
            )
    print("\n## vials, 3 of 8 echoes: difference of T2* to least squares of all [ms]", flush=True)
    few = fits(images[..., THREE_OF_EIGHT], VIAL_TIMES[THREE_OF_EIGHT], bright, "t2star", args.seeds)
    for name, maps in few.items():
        off = maps.t2 - full.t2
        words = ", ".join(f"vial {k} {rms(off[places == k]):.2f}" for k in chosen)
        print(f"{name:22} rms {words}; all {rms(off[np.isin(places, chosen)]):.2f}", flush=True)
    shown = {"8 echoes, varpro": full.t2} | {
        f"3 echoes, {k}": v.t2 for k, v in few.items() if k in ("varpro", "scan-cnn, seed 0")
    }
    shown |= {"8 echoes, scan-cnn": found["scan-cnn, seed 0"].t2}
    rows_of_maps(
        args.out / "vials.png",
        {k: v[:, :, 2] for k, v in shown.items()},
        bright[:, :, 2],
        full.t2[:, :, 2],
        (20, 170),
        20.0,
        "8 echoes",
    )


def main():
    """Run both scans."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scans", nargs="+", choices=("brain", "vials"), default=("brain", "vials"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.0, help="added to the images, over the median first echo")
    parser.add_argument("--out", type=Path, default=Path("scan_cnn_real"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for scan in args.scans:
        {"brain": brain, "vials": vials}[scan](args.data, args)


if __name__ == "__main__":
    main()
