import numpy as np
import pytest

from mrspec_prep.physics import AXIS_SYMBOLS, AXIS_UNITS, KERNELS, Encodings, Grid, default_grid
from mrspec_prep.physics.grids import GRID_AXES, axis_values, informative_range

PROTOCOL = Encodings(bvalue=[0, 20, 500, 1000], echo_time=[50, 80, 120, 200], inversion_time=[0, 100, 700, 3000])


def test_every_axis_of_every_kernel_has_unit_and_symbol():
    used = {axis for axes in KERNELS.values() for axis in axes}
    assert used == set(GRID_AXES) == set(AXIS_UNITS) == set(AXIS_SYMBOLS)


def test_axes_keep_the_order_of_the_fields_whatever_the_order_given():
    grid = Grid(t1=[1.0, 2.0], diffusivity=[1.0, 2.0, 3.0])
    assert grid.names == ("diffusivity", "t1")
    assert grid.shape == (3, 2) and grid.n_bins == 6


def test_bins_run_in_c_order():
    grid = Grid(t2=[10.0, 20.0], t1=[1.0, 2.0, 3.0])
    bins = grid.bins()
    assert bins["t2"].tolist() == [10, 10, 10, 20, 20, 20]
    assert bins["t1"].tolist() == [1, 2, 3, 1, 2, 3]
    spectrum = np.arange(6.0)
    i, j = np.unravel_index(4, grid.shape)
    assert spectrum.reshape(grid.shape)[i, j] == 4
    assert grid.t2[i] == bins["t2"][4] and grid.t1[j] == bins["t1"][4]


@pytest.mark.parametrize(
    "axes", [{}, {"t2": []}, {"t2": [0.0, 1.0]}, {"t2": [2.0, 1.0]}, {"t2": [1.0, 1.0]}, {"t1": [1.0, np.inf]}]
)
def test_impossible_axes_are_refused(axes):
    with pytest.raises(ValueError, match="axis"):
        Grid(**axes)


def test_kurtosis_alone_may_hold_zero():
    assert Grid(diffusivity=[1.0], kurtosis=[0.0, 1.0]).n_bins == 2


def test_spacing():
    logarithmic, linear = axis_values(1, 100, 5), axis_values(1, 100, 5, "linear")
    assert np.allclose(np.diff(np.log(logarithmic)), np.log(100) / 4)
    assert np.allclose(np.diff(linear), 99 / 4)
    for values in (logarithmic, linear):
        assert np.isclose(values[0], 1) and np.isclose(values[-1], 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1, 5), "0 < low"), ((2, 1, 5), "0 < low"), ((1, 2, 1), "2 points"), ((1, 2, 3, "x"), "'x'")],
)
def test_impossible_spacing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        axis_values(*arguments)


def test_informative_range_is_what_the_protocol_weighs():
    assert informative_range("diffusivity", PROTOCOL) == (1.0, 50.0)  # 1/b of 1000 and 20 s/mm2 in um2/ms
    assert informative_range("t2star", PROTOCOL) == (50.0, 200.0)
    assert informative_range("t1", PROTOCOL) == (100.0, 3000.0)  # TI = 0 says nothing about T1


def test_axis_without_variation_is_refused():
    with pytest.raises(ValueError, match="t2 needs echo_time to vary"):
        informative_range("t2", Encodings(bvalue=[0, 1000], echo_time=80.0))


@pytest.mark.parametrize(("name", "points"), [("t2", (200,)), ("adc-t2star", (50, 50)), ("t1-t2-adc", (20, 20, 20))])
def test_default_grid_reaches_a_fifth_and_five_times(name, points):
    grid = default_grid(KERNELS[name], PROTOCOL)
    assert grid.shape == points
    for axis in grid.names:
        low, high = informative_range(axis, PROTOCOL)
        assert np.isclose(getattr(grid, axis)[0], low / 5)
        assert np.isclose(getattr(grid, axis)[-1], high * 5)


def test_points_bounds_and_spacing_can_be_given():
    grid = default_grid(KERNELS["adc-t2"], PROTOCOL, points=(4, 3), bounds={"t2": (10, 30)}, spacing={"t2": "linear"})
    assert grid.shape == (4, 3)
    assert np.allclose(grid.t2, [10, 20, 30])
    assert np.allclose(np.diff(np.log(grid.diffusivity)), np.diff(np.log(grid.diffusivity))[0])


def test_bounds_by_hand_do_without_the_protocol():
    one_echo = Encodings(bvalue=[0, 1000], echo_time=80.0)
    assert default_grid(("t2",), one_echo, bounds={"t2": (10, 300)}).n_bins == 200


def test_wrong_number_of_points_is_refused():
    with pytest.raises(ValueError, match="give 2 numbers of points, got 1"):
        default_grid(KERNELS["adc-t2"], PROTOCOL, points=(50,))


@pytest.mark.parametrize("what", ["values", "bounds", "spacing"])
def test_what_is_said_of_another_axis_is_refused(what):
    given = {"values": [100, 900], "bounds": (100, 900), "spacing": "linear"}[what]
    with pytest.raises(ValueError, match=f"{what} of t1, and the kernel has the axes diffusivity, t2"):
        default_grid(KERNELS["adc-t2"], PROTOCOL, **{what: {"t1": given}})
