import numpy as np
import pytest

from mrspec_prep.physics import Grid
from mrspec_prep.spectra import find_peaks

GRID = Grid(diffusivity=np.geomspace(0.1, 10, 30), t2=np.geomspace(10, 500, 40))


def bump(diffusivity, t2, width=0.15):
    bins = GRID.bins()
    distance = np.log(bins["diffusivity"] / diffusivity) ** 2 + np.log(bins["t2"] / t2) ** 2
    values = np.exp(-0.5 * distance / width**2)
    return values / values.sum()


def test_two_peaks_with_their_places_and_shares():
    peaks = find_peaks(0.3 * bump(0.4, 40) + 0.7 * bump(2.5, 150), GRID)
    assert [round(peak.fraction, 2) for peak in peaks] == [0.7, 0.3]
    assert peaks[0].position["diffusivity"] == pytest.approx(2.5, rel=0.05)
    assert peaks[0].position["t2"] == pytest.approx(150, rel=0.05)
    assert peaks[1].position["t2"] == pytest.approx(40, rel=0.05)


def test_small_ripples_join_their_neighbour_and_far_ones_are_dropped():
    ripple = 0.9 * bump(1, 100, 0.3) + 0.02 * bump(1.5, 150, 0.1)
    assert len(find_peaks(ripple, GRID)) == 1
    far = np.where(bump(0.2, 15) > 1e-3, bump(0.2, 15), 0) * 0.02 + np.where(bump(3, 200) > 1e-3, bump(3, 200), 0)
    peaks = find_peaks(far, GRID)
    assert len(peaks) == 1 and peaks[0].fraction < 1


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_a_single_bin_is_a_peak_at_its_place(n_dims):
    axes = {"diffusivity": np.array([0.5, 1, 2]), "t2": np.array([20.0, 40, 80]), "t1": np.array([300.0, 900, 2000])}
    grid = Grid(**dict(list(axes.items())[:n_dims]))
    spectrum = np.zeros(grid.n_bins)
    spectrum[grid.n_bins // 2] = 3.0
    (peak,) = find_peaks(spectrum, grid)
    assert peak.fraction == 1
    assert peak.position == pytest.approx({name: values[1] for name, values in zip(grid.names, grid.axes, strict=True)})


def test_plateaus_end_and_empty_spectra_have_no_peak():
    assert len(find_peaks(np.ones(GRID.n_bins), GRID)) == 1
    assert find_peaks(np.zeros(GRID.n_bins), GRID) == []


@pytest.mark.parametrize("spectrum", [np.ones(3), np.full(1200, np.nan), np.full(1200, -1.0)])
def test_bad_spectra_are_refused(spectrum):
    with pytest.raises(ValueError, match="spectrum"):
        find_peaks(spectrum, GRID)
