"""The classifier of compartments on data that no one here made.

usage: python -m benchmarks.classifier_real DATA_DIR

Prints the mean probability of 1 to 4 compartments, what was decided and why not, for: sandstone (bench-top NMR, T1-T2,
echoes thinned out to a covered protocol, also with noise added); a brain slice (30 spin echoes); vials of a phantom
(8 gradient echoes: T2*, which decays alike; 6 inversion times, TR 1.55 s). Images are magnitudes: sigma is taken from
the background or by MP-PCA.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.networks.compartments.classifier import REASONS
from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import restore_polarity
from mrspec_prep.spectra.noise.efficiency import estimate_inversion_efficiency
from mrspec_prep.spectra.noise.image_noise import noise_mppca

#: column and row of the vials' centres, by kernel
VIALS = {
    "t2star": [(99, 34), (42, 48), (69, 58), (98, 62), (55, 84), (129, 83), (101, 90), (76, 104), (91, 128)],
    "t1": [(164, 57), (70, 72), (111, 90), (156, 100), (88, 130), (204, 139), (160, 146), (117, 165), (138, 205)],
}
RADIUS = {"t2star": 5, "t1": 8}  # voxels
ROCK = 0.1  # time scale of the pores: T2 .5 to 50 ms, T1 5 to 500 ms


def show(name, found):
    """One line of a classification."""
    probabilities = " ".join(f"{value:.3f}" for value in found.probabilities.mean(axis=0))
    decided = np.bincount(found.n_compartments, minlength=5) / len(found.n_compartments)
    print(
        f"{name:44} {len(found.n_compartments):6d} voxels, noise {100 * np.median(found.noise_level):6.2f} % of RMS; "
        f"p {probabilities}; decided 1..4 {' '.join(f'{value:.2f}' for value in decided[1:])}; abstained: "
        + ", ".join(f"{reason} {np.mean(found.reason == k):.2f}" for k, reason in enumerate(REASONS) if k)
    )


def sandstone(folder, rng):
    """T1-T2 of Berea sandstone: 16 inversion times, echoes thinned out."""
    stored = np.load(folder / "ircpmg_berea.npz")
    data, times = stored["signal_real"].astype(float), stored["TE_ms"]
    noise = np.diff(data[:, 512:], 2, axis=1).std() / np.sqrt(6)
    for first, last, n in ((5, 600, 16), (10, 1000, 12), (20, 400, 24)):
        index = np.unique(np.geomspace(first, last, n).astype(int))
        slow = (stored["TI_ms"] > 2) & (stored["TI_ms"] < 2000)
        inversion, echo = np.meshgrid(stored["TI_ms"][slow], times[index], indexing="ij")
        protocol = Encodings(inversion_time=inversion.ravel(), echo_time=echo.ravel())
        signals = data[slow][:, index].reshape(1, -1)
        efficiency = estimate_inversion_efficiency(signals, "t1-t2", protocol, magnitudes=False).value
        protocol = Encodings(
            inversion_time=protocol.inversion_time, echo_time=protocol.echo_time, inversion_efficiency=efficiency
        )
        classifier = CompartmentClassifier.for_protocol(protocol, time_scale=ROCK)
        label = f"sandstone {slow.sum()} TI x {len(index)} TE, e {efficiency:.2f}"
        show(f"{label}, sigma given", classifier.classify(signals, noise))
        rms = np.sqrt(np.mean(signals**2))
        for level in (0.01, 0.03, 0.05):
            noisy = signals + level * rms * rng.standard_normal((500, signals.shape[1]))
            show(f"{label}, + {level:.0%}", classifier.classify(noisy, level * rms))


def images(folder, pattern):
    """Volumes (x, y, z, n) of a series of files, in order of their number."""
    files = sorted(folder.glob(pattern), key=lambda path: int("".join(filter(str.isdigit, path.name.split("-")[-1]))))
    return np.stack([nib.load(path).get_fdata() for path in files], axis=-1)


def brain(folder):
    """Thirty spin echoes of a brain slice."""
    data = images(folder / "bids/sub-01/anat", "*_MESE.nii.gz")
    mask = nib.load(next((folder / "bids/derivatives/masks").rglob("*mask.nii.gz"))).get_fdata() > 0
    mask &= (data > 0).all(axis=-1)
    sigma = noise_mppca(data, mask)
    usable = np.isfinite(sigma) & (sigma > 0)
    mask[mask], sigma = usable, sigma[usable]
    for label, first in (("all echoes", 0), ("echoes 2 to 30", 1)):
        protocol = Encodings(echo_time=12.8 * np.arange(first + 1, 31))
        found = CompartmentClassifier.for_protocol(protocol).classify(data[mask][:, first:], sigma, magnitudes=True)
        show(f"brain, {label}, MP-PCA sigma", found)


def pure_decay(signal, echo_time, sigma, rng, n_voxels=500):
    """(n_voxels, n_echoes) magnitudes of a single decay with the apparent T2* of a signal."""
    slope, offset = np.polyfit(echo_time, np.log(signal), 1)
    clean = np.exp(offset + slope * echo_time)
    return add_noise(np.broadcast_to(clean, (n_voxels, len(clean))), sigma, rng, "rician")


def vials(folder, pattern, protocol, kernel):
    """Vials of a phantom, one line each."""
    data = images(folder / "bids/sub-phantom/anat", pattern)
    data = data[:, :, data.shape[2] // 2]
    loudest = data.max(axis=-1)
    corner = loudest < np.quantile(loudest, 0.2)
    sigma = np.sqrt(np.mean(data[corner] ** 2) / 2)
    rows, columns = np.indices(loudest.shape)
    classifier = CompartmentClassifier.for_protocol(protocol)
    for k, (column, row) in enumerate(VIALS[kernel], start=1):
        signals = data[(rows - row) ** 2 + (columns - column) ** 2 <= RADIUS[kernel] ** 2]
        if kernel == "t1":
            grid = default_grid(kernel_axes(kernel), protocol)
            signals, _ = restore_polarity(signals, kernel_matrix(kernel, protocol, grid), protocol)
        show(f"{folder.name} vial {k}", classifier.classify(signals, sigma, magnitudes=True))
        if kernel != "t1":
            pure = pure_decay(signals.mean(axis=0), protocol.echo_time, sigma, np.random.default_rng(k))
            show("  one simulated decay of its T2*", classifier.classify(pure, sigma, magnitudes=True))
        mean = signals.mean(axis=0, keepdims=True)  # far above the noise: its magnitudes' bias is nothing beside it
        show(f"{folder.name} vial {k}, mean", classifier.classify(mean, sigma / np.sqrt(len(signals))))


def main():
    """Print every line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    args = parser.parse_args()
    sandstone(args.data_dir / "nmr_ircpmg_berea_t1t2", np.random.default_rng(0))
    brain(args.data_dir / "qmrlab_mese30_brain")
    gre = Encodings(echo_time=3.0 + 5.5 * np.arange(8))
    vials(args.data_dir / "sepal_gre8_phantom", "*_MEGRE.nii.gz", gre, "t2star")
    recovery = Encodings(inversion_time=[30.0, 330, 530, 780, 1030, 1530], repetition_time=1550.0)
    vials(args.data_dir / "sepal_irse6_phantom", "*_IRT1.nii.gz", recovery, "t1")


if __name__ == "__main__":
    main()
