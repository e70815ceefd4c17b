"""Permutation tests: exact p-values, uniform under the null, power under the alternative, blocks respected."""

from math import comb

import numpy as np
import pytest
from scipy.stats import kruskal, permutation_test, spearmanr

from mrspec_prep.spectra.group.comparison import compare_groups, correlate, holm
from mrspec_prep.spectra.group.conclusions import conclusions

N_TRIALS = 120
CONTROL = np.array([0.08, 0.3, 0.4, 0.22])


def study(rng, n_control=9, n_other=3, infarct=0.25, concentration=60):
    """Proportions of five clusters; the fifth only in the second group."""
    controls = np.column_stack([rng.dirichlet(concentration * CONTROL, n_control), np.zeros(n_control)])
    mean = np.append((1 - infarct) * CONTROL, infarct) + 1e-6
    return np.vstack([controls, rng.dirichlet(concentration * mean, n_other)]), ["control"] * n_control + [
        "patient"
    ] * n_other


def test_a_cluster_that_only_three_of_twelve_hold_gets_the_smallest_p_there_is():
    values, groups = study(np.random.default_rng(0))
    found = compare_groups(values, groups)
    assert found.levels == ("control", "patient") and found.counts == (9, 3)
    assert found.exact and found.n_arrangements == comb(12, 3) == 220
    assert found.smallest_p == pytest.approx(1 / 220)
    assert found.p_values[4] == pytest.approx(1 / 220) and found.p_overall == pytest.approx(1 / 220)
    assert found.p_holm[4] == pytest.approx(5 / 220)
    assert found.delta[4] == 1 and found.low[4] < found.effect[4] < found.high[4]
    assert found.effect[4] == pytest.approx(0.25, abs=0.08)


def test_two_groups_agree_with_scipy_on_every_deal():
    rng = np.random.default_rng(1)
    values, groups = rng.dirichlet(np.ones(3), 11), np.array(["a"] * 7 + ["b"] * 4)
    found = compare_groups(values, groups)
    for column, p in zip(np.sqrt(values).T, found.p_values, strict=True):
        samples = column[groups == "a"], column[groups == "b"]
        reference = permutation_test(samples, lambda x, y: abs(x.mean() - y.mean()), alternative="greater")
        assert p == pytest.approx(reference.pvalue)


def test_three_groups_agree_with_kruskal_and_wallis_on_every_deal():
    rng = np.random.default_rng(2)
    values, groups = rng.dirichlet(np.ones(3), 7), np.array(["a"] * 3 + ["b"] * 2 + ["c"] * 2)
    found = compare_groups(values, groups)
    samples = [values[groups == name, 0] for name in "abc"]
    reference = permutation_test(samples, lambda *s: kruskal(*s).statistic, alternative="greater")
    assert found.p_values[0] == pytest.approx(reference.pvalue)
    assert found.n_arrangements == 210 and found.smallest_p == pytest.approx(2 / 210)
    assert found.effect[0] == pytest.approx(kruskal(*samples).statistic / 6)


def test_correlation_agrees_with_spearman_on_every_deal():
    rng = np.random.default_rng(3)
    values, age = rng.dirichlet(np.ones(3), 6), np.array([31.0, 25, 40, 22, 36, 28])
    found = correlate(values, age)
    reference = permutation_test(
        (values[:, 1],), lambda x: abs(spearmanr(x, age).statistic), permutation_type="pairings", alternative="greater"
    )
    assert found.effect[1] == pytest.approx(spearmanr(values[:, 1], age).statistic)
    assert found.p_values[1] == pytest.approx(reference.pvalue)
    assert found.smallest_p == pytest.approx(2 / 720)


@pytest.mark.parametrize("kind", ["two", "three", "number", "sites"])
def test_p_is_uniform_under_the_null(kind):
    rng = np.random.default_rng(4)
    p_values, overall = [], []
    for _ in range(N_TRIALS):
        values = rng.dirichlet(20 * CONTROL, 10)
        sites = np.array(["north", "south"] * 5)
        if kind == "number":
            found = correlate(values[:6], rng.normal(size=6))
        elif kind == "three":
            found = compare_groups(values[:8], np.array(list("aaabbbcc")))
        elif kind == "two":
            found = compare_groups(values, np.array(list("aaaaaabbbb")))
        else:  # sites differ, and hold the groups unevenly
            values[sites == "north"] = rng.dirichlet([8, 2, 6, 4], 5)
            found = compare_groups(values, np.array(list("aabbababab")), strata=sites)
        p_values.append(found.p_values[0])
        overall.append(found.p_overall)
    for found in (np.array(p_values), np.array(overall)):
        for level in (0.05, 0.1, 0.25, 0.5):
            share = (found <= level).mean()
            assert share <= level + 3 * np.sqrt(level * (1 - level) / N_TRIALS)  # never too often
        assert (found <= 0.5).mean() > 0.35  # and not merely careful


