import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid
from mrspec_prep.spectra import identify


def test_two_echo_times_hold_a_mean_only():
    encodings = Encodings(bvalue=[0, 500, 1000, 2000] * 2, echo_time=np.repeat([60, 91], 4))
    found = identify("adc-t2", encodings, default_grid(("diffusivity", "t2"), encodings), 30)
    assert found.resolved == ("diffusivity",)
    assert "Two echo times: the data hold a mean T2, not T2 structure." in found.statements


def test_more_signal_resolves_more(placenta):
    numbers = [identify("adc-t2star", placenta.encodings, placenta.grid, snr).n_components for snr in (2, 20, 200)]
    assert numbers[0] < numbers[1] < numbers[2] <= 70
    found = identify("adc-t2star", placenta.encodings, placenta.grid, 20)
    assert found.resolved == ("diffusivity", "t2star")
    assert any("5 echo times from 78 to 222 ms" in text for text in found.statements)
    assert any("26 ms" in text for text in found.statements)


def test_one_value_means_the_axis_cannot_be_measured():
    encodings = Encodings(bvalue=[0, 700, 1500], echo_time=80.0)
    grid = default_grid(("diffusivity", "t2"), encodings, points=[8, 8], bounds={"t2": (10, 300)})
    found = identify("adc-t2", encodings, grid, 30)
    assert "One echo time: T2 cannot be measured." in found.statements


@pytest.mark.parametrize("snr", [0, -1, np.nan, np.inf])
def test_snr_must_be_a_number(placenta, snr):
    with pytest.raises(ValueError, match="snr"):
        identify("adc-t2star", placenta.encodings, placenta.grid, snr)
