"""Tables and words lose no volume and no meaning."""

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import load_catalogue
from mrspec_prep.bids.output.derivatives import encodings_table
from mrspec_prep.physics import Encodings, Grid
from mrspec_prep.reports.facts import acquisition_table, grid_in_words, n_distinct_encodings, ranges_in_words
from mrspec_prep.reports.words import count, join, number, peak_in_words, percent, power, printed_units, rough, short


def columns_of(encodings):
    table = encodings_table(encodings)
    return {name: np.array([np.nan if v is None else v for v in values], float) for name, values in table.items()}


def test_listed_table_counts_every_volume():
    columns = columns_of(Encodings(bvalue=[0, 0, 995, 1005, 1000], echo_time=[60, 60, 60, 60, 91]))
    table = acquisition_table(columns)
    assert table["headers"] == ["TE [ms]", "b [s/mm²]", "volumes"]
    assert table["rows"] == [["60", "0", "2"], ["60", "1000", "2"], ["91", "1000", "1"]]
    assert n_distinct_encodings(columns) == 3


def test_crossed_table_counts_every_volume():
    b, te = np.meshgrid(np.arange(14) * 100.0, [78, 114, 150, 186, 222], indexing="ij")
    table = acquisition_table(columns_of(Encodings(bvalue=np.repeat(b.ravel(), 3), echo_time=np.repeat(te.ravel(), 3))))
    assert len(table["rows"]) == 14 and len(table["headers"]) == 6
    assert sum(int(cell) for row in table["rows"] for cell in row[1:]) == 14 * 5 * 3


def test_three_contrasts_are_summed_up():
    b, te, ti = np.meshgrid([0, 500, 1000], [80, 105, 130], np.arange(1, 29) * 200.0, indexing="ij")
    table = acquisition_table(
        columns_of(Encodings(bvalue=b.ravel(), echo_time=te.ravel(), inversion_time=ti.ravel(), repetition_time=7500))
    )
    assert [row[1] for row in table["rows"]] == ["3", "3", "28", "252"]
    assert "TR 7500 ms" in table["note"]


def test_directions_are_counted():
    columns = columns_of(Encodings(bvalue=[0, 1000, 1000], direction=[[0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    assert acquisition_table(columns)["rows"] == [["0", "1", "–"], ["1000", "2", "2"]]


def test_one_encoding_and_none_at_all():
    assert acquisition_table(columns_of(Encodings(echo_time=[80, 80])))["rows"] == [["2"]]
    assert acquisition_table({})["rows"] == []


def test_ranges_and_grids_in_words():
    columns = columns_of(Encodings(bvalue=[0, 1600], echo_time=[78, 222]))
    assert ranges_in_words(columns) == "b 0–1600 s/mm², TE 78–222 ms"
    grid = Grid(diffusivity=np.geomspace(0.1, 10, 4), t2star=np.geomspace(5, 1110, 3))
    assert grid_in_words(grid) == "4 × 3 points (D 0.1–10 µm²/ms, T2* 5–1\u202f110 ms)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12\u202f345"),
        (-1050298.4, "−1\u202f050\u202f298"),
        (0.0123, "0.0123"),
        (7.0, "7"),
        (None, "n/a"),
        (np.nan, "n/a"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_words():
    assert short(1110.4) == "1\u202f110" and short(62.04) == "62" and short(0.7512) == "0.751"
    assert percent(0.341) == "34\u202f%" and percent(0.004) == "0.4\u202f%" and percent(0) == "0\u202f%"
    assert percent(1e-5) == "< 0.1\u202f%"
    assert count(2, "echo time") == "two echo times" and count(1, "image") == "one image"
    assert join(["a"]) == "a" and join(["a", "b", "c"]) == "a, b and c" and join([]) == ""
    assert rough(1.89) == "1.9" and rough(61.9) == "62" and rough(1249.6) == "1\u202f250"
    assert power(8.2e-10) == "8\u202f×\u202f10⁻¹⁰" and power(0) == "0"


def test_a_peak_at_the_edge_of_the_grid_is_a_bound():
    grid = Grid(diffusivity=[0.5, 1.9, 10.0], t2star=[5.0, 62.0, 500.0])
    inside = {"diffusivity": 1.9, "t2star": 62.0, "fraction": 0.71}
    assert peak_in_words(inside, grid) == "1.9 µm²/ms, 62 ms, 71\u202f%"
    assert peak_in_words(inside | {"t2star": 500.0}, grid) == "1.9 µm²/ms, ≥ 500 ms, 71\u202f%"
    assert peak_in_words(inside | {"diffusivity": 0.5}, grid) == "≤ 0.5 µm²/ms, 62 ms, 71\u202f%"


def test_units_of_sidecars_are_printed_as_the_page_prints_its_own():
    assert printed_units("b >= 200 s/mm2, around 1.2 um2/ms") == "b >= 200 s/mm², around 1.2 µm²/ms"


def test_symbols_hold_no_underscore():
    assert [key for key, entry in load_catalogue()["maps"].items() if "_" in entry["symbol"]] == []