def test_power_under_the_alternative_and_none_without_strata_when_sites_differ():
    rng = np.random.default_rng(5)
    n_found = sum(compare_groups(*study(rng, infarct=0.15)).p_holm[4] <= 0.05 for _ in range(30))
    assert n_found >= 27
    false, within = 0, 0
    groups, sites = ["a"] * 6 + ["b"] * 6, ["n"] * 5 + ["s"] + ["n"] + ["s"] * 5
    for _ in range(50):
        values = np.array([rng.dirichlet([30, 30, 5] if s == "n" else [5, 30, 30]) for s in sites])
        false += compare_groups(values, groups).p_values[0] <= 0.05
        within += compare_groups(values, groups, strata=sites).p_values[0] <= 0.05
    assert false > 25 and within <= 7


def test_many_participants_are_sampled_and_seeded():
    values, groups = study(np.random.default_rng(6), 40, 20, infarct=0.03)
    first, again = compare_groups(values, groups, seed=3), compare_groups(values, groups, seed=3)
    assert not first.exact and first.p_values.min() >= first.smallest_p == pytest.approx(1e-4)
    np.testing.assert_array_equal(first.p_values, again.p_values)


def test_repeated_scans_count_once():
    values, groups = study(np.random.default_rng(7))
    who = [f"sub-{i}" for i in range(12)]
    twice = compare_groups(np.vstack([values, values[-1:]]), [*groups, "patient"], participants=[*who, who[-1]])
    once = compare_groups(values, groups, participants=who)
    np.testing.assert_allclose(twice.p_values, once.p_values)
    np.testing.assert_allclose(twice.effect, once.effect)
    assert twice.n_scans == 13 and twice.n_participants == 12
    assert "13 scans were averaged" in " ".join(conclusions(twice))


def test_the_answer_does_not_depend_on_order_or_names():
    rng = np.random.default_rng(8)
    values, groups = study(rng)
    order = rng.permutation(12)
    moved = compare_groups(values[order], np.array(groups)[order])
    np.testing.assert_allclose(moved.p_values, compare_groups(values, groups).p_values)
    swapped = compare_groups(values, np.where(np.array(groups) == "control", "z", "a"))
    np.testing.assert_allclose(swapped.effect, -moved.effect)  # the first name is the reference
    assert swapped.levels == ("a", "z") and swapped.counts == (3, 9)
    weeks = compare_groups(values, np.where(np.array(groups) == "control", "week10", "week9"))
    assert weeks.levels == ("week9", "week10")


def test_a_cluster_nobody_holds_never_differs():
    values, groups = study(np.random.default_rng(9))
    found = compare_groups(np.column_stack([values, np.zeros(12)]), groups)
    assert found.p_values[5] == 1 and found.effect[5] == 0


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ["a"] * 12}, "at least two groups"),
        ({"participants": ["x"] * 12}, "at least three participants"),
        ({"participants": [*"abcdefghij", "a", "b"]}, "participant a is in"),
        ({"groups": ["a", "b"]}, "one label per scan"),
        ({"proportions": np.full((12, 2), np.nan)}, "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    values, groups = study(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        compare_groups(**{"proportions": values, "groups": groups} | change)


def test_words_say_what_so_few_participants_allow():
    values, groups = study(np.random.default_rng(0))
    text = " ".join(conclusions(compare_groups(values, groups)))
    assert "9 control and 3 patient participants" in text and "220 ways" in text and "0.0045" in text
    assert "Cluster 5 is larger in patient than in control participants by 2" in text
    tiny = " ".join(conclusions(compare_groups(values[6:], groups[6:], strata=None)))  # 3 against 3
    assert "The smallest p-value that so few participants allow is 0.1" in tiny and "Cluster 5 is" not in tiny
    few = " ".join(conclusions(compare_groups(values[:10], groups[:10])))  # 9 against 1
    assert "smallest p-value that so few participants allow is 0.1" in few
    alone = " ".join(conclusions(compare_groups(values[5:], groups[5:])))  # 4 against 3: 1/35, times five
    assert "no cluster alone can be called different" in alone
