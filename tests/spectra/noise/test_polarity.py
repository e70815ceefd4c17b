import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import restore_polarity

TIMES = np.array([50.0, 400, 1100, 2500])


@pytest.mark.parametrize("repetition_time", [None, 1550.0])
def test_signs_come_back_for_fully_and_partly_relaxed_recovery(repetition_time):
    times = np.array([50.0, 150, 300, 600, 900, 1400])
    encodings = Encodings(inversion_time=times, repetition_time=repetition_time)
    grid = default_grid(("t1",), encodings, points=[60])
    kernel = kernel_matrix("t1", encodings, grid)
    t1 = np.array([200.0, 400, 700, 1100, 1500])
    clean = simulate_signals("t1", encodings, {"t1": t1})
    rng = np.random.default_rng(0)
    signals = np.abs(clean + 0.002 * rng.standard_normal(clean.shape))
    signed, polarity = restore_polarity(signals, kernel, encodings, alpha=1e-4)
    clear = np.abs(clean) > 0.05
    np.testing.assert_array_equal(np.sign(signed)[clear], np.sign(clean)[clear])
    np.testing.assert_array_equal(np.abs(signed), signals)
    np.testing.assert_array_equal(polarity, (signed < 0).sum(axis=1))


def test_every_echo_of_an_inversion_time_shares_its_sign():
    encodings = Encodings(inversion_time=np.repeat(TIMES, 3), echo_time=np.tile([10.0, 50, 120], 4))
    grid = default_grid(("t2", "t1"), encodings, points=[15, 15])
    clean = simulate_signals("t1-t2", encodings, {"t1": np.array([500.0, 1500]), "t2": np.array([60.0, 100])})
    signed, polarity = restore_polarity(np.abs(clean), kernel_matrix("t1-t2", encodings, grid), encodings)
    np.testing.assert_allclose(signed, clean)
    np.testing.assert_array_equal(polarity, [1, 2])


def test_without_inversion_times_it_says_so():
    with pytest.raises(ValueError, match="inversion time"):
        restore_polarity(np.ones((1, 2)), np.ones((2, 3)), Encodings(echo_time=[10.0, 20]))


def test_a_mixture_that_nulls_at_another_time_for_each_echo_gets_the_signs_of_its_signal():
    times = np.array([50.0, 85, 143, 243, 412, 697, 1181, 2000])
    encodings = Encodings(inversion_time=np.repeat(times, 4), echo_time=np.tile([5.0, 20, 55, 150], 8))
    grid = default_grid(("t2", "t1"), encodings, points=[16, 16])
    kernel = kernel_matrix("t1-t2", encodings, grid)
    parameters = {"t1": np.tile([300.0, 1500.0], (20, 1)), "t2": np.tile([20.0, 100.0], (20, 1))}
    first = np.linspace(0.3, 0.7, 20)
    clean = simulate_signals("t1-t2", encodings, parameters, np.stack([first, 1 - first], axis=1))
    common = np.sort(clean.reshape(20, 8, 4) < 0, axis=2)
    assert (common[..., 0] != common[..., -1]).any(axis=1).all()  # no common null
    signed, _ = restore_polarity(np.abs(clean), kernel, encodings, alpha=1e-3)
    clear = np.abs(clean) > 0.02
    assert (np.sign(signed)[clear] == np.sign(clean)[clear]).mean() > 0.99
