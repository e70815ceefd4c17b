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


def test_component_bounds_separation_and_resolution_are_said(placenta):
    found = identify("adc-t2star", placenta.encodings, placenta.grid, 20)
    assert [bound.n_components for bound in found.bounds] == [1, 2, 3, 4]
    assert found.bounds[0].worst < found.bounds[1].worst < found.bounds[2].worst
    assert set(found.separable) == set(found.widths) == {"diffusivity", "t2star"}
    text = " ".join(found.statements)
    assert "at most 2 components spread over this protocol's range, not 3" in text
    assert f"told apart by T2* alone from a factor of {found.separable['t2star']:.2g} on" in text
    assert "decades" in text


def test_a_better_signal_narrows_everything(placenta):
    coarse, fine = (identify("adc-t2star", placenta.encodings, placenta.grid, snr) for snr in (10, 100))
    for axis in ("diffusivity", "t2star"):
        assert fine.separable[axis] < coarse.separable[axis]
        assert fine.widths[axis] < coarse.widths[axis]
    noise = identify("adc-t2star", placenta.encodings, placenta.grid, 0.5)
    assert any("not even one component" in text for text in noise.statements)
    assert any("apart, the most that the grid holds" in text for text in noise.statements)


def test_kurtosis_is_read_for_one_component():
    encodings = Encodings(bvalue=np.repeat([0, 1000, 2000], 10))
    grid = default_grid(("diffusivity", "kurtosis"), encodings, points=[10, 10])
    found = identify("adc-kurtosis", encodings, grid, 30)
    assert len(found.bounds) == 1
    assert not found.separable
