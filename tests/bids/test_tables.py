from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.tables import find_table, read_table

DATA = Path(__file__).parents[2].parent / "shared/data"
HEADER = "gx\tgy\tgz\tb\tTE\tTI\tTR\n"


def test_a_table_with_header(tiny):
    text = HEADER + "n/a\tn/a\tn/a\t0\t78\tn/a\t7500\n0\t0.6\t0.8\t800\t114\tn/a\t7500\n"
    table = read_table(tiny.text("x_acqparams.tsv", text), 2)
    assert table.bvalue.tolist() == [0, 800]
    assert table.direction.tolist() == [[0, 0, 0], [0, 0.6, 0.8]]
    assert table.echo_time.tolist() == [78, 114]
    assert table.inversion_time is None
    assert table.repetition_time.tolist() == [7500, 7500]
    assert table.notes == []


def test_other_names_and_orders_of_columns(tiny):
    text = "EchoTime\tbval\tnote\tgz\tgx\tgy\n0.06\t0\t1\t0\t0\t0\n0.08\t700\t2\t1\t0\t0\n"
    table = read_table(tiny.text("x_acqparams.tsv", text), 2)
    assert table.echo_time.tolist() == [60, 80]
    assert table.direction[1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("tail", ["NaN", "NaN NaN", "nan 7500"])
def test_the_toolbox_table_has_six_or_seven_columns(tiny, tail):
    table = read_table(tiny.text("x_gradechoinv.txt", f"0 0 0 0 78 {tail}\n1 0 0 50 78 {tail}\n"), 2)
    assert table.echo_time.tolist() == [78, 78]
    assert table.inversion_time is None
    assert (table.repetition_time is None) == ("7500" not in tail)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("0 0 0 0 0.078 NaN\n0 0 1 900 0.114 NaN\n", {"echo_time": [78, 114]}),
        (
            "0 0 0 0 0.08 0.02 7.5\n0 0 1 900 0.08 7.3 7.5\n",
            {"inversion_time": [20, 7300], "repetition_time": [7500] * 2},
        ),
        ("0 0 0 0 NaN 0.02\n0 0 1 900 NaN 7.3\n", {"inversion_time": [20, 7300], "echo_time": None}),
    ],
)
def test_seconds_are_recognised_and_said(tiny, rows, expected):
    table = read_table(tiny.text("x_gradechoinv.txt", rows), 2)
    for axis, values in expected.items():
        got = getattr(table, axis)
        assert got is None if values is None else np.allclose(got, values)
    assert "recognised as seconds" in table.notes[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0.06 NaN"] * 9 + ["90 NaN"] * 3 + ["120 NaN"] * 3, "column TE seems to mix.*0.06 in row 1 and 8 more"),
        (["90 NaN", "0.12 NaN", "60 NaN"], "column TE seems to mix.*0.12 in row 2 and 0 more"),
        (["80 2", "80 400", "80 1500"], "column TI seems to mix.*2 in row 1"),
        (["80 20 7.5", "80 200 7500"], "column TR seems to mix"),
        (["80 0.1", "80 2", "80 100", "80 2500"], "column TI seems to mix"),
    ],
)
def test_units_that_change_within_a_column_are_refused(tiny, rows, message):
    text = "".join(f"0 0 1 {100 * i} {row}\n" for i, row in enumerate(rows))
    with pytest.raises(InputError, match=f"{message}.*Remedy: write all times in ms"):
        read_table(tiny.text("x_gradechoinv.txt", text), len(rows))


@pytest.mark.parametrize(
    ("column", "times"),
    [
        ("echo_time", [0.05, 0.5, 2.0, 5.0, 12.0, 30.0]),  # ultrashort, spaced over decades
        ("echo_time", [0.03, 4.6]),  # ultrashort and in phase
        ("echo_time", [0.5, 1.2, 90.0]),
        ("inversion_time", [10.0, 5000.0]),
        ("inversion_time", [5.0, 50.0, 500.0, 5000.0]),
        ("repetition_time", [15.0, 120.0, 3000.0]),
        ("repetition_time", [15.0, 1000.0, 3000.0]),  # saturation recovery
        ("inversion_time", [5.0, 250.0, 1000.0, 2500.0]),
        ("echo_time", [0.03, 2.2, 4.4, 32.0]),
        ("echo_time", [0.03, 0.03, 2.2, 2.2, 4.4, 4.4, 32.0, 32.0]),
    ],
)
def test_short_times_in_milliseconds_are_read(tiny, column, times):
    place = {"echo_time": "{} NaN NaN", "inversion_time": "NaN {} NaN", "repetition_time": "NaN NaN {}"}[column]
    text = "".join(f"0 0 1 {100 * i} {place.format(t)}\n" for i, t in enumerate(times))
    assert getattr(read_table(tiny.text("x_gradechoinv.txt", text), len(times)), column).tolist() == times


