"""Fingerprinting input: frames as complex numbers or magnitudes, schedules, and what is refused with the remedy."""

import json
import re

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.fingerprints import FingerprintSeries, find_fingerprints, load_frames, usable_fingerprints
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import SelectOptions

SHAPE, N = (3, 4, 1), 6
RNG = np.random.default_rng(0)
FRAMES = (RNG.normal(size=(*SHAPE, N)) + 1j * RNG.normal(size=(*SHAPE, N))).astype(np.complex64)
COLUMNS = {
    "flip_angle": [10, 20, 30, 40, 30, 20],
    "repetition_time": [0.012] * N,
    "echo_time": [0.003] * N,
    "inversion_time": [0.02, *["n/a"] * (N - 1)],
}
STEM = "sub-01/anat/sub-01"


def write_table(path, columns, separator="\t"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join(separator.join(map(str, row)) for row in (columns, *rows)) + "\n")


def write_image(root, name, data, affine=None):
    path = root / f"{STEM}{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(data), np.eye(4) if affine is None else affine), path)


@pytest.fixture
def root(tmp_path):
    """Dataset with real and imaginary part and a schedule."""
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    write_image(tmp_path, "_part-real_MRF", FRAMES.real)
    write_image(tmp_path, "_part-imag_MRF", FRAMES.imag)
    write_table(tmp_path / f"{STEM}_schedule.tsv", COLUMNS)
    return tmp_path


def find(root, **more):
    return find_fingerprints(open_layout(root), "01", SelectOptions(), **more)


def without_parts(root):
    for path in (root / "sub-01/anat").glob("*_part-*"):
        path.unlink()


def test_real_and_imaginary_part_are_one_series_and_survive_json(root):
    (series,) = find(root)
    again = FingerprintSeries.from_json(json.loads(json.dumps(series.to_json())))
    for one in (series, again):
        assert one.parts == ("real", "imag") and one.schedule == series.schedule
        np.testing.assert_allclose(load_frames(one), FRAMES, rtol=1e-6)
    np.testing.assert_allclose(series.schedule.repetition_time, 12)
    np.testing.assert_array_equal(series.schedule.inversion_time, [20, *[np.nan] * (N - 1)])
    assert series.joined == "6 frames as real part and imaginary part, schedule sub-01_schedule.tsv."


def test_magnitude_and_phase_complex_numbers_and_magnitudes_are_read(root):
    without_parts(root)
    write_image(root, "_part-mag_MRF", np.abs(FRAMES))
    (series,) = find(root)
    assert series.parts == ("mag",) and "sign of the signal" in series.notes[0]
    assert load_frames(series).dtype == np.float32
    write_image(root, "_part-phase_MRF", np.angle(FRAMES).astype(np.float32))
    np.testing.assert_allclose(load_frames(find(root)[0]), FRAMES, rtol=1e-5, atol=1e-6)
    without_parts(root)
    write_image(root, "_MRF", FRAMES)
    (series,) = find(root)
    assert series.parts == ("complex",) and series.joined.startswith("6 frames as complex numbers")
    np.testing.assert_allclose(load_frames(series), FRAMES)


def test_runs_are_series_of_their_own_and_filters_choose(root):
    for run in (1, 2):
        write_image(root, f"_run-{run}_MRF", np.abs(FRAMES))
    assert len(find(root)) == 3
    (series,) = find(root, filters={"mrf": {"run": "2"}})
    assert series.entities == {"subject": "01", "run": "2"}


