"""Laws of the EPG simulation: a sum over isochromats, closed forms of steady state, decay and spin echo."""

import numpy as np
import pytest

from mrspec_prep.physics.fingerprinting import Schedule, fisp_schedule, simulate_fisp


def isochromats(schedule, t1, t2, b1=1.0):
    """Signal by the Bloch equation for spins that the gradient turns by evenly spaced angles: the tests' oracle.

    As many spins as twice the frames represent every order of dephasing without aliasing.
    """
    n = 2 * len(schedule) + 2
    turn = np.exp(2j * np.pi * np.arange(n) / n)
    across, along, seen = np.zeros(n, complex), np.ones(n), []
    for k in range(len(schedule)):
        ti, tr, te = schedule.inversion_time[k], schedule.repetition_time[k], schedule.echo_time[k]
        if not np.isnan(ti):
            left = np.exp(-ti / t1)
            across, along = np.zeros(n, complex), -schedule.inversion_efficiency * along * left + 1 - left
        c, s = np.cos(b1 * np.deg2rad(schedule.flip_angle[k])), np.sin(b1 * np.deg2rad(schedule.flip_angle[k]))
        x, along = c * across.real + s * along, -s * across.real + c * along
        across = x + 1j * across.imag
        seen.append(across.mean() * np.exp(-te / t2))
        across = across * turn * np.exp(-tr / t2)
        along = along * np.exp(-tr / t1) + 1 - np.exp(-tr / t1)
    return np.array(seen)


@pytest.mark.parametrize(("t1", "t2"), [(1000.0, 80.0), (4200.0, 2000.0), (40.0, 5.0), (300.0, 300.0)])
@pytest.mark.parametrize("b1", [1.0, 0.8])
def test_equals_the_sum_over_isochromats(t1, t2, b1):
    schedule = fisp_schedule(120)
    expected = isochromats(schedule, t1, t2, b1)
    assert np.abs(expected.imag).max() < 1e-14  # excitations about one axis: real
    np.testing.assert_allclose(simulate_fisp(schedule, t1, t2, b1)[0], expected.real, atol=1e-9)


def test_inversions_in_the_middle_spoil_and_efficiency_counts():
    ti = np.full(90, np.nan)
    ti[[0, 31, 60]] = 20.0, 200.0, 5.0
    schedule = Schedule(np.linspace(10, 60, 90), np.linspace(9, 14, 90), 4.0, ti, inversion_efficiency=0.9)
    for t2 in (60.0, 3000.0):
        expected = isochromats(schedule, 900.0, t2).real
        np.testing.assert_allclose(simulate_fisp(schedule, 900.0, t2)[0], expected, atol=1e-9)


def test_dropped_states_matter_less_than_the_tolerance():
    schedule = fisp_schedule(600)
    for t2 in (12.0, 70.0):
        np.testing.assert_allclose(
            simulate_fisp(schedule, 800.0, t2)[0], isochromats(schedule, 800.0, t2).real, atol=1e-9
        )


def test_steady_state_of_constant_flip_and_tr():
    """Balanced SSFP, (1 - E1) sin a (1 - E2 cos theta) / (C cos theta + D), averaged over theta exactly."""
    t1, t2, tr, degrees = 800.0, 90.0, 12.0, 35.0
    e1, e2, a = np.exp(-tr / t1), np.exp(-tr / t2), np.deg2rad(degrees)
    c, d = e2 * (e1 - 1) * (1 + np.cos(a)), (1 - e1 * np.cos(a)) - (e1 - np.cos(a)) * e2**2
    root = np.sqrt(d**2 - c**2)
    expected = (1 - e1) * np.sin(a) * (1 / root - e2 * (1 - d / root) / c)
    signal = simulate_fisp(Schedule(np.full(1400, degrees), tr, 0.0), t1, t2)[0]
    # steady to the last frame, although only orders that can come back before the end are followed
    np.testing.assert_allclose(signal[-20:], expected, rtol=1e-6)


