"""Headers that lie and files that unpack to gigabytes: refused before memory or time is spent."""

import gzip
import os
import resource
import struct
import zipfile
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from benchmarks.fuzz_targets import image_bytes, make_study
from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.nifti import iterate_volumes, open_image, read_grid
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra
from mrspec_prep.cli.plugin_file import read_plugin
from mrspec_prep.cli.run import run
from mrspec_prep.networks import weights
from mrspec_prep.networks.weights import WeightsError, read_weights
from mrspec_prep.options import OptionsError, load_options
from mrspec_prep.workflows.planning.feasibility import check_memory
from mrspec_prep.workflows.planning.participant import plan_participant

ZEROS = gzip.compress(bytes(1 << 20), 9)  # a megabyte; streams may follow one another


@pytest.fixture(autouse=True)
def little_memory():
    """Half a gigabyte more than there is now, or MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    earlier = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), earlier[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, earlier)


def patched(offset, content, raw=None):
    raw = bytearray(image_bytes() if raw is None else raw)
    raw[offset : offset + len(content)] = content
    return bytes(raw)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (40, struct.pack("<8h", 4, 30000, 30000, 30000, 6, 1, 1, 1)),
        (40, struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)),
        (108, struct.pack("<f", 1e18)),
        (108, struct.pack("<f", float("nan"))),
        (108, struct.pack("<f", -352.0)),
        (70, struct.pack("<2h", 1536, 128)),
    ],
)
def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path, ending, offset, content):
    path, raw = tmp_path / f"x{ending}", patched(offset, content)
    path.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    with pytest.raises(InputError, match="Remedy"):
        list(iterate_volumes(path))


@pytest.mark.parametrize("length", [2**30, 7, -8, 0])
def test_extensions_whose_lengths_lie_are_refused_before_they_are_unpacked(tmp_path, length):
    head = patched(108, struct.pack("<f", 352.0 + 2**31))[:348] + b"\1\0\0\0"
    small = patched(108, struct.pack("<f", 352.0 + 64))[:348] + b"\1\0\0\0"
    for start in (head, small):
        path = tmp_path / "x.nii.gz"
        path.write_bytes(gzip.compress(start + struct.pack("<2i", length, 4)) + ZEROS * 700)
        with pytest.raises(InputError, match="extension"):
            open_image(path)


def test_a_true_extension_is_read(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 2, 2)), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"scanned twice"))
    for ending in (".nii", ".nii.gz"):
        image.to_filename(tmp_path / f"x{ending}")
        assert read_grid(tmp_path / f"x{ending}").shape == (2, 2, 2)


@pytest.mark.parametrize("n_megabytes", [3000, 4096])
def test_what_goes_on_for_gigabytes_behind_the_data_is_refused_at_once(tmp_path, n_megabytes):
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(image_bytes()) + ZEROS * n_megabytes)
    with pytest.raises(InputError, match="goes on behind"):
        list(iterate_volumes(path))


def test_an_image_larger_than_the_memory_is_refused_by_its_header(tmp_path):
    folder, _ = make_study(tmp_path / "bids")
    plan = plan_participant(open_layout(tmp_path / "bids"), "01")
    check_memory(plan, 1.0)
    with pytest.raises(InputError, match="needs at least .* GB of memory, and this job has 1e-07 GB.*--mem"):
        check_memory(plan, 1e-7)


@pytest.mark.parametrize("name", ["x.nii", "x.json", "x.tsv"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="no plain file"):
        open_image(tmp_path / name) if name == "x.nii" else read_text(tmp_path / name, "this")
    (tmp_path / f"to_{name}").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no plain file"):
        open_image(tmp_path / f"to_{name}") if name == "x.nii" else read_text(tmp_path / f"to_{name}", "this")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"EchoTime": ' + "1" * 5000 + "}", "thousands of digits"),
        ('{"MultipartID": "\\ud800"}', "half of a character"),
        ("[1]", "must hold an object"),
    ],
)
def test_a_sidecar_that_no_reader_should_have_to_bear_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nplugin: MultiProc\nplugin_args: [*b, *b]\n",
        "plugin: " + "[" * 3_000,
        "plugin: !!python/object/apply:os.system [true]\n",
        "plugin: 2001-99-99\n",
        "plugin: MultiProc\nplugin_args: {n_procs: many}\n",
        "plugin: MultiProc\nplugin_args: {memory_gb: -1}\n",
        "plugin: MultiProc\nplugin_args: {mp_context: telepathy}\n",
    ],
)
def test_a_plugin_file_that_does_more_than_name_settings_is_refused(tmp_path, text):
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(InputError):
        read_plugin(tmp_path / "x.yml")


@pytest.mark.parametrize(
    "override",
    [
        "inspect.n_clusters=[2, 1000000000]",
        "nnls.alpha=" + "9" * 400,
        "nnls.alpha=" + "9" * 5000,
        "kernel.points=" + "[" * 5000,
        "nnls.regions." + ".".join("a" * 3000) + "=1",
        "noise.n_coils=" + "9" * 400,
    ],
)
def test_a_setting_that_would_fill_the_memory_is_refused(override):
    with pytest.raises(OptionsError):
        load_options(None, [override])


def test_a_grid_that_would_fill_the_memory_is_refused(tmp_path):
    make_study(tmp_path / "bids")
    from mrspec_prep.workflows.planning.feasibility import check_feasible

    plan = plan_participant(open_layout(tmp_path / "bids"), "01", overrides=["kernel.points=[200000, 200000]"])
    with pytest.raises(InputError, match="too large to compute"):
        check_feasible(plan)


def test_spectra_that_would_unpack_to_gigabytes_or_lead_elsewhere_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("spectra", (50_000, 50_000), "f8", compression="gzip", chunks=(1000, 1000))
        file["axes/t2"] = [1.0, 2.0]
    with pytest.raises(InputError, match="would be 20000000000 bytes"):
        read_cluster_spectra(tmp_path / "x.h5")
    for kind, value in (
        ("external", h5py.ExternalLink("/etc/passwd", "x")),
        ("soft", h5py.SoftLink("/axes/t2")),
        ("reference", np.array([None], h5py.ref_dtype)),
        ("text", np.array([b"x"], object)),
    ):
        path = tmp_path / f"{kind}.h5"
        with h5py.File(path, "w") as file:
            if kind == "text":
                file.create_dataset("spectra", data=["x"], dtype=h5py.string_dtype())
            else:
                file["spectra"] = value
            file["axes/t2"] = [1.0, 2.0]
        with pytest.raises(InputError, match="no array of numbers of this file"):
            read_cluster_spectra(path)


def weights_file(path, content):
    import hashlib

    path.write_bytes(content)
    path.with_suffix(".toml").write_text(f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n')
    return path


def test_weights_of_pickles_lies_or_gigabytes_are_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "p.npz", x=np.array([{}], object))
    with pytest.raises(WeightsError, match="Remedy"):
        read_weights(weights_file(tmp_path / "w.npz", (tmp_path / "p.npz").read_bytes()))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\1\0v\0" + header)
    with pytest.raises(WeightsError, match="Remedy"):
        read_weights(weights_file(tmp_path / "w.npz", (tmp_path / "h.npz").read_bytes()))
    monkeypatch.setattr(weights, "LARGEST", 10_000)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(20_000))
    with pytest.raises(WeightsError, match="would unpack"):
        read_weights(weights_file(tmp_path / "w.npz", (tmp_path / "b.npz").read_bytes()))


def test_a_word_that_is_not_utf8_is_refused_before_anything_is_read(tmp_path, capsys):
    assert run([str(tmp_path), f"{tmp_path}/\udcff", "participant"]) == 2
    assert "not UTF-8 (found" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
