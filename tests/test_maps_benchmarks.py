"""The measures behind the tables of parameter maps."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import maps_methods
from benchmarks.maps_halves import balance, edge_kept, half_split, specks
from benchmarks.maps_methods import Store, chosen, code_of, rows
from benchmarks.maps_simulation import scores, simulate
from benchmarks.maps_tables import BAYES, collapsed, goal_lines
from mrspec_prep.physics import Encodings


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def encodings(rng, n=(7, 20, 31)):
    direction = rng.standard_normal((sum(n), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[: n[0]] = 0
    return Encodings(bvalue=np.repeat([0.0, 1000.0, 2000.0], n), direction=direction)


def test_halves_share_out_every_shell(rng):
    table, volumes = encodings(rng), np.ones(58, bool)
    first, second = half_split(table, volumes, seed=3)
    assert sorted([*first, *second]) == list(range(58))
    for b in (0, 1000, 2000):
        assert abs((table.bvalue[first] == b).sum() - (table.bvalue[second] == b).sum()) <= 1
    assert abs(len(first) - len(second)) <= 1
    assert not np.array_equal(first, half_split(table, volumes, seed=4)[0])


def test_no_swap_brings_balanced_halves_closer(rng):
    signals = rng.random((12, 5))
    order = balance(signals, 6)

    def apart(rows):
        return ((signals[rows[:6]].mean(axis=0) - signals[rows[6:]].mean(axis=0)) ** 2).sum()

    assert apart(order) < apart(np.arange(12))
    for a in range(6):
        for b in range(6, 12):
            swapped = order.copy()
            swapped[[a, b]] = swapped[[b, a]]
            assert apart(swapped) >= apart(order) * (1 - 1e-9)


def test_edges_are_kept_by_a_map_with_noise_and_lost_by_a_blurred_one(rng):
    roi = np.ones((40, 40, 1), bool)
    step = (np.arange(40) >= 20)[:, None, None] * np.ones((40, 40, 1))
    noisy = [step[roi] + 0.2 * rng.standard_normal(1600) for _ in range(3)]
    assert edge_kept(roi, noisy[0], noisy[1], step[roi] + 1e-6 * noisy[2]) == pytest.approx(1, abs=0.1)
    assert edge_kept(roi, 0.5 * step[roi], step[roi], noisy[2]) == pytest.approx(0.5)


def test_specks_are_counted():
    roi = np.ones((9, 9, 1), bool)
    volume = np.ones((9, 9, 1))
    volume[4, 4], volume[7, 2] = 3.0, 1.2
    assert specks(roi, volume[roi], 0.3) == pytest.approx(1 / 81)


def test_scores_of_the_truth_and_of_a_shift():
    simulation = simulate("narrow", 20, 0, 500)
    std = np.full((500, 2), 0.1)
    table = scores(simulation, simulation.truth + 0.15, std)
    np.testing.assert_allclose(table[:, :, 0], 0.15)
    np.testing.assert_allclose(table[:, :, 1], 1.0)
    np.testing.assert_allclose(table[:2, :, 2:], np.broadcast_to([0.0, 1.0], (2, 2, 2)), atol=1e-12)  # K > 0


def test_a_collapsed_seed_is_seen():
    tables = np.ones((5, 3, 2, 4))
    tables[2, 1, 0, 0] = 2.5
    tables[4, 0, 1, 1] = 0.0
    assert collapsed(tables) == 2


def test_goal_lines_name_every_row_but_the_reference():
    found = {label: np.full((2, 3, 2, 4), 0.5) for label in (BAYES, "lsq", "lsq-gmm", "vae", "vae, published")}
    found["vae, published"] = found["vae"] * 1.5
    lines = list(goal_lines(found))
    assert [line.split("  ")[0] for line in lines[1:]] == ["lsq", "lsq-gmm", "vae", "vae, published"]
    assert "vae 1.50 (1.50)" in lines[3]


def test_stored_results_are_made_once_and_again_when_the_code_changes(tmp_path, monkeypatch):
    calls = []

    def get(row, **options):
        calls.clear()
        store = Store(tmp_path, **options)
        found = store.get("lsq-gmm, Rician", lambda: calls.append(1) or {"mean": np.arange(3)}, row)
        np.testing.assert_array_equal(found["mean"], [0, 1, 2])
        return len(calls), store.remark()

    row = ("lsq-gmm", {})
    assert get(row) == (1, "")
    assert get(row) == (0, "")
    monkeypatch.setattr(maps_methods, "source_version", lambda patterns: "another")
    assert get(row, keep=True) == (0, "1 results were made by another version of the code")
    assert get(row) == (1, "")


def test_a_row_depends_on_the_code_it_runs():
    table = rows()
    assert len(code_of(table["lsq, Rician"])) < len(code_of(table["lsq-gmm"])) < len(code_of(table["gmm-vae"]))
    assert code_of(None) == code_of(table["learned-prior"])
    assert code_of(table["gmm-vae, published"]) == code_of(table["selfsup"]) != code_of(table["vae"])
    swept = ({"n_components": 4}, "vae"), ({"base": "paper", "n_latent": 4}, "selfsup")
    assert all(code_of(("vae", {"settings": settings})) == code_of(table[like]) for settings, like in swept)
    root = Path(maps_methods.mrspec_prep.__file__).parent
    assert all(list(root.glob(pattern)) for pattern in code_of(table["gmm-vae"]))


def test_an_unknown_row_is_refused():
    with pytest.raises(SystemExit, match="no such row: magic"):
        chosen(rows(), ["lsq", "magic"])
