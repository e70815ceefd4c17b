import numpy as np
import pytest
import torch

from mrspec_prep.physics import equations

TIMES = np.linspace(0.0, 5000.0, 60)


def test_decay_falls_to_one_over_e_at_its_own_time():
    assert equations.transverse_decay(0.0, 70.0) == 1.0
    assert np.isclose(equations.transverse_decay(70.0, 70.0), np.exp(-1))
    assert np.all(np.diff(equations.transverse_decay(TIMES, 70.0)) <= 0)


def test_half_lives_add():
    early, late = equations.transverse_decay(30.0, 70.0), equations.transverse_decay(50.0, 70.0)
    assert np.isclose(early * late, equations.transverse_decay(80.0, 70.0))


def test_inversion_starts_at_minus_one_crosses_at_ln2_t1_and_recovers():
    t1 = 900.0
    assert equations.inversion_recovery(0.0, t1) == -1.0
    assert np.isclose(equations.inversion_recovery(np.log(2) * t1, t1), 0.0)
    assert np.isclose(equations.inversion_recovery(50 * t1, t1), 1.0)
    assert np.all(np.diff(equations.inversion_recovery(TIMES, t1)) > 0)


def test_short_repetition_time_leaves_less_to_invert():
    t1, repetition_time = 900.0, 1500.0
    at_zero = equations.inversion_recovery(0.0, t1, repetition_time)
    assert np.isclose(at_zero, -(1 - np.exp(-repetition_time / t1)))  # what had recovered, upside down
    assert np.isclose(equations.inversion_recovery(TIMES, t1, 1e9), equations.inversion_recovery(TIMES, t1)).all()


def test_diffusion_units_are_s_per_mm2_and_um2_per_ms():
    assert np.isclose(equations.diffusion_decay(1000.0, 1.0), np.exp(-1))  # b = 1000 s/mm2, D = 1e-3 mm2/s


def test_kurtosis_of_zero_is_gaussian_diffusion():
    bvalue = np.linspace(0, 3000, 20)
    gaussian = equations.diffusion_decay(bvalue, 1.2)
    assert np.allclose(equations.diffusion_kurtosis(bvalue, 1.2, 0.0), gaussian, rtol=1e-14)


@pytest.mark.parametrize(("diffusivity", "kurtosis"), [(1.0, 1.5), (1.5, 1.0), (0.9, 0.8)])
def test_kurtosis_signal_turns_at_three_over_dk(diffusivity, kurtosis):
    bvalue = np.linspace(1, 6000, 12000)
    signal = equations.diffusion_kurtosis(bvalue, diffusivity, kurtosis)
    turn = bvalue[signal.argmin()]
    assert abs(turn - 1000 * 3 / (diffusivity * kurtosis)) < 1.0


def test_kurtosis_is_the_second_cumulant():
    step, diffusivity, kurtosis = 1.0, 1.1, 0.9  # s/mm2, um2/ms, 1: differences of the log-signal at b = 0
    log = np.log(equations.diffusion_kurtosis(np.array([0.0, step, 2 * step]), diffusivity, kurtosis))
    slope = (-3 * log[0] + 4 * log[1] - log[2]) / (2 * step * 1e-3)
    curvature = (log[0] - 2 * log[1] + log[2]) / (step * 1e-3) ** 2
    assert np.isclose(-slope, diffusivity)
    assert np.isclose(curvature, diffusivity**2 * kurtosis / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (equations.transverse_decay, (80.0, 60.0)),
        (equations.inversion_recovery, (500.0, 900.0, 3000.0)),
        (equations.diffusion_decay, (800.0, 1.4)),
        (equations.diffusion_kurtosis, (800.0, 1.4, 0.7)),
    ],
)
def test_tensors_give_what_arrays_give(function, arguments):
    array = function(*[np.array([a, 2 * a]) for a in arguments])
    tensors = [torch.tensor([a, 2 * a], dtype=torch.float64, requires_grad=True) for a in arguments]
    tensor = function(*tensors)
    assert np.allclose(tensor.detach().numpy(), array, rtol=1e-14)
    tensor.sum().backward()
    assert all(t.grad is not None and torch.isfinite(t.grad).all() for t in tensors)
