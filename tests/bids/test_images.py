from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import (
    check_roi,
    check_values,
    find_masks,
    load_mask,
    load_reference,
    load_signals,
)
from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.input.voxels import ImageTally, check_signals, find_voxels
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import SelectOptions

DATA = Path(__file__).parents[2].parent / "shared/data"
SHAPE = (3, 4, 2)
BVAL = (0, 1000, 0)
EVERYWHERE = np.ones(SHAPE, bool)


@pytest.fixture
def values():
    """Signals of two files of three volumes: (x, y, z, file, volume)."""
    return np.random.default_rng(0).uniform(50, 100, (*SHAPE, 2, 3)).astype(np.float32)


@pytest.fixture
def make_series(tiny):
    """Series of two dwi, TE 60 and 90 ms, three volumes each."""

    def make(values):
        for file, te in enumerate((60, 90)):
            name = f"sub-01/dwi/sub-01_acq-te{te}_dwi"
            tiny.image(name, data=values[..., file, :], bval=BVAL, sidecar={"EchoTime": te / 1000})
        return tiny.find()[0]

    return make


def mask_file(tiny, name, data, affine=None):
    return tiny.image(f"derivatives/masks/sub-01/dwi/{name}", data=data, dtype=np.uint8, affine=affine)


def test_signals_are_voxels_by_encodings_in_c_order(make_series, values):
    roi = np.random.default_rng(1).random(SHAPE) < 0.5
    signals = load_signals(make_series(values), roi)
    assert signals.dtype == np.float32
    assert signals.shape == (roi.sum(), 6)
    for voxel, (x, y, z) in enumerate(np.argwhere(roi)):
        np.testing.assert_array_equal(signals[voxel], values[x, y, z].ravel())


def test_signals_follow_a_restricted_series(make_series, values):
    series = make_series(values)
    kept = np.array([4, 0, 2])
    some = replace(series, volumes=series.volumes[kept], encodings=series.encodings.take(kept))
    np.testing.assert_array_equal(load_signals(some, EVERYWHERE), load_signals(series, EVERYWHERE)[:, kept])


def test_the_reference_is_the_mean_of_b0_at_the_shortest_echo(make_series, values):
    reference, affine, header = load_reference(make_series(values))
    np.testing.assert_allclose(reference, (values[..., 0, 0] + values[..., 0, 2]) / 2, rtol=1e-6)
    assert reference.dtype == np.float32
    np.testing.assert_array_equal(affine, np.diag([2, 2, 2, 1]))
    assert header.get_zooms()[:3] == (2, 2, 2)


def test_the_reference_holds_no_nan(make_series, values):
    values[0, 0, 0, 0, 0], values[1, 0, 0, 0, 2] = np.nan, np.inf
    reference, _, _ = load_reference(make_series(values))
    assert reference[0, 0, 0] == reference[1, 0, 0] == 0
    assert np.isfinite(reference).all()


def test_good_values_give_no_note(make_series, values):
    assert check_values(make_series(values), EVERYWHERE) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_bad", [1, 4, 5, 24])
def test_values_that_are_no_numbers(make_series, values, bad, n_bad):
    values.reshape(-1, 2, 3)[:n_bad, 1, 1] = bad
    series = make_series(values)
    if n_bad < 0.2 * 24:
        (note,) = check_values(series, EVERYWHERE)
        assert note == f"{n_bad} of 24 voxels were left out: {n_bad} with NaN or infinite values."
    else:
        with pytest.raises(InputError, match=r"te90.*NaN, infinite or non-positive.*voxel \[0, 0, 0\], volume 1"):
            check_values(series, EVERYWHERE)


def test_values_outside_the_region_do_not_matter(make_series, values):
    values[0, :, :, 1, 1] = np.nan
    roi = EVERYWHERE.copy()
    roi[0] = False
    assert check_values(make_series(values), roi) == []


@pytest.mark.parametrize("dark", [0.0, -3.0])
def test_voxels_without_reference_signal(make_series, values, dark):
    values[0, 0, 0, 0, [0, 2]] = dark
    (note,) = check_values(make_series(values), EVERYWHERE)
    assert note == "1 of 24 voxels were left out: 1 without positive reference signal."
    values[0, ..., 0, :][..., [0, 2]] = dark
    values[:2, ..., 0, 0], values[:2, ..., 0, 2] = dark, dark
    with pytest.raises(
        InputError, match=r"67% of the region.*te60.*volume 0|te60.*67% of the region.*volume 0"
    ) as caught:
        check_values(make_series(values), EVERYWHERE)
    assert "mask" in caught.value.remedy


def test_slightly_negative_diffusion_weighted_signals_are_noise(make_series, values):
    values[..., 1] = -0.5
    (note,) = check_values(make_series(values), EVERYWHERE)
    assert note == (
        "Voxels that stay, although they are zero or negative in some volumes: "
        "24 of sub-01_acq-te60_dwi.nii.gz, 24 of sub-01_acq-te90_dwi.nii.gz."
    )


