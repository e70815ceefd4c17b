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


def test_a_perfect_inversion_is_the_classic_recovery():
    t1, repetition_time = np.geomspace(100, 4000, 7)[:, None], 2500.0
    classic = 1 - 2 * np.exp(-TIMES / t1)
    np.testing.assert_array_equal(equations.inversion_recovery(TIMES, t1, efficiency=1.0), classic)
    with_tr = equations.inversion_recovery(TIMES, t1, repetition_time, 1.0)
    np.testing.assert_array_equal(with_tr, classic + np.exp(-repetition_time / t1))


@pytest.mark.parametrize("efficiency", [0.0, 0.3, 0.77, 1.0])
def test_recovery_is_the_steady_state_of_repeated_inversions(efficiency):
    inversion_time, repetition_time, t1 = 400.0, 1500.0, 900.0
    along_z = 1.0
    for _ in range(3):  # the readout leaves nothing along z
        inverted = -efficiency * along_z
        read = 1 - (1 - inverted) * np.exp(-inversion_time / t1)
        along_z = 1 - np.exp(-(repetition_time - inversion_time) / t1)
    assert np.isclose(read, equations.inversion_recovery(inversion_time, t1, repetition_time, efficiency), rtol=1e-14)


def test_saturation_recovery_knows_no_repetition_time():
    saturated = equations.inversion_recovery(TIMES, 700.0, 1000.0, 0.0)
    np.testing.assert_allclose(saturated, 1 - np.exp(-TIMES / 700.0), rtol=1e-14)
    assert (saturated >= 0).all()


@pytest.mark.parametrize("efficiency", [0.3, 0.77])
def test_the_null_comes_at_t1_log_one_plus_efficiency(efficiency):
    null = 900.0 * np.log(1 + efficiency)
    values = equations.inversion_recovery(np.array([0.0, 0.99 * null, null, 1.01 * null]), 900.0, efficiency=efficiency)
    assert np.isclose(values[0], -efficiency, rtol=1e-14)
    assert values[1] < 0 < values[3] and abs(values[2]) < 1e-12


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
        (equations.inversion_recovery, (500.0, 900.0, 3000.0, 0.4)),
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
