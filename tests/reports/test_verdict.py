"""The verdict says what a careful reader would, and no more."""

import tomllib

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.overview import key_figures
from mrspec_prep.reports.verdict import CAUTION, GOOD, PROBLEM, is_still_falling, judge
from tests.reports.maps_study import add_maps

SHAPE = (14, 16, 2)


@pytest.fixture
def verdict(participant):
    """Function: settings of a phantom -> verdict and its text."""

    def give(change=None, **settings):
        series = collect_series(participant(shape=SHAPE, **settings), "01")[0]
        if change:
            change(series)
        found = judge(series, tomllib.loads(data_text("report.toml")))
        return found, " ".join(remark.text for remark in found.remarks)

    return give


def test_a_good_fit_is_called_good(verdict):
    found, text = verdict()
    assert found.level == GOOD
    assert "T2*-D spectrum" in text and "five tissue clusters" in text and "it explains the signal" in text
    assert "{" not in text


def test_two_echo_times_give_a_mean_not_structure(verdict):
    found, text = verdict(kernel="adc-t2")
    assert found.level == CAUTION
    assert "Two echo times: a mean T2, not T2 structure" in text


def test_an_axis_the_protocol_does_not_resolve_is_named(verdict):
    _, text = verdict(change=lambda series: series.acquisition.update(ResolvedAxes=["diffusivity"]))
    assert "does not resolve T2*" in text


def test_repeats_that_differ_by_more_than_noise_are_a_warning(verdict):
    def between(sigma):
        return lambda series: series.noise.metadata.update(SigmaBetweenNeighbours=sigma)

    found, text = verdict(change=between(2.2))
    assert found.level == CAUTION and "differ 10 times as much" in text and "motion between volumes" in text
    assert verdict(change=between(15.0))[0].level == GOOD and verdict(change=between(30.0))[0].level == GOOD


def test_an_unexplained_residual_is_a_warning_and_a_huge_one_a_problem(verdict):
    found, text = verdict(residual=1.8)
    assert found.level == CAUTION and "1.8" in text and "residual map" in text
    assert verdict(residual=5.0)[0].level == PROBLEM


def test_a_residual_that_is_too_small_is_a_warning(verdict):
    found, text = verdict(residual=0.4)
    assert found.level == CAUTION and "overestimated" in text


def test_noise_from_the_residual_is_no_check_of_the_residual(verdict):
    def circular(series):
        series.noise.metadata["NoiseMethod"] = "residual"

    _, text = verdict(change=circular, residual=2.5)
    assert "no independent check" in text and "explains the signal" not in text


@pytest.mark.parametrize(("share", "level"), [(0.01, GOOD), (0.4, CAUTION)])
def test_a_weight_that_the_rule_could_not_find_is_said(verdict, share, level):
    def unmet(series):
        about = series.mean_spectrum.metadata
        about.update(AlphaRule="discrepancy", AlphaScope="voxel", AlphaUnmet=int(share * about["NVoxels"]) or 1)

    found, text = verdict(change=unmet)
    assert found.level == level and "the rule discrepancy has no solution" in text


def test_a_weight_from_noise_of_the_residual_is_a_warning(verdict):
    def circular(series):
        series.noise.metadata["NoiseMethod"] = "residual"
        series.mean_spectrum.metadata.update(AlphaRule="brd", AlphaUnmet=0)

    found, text = verdict(change=circular)
    assert found.level == CAUTION and "rule brd for the regularisation weight rests on" in text


def test_low_signal_to_noise_is_said(verdict):
    def noisy(series):
        series.noise.data[:] = 150.0

    found, text = verdict(change=noisy)
    assert found.level == CAUTION and "do not read single voxels" in text


@pytest.fixture
def weak(verdict):
    """Function: noise level and facts of the acquisition -> verdict and its text."""

    def give(noise, **facts):
        def change(series):
            series.noise.data[:] = noise
            series.acquisition.update(facts)

        return verdict(change=change)

    return give


@pytest.mark.parametrize("law", ["gaussian", "student-t"])
def test_noise_that_hides_the_signal_is_a_problem_whose_remedy_is_named(weak, law):
    found, text = weak(500.0, NoiseDistribution=law)
    assert found.level == PROBLEM
    assert "noise floor" in text and "Rician bias" in text and "--set noise.distribution=rician" in text
    assert "explains the signal and the noise floor together" in text and "it explains the signal." not in text


def test_a_floor_below_the_last_volumes_only_is_a_warning(weak):
    found, text = weak(60.0)
    assert found.level == CAUTION
    assert "magnitudes lie below three times the noise" in text and "--set noise.distribution=rician" in text


