"""Phantoms written through our own writer: what a finished participant's folder looks like."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.derivative_dataset import reference_path
from mrspec_prep.bids.output.derivatives import encodings_table, output_path, start_dataset, write_map, write_table
from mrspec_prep.bids.output.spectra_files import write_cluster_spectra, write_nnls_spectra
from mrspec_prep.physics import Encodings, default_grid, kernel_axes
from tests.reports.maps_study import OFF, SHAPE, add_maps, wish

TISSUES = {  # weight of a voxel: diffusivity [um2/ms], T2/T2* [ms], T1 [ms]
    1: (0.75, 62.0, 850.0),
    2: (0.95, 78.0, 1350.0),
    3: (2.9, 420.0, 3900.0),
    4: (1.6, 105.0, 1700.0),
    5: (0.45, 38.0, 600.0),
}


def brain(shape):
    """(x, y, z) labels of a head-like phantom: folded cortex, white matter, ventricles, deep grey, iron."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    radius = np.sqrt((x / 0.78) ** 2 + (y / 0.93) ** 2 + (0.8 * z) ** 2)
    angle = np.arctan2(y, x)
    fold = 0.05 * np.sin(14 * angle + 3 * z) + 0.03 * np.sin(23 * angle)
    labels = np.zeros(shape, np.uint8)
    labels[radius < 1] = 3
    labels[radius < 0.96 + fold / 2] = 2
    labels[radius < 0.82 + fold] = 1
    labels[(np.abs(x) < 0.03) & (radius < 0.93)] = 3
    for side in (-1, 1):
        labels[((x - side * 0.15) / 0.09) ** 2 + ((y - 0.05) / 0.34) ** 2 < 1] = 3
        labels[((x - side * 0.30) / 0.10) ** 2 + ((y - 0.02) / 0.20) ** 2 < 1] = 4
        labels[((x - side * 0.44) / 0.05) ** 2 + ((y + 0.02) / 0.16) ** 2 < 1] = 5
    return labels


