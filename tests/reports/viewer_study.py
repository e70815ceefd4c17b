"""A participant whose derivatives and measured images agree: simulated, fitted and written as a run writes them."""

import nibabel as nib
import numpy as np

from mrspec_prep.bids.output.derivative_dataset import reference_path
from mrspec_prep.bids.output.derivatives import encodings_table, output_path, start_dataset, write_map, write_table
from mrspec_prep.bids.output.spectra_files import write_cluster_spectra, write_nnls_spectra
from mrspec_prep.physics import Encodings, default_grid, kernel_matrix
from mrspec_prep.spectra import fit_nnls
from mrspec_prep.spectra.voxelwise.storage import storable

SHAPE = (9, 11, 3)
TISSUES = ((0.8, 60.0), (2.4, 150.0))  # D [um2/ms], T2 [ms]
SIGMA = 12.0
KERNEL = "adc-t2"
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 0, 4.0, -6], [0, 2.0, 0, -11], [0, 0, 0, 1]])  # runs left, up, front


def write_study(out, raw, label="", region="slow", n_clusters=2, affine=AFFINE):
    """Write one participant; gives the output folder. ``label`` goes into every text that a file can hold."""
    rng = np.random.default_rng(4)
    image = raw / "sub-01" / "dwi" / "sub-01_dwi.nii.gz"
    image.parent.mkdir(parents=True)
    encodings = Encodings(bvalue=np.tile([0, 0, 500, 1000, 1000, 2000], 3), echo_time=np.repeat([60, 90, 120], 6))
    grid = default_grid(("diffusivity", "t2"), encodings, points=[8, 9])
    kernel = kernel_matrix(KERNEL, encodings, grid)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    roi = (x**2 + y**2 + 0.1 * z**2) < 0.8
    tissue = (x + 0.3 * y > 0)[roi].astype(int)
    bins = grid.bins()
    spectra = np.stack([
        np.exp(-sum(np.log(bins[axis] / place) ** 2 for axis, place in zip(("diffusivity", "t2"), where, strict=True)))
        for where in TISSUES
    ])  # fmt: skip
    spectra /= spectra.sum(axis=1, keepdims=True)
    signals = (900 * spectra @ kernel.T)[tissue] * rng.uniform(0.8, 1.2, (len(tissue), 1))
    signals = (signals + rng.normal(0, SIGMA, signals.shape)).astype(np.float32)
    volumes = np.zeros((*SHAPE, len(encodings)), np.float32)
    volumes[roi] = signals
    nib.save(nib.Nifti1Image(volumes, affine), image)
    start_dataset(out, raw, {})
    metadata = {"Sources": [f"bids:raw:{image.relative_to(raw).as_posix()}"], "OptionsHash": "0", "Seed": 0}

    def path(suffix, extension=".nii.gz", **more):
        naming = {"datatype": "dwi", "suffix": suffix, "extension": extension}
        return output_path(out, {"subject": "01"}, **naming, **more)

    def save(values, key, suffix="dwimap", about=None, **naming):
        write_map(path(suffix, **naming), values, roi, image, key=key, metadata=metadata | (about or {}))

    n = len(signals)
    save(roi[roi], "roi", "mask", desc="roi")
    behind = reference_path(out, {"subject": "01"}, datatype="dwi")
    write_map(behind, volumes[..., :2].mean(axis=-1), roi, image, key="reference", metadata=metadata)
    save(rng.uniform(0.8, 1.2, n) * SIGMA, "noise", desc="noise", about={"NoiseMethod": f"b0-repeats{label}"})
    names = [image.relative_to(raw).as_posix()]
    volume_of = np.stack([np.zeros(len(encodings), int), np.arange(len(encodings))], axis=1)
    table = encodings_table(encodings, names, volume_of)
    words = {"Joined": f"one image{label}", "Notes": [f"a note{label}"], "ResolvedAxes": ["diffusivity"], "SNR": 40.0}
    write_table(path("axes", ".tsv", desc="encodings"), table, metadata | words | {"Kernel": KERNEL})
    result = storable(fit_nnls(signals, kernel, 0.01), signals, kernel)
    peaks = [{"diffusivity": 0.8, "t2": 60.0, "fraction": 0.7}]
    write_nnls_spectra(path("spectra", ".h5", model=KERNEL, desc="nnls"), result, roi, grid, metadata, peaks)
    for key, column in (("diffusivity", 0), ("t2", 1)):
        values = np.array(TISSUES)[tissue, column] * rng.uniform(0.9, 1.1, n)
        save(values, key, model=KERNEL, param=key, desc="nnls")
    save(np.abs(rng.normal(1, 0.2, n)), "residual", model=KERNEL, param="residual", desc="nnls")
    share, about = rng.uniform(0, 1, n), {"Region": f"{region}{label}", "Bounds": {"diffusivity": [0, 1]}}
    save(share, "fraction", model=KERNEL, param="slow", desc="nnls", about=about)
    about |= {"Level": 0.95, "Resamples": 50}
    save(0.05 + 0.1 * share, "fraction", model=KERNEL, param="slow", desc="nnlsstd", about=about)
    certain = rng.uniform(0.6, 1, n)
    responsibilities = np.where(np.arange(n_clusters) == tissue[:, None], certain[:, None], 1 - certain[:, None])
    save(tissue + 1, "dseg", "dseg", seg="inspect")
    labels = {"LabelMap": [f"cluster{m + 1}{label}" for m in range(n_clusters)]}
    save(responsibilities, "probseg", "probseg", seg="inspect", about=labels)
    write_cluster_spectra(path("spectra", ".h5", model=KERNEL, desc="inspect"), spectra, grid,
                          weights=np.bincount(tissue) / n, peaks=[peaks, peaks], metadata=metadata)  # fmt: skip
    return out
