import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.sidecars import (
    Metadata,
    Sidecars,
    read_bvalues,
    read_directions,
    read_numbers,
    read_times,
    unit_directions,
)


def times(values, n_volumes=3):
    """Times of an image whose sidecar ``here.json`` holds ``values``."""
    return read_times(Metadata(values, {}, _Here("here.json")), n_volumes)


class _Here(str):
    name = "here.json"


def test_the_nearest_sidecar_counts_most(tiny):
    image = tiny.image("sub-01/ses-a/dwi/sub-01_ses-a_acq-x_dwi", 2)
    tiny.json("dwi.json", {"EchoTime": 0.01, "RepetitionTime": 1.0, "Manufacturer": "root"})
    tiny.json("acq-y_dwi.json", {"Manufacturer": "another acquisition"})
    tiny.json("bold.json", {"Manufacturer": "another suffix"})
    tiny.json("sub-01/sub-01_dwi.json", {"EchoTime": 0.02, "RepetitionTime": 2.0})
    near = tiny.json("sub-01/ses-a/dwi/sub-01_ses-a_dwi.json", {"EchoTime": 0.03, "InversionTime": 1})
    nearest = tiny.json("sub-01/ses-a/dwi/sub-01_ses-a_acq-x_dwi.json", {"EchoTime": 0.04})
    metadata = Sidecars(tiny.root).metadata(image)
    assert metadata.values == {"EchoTime": 0.04, "InversionTime": 1, "RepetitionTime": 2.0, "Manufacturer": "root"}
    assert metadata.where("EchoTime") == nearest
    assert metadata.where("InversionTime") == near
    assert metadata.where("FlipAngle") == nearest


def test_bval_and_bvec_are_inherited(tiny):
    tiny.image("sub-01/dwi/sub-01_dwi", 2, sidecar={"EchoTime": 0.08})
    tiny.text("dwi.bval", "0 1000")
    tiny.text("sub-01/sub-01_dwi.bvec", "0 1\n0 0\n0 0")
    (series,) = tiny.find()
    assert series.encodings.bvalue.tolist() == [0, 1000]
    assert series.encodings.direction.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_two_equally_near_sidecars_are_refused(tiny):
    image = tiny.image("sub-01/dwi/sub-01_acq-x_run-1_dwi", 2)
    tiny.json("acq-x_dwi.json", {})
    tiny.json("run-1_dwi.json", {})
    with pytest.raises(InputError, match="two files of one folder.*merge"):
        Sidecars(tiny.root).metadata(image)


def test_a_broken_sidecar_is_named(tiny):
    tiny.dwi("")
    tiny.text("sub-01/dwi/sub-01_dwi.json", '{"EchoTime": 0.06,}')
    with pytest.raises(InputError, match="sub-01_dwi.json: not valid JSON.*line 1"):
        tiny.find()


def test_seconds_become_milliseconds():
    table = times({"EchoTime": 0.06, "InversionTime": 1.5, "RepetitionTime": 7.1})
    np.testing.assert_allclose(table.echo_time, [60, 60, 60])
    np.testing.assert_allclose(table.inversion_time, [1500] * 3)
    np.testing.assert_allclose(table.repetition_time, [7100] * 3)


@pytest.mark.parametrize("milliseconds", [4.5, 78.0, 333.3])
def test_units_make_the_round_trip(milliseconds):
    np.testing.assert_allclose(times({"EchoTime": milliseconds / 1000}).echo_time, milliseconds, rtol=1e-14)


def test_what_is_absent_is_none():
    table = times({})
    assert (table.echo_time, table.inversion_time, table.repetition_time, table.notes) == (None, None, None, [])


def test_one_value_per_volume():
    table = times({"EchoTime": [0.06, 0.08, 0.1], "InversionTimes": [0.1, 0.2, 7.3], "RepetitionTimes": [8, 8, 9]})
    np.testing.assert_allclose(table.echo_time, [60, 80, 100])
    np.testing.assert_allclose(table.inversion_time, [100, 200, 7300])
    np.testing.assert_allclose(table.repetition_time, [8000, 8000, 9000])
    assert table.notes == []


def test_preparation_counts_before_repetition():
    assert times({"RepetitionTime": 0.005, "RepetitionTimePreparation": 1.55}).repetition_time[0] == 1550


def test_arrays_under_a_scalar_name_are_read_and_said():
    table = times({"InversionTime": [0.1, 0.2, 0.3]})
    np.testing.assert_allclose(table.inversion_time, [100, 200, 300])
    assert "InversionTimes" in table.notes[0]


