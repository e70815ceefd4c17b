"""Parameter maps of a head-like phantom, written as the workflow writes them: truth plus the error of each method."""

import nibabel as nib
import numpy as np

from mrspec_prep.bids.output.derivatives import output_path, read_table, write_map, write_table
from mrspec_prep.physics.models import MODELS

TRUTH = {  # model -> parameter -> value in tissues 1 to 5 of the phantom, and its error by least squares
    "msdki": {"diffusivity": ((0.85, 0.95, 2.9, 0.8, 0.7), 0.08), "kurtosis": ((1.1, 0.75, 0.1, 0.9, 1.2), 0.2)},
    "ball-stick": {
        "stick_fraction": ((0.6, 0.25, 0.03, 0.4, 0.5), 0.06),
        "stick_diffusivity": ((1.8, 1.4, 2.0, 1.6, 1.7), 0.25),
        "ball_diffusivity": ((0.9, 1.0, 2.9, 0.9, 0.8), 0.12),
    },
    "t2": {"t2": ((62.0, 78.0, 420.0, 105.0, 38.0), 4.0)},
}
ERROR = {"lsq": 1.0, "lsqgmm": 0.7, "learnedprior": 0.6, "selfsup": 1.3, "vae": 1.1, "gmmvae": 0.55}  # of lsq's
SHAPE = (20, 22, 4)  # of the phantom
OFF = {"nnls": {"wanted": False}, "inspect": {"wanted": False}}  # settings of a run of maps alone
NAMES = {"lsqgmm": "lsq-gmm", "learnedprior": "learned-prior", "gmmvae": "gmm-vae"}


def add_maps(out, tissue, model="msdki", methods=tuple(ERROR), *, with_std=True, risk=1.0, subject="01", **told):
    """Write maps of some methods beside what a participant's folder holds already.

    Parameters
    ----------
    out : Path
    tissue : (x, y, z) int array
        Tissues 1 to 5, 0 outside.
    model : str
    methods : sequence of str
        As in ``desc``.
    with_std : bool
    risk : float
        Median of the risk.
    told : dict
        Goes to every sidecar.

    """
    datatype = "anat" if model == "t2" else "dwi"
    roi_file = out / f"sub-{subject}/{datatype}/sub-{subject}_desc-roi_mask.nii.gz"
    roi = nib.load(roi_file).get_fdata() > 0
    inside, rng = tissue[roi], np.random.default_rng(2)
    n, shown = int(roi.sum()), model.replace("-", "")
    shared = {p: rng.normal(0, error, n) for p, (_, error) in TRUTH[model].items()}
    for method in methods:
        about = {"Sources": [], "OptionsHash": "0", "Seed": 0, "Model": model, "Method": NAMES.get(method, method),
                 "NVoxels": n, "NVoxelsConverged": n, "NVoxelsValid": n, "NVolumes": 30 if model == "t2" else 103,
                 "Distribution": "rician" if method == "learnedprior" else "gaussian"} | told  # fmt: skip

        def save(values, key, suffix="dwimap", about=about, **naming):
            names = {"model": shown} | naming if suffix == "dwimap" else naming
            target = output_path(out, {"subject": subject}, datatype=datatype, suffix=suffix, extension=".nii.gz",
                                 **names)  # fmt: skip
            write_map(target, values, roi, roi_file, key=key, metadata=about)

        for name, (truth, error) in {"s0": ((700, 800, 1000, 800, 600), 20), **TRUTH[model]}.items():
            known = {p.name: p for p in MODELS[model].parameters}[name]
            own = ERROR[method] * (0.6 * shared.get(name, 0) + 0.8 * rng.normal(0, error, n))
            values = np.clip(np.array([0, *truth])[inside] + own, known.low, known.high)
            naming = {"param": name.replace("_", "")}
            key, suffix = f"model-{name}", "dwimap"
            if model == "t2":
                naming, suffix = {}, {"s0": "S0map", "t2": "T2map"}[name]
            save(values, key, suffix, desc=method, **naming)
            if with_std and method != "selfsup":
                spread = ERROR[method] * error * rng.uniform(0.9, 1.1, n)
                save(spread, key, suffix, desc=f"{method}std", **naming)
                for end, sign in (("low", -1), ("high", 1)):
                    save(values + 1.96 * sign * spread, key, suffix, desc=f"{method}{end}", **naming)
        save(np.abs(rng.normal(1, 0.1, n)), "model-residual", desc=method, param="residual")
        if method != "lsq":
            save(risk * np.abs(rng.normal(1, 0.3, n)), "model-risk", desc=method, param="risk")
        if model == "ball-stick":
            direction = rng.normal(size=(n, 3)) * 0.3 + np.eye(3)[inside % 3]
            save(direction / np.linalg.norm(direction, axis=1, keepdims=True), "model-direction", desc=method,
                 param="direction")  # fmt: skip
            save(0.15 * ERROR[method] * rng.uniform(1, 2, n), "model-angle", desc=f"{method}std", param="direction")
        if method in ("lsqgmm", "learnedprior", "gmmvae"):
            logits = rng.normal(0, 1, (n, 5)) + 4.0 * np.eye(5)[inside - 1]
            probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            about["LabelMap"] = [f"component{k + 1}" for k in range(5)]
            save(probs.argmax(axis=1) + 1, "model-dseg", "dseg", seg=method)
            save(probs, "model-probseg", "probseg", seg=method)
        if method in ("selfsup", "vae", "gmmvae"):
            latent = rng.normal(0, 0.3, (n, 3)) + np.array([[0, 0, 0], [0, 1, 0], [2, 1, 1], [3, -1, 0], [1, 2, 2],
                                                            [-1, -2, 1]])[inside]  # fmt: skip
            save(latent, "model-latent", desc=method, param="latent")
        if method != "lsq":
            steps = np.arange(1, 201)
            table = {"step": steps, "loss": 40 * np.exp(-steps / 12) + 5.2, "kl": 2 - 1.5 * np.exp(-steps / 30)}
            target = output_path(out, {"subject": subject}, datatype=datatype, suffix="history", extension=".tsv",
                                 model=shown, desc=method)  # fmt: skip
            write_table(target, table, {"Method": about["Method"]})


def wish(out, subject="01", datatype="dwi", **settings):
    """Say in the volume table's sidecar what the run was asked for."""
    path = out / f"sub-{subject}/{datatype}/sub-{subject}_desc-encodings_axes.tsv"
    columns, about = read_table(path)
    about.pop("Settings", None)
    write_table(path, {name: values.tolist() for name, values in columns.items()}, about | {"Settings": settings})
