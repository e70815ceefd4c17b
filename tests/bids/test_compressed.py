"""Compressed signals on disk: what goes in comes out, unread until needed; what is damaged is refused in words."""

import os
import tracemalloc

import h5py
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.output.compressed import (
    CompressedProtocol,
    read_compressed,
    read_header,
    read_protocol,
    write_compressed,
)
from mrspec_prep.bids.output.compressed_checks import check_sigma
from mrspec_prep.physics import default_grid, kernel_matrix
from mrspec_prep.physics.hashes import grid_hash, protocol_hash
from mrspec_prep.spectra.compression.truncation import truncate_kernel
from tests.bids.compressed_files import ABOUT, damage, set_attribute, small_protocol, write_small
from tests.spectra.conftest import placenta_protocol


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sub-01/dwi/sub-01_model-adct2star_desc-compressed_spectra.h5"


def test_what_goes_in_comes_out(path):
    written = write_small(path, distribution="student-t", degrees_of_freedom=5)
    found = read_compressed(path)
    for name in ("signals", "sigma", "outside"):
        np.testing.assert_array_equal(getattr(found, name), written[name])
        assert isinstance(getattr(found, name), np.memmap) and not getattr(found, name).flags.writeable
    np.testing.assert_array_equal(found.roi, written["roi"])
    header, protocol = found.header, written["protocol"]
    assert (header.n_voxels, header.n_ranks, header.n_encodings, header.kernel) == (10, 8, 24, "adc-t2star")
    assert (header.distribution, header.degrees_of_freedom, header.shape) == ("student-t", 5, (4, 3, 2))
    np.testing.assert_array_equal(header.affine, written["affine"])
    assert header.about["Sources"] == ABOUT["Sources"]
    assert found.protocol.encodings == protocol.encodings
    np.testing.assert_array_equal(found.protocol.projection, protocol.projection)
    np.testing.assert_allclose(found.protocol.grid.diffusivity, protocol.grid.diffusivity, rtol=1e-14)
    assert np.isfinite(found.signals).all()


def test_the_same_content_gives_the_same_bytes(path):
    write_small(path)
    first = path.read_bytes()
    write_small(path)
    assert path.read_bytes() == first


def test_the_sidecar_says_what_it_is(path):
    written = write_small(path)
    sidecar, header = read_json(path.with_suffix(".json")), read_header(path)
    assert sidecar["NVoxels"] == len(written["signals"])
    assert sidecar["BytesPerVoxel"] == pytest.approx(path.stat().st_size / 10, abs=0.1)
    assert (sidecar["GridHash"], sidecar["ProtocolHash"]) == (header.grid_hash, header.protocol_hash)
    assert {"Units", "Description", "Sources", "SoftwareVersion", "OptionsHash"} <= set(sidecar)


def test_links_and_relative_paths_are_fine(path, monkeypatch):
    write_small(path)
    elsewhere = path.with_name("content.h5")
    path.rename(elsewhere)
    path.symlink_to(elsewhere.name)
    monkeypatch.chdir(path.parent)
    assert read_compressed(path.name).signals.shape == (10, 8)


def test_a_region_without_voxels_can_be_read(path):
    write_small(path, n_voxels=0)
    assert read_compressed(path).signals.shape == (0, 8)


def test_every_cut_is_refused(path):
    write_small(path)
    whole = path.read_bytes()
    for length in (0, 1, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"truncated|empty") as refused:
            read_header(path)
        assert refused.value.file == path and refused.value.remedy


def test_what_is_no_hdf5_or_not_there_is_refused(path):
    path.parent.mkdir(parents=True)
    path.write_text("not found\n" * 100)
    with pytest.raises(InputError, match="no HDF5"):
        read_header(path)
    path.unlink()
    with pytest.raises(InputError, match="not here"):
        read_header(path)
    path.symlink_to("nowhere.h5")
    with pytest.raises(InputError, match="datalad get"):
        read_header(path)