def test_the_first_of_the_inversion_times_may_be_repeated():
    values = {"InversionTimes": [0.1, 0.2, 0.3], "InversionTime": 0.1}
    np.testing.assert_allclose(times(values).inversion_time, [100, 200, 300])
    with pytest.raises(InputError, match="contradict.*remove InversionTime"):
        times(values | {"InversionTime": 0.9})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"EchoTime": 60}, r"EchoTime is in milliseconds where BIDS says seconds \(found 60\).*60 ms = 0.06 s"),
        ({"EchoTime": [0.06, 0.08, 80]}, "EchoTime is in milliseconds"),
        ({"InversionTime": 780}, "InversionTime is in milliseconds"),
        ({"InversionTimes": [20, 1236.4, 7323]}, "InversionTimes is in milliseconds"),
        ({"RepetitionTime": 7500}, "RepetitionTime is in milliseconds"),
        ({"EchoTime": 0}, "must be > 0"),
        ({"EchoTime": -0.06}, "must be > 0"),
        ({"EchoTime": float("nan")}, "must be > 0"),
        ({"EchoTime": "0.06"}, "must be a number.*'0.06'"),
        ({"EchoTime": None}, "must be a number"),
        ({"EchoTime": True}, "must be a number"),
        ({"EchoTime": []}, "must be a number"),
        ({"EchoTime": 10**400}, "must be a number"),
        ({"EchoTime": [0.06, "0.08", 0.1]}, "must be a number"),
        ({"EchoTime": [0.06, 0.08]}, "EchoTime holds 2 values, the image has 3 volumes"),
        ({"InversionTimes": [0.06, 0.08]}, "InversionTimes holds 2 values, the image has 3 volumes"),
        ({"RepetitionTimes": [5.0] * 4}, "RepetitionTimes holds 4 values, the image has 3 volumes"),
    ],
)
def test_impossible_times_are_refused(values, message):
    with pytest.raises(InputError, match=message) as caught:
        times(values)
    assert caught.value.remedy
    assert caught.value.file == "here.json"


def test_bvalues_in_a_row_or_a_column(tiny):
    for text in ("0 5 1000\n", "0\n5\n1000\n", "0,5\t1000"):
        assert read_bvalues(tiny.text("x.bval", text), 3).tolist() == [0, 5, 1000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1000", "3 volumes, the b-value file 2 values"),
        ("0 1000 1000 1000", "3 volumes, the b-value file 4 values"),
        ("0 1000 nan", "volume 2 is not a number"),
        ("0 -5 1000", r"volume 1 is not a number >= 0 \(found -5"),
        ("0 1 2.5", "ms/um2 where BIDS says s/mm2.*multiply them by 1000"),
        ("0 1000 b2000", "must hold numbers only"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("0 1\n2\n", "differ in length"),
    ],
)
def test_impossible_bvalues_are_refused(tiny, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_bvalues(tiny.text("x.bval", text), 3)
    assert caught.value.remedy


def test_a_binary_file_is_no_table_of_numbers(tiny):
    path = tiny.path("x.bval")
    path.write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_numbers(path, "the b-value file")


@pytest.mark.parametrize("file", ["bval", "bvec"])
def test_a_missing_file_is_refused(tiny, file):
    image = tiny.dwi("")
    image.with_name(f"sub-01_dwi.{file}").unlink()
    with pytest.raises(InputError, match=f"needs a .{file} file.*put sub-01_dwi.{file} beside it"):
        tiny.find()


def test_directions_get_length_one():
    bvalue = np.array([0.0, 5.0, 5.0, 1000.0])
    given = np.array([[0.3, 0, 0], [0, 0, 0], [0, 0.99, 0], [0.6, 0, 0.82]])
    unit = unit_directions(given, bvalue, "x.bvec")
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), [0, 0, 1, 1])
    np.testing.assert_allclose(np.cross(unit[3], given[3]), 0, atol=1e-12)


def test_missing_directions_at_b0_are_zero():
    given = np.array([[np.nan] * 3, [0, 1.0, 0]])
    assert unit_directions(given, np.array([0, 1000.0]), "x.bvec").tolist() == [[0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("vector", [[0, 0, 0], [0.5, 0, 0], [2, 0, 0], [np.nan, 0, 1]])
def test_a_direction_that_is_no_unit_vector_is_refused(vector):
    given = np.array([[0, 0, 0], vector], float)
    with pytest.raises(InputError, match="volume 1 .b = 1000.*not a unit vector.*scaled b-values"):
        unit_directions(given, np.array([0.0, 1000.0]), "x.bvec")


@pytest.mark.parametrize("text", ["0 1\n0 0\n", "0 0 0\n1 0 0\n", "0 1 0\n0 0 1\n0 0 0\n"])
def test_directions_need_three_rows(tiny, text):
    with pytest.raises(InputError, match="3 rows of 2 values"):
        read_directions(tiny.text("x.bvec", text), np.array([0, 1000.0]))
