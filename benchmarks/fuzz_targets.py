"""What ``benchmarks.fuzz`` and ``tests/hostile`` feed with spoilt files, one function per kind of file.

A target takes the bytes of a file and must return, or end in one of ``EXPECTED``: what the command line turns into a
sentence and exit code 2. Everything else is a finding.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from mrspec_prep.bids.cohort.participants import read_participants
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_images
from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.schedules import read_schedule
from mrspec_prep.bids.input.tables import read_table as read_volume_table
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.nifti import iterate_volumes, read_grid
from mrspec_prep.bids.output.compressed import CompressedProtocol, read_compressed, read_protocol, write_compressed
from mrspec_prep.bids.output.compressed_checks import check_sigma
from mrspec_prep.bids.output.derivatives import read_map, read_table, start_dataset
from mrspec_prep.bids.output.spectra_files import (
    read_cluster_spectra,
    read_mean_spectrum,
    read_nnls_spectra,
    write_cluster_spectra,
    write_nnls_spectra,
)
from mrspec_prep.cli.history import WorkDirError, finished_key, forget_finished, remove_stale
from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.plugin_file import plugin_of
from mrspec_prep.cli.resources import Resources
from mrspec_prep.cli.settings import run_settings
from mrspec_prep.interfaces.group.dask_cluster import check_dask
from mrspec_prep.networks.weights import WeightsError, read_weights, write_weights
from mrspec_prep.options import OptionsError, load_options
from mrspec_prep.physics import Encodings, Grid
from mrspec_prep.workflow_files import WorkflowNotFoundError, list_workflows
from mrspec_prep.workflows.planning.feasibility import check_feasible
from mrspec_prep.workflows.planning.inputs import check_inputs_of
from mrspec_prep.workflows.planning.participant import plan_participant

EXPECTED = (InputError, OptionsError, WorkflowNotFoundError, WorkDirError, WeightsError)
SHAPE, BVALUES = (3, 2, 2), (0, 0, 700, 1000, 0, 700)
DIRECTIONS = ("0 0 1 0 0 1", "0 0 0 1 0 0", "0 0 0 0 0 0")
SIDECAR = {"EchoTime": [0.05, 0.05, 0.05, 0.1, 0.1, 0.1], "RepetitionTime": 4.0, "Manufacturer": "none"}
ACQPARAMS = "gx\tgy\tgz\tb\tTE\tTI\tTR\n" + "".join(
    f"{int(b > 0)}\t0\t0\t{b}\t{50 + 10 * n}\tNaN\t4000\n" for n, b in enumerate(BVALUES)
)
SCHEDULE = "flip_angle\trepetition_time\techo_time\tinversion_time\n" + "10\t0.01\t0.003\tn/a\n" * len(BVALUES)
PARTICIPANTS = "participant_id\tsex\tage\nsub-01\tF\t31\nsub-02\tM\tn/a\n"
FILTERS = {"dwi": {"run": ["1", "2"], "session": None, "acquisition": "*"}, "bold": {"task": "rest"}}
PLUGIN = "plugin: MultiProc\nplugin_args: {n_procs: 2, memory_gb: 4.0, maxtasksperchild: 1}\n"
CLUSTER = "cluster: dask_jobqueue.SLURMCluster\nworkers: 2\nkeywords: {cores: 1, memory: 2GB}\n"


@dataclass(frozen=True)
class Target:
    """One kind of file: what reads it, and examples to start from."""

    read: object
    seeds: tuple[bytes, ...]


def image_bytes(n_volumes=6):
    """A small NIfTI."""
    data = np.arange(1, np.prod(SHAPE) * n_volumes + 1, dtype=np.int16).reshape(*SHAPE, n_volumes)
    return nib.Nifti1Image(data, np.diag([2, 2, 2, 1.0])).to_bytes()


def make_study(root):
    """A dataset of one participant and one file whose volumes differ in b and echo time."""
    folder = root / "sub-01" / "dwi"
    folder.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "fuzz", "BIDSVersion": "1.10.0"}')
    files = {
        "sub-01_dwi.nii": image_bytes(),
        "sub-01_dwi.json": json.dumps(SIDECAR).encode(),
        "sub-01_dwi.bval": " ".join(map(str, BVALUES)).encode(),
        "sub-01_dwi.bvec": "\n".join(DIRECTIONS).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder, files


def _numbered(seeds):
    return tuple(bytes([n]) + seed for n, seed in enumerate(seeds))


def nifti(folder):
    """Images, plain or compressed: grid and all volumes."""

    def read(data):
        name, content = [("x.nii", data[1:]), ("x.nii.gz", gzip.compress(data[1:], 1)), ("x.nii.gz", data[1:])][
            data[0] % 3 if data else 0
        ]
        (folder / name).write_bytes(content)
        read_grid(folder / name)
        for volume in iterate_volumes(folder / name):
            assert volume.dtype == np.float32

    image = image_bytes()
    pair = nib.Nifti2Image(np.ones(SHAPE, np.float64), np.eye(4)).to_bytes()
    return Target(read, (b"\0" + image, b"\1" + image, b"\2" + gzip.compress(image), b"\0" + pair))


def study(folder):
    """A whole participant with one of its files spoilt: planned, checked, and its signals read."""
    place, files = make_study(folder / "bids")
    layout = open_layout(folder / "bids")
    names = list(files)

    def read(data):
        number = data[0] % (len(names) + 1) if data else 0
        spoilt = place / ([*names, "sub-01_acqparams.tsv"][number])
        spoilt.write_bytes(data[1:])
        try:
            plan = plan_participant(layout, "01")
            check_feasible(plan)
            (checked,) = check_inputs_of([plan], folder / "out", 1)
            if isinstance(checked, Exception):
                raise checked
            for part in plan.series:
                json.dumps(part.series.to_json(), ensure_ascii=False).encode()
                load_signals(part.series, np.ones(series_shape(part.series), bool))
        finally:
            spoilt.unlink() if spoilt.name not in files else spoilt.write_bytes(files[spoilt.name])

    return Target(read, _numbered([*files.values(), ACQPARAMS.encode()]))


def tables(folder):
    """Volume tables, schedules, participants.tsv, tables of an output folder."""
    readers = {
        "x_acqparams.tsv": lambda path: read_volume_table(path, len(BVALUES)),
        "x_schedule.tsv": lambda path: read_schedule(path, len(BVALUES)),
        "participants.tsv": lambda path: read_participants(path.parent),
        "out.tsv": read_table,
    }

    def read(data):
        name = list(readers)[data[0] % len(readers) if data else 0]
        (folder / name).write_bytes(data[1:])
        readers[name](folder / name)

    return Target(read, _numbered([text.encode() for text in (ACQPARAMS, SCHEDULE, PARTICIPANTS, PARTICIPANTS)]))


def workflow(folder):
    """Workflow files and ``--set``: settings, and the plan they make of a participant."""
    make_study(folder / "bids")
    layout, path = open_layout(folder / "bids"), folder / "flow.toml"

    def read(data):
        if data[:1] == b"\1":
            overrides = data[1:].decode("utf-8", "replace").split("\n")
            load_options(None, overrides)
            check_feasible(plan_participant(layout, "01", overrides=overrides))
            return
        path.write_bytes(data[1:])
        options = load_options(path)
        (folder / "again.toml").write_text(options.to_toml(), encoding="utf-8")
        assert load_options(folder / "again.toml") == options
        check_feasible(plan_participant(layout, "01", workflow=path))

    sets = b"\1kernel.points=[6, 6]\nnnls.regions.slow.diffusivity=[0.1, 1]\nmask.source=/x/{subject}_mask.nii.gz"
    return Target(read, (sets, b"\1noise.method=0.1", *(b"\0" + path.read_bytes() for path in list_workflows())))


def run_file(folder):
    """``--config-file`` and ``--bids-filter-file``."""
    path, images = folder / "mrspec_prep.toml", [Path("sub-01/dwi/sub-01_run-1_dwi.nii.gz")]

    def read(data):
        path.write_bytes(data[1:])
        if data[:1] == b"\1":
            filter_images(images, read_json(path))
            return
        words = [str(folder / "bids"), str(folder / "out"), "participant", "--config-file", str(path)]
        settings = run_settings(build_parser().parse_args(words))
        load_options(None, settings.overrides)
        settings.to_toml().encode()
        filter_images(images, settings.filters)

    plain = b'[run]\nversion = "0.1"\nparticipant_label = ["01"]\nsession_label = []\nderivatives = {masks = "/x"}\n'
    plain += b'workflow = "t2star-adc_inspect"\noverrides = ["nnls.alpha=0.1"]\nrandom_seed = 3\ndevice = "cpu"\n'
    return Target(read, (b"\0" + plain + b'filters = "{\\"dwi\\": {}}"\n', b"\1" + json.dumps(FILTERS).encode()))


def plugin(folder):
    """``--use-plugin`` and ``--dask`` files."""
    path, resources = folder / "x.yml", Resources(2, 1, 4.0, "")

    def read(data):
        path.write_bytes(data[1:])
        check_dask(str(path)) if data[:1] == b"\1" else plugin_of(path, resources)

    return Target(read, _numbered([PLUGIN.encode(), CLUSTER.encode()]))


class _Fit:
    """What ``write_nnls_spectra`` writes."""

    def __init__(self, n_voxels, n_bins):
        self.alpha, self.gap, self.converged = 0.01, np.zeros(n_voxels), np.ones(n_voxels, bool)
        self.dual, self.basis = np.ones((n_voxels, 2)), np.ones((2, n_bins))


def h5(folder):
    """Spectra and compressed signals, as another site gives them."""
    grid = Grid(diffusivity=np.array([0.1, 1.0, 3.0]), t2star=np.array([20.0, 60.0]))
    encodings = Encodings(
        bvalue=np.array(BVALUES, float), echo_time=np.array(SIDECAR["EchoTime"]) * 1e3, direction=None
    )
    projection = np.linalg.qr(np.random.default_rng(0).normal(size=(len(BVALUES), 2)))[0]
    protocol = CompressedProtocol({"name": "adc-t2star"}, encodings, grid, projection, np.array([2.0, 1.0]))
    roi, about = np.ones(SHAPE, bool), {"Sources": [], "OptionsHash": "x", "Seed": 0, "Kernel": "adc-t2star"}
    more = {"Datatype": "dwi", "Suffix": "dwi", "NoiseDistribution": "gaussian", "SignalsAre": "magnitudes"}
    n = roi.size
    paths = [folder / name for name in ("c_spectra.h5", "n_spectra.h5", "k_spectra.h5")]
    write_compressed(
        paths[0], signals=np.ones((n, 2)), sigma=np.ones(n), outside=np.zeros(n), roi=roi, affine=np.eye(4),
        protocol=protocol, metadata=about | more,
    )  # fmt: skip
    write_nnls_spectra(paths[1], _Fit(n, grid.n_bins), roi, grid, about)
    write_cluster_spectra(paths[2], np.ones((2, grid.n_bins)), grid, weights=[0.5, 0.5], peaks=[[], []], metadata=about)
    seeds = _numbered([path.read_bytes() for path in paths])

    def compressed(path):
        found = read_compressed(path)
        check_sigma(found.header)
        assert found.roi.sum() == len(found.signals)
        np.asarray(found.signals).sum()
        read_protocol(path)

    def voxelwise(path):
        read_mean_spectrum(path)
        read_nnls_spectra(path).spectra()

    readers = (compressed, voxelwise, read_cluster_spectra)

    def read(data):
        number = data[0] % 3 if data else 0
        paths[number].write_bytes(data[1:])
        readers[number](paths[number])

    return Target(read, seeds)


def weights(folder):
    """Weights of networks: arrays and manifest."""
    path = folder / "w.npz"
    write_weights(path, {"layer": np.ones((3, 2)), "bias": np.zeros(2)}, {"protocol": "x", "about": {"n": 1}})
    files = {path: path.read_bytes(), path.with_suffix(".toml"): path.with_suffix(".toml").read_bytes()}

    def read(data):
        import hashlib

        spoilt = list(files)[data[0] % 2 if data else 0]
        for name, content in files.items():
            name.write_bytes(content)
        spoilt.write_bytes(data[1:])
        if spoilt == path:  # a stranger would write the right checksum
            path.with_suffix(".toml").write_text(f'sha256 = "{hashlib.sha256(data[1:]).hexdigest()}"\n')
        read_weights(path)

    return Target(read, _numbered(files.values()))


def output(folder):
    """What lies in an output folder: records of finished participants, its description, sidecars of maps."""
    out = folder / "out"
    log = out / "sub-01" / "log"
    log.mkdir(parents=True)
    (out / "sub-01" / "dwi").mkdir()
    (out / "sub-01.html").write_text("")
    image = out / "sub-01" / "dwi" / "sub-01_dwimap.nii.gz"
    image.write_bytes(gzip.compress(image_bytes(1)))
    outside = folder / "elsewhere" / "dwi" / "keep.txt"
    outside.parent.mkdir(parents=True)
    names = [log / "finished.json", out / "dataset_description.json", image.with_name("sub-01_dwimap.json")]

    def read(data):
        outside.write_text("")
        path = names[data[0] % 3 if data else 0]
        path.write_bytes(data[1:])
        try:
            finished_key(out, "01")
            remove_stale(out, "01", set())
            forget_finished(out, "01")
            start_dataset(out, folder, {"masks": folder})
            read_map(image)
        finally:
            path.unlink(missing_ok=True)
        assert outside.exists()

    record = {"key": "ab", "files": ["sub-01/dwi/sub-01_dwimap.json", "../elsewhere/dwi/x.txt"]}
    links = {"Name": "x", "BIDSVersion": "1.10.0", "DatasetLinks": {"raw": "../bids", "web": "https://x.org"}}
    sidecar = {"MapKey": "t2", "Sources": ["bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"]}
    return Target(read, _numbered([json.dumps(content).encode() for content in (record, links, sidecar)]))


TARGETS = {
    make.__name__.replace("_", "-"): make
    for make in (nifti, study, tables, workflow, run_file, plugin, h5, weights, output)
}