@pytest.mark.parametrize(("number", "remedy"), [(0, "participant level again"), (2, "group level with that version")])
def test_another_format_is_refused(path, number, remedy):
    write_small(path)
    set_attribute(path, "format", number)
    with pytest.raises(InputError, match=f"format {number}.*{remedy}"):
        read_header(path)


def test_no_sigma_is_refused(path):
    write_small(path)
    damage(path, "sigma")
    with pytest.raises(InputError, match="no array sigma"):
        read_header(path)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0, -1])
def test_a_sigma_that_is_none_is_refused(path, wrong):
    written = write_small(path)
    written["sigma"][3] = wrong
    damage(path, "sigma", written["sigma"])
    with pytest.raises(InputError, match="voxel 3, 1 such"):
        check_sigma(read_header(path))


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("signals", np.zeros((10, 8)), {}),
        ("signals", np.zeros((10, 8), np.float32), {"chunks": (5, 8), "compression": "gzip"}),
        ("signals", np.zeros((10, 8), np.float32), {"external": "/etc/hostname"}),
        ("signals", np.zeros((9, 8), np.float32), {}),
        ("signals", np.zeros((10, 7), np.float32), {}),
        ("outside", None, {}),
        ("roi", np.full(3, 255, np.uint8), {}),
        ("projection_row", np.zeros(24), {}),
        ("roi", np.zeros(300, np.uint8), {}),
        ("axes/t2star", None, {}),
        ("axes/t2star", np.array([0.1, 0.05]), {}),
        ("about", np.frombuffer(b"[1]", np.uint8), {}),
        ("kernel_settings", np.frombuffer(b'{"name"', np.uint8), {}),
    ],
)
def test_content_that_contradicts_itself_is_refused(path, name, values, options):
    write_small(path)
    damage(path, name, values, **options)
    with pytest.raises(InputError, match=r"damaged"):
        read_header(path)


@pytest.mark.parametrize("name", ["encodings/echo_time", "projection"])
def test_another_protocol_than_the_hash_says_is_refused(path, name):
    written = write_small(path)
    protocol = written["protocol"]
    changed = np.unique(protocol.projection, axis=0)[:, ::-1]
    damage(path, name, {"encodings/echo_time": protocol.encodings.echo_time + 1, "projection": changed}[name])
    with pytest.raises(InputError, match="hash"):
        read_protocol(path)


def test_rows_of_the_projection_that_are_not_there_are_refused(path):
    write_small(path)
    damage(path, "projection_row", np.full(24, 24, "<i4"))
    with pytest.raises(InputError, match="rows that are not there"):
        read_protocol(path)


@pytest.mark.parametrize("box", [[[0, 4], [0, 3], [1, 0]], [[-1, 4], [0, 3], [0, 2]], [[0, 9], [0, 3], [0, 2]]])
def test_a_box_outside_the_image_is_refused(path, box):
    write_small(path)
    set_attribute(path, "box", np.array(box, "<i8"))
    with pytest.raises(InputError, match="box"):
        read_header(path)


@pytest.mark.parametrize("shape", [(40_000, 9, 9), (32_000, 32_000, 32_000)])
def test_an_image_that_no_file_could_hold_is_refused(path, shape):
    write_small(path)
    with h5py.File(path, "r+") as file:
        file.attrs["shape"] = np.array(shape, "<i8")
    with pytest.raises(InputError, match="truncated or damaged.*an image of"):
        read_header(path)


