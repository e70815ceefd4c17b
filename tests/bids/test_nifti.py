import gzip
import resource
import struct

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids import nifti
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.nifti import iterate_volumes, open_image, read_grid


def write(path, data=None, dtype=np.int16, slope=None, inter=0.0):
    """NIfTI of stored values ``data`` with the scaling given."""
    data = np.arange(3 * 4 * 2 * 5).reshape(3, 4, 2, 5) if data is None else data
    image = nib.Nifti1Image(np.asarray(data, dtype), np.diag([2, 2, 2, 1.0]))
    image.to_filename(path)
    if slope is not None:
        patch(path, 112, struct.pack("<2f", slope, inter))
    return path


def patch(path, offset, content):
    """Overwrite bytes of the header (or data) of a NIfTI file, compressed or not."""
    packed = path.name.endswith(".gz")
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))


def volumes(path):
    return np.stack(list(iterate_volumes(path)), axis=-1)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64])
def test_volumes_are_what_nibabel_reads(tmp_path, ending, dtype):
    path = write(tmp_path / f"x{ending}", dtype=dtype)
    got = volumes(path)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, nib.load(path).get_fdata())


@pytest.mark.parametrize(("slope", "inter"), [(0.5, 0.0), (2.25, -100.0), (1.0, 7.0)])
def test_scanner_integers_are_scaled(tmp_path, slope, inter):
    path = write(tmp_path / "x.nii.gz", slope=slope, inter=inter)
    np.testing.assert_allclose(volumes(path), np.arange(120).reshape(3, 4, 2, 5) * slope + inter, rtol=1e-6)


def test_a_slope_of_zero_means_no_scaling(tmp_path):
    np.testing.assert_array_equal(volumes(write(tmp_path / "x.nii", slope=0.0)).ravel()[:3], [0, 1, 2])


def test_other_byte_order(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=">i2").reshape(3, 4, 2), np.eye(4), nib.Nifti1Header(endianness=">"))
    image.header.set_data_dtype(">i2")
    image.to_filename(tmp_path / "x.nii")
    np.testing.assert_array_equal(volumes(tmp_path / "x.nii").ravel(), np.arange(24))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 1)])
def test_one_volume_in_any_number_of_dimensions(tmp_path, shape):
    path = write(tmp_path / "x.nii.gz", np.ones(shape))
    grid = read_grid(path)
    assert grid.shape == (*shape, 1)[:3]
    assert grid.n_volumes == 1
    assert volumes(path).shape == (*grid.shape, 1)


def test_values_too_large_for_float32_become_infinite(tmp_path):
    path = write(tmp_path / "x.nii", np.full((2, 2, 2), 1e300), dtype=np.float64)
    assert np.isinf(volumes(path)).all()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 3, 100, 347, 360, 0.5, 0.98])
def test_truncated_files_are_refused_from_their_header(tmp_path, ending, kept):
    rng = np.random.default_rng(0)
    path = write(tmp_path / f"x{ending}", rng.integers(0, 30000, (20, 20, 5, 4)))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InputError, match="empty|truncated") as caught:
        read_grid(path)
    assert caught.value.file == path
    assert caught.value.remedy