def protocol(kernel):
    """Encodings that a kernel needs."""
    if kernel == "adc-t2star":
        b = np.tile(np.repeat([0, 50, 200, 800, 1600], [6, 3, 3, 8, 6]), 5)
        directions = np.random.default_rng(5).normal(size=(len(b), 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions[b == 0] = 0
        return Encodings(bvalue=b, echo_time=np.repeat([78, 114, 150, 186, 222], 26), direction=directions)
    if kernel == "adc-t2":
        return Encodings(bvalue=np.tile([0, 0, 500, 1000, 2000], 2), echo_time=np.repeat([60, 91], 5))
    if kernel == "t2":
        return Encodings(echo_time=np.arange(1, 31) * 10.0)
    b, te, ti = np.meshgrid([0, 500, 1000, 2000], [80, 105, 130], [50, 200, 600, 1500, 4000, 7000], indexing="ij")
    return Encodings(bvalue=b.ravel(), echo_time=te.ravel(), inversion_time=ti.ravel(), repetition_time=7500)


def log_normal(grid, centre, width=0.16):
    """Spectrum with one peak, (n_bins,)."""
    bins = grid.bins()
    distance = sum((np.log10(bins[name] / centre[name]) / width) ** 2 for name in grid.names)
    spectrum = np.exp(-distance / 2)
    return spectrum / spectrum.sum()


def write_participant(out, raw, *, subject="01", kernel="adc-t2star", shape=(52, 64, 14), steps=("nnls", "inspect"),
                      falling=False, residual=1.0, entities=None, chosen=True):  # fmt: skip
    """Write a participant as the workflow would; gives the output folder."""
    rng = np.random.default_rng(11)
    axes = kernel_axes(kernel)
    datatype = "anat" if axes in (("t2",), ("t1",)) else "dwi"
    suffix = "MESE" if datatype == "anat" else "dwi"
    affine = np.diag([2.2, 2.2, 5.0, 1.0])
    affine[:3, 3] = [-57, -70, -30]
    like = raw / f"sub-{subject}" / datatype / f"sub-{subject}_acq-te078_{suffix}.nii.gz"
    like.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), affine), like)
    start_dataset(out, raw, {})
    names = {"subject": subject} | (entities or {})

    def path(suffix, extension=".nii.gz", **more):
        return output_path(out, names, datatype=datatype, suffix=suffix, extension=extension, **more)

    labels = brain(shape)
    roi = labels > 0
    tissue = labels[roi]
    metadata = {"Sources": [f"bids:raw:{like.relative_to(raw).as_posix()}"], "OptionsHash": "0f1e2d3c4b5a", "Seed": 0}
    encodings = protocol(kernel)
    grid = default_grid(axes, encodings)

    def save(values, key, suffix="dwimap", more=None, **naming):
        write_map(path(suffix, **naming), values, roi, like, key=key, metadata=metadata | (more or {}))

    truth = {axis: np.array([np.nan] + [_value(TISSUES[m], axis) for m in range(1, 6)])[tissue] for axis in axes}
    density = np.array([0, 0.75, 0.85, 1.0, 0.85, 0.7])[tissue]
    reference = np.zeros(shape)
    reference[roi] = 900 * density + rng.normal(0, 18, roi.sum())
    skull = brain(shape) == 0
    reference[skull] = np.abs(rng.normal(0, 12, skull.sum()))
    save(tissue > 0, "roi", "mask", desc="roi")
    behind = reference_path(out, names, datatype=datatype)
    write_map(behind, reference, roi, like, key="reference", metadata=metadata)
    noise = 22 + rng.normal(0, 2, roi.sum())
    save(noise, "noise", desc="noise", more={"NoiseMethod": "b0-repeats", "DegreesOfFreedom": 5})
    n = len(encodings)
    write_table(
        path("axes", ".tsv", desc="encodings"),
        encodings_table(encodings, [like.name, "second.nii.gz"], np.stack([np.arange(n) % 2, np.arange(n) // 2], 1)),
        metadata
        | {
            "Joined": "five images that differ in echo time only were joined: they share the MultipartID placenta",
            "Notes": ["Voxels without a positive reference signal were left out: 12."],
            "Workflow": "t2star-adc_inspect",
            "WhyWorkflow": "b-value (5 values) and echo time (5 values) vary: the kernel is adc-t2star",
            "Kernel": kernel,
            "Identifiability": ["Five echo times and five b-values: two to three components per axis."],
            "ResolvedAxes": list(axes) if kernel != "adc-t2" else ["diffusivity"],
            "NComponents": 7,
            "SNR": 34.0,
            "NoiseMethod": "b0-repeats",
            "Repeats": 6,
            "MaskSource": "mask: sub-01_desc-brain_mask.nii.gz",
        },
    )
    if "nnls" in steps:
        _write_nnls(path, save, metadata, roi, tissue, truth, grid, kernel, datatype, residual, rng)
    if "inspect" in steps:
        _write_inspect(path, save, metadata, tissue, grid, kernel, falling, chosen, rng)
    return out


def _value(tissue, axis):
    return {"diffusivity": tissue[0], "t2": tissue[1], "t2star": tissue[1], "t1": tissue[2], "kurtosis": 0.8}[axis]


def _write_nnls(path, save, metadata, roi, tissue, truth, grid, kernel, datatype, residual, rng):
    n = int(roi.sum())
    fast = np.array([0, 0.15, 0.3, 0.97, 0.5, 0.05])[tissue]
    fast = np.clip(fast + rng.normal(0, 0.05, n), 0, 1)
    for region, values in (("slowshort", 1 - fast), ("freelong", fast)):
        more = {"Region": region, "Kernel": kernel}
        save(values, "fraction", model=kernel, param=region, desc="nnls", more=more)
    files = {"t2": "T2map", "t2star": "T2starmap", "t1": "T1map", "s0": "S0map"} if datatype == "anat" else {}
    for key, values in {"s0": 900 + rng.normal(0, 40, n), **truth}.items():
        noisy = values * np.exp(rng.normal(0, 0.07, n))
        if key in files:
            save(noisy, key, files[key], desc="nnls")
        else:
            save(noisy, key, model=kernel, param=key, desc="nnls")
    save(residual * np.abs(1 + rng.normal(0, 0.14, n)), "residual", model=kernel, param="residual", desc="nnls")
    gap = 10.0 ** rng.uniform(-13, -9.1, n)
    save(gap, "gap", model=kernel, param="gap", desc="nnls")
    spectra = np.stack([log_normal(grid, _centre(grid, m), 0.22) for m in range(1, 6)])
    mean = np.bincount(tissue, minlength=6)[1:] @ spectra / n
    result = SimpleNamespace(
        dual=np.ones((n, 1), np.float32), basis=0.01 * mean[None].astype(np.float32), alpha=0.01, gap=gap,
        converged=np.ones(n, bool),
    )  # fmt: skip
    peaks = [{**_centre(grid, m), "fraction": share} for m, share in ((1, 0.6), (3, 0.25))]
    write_nnls_spectra(path("spectra", ".h5", model=kernel, desc="nnls"), result, roi, grid,
                       metadata | {"Kernel": kernel}, peaks)  # fmt: skip


def _write_inspect(path, save, metadata, tissue, grid, kernel, falling, chosen, rng):
    n, m = len(tissue), 5
    logits = rng.normal(0, 1.0, (n, m))
    logits[np.arange(n), tissue - 1] += 3.5
    responsibilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    about = {"Kernel": kernel, "Alpha": 0.01, "Mode": "exact", "Scale": "profiled", "Converged": True, "Steps": 88}
    save(responsibilities.argmax(axis=1) + 1, "dseg", "dseg", seg="inspect", more=about)
    save(responsibilities, "probseg", "probseg", seg="inspect",
         more=about | {"LabelMap": [f"cluster{i + 1}" for i in range(m)]})  # fmt: skip
    spectra = np.stack([
        0.8 * log_normal(grid, _centre(grid, i)) + 0.2 * log_normal(grid, _centre(grid, 3), 0.12) for i in range(1, 6)
    ])  # fmt: skip
    peaks = [
        [{**_centre(grid, i), "fraction": 0.8}] + ([{**_centre(grid, 3), "fraction": 0.2}] if i != 3 else [])
        for i in range(1, 6)
    ]
    write_cluster_spectra(path("spectra", ".h5", model=kernel, desc="inspect"), spectra, grid,
                          weights=responsibilities.mean(axis=0), peaks=peaks, metadata=metadata | about)  # fmt: skip
    tried = np.arange(2, 11) if chosen else np.array([5])
    bic = 2.1e6 + 9000.0 * np.exp(-(tried - 2) / 1.3) + (0 if falling else 900.0 * np.maximum(tried - 4, 0))
    table = {
        "n_clusters": tried, "log_likelihood": -bic / 2 + 30 * tried, "n_parameters": 11.3 * tried, "bic": bic,
        "aic": bic - 60.0 * tried, "n_steps": 40 + 9 * tried, "converged": tried < 10,
    }  # fmt: skip
    write_table(path("selection", ".tsv", desc="inspect"), table,
                metadata | about | {"Criterion": "bic", "Chosen": 10 if falling else 5, "Range": [2, 10]})  # fmt: skip


def _centre(grid, m):
    return {axis: _value(TISSUES[m], axis) for axis in grid.names}


@pytest.fixture(scope="session")
def write():
    """Function that writes a participant into given folders: out, raw, and settings."""
    return write_participant


@pytest.fixture(scope="session")
def head():
    """Function: shape -> labels of the phantom's tissues."""
    return brain


@pytest.fixture
def participant(tmp_path):
    """Function that writes a participant below the test's folder."""

    def write(**settings):
        return write_participant(tmp_path / "out", tmp_path / "raw", **settings)

    return write


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, write, head):
    """Function: model and settings of the phantom -> output folder, once per call with equal arguments."""
    done = {}

    def give(model="msdki", methods=("lsq", "learnedprior"), **told):
        key = repr((model, methods, sorted(told.items())))
        if key not in done:
            base = tmp_path_factory.mktemp("mapped")
            kernel, datatype = ("t2", "anat") if model == "t2" else ("adc-t2star", "dwi")
            out = write(base / "out", base / "raw", kernel=kernel, shape=SHAPE, steps=())
            add_maps(out, head(SHAPE), model, methods, **told)
            wish(out, datatype=datatype, **OFF, maps={"model": model, "methods": list(methods)})
            done[key] = out
        return done[key]

    return give