def test_the_nearest_and_most_specific_schedule_counts(root):
    (root / f"{STEM}_schedule.tsv").rename(root / "schedule.tsv")
    assert find(root)[0].table == root / "schedule.tsv"
    write_table(root / "sub-01/sub-01_schedule.tsv", COLUMNS)
    assert find(root)[0].table == root / "sub-01/sub-01_schedule.tsv"
    write_table(root / "elsewhere.tsv", COLUMNS)
    assert find(root, table=str(root / "elsewhere.tsv"))[0].table == root / "elsewhere.tsv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip_angle": None}, "lacks the column flip_angle.*Remedy: give columns flip_angle"),
        ({"flip_angle": None, "flip_angel": [10] * N}, "is flip_angel meant"),
        (
            {"repetition_time": [12.0] * N},
            "repetition_time is in milliseconds.*found 12 in.*divide the column by 1000",
        ),
        ({"echo_time": [3.0] * N}, "echo_time is in milliseconds"),
        ({"inversion_time": [21.0, *["n/a"] * (N - 1)]}, "inversion_time is in milliseconds"),
        ({"echo_time": [0.003] * 5 + [0.02]}, "echo_time must lie between 0 and the repetition time.*frame 5 has 20"),
        ({"flip_angle": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}, "likely radians"),
        ({"flip_angle": [10, 20, "n/a", 40, 30, 20]}, "flip_angle of frame 2 is not a number.*found n/a"),
        ({"echo_time": ["short"] * N}, "echo_time of frame 0 is not a number"),
        ({"phase": [0, 180] * 3}, "differ in phase.*found phase 0 to 180 degrees"),
    ],
)
def test_schedules_that_cannot_be_played_are_refused(root, change, message):
    columns = {name: values for name, values in {**COLUMNS, **change}.items() if values is not None}
    write_table(root / f"{STEM}_schedule.tsv", columns)
    with pytest.raises(InputError) as caught:
        find(root)
    assert re.search(message, str(caught.value)), caught.value
    assert str(caught.value).startswith(str(root / f"{STEM}_schedule.tsv"))


def test_one_phase_for_all_excitations_is_read(root):
    write_table(root / f"{STEM}_schedule.tsv", {**COLUMNS, "phase": [90, 450, 90, 90, 90, 90]})
    assert len(find(root)[0].schedule) == N


def break_rows(root):
    write_table(root / f"{STEM}_schedule.tsv", {name: values[:-1] for name, values in COLUMNS.items()})


def break_separator(root):
    write_table(root / f"{STEM}_schedule.tsv", COLUMNS, " ")


def break_missing_part(root):
    (root / f"{STEM}_part-imag_MRF.nii.gz").unlink()


def break_grid(root):
    write_image(root, "_part-imag_MRF", FRAMES.imag, np.diag([2.0, 1, 1, 1]))


def break_frames(root):
    write_image(root, "_part-imag_MRF", FRAMES.imag[..., :-1])


def break_whole_and_parts(root):
    write_image(root, "_MRF", np.abs(FRAMES))


def break_two_schedules(root):
    write_table(root / f"{STEM}_MRF_schedule.tsv", COLUMNS)


def break_no_schedule(root):
    (root / f"{STEM}_schedule.tsv").unlink()


def break_units(root):
    without_parts(root)
    write_image(root, "_part-mag_MRF", np.abs(FRAMES))
    write_image(root, "_part-phase_MRF", np.angle(FRAMES).astype(np.float32))
    (root / f"{STEM}_part-phase_MRF.json").write_text('{"Units": "arbitrary"}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_rows, "has 6 frames and its schedule 5 rows.*one row per frame"),
        (break_separator, "lacks the columns flip_angle, repetition_time, echo_time"),
        (break_missing_part, "imaginary part is missing that goes with the real part.*put part-imag beside it"),
        (break_grid, "not on the grid of sub-01_part-real_MRF.nii.gz"),
        (break_frames, "not as many frames as sub-01_part-real_MRF.nii.gz.*found 5 against 6"),
        (break_whole_and_parts, "there whole and in parts"),
        (break_two_schedules, "two schedules describe"),
        (break_no_schedule, "needs a table of its schedule.*put sub-01_schedule.tsv beside it"),
        (break_units, "the phase is not in rad.*found Units arbitrary"),
    ],
)
def test_what_does_not_fit_together_is_refused(root, spoil, message):
    spoil(root)
    with pytest.raises(InputError) as caught:
        find(root)
    assert re.search(message, str(caught.value)), caught.value


def test_phases_of_other_units_are_refused_when_read(root):
    without_parts(root)
    write_image(root, "_part-mag_MRF", np.abs(FRAMES))
    write_image(root, "_part-phase_MRF", 1000 * np.angle(FRAMES).astype(np.float32))
    with pytest.raises(InputError, match="phase of frame 0 is not in rad.*rescale"):
        load_frames(find(root)[0])


def test_voxels_without_signal_leave_the_region_and_many_are_refused():
    frames, roi = FRAMES.copy(), np.ones(SHAPE, bool)
    frames[0, 0, 0] = 0
    frames[1, 1, 0, 3] = np.nan
    kept, notes = usable_fingerprints(frames, roi, ["x.nii"])
    assert kept.sum() == roi.sum() - 2 and not kept[0, 0, 0] and notes[0].startswith("2 of 12 voxels were left out")
    frames[:2] = 0
    with pytest.raises(InputError, match="67% of the region's voxels"):
        usable_fingerprints(frames, roi, ["x.nii"])