def test_compressed_data_that_are_damaged_inside_are_refused_when_read(tmp_path):
    path = write(tmp_path / "x.nii.gz", np.random.default_rng(0).integers(0, 30000, (20, 20, 5, 4)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="truncated or corrupt"):
        volumes(path)


def test_a_wrong_check_sum_is_found(tmp_path):
    path = write(tmp_path / "x.nii.gz", np.random.default_rng(0).integers(0, 30000, (20, 20, 5, 4)))
    content = bytearray(path.read_bytes())
    content[-8] ^= 255
    path.write_bytes(bytes(content))
    assert open_image(path).shape == (20, 20, 5, 4)
    with pytest.raises(InputError, match="truncated or corrupt.*CRC"):
        volumes(path)


def test_a_file_cut_after_it_was_opened_names_the_volume(tmp_path, monkeypatch):
    path = write(tmp_path / "x.nii", np.ones((20, 20, 5, 4)))
    path.write_bytes(path.read_bytes()[: 352 + 2 * 2000 * 2 + 10])
    monkeypatch.setattr(nifti, "_check_header", lambda *_: None)
    with pytest.raises(InputError, match="the data end in volume 2 of 4"):
        volumes(path)


def test_several_gzip_streams_in_one_file_are_read(tmp_path):
    path = write(tmp_path / "x.nii.gz", np.arange(20000).reshape(10, 10, 10, 20))
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(b"".join(gzip.compress(raw[i : i + 9000]) for i in range(0, len(raw), 9000)))
    np.testing.assert_array_equal(volumes(path), np.arange(20000).reshape(10, 10, 10, 20))


def test_bytes_after_the_data_are_tolerated(tmp_path):
    path = write(tmp_path / "x.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(10000)))
    assert volumes(path).shape == (3, 4, 2, 5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [200, 2000, 30000])
def test_a_header_that_lies_about_its_size_does_not_fill_the_memory(tmp_path, ending, size):
    path = write(tmp_path / f"x{ending}", np.random.default_rng(0).integers(0, 30000, (20, 20, 5, 4)))
    patch(path, 40, struct.pack("<5h", 4, size, size, size, 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="truncated or its header wrong.*bytes promised"):
        open_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_lie_of_exactly_four_gigabytes_is_found(tmp_path):
    path = write(tmp_path / "x.nii.gz", np.ones((10, 10, 10)))
    patch(path, 40, struct.pack("<4h", 3, 2048, 2048, 512))
    with pytest.raises(InputError, match="4294967648 bytes promised"):
        open_image(path)


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (40, struct.pack("<6h", 5, 3, 4, 2, 1, 5), "must be 3-D, or 4-D"),
        (40, struct.pack("<5h", 4, 3, 0, 2, 5), "truncated or corrupt|must be 3-D"),
        (40, struct.pack("<5h", 4, 3, -4, 2, 5), "truncated or corrupt|must be 3-D"),
        (70, struct.pack("<h", 32), "no real numbers"),
        (70, struct.pack("<h", 128), "no real numbers"),
        (70, struct.pack("<h", 9999), "truncated or corrupt"),
        (280, struct.pack("<12f", *[np.nan] * 12), "affine cannot be inverted"),
        (280, bytes(48), "affine cannot be inverted"),
        (108, struct.pack("<f", -300.0), "truncated or"),
        (108, struct.pack("<f", 1e30), "truncated or"),
        (108, struct.pack("<f", np.nan), "truncated or"),
        (112, struct.pack("<2f", 2.0, np.nan), "truncated or corrupt"),
        (344, b"abcd", "truncated or corrupt"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, offset, content, message):
    path = write(tmp_path / "x.nii")
    patch(path, offset, content)
    with pytest.raises(InputError, match=message) as caught:
        open_image(path)
    assert caught.value.file == path


@pytest.mark.parametrize("content", [b"no image at all", b"\x1f\x8b", b"\x1f\x8b\x08\x00garbage", bytes(2000)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_what_is_no_nifti_is_refused(tmp_path, content, ending):
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or corrupt"):
        open_image(path)


def test_an_uncompressed_file_under_a_compressed_name(tmp_path):
    write(tmp_path / "x.nii").rename(tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="truncated or corrupt"):
        open_image(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_random_damage_is_refused_in_words_or_harmless(tmp_path, ending):
    rng = np.random.default_rng(1)
    path = write(tmp_path / f"x{ending}")
    good, refused = path.read_bytes(), 0
    for _ in range(300):
        bad = bytearray(good)
        where = rng.integers(0, len(bad), size=rng.integers(1, 12))
        bad[int(where[0]) % len(bad)] ^= int(rng.integers(1, 256))
        for place in where[1:]:
            bad[place] = int(rng.integers(256))
        path.write_bytes(bytes(bad))
        try:
            assert volumes(path).dtype == np.float32
        except InputError as error:
            assert error.remedy
            refused += 1
    assert refused > 20


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="not here"):
        open_image(tmp_path / "x.nii.gz")


def test_no_permission_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "x.nii.gz")

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match="no permission to read.*chmod"):
        open_image(path)


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "x.nii.gz").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        open_image(tmp_path / "x.nii.gz")