def test_seconds_and_milliseconds_give_the_same_table(tiny):
    rows = np.array([[0, 0, 0, 0, 80, 20, 7500], [0, 0, 1, 1000, 105, 1236.4, 7500]])
    tables = []
    for factor in (1, 1e-3):
        text = "\n".join(" ".join(map(str, row)) for row in rows * ([1] * 4 + [factor] * 3))
        tables.append(read_table(tiny.text("x_gradechoinv.txt", text), 2))
    for axis in ("echo_time", "inversion_time", "repetition_time"):
        np.testing.assert_allclose(getattr(tables[0], axis), getattr(tables[1], axis))


def test_short_repetition_times_in_milliseconds(tiny):
    table = read_table(tiny.text("x_gradechoinv.txt", "0 0 0 0 5 NaN 20\n0 0 0 0 10 NaN 20\n"), 2)
    assert table.repetition_time.tolist() == [20, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0 0 78 NaN\n", "2 volumes, the table 1 rows"),
        ("0 0 0 0 78\n0 0 1 800 78\n", "6 or 7 columns"),
        ("0 0 0 0 78 NaN 1 1\n0 0 1 800 78 NaN 1 1\n", "6 or 7 columns"),
        ("0 0 0 0 78 NaN\n0 0 1 800 78\n", "row 2 of the table does not hold 6 numbers"),
        ("0 0 0 0 78 NaN\n0 0 1 800 te 1\n", r"row 2 .*found te\)"),
        ("0 0 0 0 78 NaN\n0 0 1 800 NaN NaN\n", "column TE must be > 0 in every row.*nan in row 2"),
        ("0 0 0 0 78 NaN\n0 0 1 800 0 NaN\n", "column TE must be > 0"),
        ("0 0 0 0 78 1.5\n0 0 1 800 78 7.3\n", "mix seconds and milliseconds"),
        ("0 0 0 0 78 NaN 7.5\n0 0 1 800 114 NaN 7.5\n", "mix seconds and milliseconds"),
        ("0 0 0 0 0.078 NaN 7500\n0 0 1 800 0.114 NaN 7500\n", "mix seconds and milliseconds"),
        ("0 0 0 NaN 78 NaN\n0 0 1 800 78 NaN\n", "b-value of volume 0"),
        ("0 0 0 0 78 NaN\nNaN 0 1 800 78 NaN\n", "not a unit vector"),
        ("0 0 0 0 78 NaN\n0 0 2 800 78 NaN\n", "not a unit vector"),
        ("0 0 0 0 78 NaN\n0 0 1 1 78 NaN\n", "ms/um2"),
        ("", "the table is empty"),
        ("gx gy gz TE\n0 0 0 78\n0 0 0 90\n", "lacks b"),
        ("gx gy gz b TE\n", "lacks rows"),
    ],
)
def test_impossible_tables_are_refused(tiny, text, message):
    path = tiny.text("x_gradechoinv.txt", text)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path, 2)
    assert caught.value.file == path
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["sub-01_acqparams.tsv", "sub-01_dwi_gradechoinv.txt", "sub-01_acq-a_acqparams.tsv"])
def test_a_table_is_found_by_its_entities(tiny, name):
    image = tiny.image("sub-01/dwi/sub-01_acq-a_dwi", 2)
    tiny.text("sub-01/dwi/sub-01_acq-b_acqparams.tsv", "")
    tiny.text("sub-01/sub-01_acqparams.tsv", "")
    table = tiny.text(f"sub-01/dwi/{name}", "")
    assert find_table(image) == table


def test_the_most_specific_table_counts(tiny):
    image = tiny.image("sub-01/dwi/sub-01_acq-a_dwi", 2)
    tiny.text("sub-01/dwi/sub-01_acqparams.tsv", "")
    assert find_table(image).name == "sub-01_acqparams.tsv"
    tiny.text("sub-01/dwi/sub-01_acq-a_acqparams.tsv", "")
    assert find_table(image).name == "sub-01_acq-a_acqparams.tsv"
    tiny.text("sub-01/dwi/sub-01_acq-a_gradechoinv.txt", "")
    with pytest.raises(InputError, match="two tables"):
        find_table(image)


def test_no_table(tiny):
    tiny.text("sub-01/dwi/._sub-01_acqparams.tsv", "")
    tiny.text("sub-01/dwi/sub-01_epi_acqparams.tsv", "")
    assert find_table(tiny.image("sub-01/dwi/sub-01_dwi", 2)) is None


@pytest.mark.parametrize(("name", "n_rows", "n_ti"), [("placenta", 330, 0), ("mudi", 1344, 28)])
def test_published_tables(name, n_rows, n_ti):
    path = DATA / "protocols" / f"{name}_gradechoinv.txt"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    table = read_table(path, n_rows)
    assert len(table.bvalue) == n_rows
    assert table.echo_time.min() >= 78
    assert (0 if table.inversion_time is None else len(np.unique(table.inversion_time))) == n_ti
    lengths = np.linalg.norm(table.direction, axis=1)
    np.testing.assert_allclose(lengths[table.bvalue > 50], 1, atol=1e-12)
