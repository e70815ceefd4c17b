"""The rows of the tables of parameter maps, and results kept on disk so that an interrupted run goes on."""

import hashlib
import os
import time
from functools import cache
from pathlib import Path

import numpy as np

import mrspec_prep
from mrspec_prep.networks import fit_maps

NETWORKS = ("selfsup", "vae", "gmm-vae")
ALONE = ("physics/**/*.py", "networks/problem.py", "networks/fitting/*.py")  # code behind every row
PRIORS, NETS = "networks/priors/*.py", "networks/voxel_nets/*.py"
GAUSSIAN, RICIAN = {"distribution": "gaussian"}, {"distribution": "rician"}


def rows():
    """Label: (method, options of ``fit_maps``) of every row for simulated magnitudes, least squares first."""
    table = {
        "lsq": ("lsq", {}),
        "lsq, Rician": ("lsq", RICIAN),
        "lsq-gmm": ("lsq-gmm", {}),
        "lsq-gmm, Rician": ("lsq-gmm", RICIAN),
        "learned-prior": ("learned-prior", {}),
    }
    table |= {name: (name, {}) for name in NETWORKS}
    return table | {f"{name}, published": (name, {"settings": "paper"}) for name in NETWORKS}


def rows_by_likelihood():
    """Rows of every method with a Gaussian and with a Rician likelihood."""
    kinds = {"": GAUSSIAN, ", Rician": RICIAN}
    methods = ("lsq", "lsq-gmm", "learned-prior", *NETWORKS)
    return {f"{method}{words}": (method, options) for method in methods for words, options in kinds.items()}


def chosen(table, wanted):
    """Rows of the given labels, all of them where none is given."""
    unknown = set(wanted or ()) - set(table)
    if unknown:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; known: {'; '.join(table)}")
    return {label: row for label, row in table.items() if not wanted or label in wanted}


class Store:
    """Results as small .npz files in a folder; what another version of the methods' code made is made again.

    Parameters
    ----------
    folder : path
    keep : bool
        Keep also what another version made, and say how many.

    """

    def __init__(self, folder, keep=False):
        self.folder, self.keep = Path(folder), keep
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n_other = 0

    def get(self, name, make, row=None):
        """Arrays of ``make()`` by name, with ``seconds`` of processor time, from the file if it is there.

        ``row``: as in ``rows``; the code behind it must be that which made the file.
        """
        version = source_version(code_of(row))
        path = self.folder / f"{name.replace(', ', '-').replace(' ', '')}.npz"
        if path.exists():
            with np.load(path) as stored:
                found = dict(stored)
            same = str(found["version"]) == version
            if same or self.keep:
                self.n_other += not same
                return found
        start = time.process_time()
        made = {key: np.asarray(values) for key, values in make().items()}
        made |= {"seconds": np.array(time.process_time() - start), "version": np.array(version)}
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez_compressed(file, **made)
        part.rename(path)
        return made

    def remark(self):
        """One line on results of another version, if any were used."""
        return f"{self.n_other} results were made by another version of the code" if self.n_other else ""


@cache
def source_version(patterns):
    """Digest of files of the package."""
    digest, root = hashlib.sha256(), Path(mrspec_prep.__file__).parent
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def code_of(row):
    """Patterns of the files that a row of the table runs; None: the Bayes reference."""
    method, options = row or ("bayes", {})
    if method == "lsq":
        return ALONE
    if method not in NETWORKS:
        return (*ALONE, PRIORS)
    settings = options.get("settings")
    published = settings == "paper" or (isinstance(settings, dict) and settings.get("base") == "paper")
    return (*ALONE, NETS) if method == "selfsup" or published else (*ALONE, PRIORS, NETS)


def run_row(row, signals, encodings, model, noise_std, seed):
    """``MapsResult`` of one row of the table."""
    method, options = row
    return fit_maps(signals, encodings, model, method, noise_std, seed, **options)
