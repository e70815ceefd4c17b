"""Along axes of which the protocol tells a mean only, reports name means, and peaks that hold most of the signal."""

import tomllib

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.physics import Grid
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.group.collect import collect_group
from mrspec_prep.reports.group.overview import found_clusters
from mrspec_prep.reports.group.page import group_words
from mrspec_prep.reports.group.verdict import judge_group
from mrspec_prep.reports.overview import found_in_words
from mrspec_prep.reports.resolution import marginal_peaks, mean_relaxation
from tests.reports.group_study import write_group
from tests.reports.test_group import SMALL

GRID = Grid(diffusivity=np.geomspace(0.1, 40, 40), t2=np.geomspace(10, 500, 40))
LOWEST = {"TE": 60.0, "b": 0.0}


def spectrum(*places):
    """Spectrum of single bins: (diffusivity, T2, share)."""
    cube = np.zeros(GRID.shape)
    for diffusivity, t2, share in places:
        cube[np.abs(GRID.diffusivity - diffusivity).argmin(), np.abs(GRID.t2 - t2).argmin()] += share
    return cube.ravel()


def test_what_the_regularisation_puts_before_the_first_echo_is_no_headline():
    assert marginal_peaks(spectrum((20, 19, 0.45), (1, 70, 0.35), (0.1, 50, 0.2)), GRID, ["t2"], LOWEST) == "D 1 µm²/ms"


def test_parts_of_one_diffusivity_at_several_t2_are_one():
    halves = spectrum((0.8, 30, 0.3), (0.8, 120, 0.3), (3, 70, 0.4))
    assert marginal_peaks(halves, GRID, ["t2"], LOWEST) == "D 0.86 µm²/ms"


def test_peaks_are_named_until_half_of_the_signal_is_told():
    thirds = spectrum((0.3, 70, 0.4), (1.5, 70, 0.35), (8, 70, 0.25))
    words = marginal_peaks(thirds, GRID, ["t2"], LOWEST)
    assert words.count("µm²/ms") == 2 and "(40\u202f%) and D" in words
    assert marginal_peaks(thirds, GRID, ["diffusivity", "t2"], LOWEST) == ""


def test_mean_relaxation_is_that_of_the_decay_between_two_echoes():
    single = spectrum((1, 70, 1))
    t2 = GRID.t2[np.abs(GRID.t2 - 70).argmin()]
    assert mean_relaxation(single, GRID, "t2", (60.0, 91.0)) == pytest.approx(t2)
    assert np.isnan(mean_relaxation(0 * single, GRID, "t2", (60.0, 91.0)))


def test_the_first_screen_names_means_along_an_axis_of_two_values(participant):
    series = collect_series(participant(shape=(14, 16, 2), kernel="adc-t2"), "01")[0]
    series.acquisition.pop("ResolvedAxes")  # two echo times are no structure whatever the noise
    found = found_in_words(series, tomllib.loads(data_text("report.toml")))
    assert found["title"].endswith("largest peak along D, mean T2 (its spectrum is not resolved)")
    assert all("D " in entry["text"] and ", T2 " in entry["text"] for entry in found["entries"][:4])


def test_a_group_of_two_echo_times_says_what_its_participants_say(tmp_path):
    results = collect_group(write_group(tmp_path / "out", SMALL, maps=False))
    assert "mean T2*" not in found_clusters(results)["title"]
    for protocol in results.about["Protocols"]:
        protocol["TE"] = [0.078, 0.114]
    verdict = judge_group(results, group_words())
    assert any(remark.text.startswith("Two echo times: a mean T2*, not T2* structure") for remark in verdict.remarks)
    found = found_clusters(results)
    assert found["title"].endswith("largest peak along D, mean T2* (its spectrum is not resolved)")
    assert all(", T2* " in entry["text"] for entry in found["entries"])
