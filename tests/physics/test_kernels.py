from dataclasses import replace

import numpy as np
import pytest
import torch

from mrspec_prep.physics import KERNELS, Encodings, Grid, default_grid, kernel_axes, kernel_matrix, possible_kernels
from mrspec_prep.physics.grids import GRID_AXES
from mrspec_prep.physics.kernels import signal

RNG = np.random.default_rng(7)
PROTOCOL = Encodings(
    bvalue=RNG.choice([0.0, 100.0, 800.0, 2000.0], 40),
    echo_time=RNG.choice([60.0, 90.0, 150.0], 40),
    inversion_time=RNG.choice([50.0, 400.0, 3000.0], 40),
    repetition_time=7500.0,
)
TISSUE = {"diffusivity": 1.3, "t2": 80.0, "t2star": 55.0, "t1": 1100.0, "kurtosis": 0.6}


def parameters_of(name, n=1):
    return {axis: np.full(n, TISSUE[axis]) for axis in KERNELS[name]}


def test_axes_of_every_kernel_follow_the_grid():
    for axes in KERNELS.values():
        assert list(axes) == [axis for axis in GRID_AXES if axis in axes]


@pytest.mark.parametrize("name", [n for n in KERNELS if n != "adc-kurtosis"])
def test_kernel_is_the_product_of_its_parts(name):
    parts = {"t2": "t2", "t2star": "t2star", "t1": "t1", "diffusivity": "adc"}
    product = np.prod(
        [signal(parts[axis], PROTOCOL, **{axis: np.array([TISSUE[axis]])}) for axis in KERNELS[name]], axis=0
    )
    assert np.allclose(signal(name, PROTOCOL, **parameters_of(name)), product, rtol=1e-13)


def test_placenta_kernel_is_the_paper_s_equation():
    k = signal("adc-t2star", PROTOCOL, **parameters_of("adc-t2star"))[:, 0]
    assert np.allclose(k, np.exp(-PROTOCOL.bvalue * 1.3e-3) * np.exp(-PROTOCOL.echo_time / 55.0), rtol=1e-13)


@pytest.mark.parametrize("name", list(KERNELS))
def test_column_of_the_matrix_is_the_signal_of_its_bin(name):
    axes = KERNELS[name]
    values = {axis: np.array([0.5, 1.0, 1.7]) * TISSUE[axis] for axis in axes}
    grid = Grid(**values)
    matrix = kernel_matrix(name, PROTOCOL, grid)
    assert matrix.shape == (40, 3 ** len(axes))
    index = np.ravel_multi_index((1,) * len(axes), grid.shape)
    assert np.array_equal(matrix[:, index], signal(name, PROTOCOL, **parameters_of(name))[:, 0])


@pytest.mark.parametrize("name", list(KERNELS))
def test_reordering_volumes_reorders_rows(name):
    order = RNG.permutation(40)
    whole = signal(name, PROTOCOL, **parameters_of(name, 2))
    assert np.array_equal(signal(name, PROTOCOL.take(order), **parameters_of(name, 2)), whole[order])


@pytest.mark.parametrize("name", [n for n in KERNELS if n != "adc-kurtosis"])
def test_kernel_stays_within_one_and_decays_stay_positive(name):
    matrix = kernel_matrix(name, PROTOCOL, default_grid(KERNELS[name], PROTOCOL))
    assert np.isfinite(matrix).all()
    assert np.abs(matrix).max() <= 1
    assert (matrix.min() < 0) == ("t1" in KERNELS[name])


def test_inversion_recovery_uses_tr_where_it_is_known():
    short = Encodings(inversion_time=[100.0, 1000.0], repetition_time=1550.0)
    relaxed = Encodings(inversion_time=[100.0, 1000.0])
    difference = signal("t1", short, t1=np.array([900.0])) - signal("t1", relaxed, t1=np.array([900.0]))
    assert np.allclose(difference, np.exp(-1550.0 / 900.0))


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_what_arrays_give(name, dtype):
    tensors = {axis: torch.tensor(v, dtype=dtype, requires_grad=True) for axis, v in parameters_of(name, 3).items()}
    result = signal(name, PROTOCOL, **tensors)
    assert result.dtype == dtype and result.requires_grad
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    array = signal(name, PROTOCOL, **parameters_of(name, 3))
    assert np.allclose(result.detach().numpy(), array, rtol=tolerance, atol=tolerance)


def test_unknown_kernel_lists_the_known_ones():
    with pytest.raises(ValueError, match="adc-t2star"):
        kernel_axes("t2star-adc")


@pytest.mark.parametrize(
    ("name", "encodings", "parameters", "message"),
    [
        ("adc-t2", PROTOCOL, {"diffusivity": np.ones(1)}, "needs t2"),
        ("adc-t2", Encodings(bvalue=[0.0, 1.0]), {"diffusivity": np.ones(1), "t2": np.ones(1)}, "needs echo_time"),
        ("t1", Encodings(echo_time=[1.0, 2.0]), {"t1": np.ones(1)}, "needs inversion_time"),
    ],
)
def test_what_is_missing_is_named(name, encodings, parameters, message):
    with pytest.raises(ValueError, match=message):
        signal(name, encodings, **parameters)


def test_grid_must_have_the_axes_of_the_kernel():
    with pytest.raises(ValueError, match="over diffusivity, t2star, got diffusivity, t2"):
        kernel_matrix("adc-t2star", PROTOCOL, Grid(diffusivity=[1.0], t2=[50.0]))


def test_possible_kernels_are_those_whose_axes_vary():
    b_and_te = Encodings(bvalue=[0, 500, 1000, 0, 500, 1000], echo_time=[60, 60, 60, 90, 90, 90])
    assert set(possible_kernels(b_and_te)) == {"adc", "t2", "t2star", "adc-t2", "adc-t2star", "adc-kurtosis"}
    assert set(possible_kernels(Encodings(bvalue=[0, 1000], echo_time=60.0))) == {"adc"}  # two shells: no kurtosis
    assert set(possible_kernels(Encodings(inversion_time=[50, 500, 3000]))) == {"t1"}
    assert possible_kernels(Encodings(echo_time=80.0)) == ()
    assert possible_kernels(PROTOCOL)[0] == "t1-t2-adc"


@pytest.mark.parametrize("name", [n for n in KERNELS if n != "adc-kurtosis"])
def test_counting_from_the_first_echo_divides_by_what_it_sees(name):
    later = replace(PROTOCOL, echo_time=PROTOCOL.echo_time + 7.0, bvalue=PROTOCOL.bvalue + 5.0)
    parameters = parameters_of(name, 4)
    first = {"bvalue": [later.bvalue.min()], "echo_time": [later.echo_time.min()], "inversion_time": [1e12]}
    seen = signal(name, Encodings(**first), **parameters)
    from_first = signal(name, later.from_first_echo(), **parameters)
    np.testing.assert_allclose(from_first * seen, signal(name, later, **parameters), rtol=1e-11, atol=1e-15)
