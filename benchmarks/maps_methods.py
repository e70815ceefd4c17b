"""The rows of the tables of parameter maps, and results kept on disk so that an interrupted run goes on."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np

import mrspec_prep
from mrspec_prep.networks import fit_maps

NETWORKS = ("selfsup", "vae", "gmm-vae")
CODE = ("physics/**/*.py", "networks/problem.py", "networks/fitting/*.py", "networks/priors/*.py")
NETWORK_CODE = "networks/voxel_nets/*.py"
RICIAN = {"distribution": "rician"}


def rows(published=True):
    """Label: (method, options of ``fit_maps``) of every row, least squares first."""
    table = {
        "lsq": ("lsq", {}),
        "lsq, Rician": ("lsq", RICIAN),
        "lsq-gmm": ("lsq-gmm", {}),
        "lsq-gmm, Rician": ("lsq-gmm", RICIAN),
        "learned-prior": ("learned-prior", {}),
    }
    table |= {name: (name, {}) for name in NETWORKS}
    if published:
        table |= {f"{name}, published": (name, {"settings": "paper"}) for name in NETWORKS}
    return table


def chosen(wanted, published=True):
    """Rows of the given labels, all of them where none is given."""
    table = rows(published)
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
        self.versions, self.n_other = {False: source_version(CODE), True: source_version((*CODE, NETWORK_CODE))}, 0

    def get(self, name, make, network=False):
        """Arrays of ``make()`` by name, with ``seconds`` of processor time, from the file if it is there."""
        path = self.folder / f"{name.replace(', ', '-').replace(' ', '')}.npz"
        if path.exists():
            with np.load(path) as stored:
                found = dict(stored)
            same = str(found["version"]) == self.versions[network]
            if same or self.keep:
                self.n_other += not same
                return found
        start = time.process_time()
        made = {key: np.asarray(values) for key, values in make().items()}
        made |= {"seconds": np.array(time.process_time() - start), "version": np.array(self.versions[network])}
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez_compressed(file, **made)
        part.rename(path)
        return made

    def remark(self):
        """One line on results of another version, if any were used."""
        return f"{self.n_other} results were made by another version of the code" if self.n_other else ""


def source_version(patterns):
    """Digest of files of the package: the code that a method runs."""
    digest, root = hashlib.sha256(), Path(mrspec_prep.__file__).parent
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_network(row):
    """Whether a row of the table needs one."""
    return row is not None and row[0] in NETWORKS


def run_row(row, signals, encodings, model, noise_std, seed):
    """``MapsResult`` of one row of the table."""
    method, options = row
    return fit_maps(signals, encodings, model, method, noise_std, seed, **options)