def test_noise_that_the_residual_shows_to_be_overestimated_makes_no_floor(verdict):
    def given(series):
        series.noise.data[:] = 500.0

    found, text = verdict(change=given, residual=0.1)
    assert found.level == CAUTION and "overestimated" in text


@pytest.mark.parametrize(
    "facts", [{"NoiseDistribution": "rician"}, {"NoiseDistribution": "nc-chi"}, {"Polarity": "signed"}]
)
def test_no_floor_is_seen_where_the_fit_knows_it_or_signals_hold_their_sign(weak, facts):
    found, text = weak(500.0, **facts)
    assert found.level == CAUTION and "floor" not in text


def test_a_protocol_without_unweighted_volumes_is_a_warning(verdict):
    def weighted(series):
        series.columns["b"] = np.maximum(series.columns["b"], 200.0)

    found, text = verdict(change=weighted)
    assert found.level == CAUTION and "No volume is unweighted (b from 200 s/mm² on)" in text
    assert "unweighted" not in verdict()[1]


@pytest.mark.parametrize(("n_echoes", "noise", "told"), [(30, 5.0, False), (8, 5.0, True), (30, 30.0, True)])
def test_myelin_water_of_few_echoes_or_much_noise_is_a_warning(verdict, n_echoes, noise, told):
    def train(series):
        series.parameters["mwf"] = series.parameters["t2"]
        series.noise.data[:] = noise
        series.columns["TE"] = np.minimum(series.columns["TE"], 0.01 * n_echoes)

    found, text = verdict(change=train, kernel="t2")
    assert (f"Myelin water fractions rest on {n_echoes} echo times" in text) == told
    assert found.level == (CAUTION if told else GOOD)


def test_a_criterion_that_still_falls_is_said(verdict):
    found, text = verdict(falling=True)
    assert found.level == CAUTION and "still falling at the largest number of clusters tried (10)" in text


def test_a_number_of_clusters_that_was_set_is_not_called_chosen(verdict):
    _, text = verdict(chosen=False)
    assert "was set to 5, not chosen" in text


def test_voxels_that_did_not_converge_are_counted(verdict):
    def unfinished(series):
        series.mean_spectrum.metadata.update(NVoxelsConverged=series.n_voxels - 7, LargestGap=1e-3)

    found, text = verdict(change=unfinished)
    assert found.level == CAUTION and text.count("7 of") == 1


def test_small_clusters_and_missing_values_are_named(verdict):
    def odd(series):
        series.clusters[3]["weight"] = 0.01
        series.parameters["t2star"].metadata["VoxelsWithoutValue"] = 3

    _, text = verdict(change=odd)
    assert "Cluster 4 holds less than 2 % of the voxels" in text
    assert "3 voxels have no value in the map of Mean T2*" in text


def test_a_peak_at_the_edge_of_the_grid_is_named(verdict):
    def far(series):
        series.clusters[1]["peaks"][0]["t2star"] = float(series.grid.t2star[-1])

    _, text = verdict(change=far)
    assert "The largest peak of cluster 2 lies in the first or last bin of the grid" in text


def test_a_missing_step_is_a_problem(verdict):
    found, text = verdict(steps=("nnls",))
    assert found.level == PROBLEM and "The tissue clusters could not be computed" in text


@pytest.mark.parametrize(
    ("values", "falling"), [([3, 2, 1], True), ([3, 1, 2], False), ([1], False), ([3, 2, np.nan], False)]
)
def test_still_falling(values, falling):
    table = {"n_clusters": np.arange(2, 2 + len(values)), "bic": np.array(values, float)}
    assert is_still_falling(table, "bic") is falling


def test_a_fit_without_degrees_of_freedom_left_is_not_judged_by_its_residual(verdict):
    def saturated(series):
        series.parameters["residual"].metadata["ResidualDegreesOfFreedom"] = 0.1

    found, text = verdict(change=saturated, residual=0.01)
    assert found.level == CAUTION
    assert "no test of the fit" in text
    assert "overestimated" not in text


def test_what_is_said_of_a_residual_is_said_once(participant, head):
    out = participant(shape=SHAPE)
    add_maps(out, head(SHAPE), methods=("lsq",))
    (series,) = collect_series(out, "01")
    series.noise.metadata["NoiseMethod"] = "residual"
    words = tomllib.loads(data_text("report.toml"))
    text = " ".join(remark.text for remark in judge(series, words).remarks)
    assert text.count("estimated from the residual itself") == 1
    assert "Nor is the residual of the mean signal diffusion kurtosis model (" in text
    names = [entry["name"] for entry in key_figures(series, words)]
    assert "median D, spectra" in names and "median D, least squares" in names and len(set(names)) == len(names)