def test_one_pulse_is_a_decay_and_two_are_an_echo():
    t1, t2 = 1200.0, 60.0
    decay = Schedule([90.0, 0.0, 0.0], 10.0, 4.0)
    np.testing.assert_allclose(simulate_fisp(decay, t1, t2)[0], [np.exp(-4 / t2), 0, 0], atol=1e-14)
    echo = simulate_fisp(Schedule([90.0, 180.0, 0.0], 10.0, 4.0), t1, t2)[0]
    np.testing.assert_allclose(echo[2], -np.exp(-24 / t2), rtol=1e-12)  # pulses about one axis: the echo is inverted


def test_inversion_recovery_before_the_first_frame():
    signal = simulate_fisp(Schedule([90.0], 10.0, 0.0, 300.0, 0.95), 700.0, 50.0)[0, 0]
    assert signal == pytest.approx(1 - 1.95 * np.exp(-300 / 700), rel=1e-12)


def test_tissues_are_rows_and_do_not_know_each_other():
    schedule = fisp_schedule(50)
    t1, t2 = np.linspace(200, 4000, 150), np.linspace(20, 1500, 150)
    signals = simulate_fisp(schedule, t1, t2)
    assert signals.shape == (150, 50)
    np.testing.assert_array_equal(signals[77], simulate_fisp(schedule, t1[77], t2[77])[0])


@pytest.mark.parametrize(
    ("t1", "t2", "b1", "words"),
    [
        (0.0, 50.0, 1.0, "t1 must be finite and > 0 ms"),
        (900.0, np.nan, 1.0, "t2 must be finite"),
        (900.0, 50.0, -1.0, "b1 must be finite and >= 0"),
        ([900.0, 800.0], [1.0, 2.0, 3.0], 1.0, "one value per tissue"),
        ([[900.0]], 50.0, 1.0, "one axis"),
    ],
)
def test_errors_of_the_simulation(t1, t2, b1, words):
    with pytest.raises(ValueError, match=words):
        simulate_fisp(fisp_schedule(10), t1, t2, b1)


def test_the_default_schedule_is_what_it_says():
    schedule = fisp_schedule(600)
    assert len(schedule) == 600
    assert schedule == fisp_schedule(600)
    assert schedule != fisp_schedule(600, seed=1)
    assert 5 <= schedule.flip_angle.min() < schedule.flip_angle.max() <= 70
    assert 12 <= schedule.repetition_time.min() < schedule.repetition_time.max() <= 15
    assert schedule.inversion_time[0] == 20
    assert np.isnan(schedule.inversion_time[1:]).all()
    assert 7000 < schedule.duration < 9000
    with pytest.raises(ValueError, match="n_frames must be >= 1"):
        fisp_schedule(0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flip_angle": 30.0}, "one value per frame"),
        ({"flip_angle": []}, "at least one frame"),
        ({"flip_angle": [10.0, 200.0]}, "flip_angle must lie in 0..180 degrees; frame 1 has 200"),
        ({"flip_angle": [0.0, 0.0]}, "no signal"),
        ({"flip_angle": [0.3, 1.0]}, "likely radians"),
        ({"repetition_time": [12.0, 0.0]}, "repetition_time must be > 0 ms; frame 1"),
        ({"repetition_time": [12.0, np.nan]}, "repetition_time must be finite"),
        ({"repetition_time": [12.0] * 3}, "different length"),
        ({"echo_time": 13.0}, "TE <= TR"),
        ({"inversion_time": -1.0}, "inversion_time must be >= 0"),
        ({"inversion_efficiency": 1.5}, "inversion_efficiency must lie between 0 and 1"),
        ({"echo_time": [[1.0, 2.0]]}, "got shapes"),
    ],
)
def test_errors_of_a_schedule_name_value_and_remedy(change, words):
    columns = {"flip_angle": [10.0, 20.0], "repetition_time": 12.0, "echo_time": 3.0} | change
    with pytest.raises(ValueError, match=words):
        Schedule(**columns)


def test_a_schedule_can_be_a_key_and_cannot_be_changed():
    one, two = (Schedule([10.0, 20.0], 12.0, 3.0, np.nan) for _ in range(2))
    assert len({one, two}) == 1
    assert one != 3
    with pytest.raises(ValueError, match="read-only"):
        one.flip_angle[0] = 3