def test_noise_about_nothing_and_weighted_images_of_zeros_are_signal(make_series, values):
    values[0, 0, 0, 1] = [-1, 2, -3]
    values[1, 0, 0, 1] = [-1, -2, -3]
    (note,) = check_values(make_series(values), EVERYWHERE)
    assert note.startswith("Voxels that stay") and "2 of sub-01_acq-te90" in note
    weighted = ImageTally(2, judged=False)
    unweighted = ImageTally(2)
    for volume, level in enumerate([5.0, 4.0]):
        weighted.add(volume, np.array([0.0, level]))
        unweighted.add(volume, np.array([level, level]), is_reference=True)
    usable, finding = find_voxels([unweighted, weighted], (0, 0))
    assert usable.all() and finding.n_lost == (0, 0) and finding.n_low == (0, 1)


def test_voxels_lost_in_one_image_are_left_out_and_single_values_stay(make_series, values):
    values[0, 0, 0, 1], values[1, 0, 0, 1] = 0, -5
    values[2, 0, 0, 0, 1], values[2, 1, 0, 1, :2] = 0, -1
    values[2, 3, 1, 0, 1] = np.nan
    lost, stay = check_values(make_series(values), EVERYWHERE)
    assert lost == (
        "3 of 24 voxels were left out: 1 with NaN or infinite values, "
        "2 at zero, or one negative value, in all volumes of sub-01_acq-te90_dwi.nii.gz."
    )
    assert stay.endswith("volumes: 1 of sub-01_acq-te60_dwi.nii.gz, 1 of sub-01_acq-te90_dwi.nii.gz.")
    values[:, 1, :, 1] = 0
    with pytest.raises(
        InputError, match=r"38% of .*first: voxel \[0, 0, 0\], volume 0.*9 of 24: 1 with NaN.*8 at zero, or"
    ):
        check_values(make_series(values), EVERYWHERE)


def test_a_volume_of_zeros_is_refused(make_series, values):
    values[..., 1, 2] = 0
    with pytest.raises(InputError, match=r"te90_dwi.nii.gz: volume 2 is zero.*\(found 1 such volumes\)"):
        check_values(make_series(values), EVERYWHERE)


def test_loaded_signals_are_checked_alike(make_series, values):
    values[..., 1, 2] = 0
    series = make_series(values)
    with pytest.raises(InputError, match="volume 2 is zero"):
        check_signals(series, load_signals(series, EVERYWHERE), EVERYWHERE)


def test_data_cut_short_are_refused(make_series, values):
    series = make_series(values)
    series.images[1].write_bytes(series.images[1].read_bytes()[:-30])
    with pytest.raises(InputError, match="te90.*truncated"):
        check_values(series, EVERYWHERE)


def test_a_damaged_check_sum_is_refused(make_series, values):
    series = make_series(values)
    content = bytearray(series.images[0].read_bytes())
    content[-8] ^= 255
    series.images[0].write_bytes(bytes(content))
    with pytest.raises(InputError, match="te60.*truncated or corrupt"):
        check_values(series, EVERYWHERE)


def test_regions_that_do_not_fit(make_series, values):
    series = make_series(values)
    with pytest.raises(InputError, match="another grid.*3 x 4 x 3 against 3 x 4 x 2"):
        check_values(series, np.ones((3, 4, 3), bool))
    with pytest.raises(InputError, match="is empty.*--mask"):
        check_roi(series, ~EVERYWHERE)


def test_masks_of_a_series_are_found_and_intersected(tiny, make_series, values):
    first, second = EVERYWHERE.copy(), EVERYWHERE.copy()
    first[0], second[:, 0] = False, False
    mask_file(tiny, "sub-01_acq-te60_desc-brain_mask", first)
    mask_file(tiny, "sub-01_acq-te90_desc-brain_mask", second)
    mask_file(tiny, "sub-01_acq-other_desc-brain_mask", ~EVERYWHERE)
    tiny.image("derivatives/masks/sub-02/dwi/sub-02_desc-brain_mask")
    tiny.image("derivatives/masks/sub-01/anat/sub-01_desc-brain_mask")
    series = make_series(values)
    masks = find_masks(series, [tiny.root / "derivatives" / "masks", str(tiny.root / "nowhere")])
    assert [path.name for path in masks] == [f"sub-01_acq-te{te}_desc-brain_mask.nii.gz" for te in (60, 90)]
    np.testing.assert_array_equal(load_mask(masks, series), first & second)


def test_masks_of_a_layout(tiny, make_series, values):
    mask_file(tiny, "sub-01_desc-brain_mask", EVERYWHERE)
    tiny.json("derivatives/masks/dataset_description.json", {"Name": "masks", "BIDSVersion": "1.10.0"})
    layout = open_layout(tiny.root / "derivatives" / "masks", ["01"])
    assert [path.name for path in find_masks(make_series(values), [layout])] == ["sub-01_desc-brain_mask.nii.gz"]