def test_an_affine_that_maps_nowhere_is_refused(path):
    write_small(path)
    set_attribute(path, "affine", np.diag([2.0, 2.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="affine"):
        read_header(path)


def test_lengths_that_lie_take_no_memory(path):
    """A header that promises terabytes is compared with the file, not believed."""
    write_small(path)
    with h5py.File(path, "r+") as file:
        for name in ("signals", "sigma", "outside"):
            del file[name]
        space = h5py.h5s.create_simple((1 << 40, 8))
        making = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        making.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        h5py.h5d.create(file.id, b"signals", h5py.h5t.IEEE_F32LE, space, making)
        file.attrs["shape"] = np.array([1 << 20, 1 << 20, 1], "<i8")
        file.attrs["box"] = np.array([[0, 1 << 20], [0, 1 << 20], [0, 1]], "<i8")
    tracemalloc.start()
    with pytest.raises(InputError, match="ends at byte"):
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_kernel_too_large_to_compute_is_refused(path):
    write_small(path)
    damage(path, "axes/t2star", np.geomspace(1e-3, 1, 3_600_000))
    with pytest.raises(InputError, match="a kernel of 24 x 21600000"):
        read_header(path)


def test_flipped_bits_never_end_in_another_error(path):
    write_small(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            changed[position] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            read_protocol(path)
        except InputError:
            continue


def test_headers_are_read_without_the_signals(path):
    protocol, n_voxels = small_protocol(), 400_000
    write_compressed(
        path,
        signals=np.ones((n_voxels, 8), np.float32),
        sigma=np.ones(n_voxels),
        outside=np.zeros(n_voxels),
        roi=np.ones((100, 100, 40), bool),
        affine=np.eye(4),
        protocol=protocol,
        metadata=ABOUT,
    )
    assert path.stat().st_size < n_voxels * (4 * 8 + 8 + 1 / 8) + 20_000
    tracemalloc.start()
    read_compressed(path)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_a_path_without_permission_is_refused(path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write_small(path)
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        read_header(path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"distribution": "rician"}, "must be one of"),
        ({"distribution": "student-t"}, "degrees of freedom"),
        ({"degrees_of_freedom": 4}, "degrees of freedom"),
    ],
)
def test_noise_laws_that_do_not_hold_are_not_written(path, more, message):
    with pytest.raises(ValueError, match=message):
        write_small(path, **more)
    assert not path.exists()


def test_hashes_forgive_rounding_and_directions_but_no_more():
    protocol = small_protocol()
    grid = type(protocol.grid)(
        **{n: a * (1 + 1e-13) for n, a in zip(protocol.grid.names, protocol.grid.axes, strict=True)}
    )
    assert grid_hash(grid) == grid_hash(protocol.grid)
    assert grid_hash(small_protocol(points=(6, 8)).grid) != grid_hash(protocol.grid)
    parts = (protocol.kernel_settings, protocol.encodings, protocol.projection)
    first = protocol_hash(*parts)
    turned = type(protocol.encodings)(
        bvalue=protocol.encodings.bvalue, echo_time=protocol.encodings.echo_time, direction=np.full((24, 3), 3**-0.5)
    )
    assert protocol_hash(parts[0] | {"points": [9, 9]}, turned, parts[2] * (1 + 1e-12)) == first
    assert protocol_hash(parts[0] | {"efficiency": 0.9}, *parts[1:]) != first
    assert protocol_hash(parts[0], protocol.encodings.take(slice(None, None, -1)), parts[2]) != first
    assert protocol_hash(*parts[:2], parts[2][:, :7]) != first


def test_the_placenta_protocol_takes_at_most_200_bytes_a_voxel(path):
    """From 20,000 voxels on, in an organ that fills a small part of the image; the limit counts the whole file."""
    encodings = placenta_protocol()
    grid = default_grid(("diffusivity", "t2star"), encodings)
    truncated = truncate_kernel(kernel_matrix("adc-t2star", encodings, grid))
    assert truncated.n_ranks == 47
    settings = {"name": "adc-t2star", "points": [], "spacing": "log", "bounds": {}}
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (120, 120, 60)), indexing="ij")
    roi = sum(axis**2 for axis in axes) < 0.14
    n_voxels = int(roi.sum())
    assert 20_000 < n_voxels < 25_000
    write_compressed(
        path,
        signals=np.ones((n_voxels, 47)),
        sigma=np.ones(n_voxels),
        outside=np.ones(n_voxels),
        roi=roi,
        affine=np.eye(4),
        protocol=CompressedProtocol(settings, encodings, grid, truncated.projection, truncated.singular_values),
        metadata=ABOUT,
    )
    assert path.stat().st_size <= 200 * n_voxels
    np.testing.assert_array_equal(read_compressed(path).roi, roi)
