import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import default_regions, fit_nnls, integrate_regions, mean_parameters


def test_default_regions_cover_every_spectrum_once(placenta):
    regions = default_regions("adc-t2star", placenta.encodings, placenta.grid)
    result = fit_nnls(placenta.signals, placenta.kernel)
    fractions = integrate_regions(result, placenta.grid, regions)
    np.testing.assert_allclose(sum(fractions.values()), 1)
    assert all(name.isalnum() for name in regions)
    dense = integrate_regions(result.spectra, placenta.grid, regions)
    for name in regions:
        np.testing.assert_allclose(fractions[name], dense[name], atol=1e-12)


def test_regions_split_only_what_the_protocol_resolves():
    two_echoes = Encodings(bvalue=[0, 500, 1000, 2000] * 2, echo_time=np.repeat([60, 90], 4))
    grid = default_grid(("diffusivity", "t2"), two_echoes)
    regions = default_regions("adc-t2", two_echoes, grid)
    assert {axis for box in regions.values() for axis in box} == {"diffusivity"}
    only_t2 = Encodings(echo_time=[20, 80])
    assert default_regions("t2", only_t2, default_grid(("t2",), only_t2)) == {}


def test_a_region_holds_the_bins_inside_its_box(placenta):
    spectra = np.eye(placenta.grid.n_bins)
    box = {"diffusivity": (1.0, 10.0), "t2star": (0.0, 60.0)}
    inside = integrate_regions(spectra, placenta.grid, {"mine": box})["mine"]
    bins = placenta.grid.bins()
    expected = (bins["diffusivity"] >= 1) & (bins["diffusivity"] < 10) & (bins["t2star"] < 60)
    np.testing.assert_array_equal(inside, expected)
    np.testing.assert_array_equal(integrate_regions(np.zeros((2, 400)), placenta.grid, {"mine": box})["mine"], 0)


def test_unknown_axes_and_other_grids_are_refused(placenta):
    with pytest.raises(ValueError, match="t1"):
        integrate_regions(np.ones((1, 400)), placenta.grid, {"bad": {"t1": (0, 1)}})
    for spectra in (np.ones((1, 7)), fit_nnls(np.ones((1, 2)), np.ones((2, 3)))):
        with pytest.raises(ValueError, match="bins"):
            integrate_regions(spectra, placenta.grid, {"all": {}})


def test_two_echo_times_give_the_ratio_of_the_two_signals():
    encodings = Encodings(bvalue=[0, 0, 0, 1000, 2000, 0, 0, 0, 1000, 2000], echo_time=[60] * 5 + [91] * 5)
    grid = default_grid(("diffusivity", "t2"), encodings)
    t2 = np.array([40.0, 57, 69, 88, 120])
    signals = 800 * simulate_signals("adc-t2", encodings, {"t2": t2, "diffusivity": np.full(5, 0.9)})
    result = fit_nnls(signals, kernel_matrix("adc-t2", encodings, grid))
    means = mean_parameters(result, grid, "adc-t2", encodings)
    np.testing.assert_allclose(means["t2"], t2, rtol=0.03)
    np.testing.assert_allclose(means["diffusivity"], 0.9, rtol=0.05)


@pytest.mark.parametrize("repetition_time", [None, 2500.0])
def test_one_compartment_t1_is_read_back(repetition_time):
    encodings = Encodings(inversion_time=[50, 200, 400, 800, 1500, 2400], repetition_time=repetition_time)
    grid = default_grid(("t1",), encodings)
    t1 = np.array([300.0, 700, 1400])
    signals = simulate_signals("t1", encodings, {"t1": t1}, s0=50)
    means = mean_parameters(fit_nnls(signals, kernel_matrix("t1", encodings, grid), 1e-4), grid, "t1", encodings)
    np.testing.assert_allclose(means["t1"], t1, rtol=0.02)
    np.testing.assert_allclose(means["s0"], 50, rtol=0.05)


def test_empty_spectra_and_kurtosis_stay_finite():
    encodings = Encodings(bvalue=[0, 500, 1000, 2000])
    grid = default_grid(("diffusivity", "kurtosis"), encodings, points=[10, 10])
    spectra = np.vstack([np.zeros(100), np.eye(100)[55]])
    means = mean_parameters(spectra, grid, "adc-kurtosis", encodings)
    assert all(np.isfinite(values).all() and values[0] == 0 for values in means.values())
    assert means["kurtosis"][1] == pytest.approx(grid.kurtosis[5])


def test_an_echo_time_that_changes_with_the_b_value_is_still_read():
    encodings = Encodings(bvalue=[0, 1000, 2000], echo_time=[60, 80, 100])
    grid = default_grid(("diffusivity", "t2"), encodings, points=[12, 12])
    means = mean_parameters(np.eye(144)[77:78], grid, "adc-t2", encodings)
    bins = grid.bins()
    assert means["t2"][0] == pytest.approx(bins["t2"][77], rel=1e-6)
    assert means["diffusivity"][0] == pytest.approx(bins["diffusivity"][77], rel=1e-6)