def test_masks_follow_the_session(tiny):
    for session in ("1", "2"):
        stem = f"sub-01/ses-{session}/dwi/sub-01_ses-{session}"
        tiny.image(f"{stem}_dwi", 2, bval=[0, 1000], sidecar={"EchoTime": 0.06})
        tiny.image(f"derivatives/masks/{stem}_desc-brain_mask")
    for series in tiny.find():
        (mask,) = find_masks(series, [tiny.root / "derivatives" / "masks"])
        assert f"ses-{series.session}" in mask.name


def test_no_mask(tiny, make_series, values):
    assert find_masks(make_series(values), [tiny.root]) == []


def test_several_kinds_of_masks_are_refused(tiny, make_series, values):
    mask_file(tiny, "sub-01_desc-brain_mask", EVERYWHERE)
    mask_file(tiny, "sub-01_desc-lesion_mask", EVERYWHERE)
    with pytest.raises(InputError, match="several kinds of masks.*desc-lesion.*--mask"):
        find_masks(make_series(values), [tiny.root / "derivatives" / "masks"])


def test_a_mask_in_another_space_gives_way(tiny, make_series, values):
    mask_file(tiny, "sub-01_desc-brain_mask", EVERYWHERE)
    mask_file(tiny, "sub-01_space-MNI_desc-brain_mask", EVERYWHERE)
    (mask,) = find_masks(make_series(values), [tiny.root / "derivatives" / "masks"])
    assert mask.name == "sub-01_desc-brain_mask.nii.gz"


def test_masks_by_pattern(tiny, make_series, values):
    mask_file(tiny, "sub-01_desc-brain_mask", EVERYWHERE)
    series, folder = make_series(values), f"{tiny.root}/derivatives/masks/sub-{{subject}}/dwi"
    assert len(find_masks(series, [], f"{folder}/sub-{{subject}}_desc-brain_mask.nii.gz")) == 1
    assert len(find_masks(series, [], f"{folder}/*_mask.nii.gz")) == 1
    with pytest.raises(InputError, match="nothing.nii.gz: no file of this name"):
        find_masks(series, [], f"{folder}/nothing.nii.gz")
    for wrong in ("{colour}.nii", "{.nii", "{}.nii"):
        with pytest.raises(InputError, match="cannot be filled in.*{subject} and {session}"):
            find_masks(series, [], wrong)


def test_relative_patterns_start_here(tiny, make_series, values, monkeypatch):
    mask = mask_file(tiny, "sub-01_desc-brain_mask", EVERYWHERE)
    monkeypatch.chdir(mask.parent)
    assert find_masks(make_series(values), [], "sub-{subject}_*_mask.nii.gz")[0].samefile(mask)


@pytest.mark.parametrize(
    ("data", "affine", "message"),
    [
        (np.zeros(SHAPE), None, "the mask is empty"),
        (np.full(SHAPE, np.nan), None, "the mask is empty"),
        (np.ones((3, 4, 3)), None, "not on the grid of sub-01_acq-te60.*3 x 4 x 3"),
        (np.ones(SHAPE), np.diag([2, 2, 2.01, 1]), "not on the grid.*affines differ by 0.01"),
        (np.ones((*SHAPE, 2)), None, "must hold one volume"),
    ],
)
def test_masks_that_do_not_fit(tiny, make_series, values, data, affine, message):
    mask = tiny.image("mask", data=data, affine=affine)
    with pytest.raises(InputError, match=message):
        load_mask([mask], make_series(values))


def test_masks_without_common_voxel(tiny, make_series, values):
    half = EVERYWHERE.copy()
    half[0] = False
    masks = [tiny.image("a", data=half), tiny.image("b", data=~half)]
    with pytest.raises(InputError, match="no voxel in common"):
        load_mask(masks, make_series(values))


def test_scanner_integers_arrive_scaled(tiny):
    path = tiny.image(
        "sub-01/dwi/sub-01_dwi", data=np.full((*SHAPE, 2), 200), dtype=np.int16, bval=[0, 900], sidecar={}
    )
    image = nib.load(path)
    image.header.set_slope_inter(0.25, 10)
    stored = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    stored.to_filename(path)
    expected = nib.load(path).get_fdata()[0, 0, 0]
    np.testing.assert_allclose(load_signals(tiny.find()[0], EVERYWHERE)[0], expected, rtol=1e-6)


def test_the_real_brain():
    root = DATA / "mdt_brain_2te/bids"
    if not root.exists():
        pytest.skip(f"{root} is not on this machine")
    (series,) = find_series(open_layout(root, ["01"]), "01", SelectOptions())
    roi = load_mask(find_masks(series, [root / "derivatives" / "masks"]), series)
    (note,) = check_values(series, roi)
    assert note.startswith("Voxels that stay, although they are zero or negative in some volumes: 397 of")
    signals = load_signals(series, roi).astype(float)
    b0, echo_time = series.encodings.is_b0(), series.encodings.echo_time
    short, long = (signals[:, b0 & (echo_time == te)].mean(axis=1) for te in (60, 91))
    positive = (short > 0) & (long > 0)
    t2 = 31 / np.log(short[positive] / long[positive])  # as the data's description: negative where noise makes it rise
    np.testing.assert_allclose(np.percentile(t2, [25, 50, 75]), [57, 69, 88], atol=0.5)
