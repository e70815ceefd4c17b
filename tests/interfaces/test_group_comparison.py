"""From the group's table to the table of tests: what is tested, what is left out, and that it says so."""

import numpy as np
import pytest

from mrspec_prep.bids.output.derivatives import read_table, write_table
from mrspec_prep.interfaces.group.comparison import write_comparison


def write_group(out, change=None, compare="group"):
    """A finished group of nine controls and three patients, with one left out and one scanned twice."""
    rng = np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    controls = np.column_stack([rng.dirichlet([30, 20, 10], 9), np.zeros(9)])
    shares = np.vstack([controls, rng.dirichlet([24, 15, 6, 15], 3)])
    shares = np.vstack([shares, shares[-1:], np.full((1, 4), np.nan)])
    who = [f"sub-{i:02d}" for i in (*range(1, 13), 12, 13)]
    table = {
        "participant_id": who,
        "session": ["n/a"] * 11 + ["ses-1", "ses-2", "n/a"],
        "site": ["north", "south"] * 6 + ["south", "north"],
        "included": [True] * 13 + [False],
        "cause": ["n/a"] * 13 + ["no sigma"],
        "n_voxels": [100] * 13 + [None],
        **{f"proportion_{m + 1}": shares[:, m] for m in range(4)},
        "group": ["control"] * 9 + ["patient"] * 4 + ["patient"],
        "age": [*range(24, 36), 35, 30],
        "smoker": [0, 1] * 7,
    }
    write_table(out / "group_participants.tsv", table | (change or {}), {"CompareColumn": compare, "Seed": 0})
    return out


def rows_of(out, column):
    table, about = read_table(write_comparison(out))
    chosen = table["column"] == column
    facts = next((c for c in about["Comparisons"] if c["Column"] == column), None)
    return {name: values[chosen] for name, values in table.items()}, facts


def test_groups_sites_and_numbers_are_tested(tmp_path):
    table, about = read_table(write_comparison(write_group(tmp_path)))
    assert [c["Column"] for c in about["Comparisons"]] == ["group", "site", "age"]  # smoker is a code, nobody asked
    rows, facts = rows_of(tmp_path, "group")
    assert list(rows["cluster"]) == ["1", "2", "3", "4", "all"]
    assert facts["Levels"] == ["control", "patient"] and facts["Counts"] == [9, 3] and facts["NScans"] == 13
    assert rows["p"][3] == pytest.approx(1 / 220) and rows["p_holm"][3] == pytest.approx(4 / 220)
    assert rows["low"][3] < rows["effect"][3] < rows["high"][3] and rows["delta"][3] == 1
    assert list(rows["contrast"]) == ["patient minus control"] * 4 + ["n/a"]
    assert facts["EffectSize"].endswith("patient minus control")
    assert facts["SmallestPWithinSites"] > 1 / 220
    assert rows["p_sites"][3] == pytest.approx(facts["SmallestPWithinSites"])
    assert any("220 ways" in sentence for sentence in facts["Statements"])
    rows, facts = rows_of(tmp_path, "site")
    assert np.isnan(rows["p_sites"]).all() and facts["Kind"] == "groups"
    rows, facts = rows_of(tmp_path, "age")
    assert facts["Kind"] == "number" and (np.abs(rows["effect"][:4]) <= 1).all()


def test_codes_are_groups_where_asked_for_and_unknown_participants_are_counted(tmp_path):
    out = write_group(tmp_path, {"smoker": [0, 1] * 5 + [np.nan] + [1, 1, 0]}, compare="smoker")
    rows, facts = rows_of(out, "smoker")
    assert facts["Kind"] == "groups" and sorted(facts["Levels"]) == ["0", "1"] and facts["NLeftOut"] == 1
    assert np.isfinite(rows["p"]).all()


def test_a_group_that_only_one_site_has_is_said(tmp_path):
    out = write_group(tmp_path, {"site": ["north"] * 9 + ["south"] * 5})
    rows, facts = rows_of(out, "group")
    assert facts["SiteTellsGroup"] and np.isnan(rows["p_sites"]).all()


def test_participants_who_travel_between_sites_are_compared_but_not_their_sites(tmp_path):
    out = write_group(tmp_path, {"site": ["north", "south"] * 6 + ["north", "north"]})  # sub-12 at both
    table, about = read_table(write_comparison(out))
    assert [c["Column"] for c in about["Comparisons"]] == ["group", "age"]
    assert np.isnan(table["p_sites"]).all()


def test_nothing_to_compare_leaves_an_empty_table(tmp_path):
    out = write_group(tmp_path, {"site": ["main"] * 14, "age": [30] * 14}, compare="n/a")
    table, about = read_table(write_comparison(out))
    assert len(table["p"]) == 0 and about["Comparisons"] == []
