import numpy as np
import pytest

from mrspec_prep.physics import Encodings

ZEBRA = Encodings(
    bvalue=np.tile([0.0, 0.0, 200.0, 800.0], 3),
    echo_time=np.repeat([78.0, 114.0, 150.0], 4),
    repetition_time=7000.0,
)


def test_scalars_are_repeated_and_arrays_cannot_be_changed():
    assert len(ZEBRA) == ZEBRA.n_encodings == 12
    assert np.array_equal(ZEBRA.repetition_time, np.full(12, 7000.0))
    with pytest.raises(ValueError, match="read-only"):
        ZEBRA.bvalue[0] = 1.0


def test_callers_array_is_copied():
    bvalue = np.array([0.0, 1000.0])
    encodings = Encodings(bvalue=bvalue)
    bvalue[1] = 5.0
    assert encodings.bvalue[1] == 1000.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one"),
        ({"direction": np.zeros((4, 3))}, "at least one"),
        ({"bvalue": [0.0, 1.0], "echo_time": [1.0, 2.0, 3.0]}, "length"),
        ({"bvalue": [0.0, -1.0]}, "volume 1"),
        ({"echo_time": [80.0, np.nan, 90.0]}, r"echo_time .* \[1\]"),
        ({"inversion_time": [np.inf]}, "inversion_time"),
        ({"bvalue": [0.0, 1.0], "direction": np.zeros((3, 3))}, "length"),
    ],
)
def test_impossible_tables_are_refused_with_the_place(given, message):
    with pytest.raises(ValueError, match=message):
        Encodings(**given)


def test_varying_names_what_takes_more_than_one_value():
    assert ZEBRA.varying() == ("bvalue", "echo_time")
    assert ZEBRA.take(slice(0, 4)).varying() == ("bvalue",)
    assert Encodings(echo_time=[80.0, 80.00001]).varying() == ()
    assert Encodings(bvalue=[0.0, 0.0]).varying() == ()


@pytest.mark.parametrize(
    ("bvalue", "expected"),
    [
        ([0, 0, 1000], [True, True, False]),
        ([5, 5, 1000], [True, True, False]),  # crushers, as in HCP
        ([0, 5, 1000], [True, False, False]),
        ([200, 1000, 200], [False, False, False]),  # no unweighted volume at all
        ([0, 10, 18], [True, False, False]),  # the low b-values of perfusion are weighted
    ],
)
def test_unweighted_volumes(bvalue, expected):
    assert Encodings(bvalue=bvalue).is_b0().tolist() == expected


def test_without_b_values_every_volume_is_unweighted():
    assert Encodings(echo_time=[10.0, 20.0]).is_b0().all()


def test_reference_is_b0_at_shortest_te_and_longest_ti():
    assert ZEBRA.reference().tolist() == [0, 1]
    t1_t2 = Encodings(inversion_time=[50.0, 50.0, 2000.0, 2000.0], echo_time=[10.0, 40.0, 10.0, 40.0])
    assert t1_t2.reference().tolist() == [2]


def test_reference_is_the_lowest_b_at_the_shortest_te_where_no_volume_is_unweighted():
    weighted = Encodings(bvalue=[100.0, 800.0, 101.0, 100.0, 200.0], echo_time=[90.0, 60.0, 60.0, 60.0, 60.0])
    assert not weighted.is_b0().any()
    assert weighted.reference().tolist() == [2, 3]
    assert Encodings(bvalue=[200.0, 1000.0]).reference().tolist() == [0]


def test_groups_hold_equal_encodings_and_ignore_direction():
    directions = np.random.default_rng(0).standard_normal((12, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    encodings = Encodings(bvalue=ZEBRA.bvalue, echo_time=ZEBRA.echo_time, direction=directions)
    group, first = encodings.groups()
    assert len(first) == 9  # 3 TE x 3 b
    assert group.tolist()[:5] == [0, 0, 1, 2, 3]  # order of first appearance
    assert np.array_equal(encodings.bvalue[first][group], encodings.bvalue)
    assert np.array_equal(encodings.echo_time[first][group], encodings.echo_time)


def test_taking_a_permutation_and_its_inverse_is_identity():
    order = np.random.default_rng(1).permutation(12)
    assert ZEBRA.take(order).take(np.argsort(order)) == ZEBRA
    assert ZEBRA.take(order) != ZEBRA
    assert hash(ZEBRA.take(order).take(np.argsort(order))) == hash(ZEBRA)


def test_a_missing_axis_is_not_an_axis_of_zeros():
    assert Encodings(bvalue=[0.0, 1.0]) != Encodings(bvalue=[0.0, 1.0], echo_time=[0.0, 0.0])
