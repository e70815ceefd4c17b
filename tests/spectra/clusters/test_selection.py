import numpy as np
import pytest

from mrspec_prep.spectra import fit_inspect, select_n_clusters


@pytest.fixture(scope="module")
def selection(four_tissues):
    return select_n_clusters(four_tissues.signals, four_tissues.kernel, 0.05, range(2, 7), n_starts=4, max_steps=60)


def test_bic_finds_the_four_tissues(selection):
    assert selection.best == 4
    assert selection.best == selection.table["n_clusters"][np.argmin(selection.table["bic"])]


def test_criteria_follow_from_likelihood_and_parameters(selection, four_tissues):
    table = selection.table
    n_data = four_tissues.signals.size
    np.testing.assert_allclose(table["bic"], table["n_parameters"] * np.log(n_data) - 2 * table["log_likelihood"])
    np.testing.assert_allclose(table["aic"], 2 * table["n_parameters"] - 2 * table["log_likelihood"])
    assert {len(column) for column in table.values()} == {5}


def test_a_fit_does_not_depend_on_the_other_candidates(selection, four_tissues):
    alone = select_n_clusters(four_tissues.signals, four_tissues.kernel, 0.05, [3], n_starts=4, max_steps=60)
    np.testing.assert_array_equal(alone.fits[3].responsibilities, selection.fits[3].responsibilities)


def test_parameters_count_what_the_data_hold_not_the_bins(four_tissues):
    fit = fit_inspect(four_tissues.signals, four_tissues.kernel, 0.05, 4, n_starts=3)
    assert 4 * 1 + 3 <= fit.n_parameters <= 4 * 12 + 3


def test_starts_agree_at_the_true_number_only(selection):
    stability = dict(zip(selection.table["n_clusters"], selection.table["stability"], strict=True))
    assert stability[4] > 0.9
    assert stability[6] < stability[4]


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_held_out_volumes_tell_too_few_clusters(four_tissues, scale):
    found = select_n_clusters(
        four_tissues.signals, four_tissues.kernel, 0.05, [2, 4], n_starts=4, criterion="held-out", held_out_folds=3,
        scale=scale,
    )  # fmt: skip
    assert found.best == 4
    assert found.table["held_out"][1] > found.table["held_out"][0] + 1000


@pytest.mark.parametrize(
    "change", [{"criterion": "dic"}, {"candidates": []}, {"candidates": [0, 1]}, {"criterion": "held-out"}]
)
def test_bad_input_is_refused(four_tissues, change):
    with pytest.raises(ValueError, match="must"):
        select_n_clusters(four_tissues.signals, four_tissues.kernel, 0.05, **change)


def test_the_numbers_of_clusters_under_way_are_told(four_tissues):
    said, few = [], {"n_starts": 2, "max_steps": 9}
    select_n_clusters(four_tissues.signals, four_tissues.kernel, 0.05, [1, 2, 4], **few, on_step=said.append)
    assert said[:3] == [f"starts of {m}, of 4 at most" for m in ("1 cluster", "2 clusters", "4 clusters")]
    assert said[3].startswith("step 1 with ") and said[-1].startswith("last step, ")
