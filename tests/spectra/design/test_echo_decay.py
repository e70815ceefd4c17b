"""Signals fall with echo time: scans that were scaled to one intensity are told apart, also from long T2."""

import numpy as np
import pytest

from mrspec_prep.spectra.design.echo_decay import echo_decay

N_VOXELS = 4000


def image(t2, echo_times=(78, 114), *, repeats=3, snr=30, air=0.6, scaled=False, gain=1.0, seed=0):
    """Magnitudes of voxels of given T2 [ms] and of air, as (signals, echo_time, is_object)."""
    rng = np.random.default_rng(seed)
    is_object = np.arange(N_VOXELS) >= air * N_VOXELS
    t2 = np.resize(t2, is_object.sum())
    s0 = rng.uniform(0.7, 1.3, is_object.sum())
    s0 *= snr / np.mean(s0 * np.exp(-echo_times[0] / t2))
    te = np.repeat(np.array(echo_times, float), repeats)
    signals = np.zeros((N_VOXELS, len(te)))
    signals[is_object] = s0[:, None] * np.exp(-te / t2[:, None])
    signals = np.hypot(signals + rng.normal(size=signals.shape), rng.normal(size=signals.shape))
    signals *= np.where(te == te[0], 1.0, gain)
    if scaled:
        signals *= 1 / np.where(te == te[0], signals[:, te == te[0]].mean(), signals[:, te != te[0]].mean())
    return signals, te, is_object


BRAIN = np.concatenate([np.full(45, 70.0), np.full(45, 90.0), np.full(10, 1500.0)])
PLACENTA = np.array([45.0, 60, 70, 80, 120, 250])


@pytest.mark.parametrize("t2", [BRAIN, PLACENTA, np.full(1, 40.0)], ids=["brain", "placenta", "short"])
@pytest.mark.parametrize("seed", range(3))
def test_tissue_is_told_apart_from_what_was_scaled(t2, seed):
    kept, scaled = echo_decay(*image(t2, seed=seed)), echo_decay(*image(t2, scaled=True, seed=seed))
    assert not kept.is_flat
    assert not kept.rises
    assert scaled.is_flat
    assert scaled.apparent_t2 > 5000
    assert "rising in" in scaled.in_words


def test_different_tissues_rise_once_scaled_and_air_does_not_hide_it():
    assert echo_decay(*image(BRAIN, scaled=True)).rises
    masked = image(BRAIN, scaled=True, air=0.6)  # scaled with air, and then masked: the mean alone would not tell
    masked[0][~masked[2]] = 0
    assert echo_decay(*masked).rises


@pytest.mark.parametrize("snr", [8, 30, 200])
@pytest.mark.parametrize("gain", [0.98, 1.02])
def test_fluid_and_drifts_of_gain_do_not_rise(snr, gain):
    decay = echo_decay(*image(np.array([2000.0]), snr=snr, gain=gain))
    assert not decay.rises
    assert decay.is_flat or gain < 1  # that alone is refused only where nothing is recorded


def test_a_long_t2star_with_wide_echo_times_is_no_matter():
    assert not echo_decay(*image(np.array([300.0, 400.0]), (30, 60), snr=100, air=0.2)).is_flat


def test_no_verdict_where_there_is_nothing_to_go_by():
    signals, te, is_object = image(BRAIN)
    assert echo_decay(signals, np.where(te == 78, 78.0, 85.0), is_object) is None  # echo times too close
    assert echo_decay(signals, te, np.arange(N_VOXELS) < 20) is None  # too few voxels
    single = echo_decay(*image(BRAIN, repeats=1, scaled=True))
    assert single.is_flat
    assert np.isnan(single.rising)
    assert not single.rises
